//! Shards and the mailbox between them.
//!
//! A shard is one thread with one executor. Shards share nothing; they send each other messages,
//! whose buffers travel by reference count. A send never waits, so shards cannot deadlock on each
//! other; what bounds the queues is the budget of those who send (a request in progress owns its
//! memory), not the queue.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::world;

/// Number of a shard on its node, `0..count`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard as an index into a table with one row per shard.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long CPUs may take to come back from an idle state; it holds for every CPU of the host.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CpuLatency {
    /// What the host does by itself.
    OfHost,
    /// No time at all, but only while shards write synced often, and where the host grants it.
    WhileWriting,
    /// This long, for as long as the shards run; a host that does not grant it refuses the start.
    AtMost(Duration),
}

/// The shards' place in the system's real-time class.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Realtime {
    Never,
    /// Its lowest priority, where the host grants it, as long as a shard uses little of its CPU.
    IfGranted,
    /// This priority, 1 to 99; a host that does not grant it refuses the start.
    Priority(u8),
}

/// How a node's shards are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of shards, at least 1.
    pub count: usize,
    /// Bind each shard to a CPU of its own out of those the process may use; ignored when there
    /// are fewer CPUs than shards.
    pub pin: bool,
    /// How long an idle shard polls before it parks. Zero unless the cores are dedicated: at 50 us
    /// the round trip between two idle shards fell from 32 us to 2 us (measured).
    pub spin: Duration,
    /// How long the host's CPUs may take to come back from an idle state.
    pub cpu_latency: CpuLatency,
    /// Whether shards are in the system's real-time class (SCHED_FIFO) as long as they sleep often.
    /// glommio's shards always stay in the ordinary one.
    pub realtime: Realtime,
    /// How long a task runs before [`crate::task::yield_if_needed`] has it yield although nothing
    /// urgent has come in.
    pub slice: Duration,
    /// Name of the threads, with the shard's number appended.
    pub name: String,
    /// Descriptors the node needs; the soft limit is raised to the hard one, and a hard limit
    /// below this refuses the start.
    pub descriptors_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            count: 1,
            pin: false,
            spin: Duration::ZERO,
            cpu_latency: CpuLatency::OfHost,
            realtime: Realtime::Never,
            slice: Duration::from_micros(500),
            name: "shard".to_owned(),
            descriptors_min: 1024,
        }
    }
}

/// Why the shards could not be started; each message is one sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `kernel.io_uring_disabled` is set.
    #[error(
        "io_uring is switched off on this host (kernel.io_uring_disabled = {setting}); \
         run `sysctl -w kernel.io_uring_disabled=0` as root"
    )]
    IoUringDisabled { setting: u8 },
    /// A seccomp profile (Docker's and containerd's default) or another security module refuses.
    #[error(
        "io_uring is refused by a security profile ({source}); in a container run with \
         `--security-opt seccomp=unconfined` or a profile that allows io_uring_setup, \
         io_uring_enter and io_uring_register"
    )]
    IoUringRefused { source: std::io::Error },
    /// The kernel has no io_uring, or one that is too old.
    #[error("this kernel has no usable io_uring ({source}); run Linux 5.15 or newer")]
    IoUringMissing { source: std::io::Error },
    /// RLIMIT_MEMLOCK.
    #[error(
        "the limit of locked memory is {limit} bytes but {shards} shards need {needed}; set \
         `LimitMEMLOCK=infinity` in the systemd unit or run `ulimit -l unlimited`"
    )]
    MemlockTooLow { limit: u64, needed: u64, shards: usize },
    /// RLIMIT_NOFILE.
    #[error(
        "the hard limit of open files is {limit} but {needed} are needed; set \
         `LimitNOFILE={needed}` or more in the systemd unit or run `ulimit -n {needed}`"
    )]
    NofileTooLow { limit: u64, needed: u64 },
    /// `Options::cpu_latency` asks for it and the host does not grant it.
    #[error(
        "the wake-up latency of the CPUs cannot be bounded ({source}); give this user write access \
         to /dev/cpu_dma_latency, or leave the bound out"
    )]
    CpuLatency { source: std::io::Error },
    /// `Options::realtime` asks for one and the host does not grant it.
    #[error(
        "shards cannot run with real-time priority {priority} ({source}); set \
         `LimitRTPRIO={priority}` or more in the systemd unit or grant CAP_SYS_NICE, or leave the \
         priority out"
    )]
    Realtime { priority: u8, source: std::io::Error },
    /// The operating system refused a thread or an executor.
    #[error("shard {shard} could not be started: {reason}; free memory or start fewer shards")]
    Shard { shard: u16, reason: String },
    /// A count of zero, or more than 65 535.
    #[error("{count} shards cannot be started; choose a number from 1 to 65535")]
    BadCount { count: usize },
}

/// What a shard's main function is given.
pub struct Context<M> {
    /// This shard.
    pub id: ShardId,
    /// Number of shards of the node.
    pub count: usize,
    /// This shard's end of the mailboxes.
    pub mailbox: Mailbox<M>,
}

/// One shard's end of the mailboxes: sends to every shard (also to itself), receives its own.
pub struct Mailbox<M>(pub(crate) world::mailbox::Mailbox<M>);

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox(self.0.clone())
    }
}

impl<M: Send + 'static> Mailbox<M> {
    /// Queues `m` for shard `to`; never waits. Messages from one shard to another arrive in order;
    /// nothing is said about the order of different senders. What is sent to a shard whose main
    /// function has returned is dropped.
    ///
    /// # Panics
    /// If `to` is not a shard of this node.
    pub fn send(&self, to: ShardId, m: M) {
        self.0.send(to, m);
    }

    /// The next message to this shard and who sent it. One task per shard receives; dropping the
    /// future loses nothing.
    pub async fn recv(&self) -> (ShardId, M) {
        self.0.recv().await
    }

    /// The next message if one is there.
    pub fn try_recv(&self) -> Option<(ShardId, M)> {
        self.0.try_recv()
    }
}

/// Runs `main` on every shard and blocks until all of them have returned.
///
/// All executors are up before the first `main` runs, so a start either happens wholly or not at
/// all. A panic on a shard ends the process.
pub fn run<M, F, Fut>(opts: Options, main: F) -> Result<(), StartError>
where
    M: Send + 'static,
    F: Fn(Context<M>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    if opts.count == 0 || opts.count > usize::from(u16::MAX) {
        return Err(StartError::BadCount { count: opts.count });
    }
    world::start::run(opts, main)
}

/// Ends the node because going on could break a promise: after a failed write or sync nothing may
/// be acknowledged any more. In the simulated world it ends the node, not the process.
pub fn fail_stop(reason: &str) -> ! {
    tracing::error!("the node stops: {reason}");
    world::start::fail_stop(reason)
}

/// Runs one future on a shard of its own on this thread: the entry for tests and tools.
///
/// # Panics
/// If the host refuses what a shard needs; servers use [`run`], which says so as a value.
pub fn block_on<T: 'static>(f: impl Future<Output = T> + 'static) -> T {
    world::start::block_on(f)
}

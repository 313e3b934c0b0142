//! The simulated world: any number of nodes with all their shards, in one thread, in virtual time.
//!
//! A [`World`] is made from a seed. Everything that the operating system would decide is drawn from
//! that seed: which runnable task runs next, how long a disk or a message takes, what a power cut
//! leaves behind. So the same seed gives the same run, which [`World::trace_hash`] shows. Time moves
//! only when a task has run or nothing can run; then it jumps to the next event.
//!
//! # What may go wrong
//!
//! **Processes.** [`NodeHandle::kill`] ends a node as `kill -9` does: its tasks are dropped wherever
//! they wait, its connections are closed by its kernel, its page cache survives.
//! [`NodeHandle::power_cut`] ends the machine: connections just fall silent, and of what was written
//! and not synced only some survives. [`NodeHandle::crash_at_disk_operation`] does either at an exact
//! point. [`crate::shards::fail_stop`] on a node kills that node.
//!
//! **Disks** ([`DiskFaults`], per node). Power cut: every 512-byte sector written since the last sync
//! is kept, lost or torn (a prefix of the new bytes, the old rest), each on its own; the length is
//! the old one, the new one or one between, with zeros where data is missing. Making, renaming and
//! removing a name are operations on directories, each atomic; one that no `sync_dir` of (one of) its
//! directories covered is kept or lost on its own. Syncing a file does not sync its name, syncing a
//! directory does not sync its own name in its parent, and a directory whose name is lost takes all
//! below it with it. That is what POSIX permits; with `ordered_metadata` names behave as on ext4 and
//! XFS: any sync makes all earlier names durable, and of the rest a prefix survives. A sync of the
//! file system covers all files and names, one after another. A sync in
//! progress covers what was written before it began. Errors of reads, writes and syncs come by
//! probability or by [`FaultRule`] for paths and operations; after a failed sync the data is readable
//! and not durable, also after a later sync (as on Linux). Bits flip on demand ([`Disk::flip`]).
//! A disk may be full (`capacity`), slow or stalling.
//!
//! **Network** ([`NetworkFaults`], and cuts per direction). A connection delivers bytes in order, in
//! pieces of any size, after a delay; connections overtake each other; a lost segment costs
//! retransmission time; a cut stalls, and after `tcp_timeout` the sender's end fails with `TimedOut`
//! while the other end learns nothing. A node that is back answers the segments of its former life
//! with a reset. Connecting to a node without listener is refused, to one without power times out.
//!
//! **Clocks.** The wall clock of a node may be off and drift; the monotonic clock is true.

mod disk;
mod disk_faults;
mod file_data;
mod kernel;
mod network;
mod node;
mod rng;
mod unsynced;
mod world;

pub(crate) mod direct_file;
pub(crate) mod file;
pub(crate) mod file_system;
pub(crate) mod mailbox;
pub(crate) mod names;
pub(crate) mod net;
pub(crate) mod random;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod task;
pub(crate) mod time;

pub use disk::{BitFlip, Disk};
pub use disk_faults::{DiskFaults, DiskOperation, FaultRule};
pub use network::NetworkFaults;
pub use node::{Crash, NodeHandle};
pub use world::{World, WorldOptions, here};

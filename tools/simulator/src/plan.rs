//! What a seed stands for: shards, topics, clients and faults of one run (a swarm: every seed leaves something out).

use runtime::sim::World;

/// Everything about a run that is decided before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Partitions of each topic.
    pub topics: Vec<i32>,
    pub producers: u32,
    pub consumers: u32,
    pub members: u32,
    /// Further clients.
    pub clients: Vec<Client>,
    /// What producers make use of.
    pub habits: Vec<Habit>,
    /// How often something breaks.
    pub faults: u64,
    /// Kinds of faults that may occur.
    pub kinds: Vec<Fault>,
    /// Names are durable only once their directory was synced, as POSIX has it; else in order and with any sync.
    pub strict_names: bool,
    /// What the first topic keeps, if it does not keep everything.
    pub retention: Option<Retention>,
    /// The last topic is acknowledged from memory: only in runs in which no process dies.
    pub memory: bool,
    /// Batches that each producer sends at most.
    pub batches: u64,
    /// Bytes of a large value.
    pub value_bytes: u64,
    pub wal_file_bytes: u64,
    pub checkpoint_ms: u64,
    pub tail_cache_bytes: u64,
    pub segment_bytes: u64,
}

/// A client beside producers and consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Makes, writes to and deletes topics.
    Churn,
    /// DeleteRecords.
    Deleter,
    /// Sets configs of topics and looks whether they hold.
    Configurer,
    /// Gives topics more partitions.
    Grower,
    /// A group without members whose offsets come and go.
    Loner,
}

/// What producers may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Several requests on their way.
    Pipelining,
    /// Several partitions in one request.
    Spreading,
    Compression,
    /// Without producer id, also with acks 0 and 1.
    Plain,
    /// New producer epochs, and batches of old ones that must be refused.
    Epochs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Bytes(u64),
    Millis(u64),
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    PowerCut,
    CrashAtOperation,
    CrashAtBoot,
    Stop,
    SyncError,
    SlowDisk,
    Resets,
    Cut,
    WalFlip,
    SegmentFlip,
    FullDisk,
    Clock,
}

impl Fault {
    pub const ALL: [Fault; 13] = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::CrashAtOperation,
        Fault::CrashAtBoot,
        Fault::Stop,
        Fault::SyncError,
        Fault::SlowDisk,
        Fault::Resets,
        Fault::Cut,
        Fault::WalFlip,
        Fault::SegmentFlip,
        Fault::FullDisk,
        Fault::Clock,
    ];

    /// The process may end without having written what it holds.
    fn kills(self) -> bool {
        let gentle = [Fault::Stop, Fault::SlowDisk, Fault::Resets, Fault::Cut, Fault::Clock];
        !gentle.contains(&self)
    }
}

/// Free space below which produce is refused.
pub const RESERVE_BYTES: u64 = 32 << 20;

impl Plan {
    /// Draws a plan from the world's seed.
    pub fn draw(world: &World) -> Plan {
        let below = |bound| world.random_below(bound);
        let topics = (0..1 + below(2)).map(|_| 1 + below(6) as i32).collect();
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| below(2) == 0).collect();
        if below(8) == 0 {
            kinds.retain(|kind| !kind.kills());
        }
        if kinds.is_empty() {
            kinds.push(Fault::Stop);
        }
        let all =
            [Client::Churn, Client::Deleter, Client::Configurer, Client::Grower, Client::Loner];
        let clients = all.into_iter().filter(|_| below(3) == 0).collect();
        let all =
            [Habit::Pipelining, Habit::Spreading, Habit::Compression, Habit::Plain, Habit::Epochs];
        let habits = all.into_iter().filter(|_| below(3) == 0).collect();
        let value_bytes = 1 + [64, 1_000, 20_000][below(3) as usize];
        // A batch has to fit into a segment.
        let segment_bytes = [16_384, 65_536, 1 << 20][below(3) as usize].max(6 * value_bytes);
        let retention = match below(6) {
            0 => Some(Retention::Bytes(segment_bytes * below(4))),
            1 => Some(Retention::Millis(1_000 + below(20_000))),
            _ => None,
        };
        Plan {
            topics,
            producers: 1 + below(3) as u32,
            consumers: below(3) as u32,
            members: below(3) as u32,
            clients,
            habits,
            faults: below(8),
            memory: below(2) == 0 && !kinds.iter().any(|kind| kind.kills()),
            kinds,
            strict_names: below(3) == 0,
            retention,
            batches: 20 + below(120),
            value_bytes,
            wal_file_bytes: [1, 2, 8][below(3) as usize] << 20,
            checkpoint_ms: [100, 1_000, 5_000][below(3) as usize],
            tail_cache_bytes: [1 << 20, 2 << 20, 16 << 20][below(3) as usize],
            segment_bytes,
        }
    }

    /// The node's server.properties.
    pub fn properties(&self, address: std::net::SocketAddr, shards: usize) -> String {
        format!(
            "node.id=1\nlog.dirs=/data\nlisteners=PLAINTEXT://{address}\n\
             advertised.listeners=PLAINTEXT://{address}\n\
             offsets.topic.num.partitions=3\ngroup.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\nmillrace.shards={shards}\nmillrace.shards.pin=false\n\
             log.retention.check.interval.ms=2000\nlog.segment.delete.delay.ms=1000\n\
             millrace.disk.reserve.bytes={RESERVE_BYTES}\n\
             millrace.wal.file.bytes={}\nmillrace.checkpoint.interval.ms={}\n\
             millrace.tail.cache.bytes={}\n\
             millrace.checkpoint.syncfs.partitions={}\n",
            self.wal_file_bytes,
            self.checkpoint_ms,
            self.tail_cache_bytes,
            // all changed segments by one sync, or each by its own
            [1, 1_000][(self.batches % 2) as usize],
        )
    }

    /// The configs of topic number `nth`.
    pub fn topic_configs(&self, nth: usize) -> Vec<(&'static str, String)> {
        let mut configs = vec![("internal.segment.bytes", self.segment_bytes.to_string())];
        match self.retention {
            Some(Retention::Bytes(bytes)) if nth == 0 => {
                configs.push(("retention.bytes", bytes.to_string()));
            }
            Some(Retention::Millis(ms)) if nth == 0 => {
                configs.push(("retention.ms", ms.to_string()));
            }
            _ => {}
        }
        if self.memory && nth + 1 == self.topics.len() {
            configs.push(("millrace.durability", "memory".to_owned()));
        }
        configs
    }
}

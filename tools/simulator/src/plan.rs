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
    pub churn: bool,
    /// How often something breaks.
    pub faults: u64,
    /// Kinds of faults that may occur.
    pub kinds: Vec<Fault>,
    /// Batches that each producer sends at most.
    pub batches: u64,
    /// Bytes of a large value.
    pub value_bytes: u64,
    pub wal_file_bytes: u64,
    pub checkpoint_ms: u64,
    pub tail_cache_bytes: u64,
    pub segment_bytes: u64,
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
}

impl Fault {
    pub const ALL: [Fault; 9] = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::CrashAtOperation,
        Fault::CrashAtBoot,
        Fault::Stop,
        Fault::SyncError,
        Fault::SlowDisk,
        Fault::Resets,
        Fault::Cut,
    ];
}

impl Plan {
    /// Draws a plan from the world's seed.
    pub fn draw(world: &World) -> Plan {
        let below = |bound| world.random_below(bound);
        let topics = (0..1 + below(2)).map(|_| 1 + below(6) as i32).collect();
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| below(2) == 0).collect();
        if kinds.is_empty() {
            kinds.push(Fault::PowerCut);
        }
        let value_bytes = 1 + [64, 1_000, 20_000][below(3) as usize];
        // A batch has to fit into a segment.
        let segment_bytes = [16_384, 65_536, 1 << 20][below(3) as usize].max(6 * value_bytes);
        Plan {
            topics,
            producers: 1 + below(3) as u32,
            consumers: below(3) as u32,
            members: below(3) as u32,
            churn: below(3) == 0,
            faults: below(8),
            kinds,
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
             millrace.wal.file.bytes={}\nmillrace.checkpoint.interval.ms={}\n\
             millrace.tail.cache.bytes={}\n",
            self.wal_file_bytes, self.checkpoint_ms, self.tail_cache_bytes,
        )
    }
}

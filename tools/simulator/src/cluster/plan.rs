//! What a seed stands for in a cluster: nodes, topics, clients, faults, how network and disks are (a swarm: every seed
//! leaves something out).

use runtime::sim::{DiskFaults, NetworkFaults, World};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

pub const CLIENT_PORT: u16 = 9092;
pub const PEER_PORT: u16 = 9093;
/// Free space below which produce is refused.
pub const RESERVE_BYTES: u64 = 16 << 20;

/// Everything about a run that is decided before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    /// The first so many nodes vote on metadata; the others only listen.
    pub voters: usize,
    pub topics: Vec<Topic>,
    pub producers: u64,
    pub consumers: u64,
    pub clients: Vec<Client>,
    /// Producers send several batches before they hear of the first.
    pub pipelining: bool,
    /// Nodes stand in racks, and some consumers read from the replica in theirs.
    pub racks: bool,
    /// Some producers have no id and send once.
    pub plain: bool,
    /// How often something breaks.
    pub rounds: u64,
    pub kinds: Vec<Fault>,
    /// All nodes lose power before everything is read a last time.
    pub ends_dark: bool,
    /// Names are durable only once their directory was synced, as POSIX has it; else in order and with any sync.
    pub strict_names: bool,
    pub latency: Range<Duration>,
    pub loss: f64,
    pub sync: Range<Duration>,
    /// Batches that each producer sends at most.
    pub batches: u64,
    pub value_bytes: u64,
    pub wal_file_bytes: u64,
    pub checkpoint_ms: u64,
    pub tail_cache_bytes: u64,
    pub segment_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Topic {
    pub partitions: i32,
    pub replication: i16,
}

/// A client beside producers and consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Makes, writes to and deletes topics.
    Churn,
    /// Makes topics that stay while things break; all producers write to them as soon as they are there.
    Founder,
    /// DeleteRecords.
    Deleter,
    /// A group without members whose offsets come and go.
    Committer,
    /// Partitions change their replicas.
    Reassigner,
    /// Preferred replicas lead again.
    Elector,
    /// Who votes on metadata changes.
    Voters,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    PowerCut,
    AllLosePower,
    CrashAtOperation,
    CrashAtBoot,
    Stop,
    Cut,
    Alone,
    OneWay,
    Bridge,
    Clients,
    Unreliable,
    SlowDisk,
    SyncError,
    FullDisk,
    WalFlip,
    SegmentFlip,
    Clock,
    /// Not among [`Fault::ALL`], so that seeds without it are what they were.
    Pause,
}

impl Fault {
    const ALL: [Fault; 18] = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::AllLosePower,
        Fault::CrashAtOperation,
        Fault::CrashAtBoot,
        Fault::Stop,
        Fault::Cut,
        Fault::Alone,
        Fault::OneWay,
        Fault::Bridge,
        Fault::Clients,
        Fault::Unreliable,
        Fault::SlowDisk,
        Fault::SyncError,
        Fault::FullDisk,
        Fault::WalFlip,
        Fault::SegmentFlip,
        Fault::Clock,
    ];
}

/// Clients that are not drawn, so that seeds without them are what they were.
fn not_drawn(batches: u64) -> impl Iterator<Item = Client> {
    let founder = batches.is_multiple_of(5).then_some(Client::Founder);
    of_membership(batches).chain(founder)
}

/// Who changes which nodes do what.
fn of_membership(batches: u64) -> impl Iterator<Item = Client> {
    let all = [(Client::Reassigner, 1), (Client::Elector, 3), (Client::Voters, 9)];
    let chosen =
        move |(client, digit): (Client, u64)| (batches / digit).is_multiple_of(3).then_some(client);
    all.into_iter().filter_map(chosen)
}

impl Plan {
    /// Draws a plan from the world's seed.
    pub fn draw(world: &World) -> Plan {
        let below = |bound| world.random_below(bound);
        let nodes = [3, 3, 3, 3, 3, 4, 5, 5, 6, 7][below(10) as usize];
        let voters = if below(3) == 0 { 3 } else { nodes.min(5) };
        let replication = || match below(6) {
            0 => 1 + below(nodes as u64) as i16,
            _ => 3,
        };
        let topic = |_| Topic { partitions: 1 + below(4) as i32, replication: replication() };
        let topics = (0..1 + below(2)).map(topic).collect();
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| below(2) == 0).collect();
        if kinds.is_empty() {
            kinds.push(Fault::Kill);
        }
        let all = [Client::Churn, Client::Deleter, Client::Committer];
        let clients = all.into_iter().filter(|_| below(3) == 0).collect();
        let (us, ms) = (Duration::from_micros, Duration::from_millis);
        let value_bytes = 1 + [64, 1_000, 20_000][below(3) as usize];
        let mut plan = Plan {
            nodes,
            voters,
            topics,
            producers: 1 + below(3),
            consumers: below(3),
            clients,
            pipelining: below(2) == 0,
            racks: below(2) == 0,
            plain: below(4) == 0,
            rounds: below(6),
            kinds,
            ends_dark: below(4) == 0,
            strict_names: below(3) == 0,
            latency: match below(4) {
                0 => ms(1)..ms(10),
                _ => us(20)..us(300),
            },
            loss: [0.0, 0.0, 0.001][below(3) as usize],
            sync: match below(4) {
                0 => ms(2)..ms(15),
                _ => us(50)..us(1500),
            },
            batches: 20 + below(120),
            value_bytes,
            wal_file_bytes: [1, 2, 8][below(3) as usize] << 20,
            checkpoint_ms: [200, 2_000, 60_000][below(3) as usize],
            tail_cache_bytes: [1, 2, 16][below(3) as usize] << 20,
            // A batch has to fit into a segment.
            segment_bytes: [16_384, 65_536, 1 << 20][below(3) as usize].max(6 * value_bytes),
        };
        plan.clients.extend(not_drawn(plan.batches));
        if plan.nodes_are_paused() {
            plan.kinds.push(Fault::Pause);
        }
        plan
    }

    /// Whether a second node falls after the first, at the moment in which it votes.
    pub fn voters_fall(&self) -> bool {
        self.batches.is_multiple_of(4)
    }

    /// Whether the disks of all others are slow after a node fell, while they vote.
    pub fn voters_are_slow(&self) -> bool {
        self.batches % 4 == 2
    }

    /// Whether nodes fall soon after a tail of one of their logs was replaced.
    pub fn tails_fall(&self) -> bool {
        self.batches % 4 == 1
    }

    /// Whether nodes get no CPU for a while.
    pub fn nodes_are_paused(&self) -> bool {
        (self.batches / 2).is_multiple_of(3)
    }

    /// Whether after healing every node ends once more, one after the other, and others lead what it led.
    pub fn ends_in_turn(&self) -> bool {
        self.batches % 7 < 2
    }

    pub fn disk(&self) -> DiskFaults {
        DiskFaults {
            ordered_metadata: !self.strict_names,
            sync: self.sync.clone(),
            ..DiskFaults::default()
        }
    }

    /// The network as it is while nobody harms it.
    pub fn network(&self) -> NetworkFaults {
        NetworkFaults { latency: self.latency.clone(), loss: self.loss, ..NetworkFaults::default() }
    }

    /// The server.properties of node number `index`.
    pub fn properties(&self, index: usize, ips: &[std::net::IpAddr], shards: usize) -> String {
        let voters: Vec<String> = (1..=self.voters)
            .zip(ips)
            .map(|(id, ip)| format!("{id}@{}", SocketAddr::new(*ip, PEER_PORT)))
            .collect();
        let ip = ips[index];
        let (roles, peers) = match index < self.voters {
            true => ("broker,controller", format!(",CONTROLLER://{ip}:{PEER_PORT}")),
            false => ("broker", format!("\nmillrace.peer.listener={ip}:{PEER_PORT}")),
        };
        let rack = match self.racks {
            true => format!(
                "broker.rack=r{}\nreplica.selector.class=\
                 org.apache.kafka.common.replica.RackAwareReplicaSelector\n",
                index % 3
            ),
            false => String::new(),
        };
        format!(
            "{rack}process.roles={roles}\nnode.id={}\nlog.dirs=/data\ncontroller.quorum.voters={}\n\
             listeners=PLAINTEXT://{ip}:{CLIENT_PORT}{peers}\n\
             advertised.listeners=PLAINTEXT://{ip}:{CLIENT_PORT}\n\
             controller.listener.names=CONTROLLER\nbroker.session.timeout.ms=3000\n\
             offsets.topic.num.partitions=2\ngroup.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\nmillrace.shards={shards}\nmillrace.shards.pin=false\n\
             log.retention.check.interval.ms=2000\nlog.segment.delete.delay.ms=1000\n\
             millrace.disk.reserve.bytes={RESERVE_BYTES}\n\
             millrace.wal.file.bytes={}\nmillrace.checkpoint.interval.ms={}\n\
             millrace.tail.cache.bytes={}\n\
             millrace.checkpoint.syncfs.partitions={}\n",
            index + 1,
            voters.join(","),
            self.wal_file_bytes,
            self.checkpoint_ms,
            self.tail_cache_bytes,
            // all changed segments by one sync, or each by its own
            [1, 1_000][(self.batches % 2) as usize],
        )
    }
}

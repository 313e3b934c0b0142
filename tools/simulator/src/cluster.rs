//! Three nodes under seeded faults: the same judgement as for one node, with leaders that change.
//!
//! Clients find the leader of a partition by asking any node, and ask again when it is another one. Nodes are killed, lose
//! power (one or all), and lose sight of each other, in pairs, alone, or one way only. After healing, everything
//! acknowledged must be read, once, from whoever leads then.

use crate::cluster_client::Client;
use crate::producer::build;
use crate::scenario::Verdict;
use crate::shared::{RETRY_PAUSE, payload, text, topic_name};
use broker::node::{NodeContext, shard_main};
use checker::{AnomalyKind, Assignment, HistoryBuilder, Observation, OpId, OpKind, Outcome};
use config::NodeConfig;
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::{BrokerId, FetchRequest};
use record::{ProducerFields, Records};
use runtime::sim::{DiskFaults, NetworkFaults, NodeHandle, World};
use runtime::task::{Class, spawn};
use runtime::time::{Instant, sleep, timeout};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub const NODES: usize = 3;
pub const CLIENT_PORT: u16 = 9092;
const PEER_PORT: u16 = 9093;
const VALUE_BYTES: u64 = 1_000;
/// After healing, everything must be done in so much virtual time.
const HEALED: Duration = Duration::from_secs(120);

pub type At = (String, i32);

pub struct Cluster {
    pub world: World,
    pub nodes: Vec<NodeHandle>,
    lives: RefCell<Vec<Option<Arc<NodeContext>>>>,
    pub partitions: Vec<At>,
    history: RefCell<HistoryBuilder>,
    pub violations: RefCell<Vec<String>>,
    marks: RefCell<BTreeMap<&'static str, u64>>,
    next_value: Cell<u64>,
    next_process: Cell<u32>,
    acknowledged: Cell<u64>,
    crashes: Cell<u64>,
    quiet: Cell<bool>,
}

/// Runs a seed.
pub fn run(seed: u64) -> Verdict {
    let world = World::with_seed(seed);
    let disk = DiskFaults { ordered_metadata: true, ..DiskFaults::default() };
    let nodes = (0..NODES).map(|i| world.add_node(&format!("node{i}"), disk.clone())).collect();
    let count = 1 + world.random_below(4) as i32;
    let cluster = Rc::new(Cluster {
        nodes,
        lives: RefCell::new(vec![None; NODES]),
        partitions: (0..count).map(|index| ("t".to_owned(), index)).collect(),
        history: RefCell::default(),
        violations: RefCell::default(),
        marks: RefCell::default(),
        next_value: Cell::new(1),
        next_process: Cell::new(0),
        acknowledged: Cell::new(0),
        crashes: Cell::new(0),
        quiet: Cell::new(false),
        world: world.clone(),
    });
    let finished = world.run(live(cluster.clone()));
    let history = cluster.history.take().finish();
    for index in 0..NODES {
        cluster.check_last_life(index);
    }
    let mut report = checker::check(&history);
    report.anomalies.retain(|anomaly| anomaly.kind() != AnomalyKind::NeverOk);
    let mut failures = cluster.violations.take();
    failures.extend(finished.err());
    if !report.is_valid() {
        failures.push(report.describe(&history, 5));
    }
    Verdict {
        trace_hash: world.trace_hash(),
        virtual_time: world.now() - Instant::from_nanos(0),
        crashes: cluster.crashes.get(),
        acknowledged: cluster.acknowledged.get(),
        marks: cluster.marks.take(),
        failure: (!failures.is_empty()).then(|| failures.join("\n")),
    }
}

async fn live(cluster: Rc<Cluster>) -> Result<(), String> {
    (0..NODES).for_each(|index| cluster.start(index));
    Client::new(&cluster).create_topic().await?;
    let mut clients = Vec::new();
    for _ in 0..1 + cluster.below(3) {
        clients.push(spawn(Class::Latency, produce(cluster.clone())));
    }
    for _ in 0..cluster.below(3) {
        clients.push(spawn(Class::Latency, consume(cluster.clone())));
    }
    for _ in 0..cluster.below(8) {
        sleep(Duration::from_millis(cluster.below(4_000))).await;
        cluster.break_one().await;
        cluster.run_again().await;
    }
    sleep(Duration::from_millis(cluster.below(3_000))).await;
    cluster.heal().await;
    cluster.quiet.set(true);
    let ended = async {
        for client in clients {
            client.await;
        }
    };
    let stuck = |what: &str| format!("{what} in {HEALED:?} after healing");
    timeout(HEALED, ended).await.map_err(|_| stuck("clients did not come to an end"))?;
    let mut reader = Reader::new(&cluster);
    timeout(HEALED, reader.read_to_the_end())
        .await
        .map_err(|_| stuck("the last read did not end"))?;
    cluster.history.borrow_mut().read_to_the_end();
    Ok(())
}

impl Cluster {
    pub fn below(&self, bound: u64) -> u64 {
        self.world.random_below(bound)
    }

    pub fn mark(&self, what: &'static str) {
        *self.marks.borrow_mut().entry(what).or_default() += 1;
    }

    fn process(&self) -> u32 {
        self.next_process.replace(self.next_process.get() + 1)
    }

    fn now(&self) -> u64 {
        (Instant::now() - Instant::from_nanos(0)).as_nanos() as u64
    }

    fn begin(&self, process: u32, kind: OpKind) -> OpId {
        let now = self.now();
        self.history.borrow_mut().invoke(process, kind, now)
    }

    fn end(&self, op: OpId, outcome: Outcome) {
        let now = self.now();
        self.history.borrow_mut().complete(op, outcome, now);
    }

    fn properties(&self, index: usize, shards: usize) -> String {
        let voters: Vec<String> = (1..)
            .zip(&self.nodes)
            .map(|(id, node)| format!("{id}@{}", SocketAddr::new(node.ip(), PEER_PORT)))
            .collect();
        let ip = self.nodes[index].ip();
        format!(
            "node.id={}\nlog.dirs=/data\ncontroller.quorum.voters={}\n\
             listeners=PLAINTEXT://{ip}:{CLIENT_PORT},CONTROLLER://{ip}:{PEER_PORT}\n\
             controller.listener.names=CONTROLLER\nbroker.session.timeout.ms=3000\n\
             auto.create.topics.enable=false\nmillrace.shards={shards}\nmillrace.shards.pin=false\n\
             millrace.wal.file.bytes=2097152\nmillrace.checkpoint.interval.ms={}\n",
            index + 1,
            voters.join(","),
            [200, 2_000, 60_000][self.below(3) as usize],
        )
    }

    fn start(&self, index: usize) {
        let shards = 1 + self.below(3) as usize;
        let text = self.properties(index, shards);
        let (config, _) = NodeConfig::from_properties(&text).expect("the configuration is right");
        self.check_last_life(index);
        let context = NodeContext::new(config, shards, |_| ());
        self.lives.borrow_mut()[index] = Some(context.clone());
        self.nodes[index].start(shards, move |shard| shard_main(shard, context.clone()));
    }

    /// A node that ended by itself says why; there is no reason here.
    fn check_last_life(&self, index: usize) {
        let life = self.lives.borrow_mut()[index].take();
        if let Some(reason) = life.and_then(|life| life.failure.get().cloned()) {
            self.violations.borrow_mut().push(format!("node {index} ended by itself: {reason}"));
        }
    }

    async fn break_one(&self) {
        let one = self.below(NODES as u64) as usize;
        let other = (one + 1 + self.below(NODES as u64 - 1) as usize) % NODES;
        let (a, b) = (&self.nodes[one], &self.nodes[other]);
        let pause = Duration::from_millis(self.below(8_000));
        match self.below(8) {
            0 => {
                self.mark("a node was killed");
                a.kill();
            }
            1 => {
                self.mark("a node lost power");
                a.power_cut();
            }
            2 => {
                self.mark("all nodes lost power");
                self.world.power_cut_all();
            }
            3 => {
                self.mark("two nodes did not see each other");
                self.world.cut(a, b);
            }
            4 => {
                self.mark("a node was alone");
                self.nodes.iter().filter(|n| n.ip() != a.ip()).for_each(|n| self.world.cut(a, n));
            }
            5 => {
                self.mark("a node was not heard by another");
                self.world.cut_one_way(a, b);
            }
            6 => {
                self.mark("a node was stopped");
                a.stop();
                if timeout(Duration::from_secs(60), a.ended()).await.is_err() {
                    let stuck = "a node that was asked to stop did not".to_owned();
                    self.violations.borrow_mut().push(stuck);
                }
                return;
            }
            _ => {
                self.mark("connections were reset");
                let faults = NetworkFaults { reset: 0.01, loss: 0.01, ..NetworkFaults::default() };
                self.world.set_network(faults);
            }
        }
        sleep(pause).await;
        self.world.mend_all();
        self.world.set_network(NetworkFaults::default());
    }

    async fn run_again(&self) {
        sleep(Duration::from_millis(1 + self.below(500))).await;
        for index in 0..NODES {
            if !self.nodes[index].is_running() {
                self.crashes.set(self.crashes.get() + 1);
                self.start(index);
            }
        }
    }

    async fn heal(&self) {
        self.world.mend_all();
        self.world.set_network(NetworkFaults::default());
        self.run_again().await;
    }
}

async fn produce(cluster: Rc<Cluster>) {
    let mut client = Client::new(&cluster);
    let process = cluster.process();
    let producer_id = client.producer_id().await;
    let mut sequences: BTreeMap<At, i32> = BTreeMap::new();
    for _ in 0..20 + cluster.below(100) {
        if cluster.quiet.get() {
            return;
        }
        let at =
            cluster.partitions[cluster.below(cluster.partitions.len() as u64) as usize].clone();
        let next = || cluster.next_value.replace(cluster.next_value.get() + 1);
        let values: Vec<u64> = (0..1 + cluster.below(5)).map(|_| next()).collect();
        let sequence = sequences.entry(at.clone()).or_default();
        let fields = ProducerFields { producer_id, producer_epoch: 0, base_sequence: *sequence };
        let batch = build(&values, fields, VALUE_BYTES);
        *sequence += values.len() as i32;
        let op = cluster.begin(process, OpKind::Send);
        let partition = cluster.history.borrow_mut().partition(&format!("{}-{}", at.0, at.1));
        for value in &values {
            cluster.history.borrow_mut().send(op, partition, *value);
        }
        let Some(base) = client.send(&at, &batch).await else {
            return cluster.end(op, Outcome::Info);
        };
        for (offset, value) in (base..).zip(&values) {
            cluster.history.borrow_mut().acknowledged(op, partition, *value, offset);
        }
        cluster.end(op, Outcome::Ok);
        cluster.acknowledged.set(cluster.acknowledged.get() + values.len() as u64);
        sleep(Duration::from_millis(cluster.below(200))).await;
    }
}

async fn consume(cluster: Rc<Cluster>) {
    let mut reader = Reader::new(&cluster);
    while !cluster.quiet.get() {
        for at in cluster.partitions.clone() {
            reader.poll(&at).await;
        }
    }
}

/// Reads all partitions from their beginning, one at a time.
struct Reader {
    client: Client,
    process: u32,
    next: BTreeMap<At, i64>,
}

impl Reader {
    fn new(cluster: &Rc<Cluster>) -> Reader {
        let process = cluster.process();
        Reader { client: Client::new(cluster), process, next: BTreeMap::new() }
    }

    async fn read_to_the_end(&mut self) {
        for at in self.client.cluster.partitions.clone() {
            loop {
                let end = self.poll(&at).await;
                if end.is_some_and(|end| end == self.next.get(&at).copied().unwrap_or(0)) {
                    break;
                }
            }
        }
    }

    /// One fetch from the leader; the high watermark, if it was answered.
    async fn poll(&mut self, at: &At) -> Option<i64> {
        let cluster = self.client.cluster.clone();
        let leader = self.client.leader(at).await;
        let offset = *self.next.entry(at.clone()).or_default();
        let asked = FetchPartition::default()
            .with_partition(at.1)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(1 + cluster.below(100_000) as i32);
        let topic =
            FetchTopic::default().with_topic(topic_name(&at.0)).with_partitions(vec![asked]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(100)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_rack_id(text(""))
            .with_topics(vec![topic]);
        let op = cluster.begin(self.process, OpKind::Poll);
        cluster.history.borrow_mut().polled_as(op, Assignment::Assigned, false);
        let answer = self.client.ask(leader, &request).await;
        let Ok(answer) = answer.as_ref().map(|answer| &answer.responses[0].partitions[0]) else {
            cluster.end(op, Outcome::Info);
            self.client.leaders.clear();
            sleep(RETRY_PAUSE).await;
            return None;
        };
        if answer.error_code != 0 {
            cluster.end(op, Outcome::Fail);
            self.refused(at, offset, answer.error_code);
            sleep(RETRY_PAUSE).await;
            return None;
        }
        let records = answer.records.clone().unwrap_or_default();
        self.take(op, at, &records);
        cluster.end(op, Outcome::Ok);
        Some(answer.high_watermark)
    }

    fn refused(&mut self, at: &At, offset: i64, code: i16) {
        let error = ErrorCode::from_code(code);
        self.client.leaders.clear();
        if !error.is_some_and(ErrorCode::is_retriable) || error == Some(ErrorCode::OffsetOutOfRange)
        {
            let what = format!("fetch of {at:?} from {offset} was answered {error:?}");
            self.client.cluster.violations.borrow_mut().push(what);
        }
    }

    fn take(&mut self, op: OpId, at: &At, bytes: &[u8]) {
        let mut history = self.client.cluster.history.borrow_mut();
        let partition = history.partition(&format!("{}-{}", at.0, at.1));
        let next = self.next.entry(at.clone()).or_default();
        for batch in record::batches(bytes) {
            let Ok(batch) = batch else { break };
            let from = *next;
            *next = from.max(batch.header.next_offset());
            let records = Records::new(&batch.header, batch.records_bytes());
            for read in records.clone() {
                let read = read.expect("a record of a whole batch");
                let offset = records.offset_of(&read);
                if offset < from {
                    continue;
                }
                let value = read.value.unwrap_or_default();
                let number = value.first_chunk().map(|n| u64::from_be_bytes(*n));
                match number.filter(|n| payload(*n, VALUE_BYTES) == value) {
                    Some(number) => history.read(op, partition, offset, number),
                    None => history.observe(op, Observation::Corrupt { partition, offset }),
                }
            }
        }
    }
}

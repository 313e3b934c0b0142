//! A run of one seed: its nodes, what its tasks share, and the verdict.

use super::plan::{Client as Kind, Plan};
use super::{
    churn, client, committer, consume, elect, faults, judge, produce, raft_rules, reassign, voters,
};
use crate::scenario::Verdict;
use broker::node::{NodeContext, shard_main};
use checker::{AnomalyKind, HistoryBuilder, OpId, OpKind, Outcome};
use client::Client;
use config::NodeConfig;
use raft_group::ReplicaId;
use runtime::sim::{Crash, NodeHandle, World};
use runtime::task::{Class, Task, spawn};
use runtime::time::{Instant, sleep, timeout};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Shards of a node, at most.
pub(super) const SHARDS_MAX: u64 = 3;
/// After healing, clients must have come to an end in so much virtual time.
const HEALED: Duration = Duration::from_secs(120);

pub type At = (String, i32);

/// How far DeleteRecords was asked to go in a partition, and how far it is known to have gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deletion {
    pub asked: i64,
    pub done: i64,
}

/// Whether the node that votes next loses power at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VoterDoom {
    #[default]
    None,
    Next,
    /// One has.
    Fell,
}

/// What the tasks of one run share.
pub struct Cluster {
    pub world: World,
    pub plan: Plan,
    pub nodes: Vec<NodeHandle>,
    pub(super) lives: RefCell<Vec<Option<Arc<NodeContext>>>>,
    /// How often each node was started.
    pub(super) starts: RefCell<Vec<usize>>,
    /// What producers write to and consumers read.
    pub partitions: RefCell<Vec<At>>,
    /// The last batches of producers that have come to their end.
    pub last_batches: RefCell<Vec<produce::LastBatches>>,
    pub history: RefCell<HistoryBuilder>,
    pub(super) violations: raft_rules::Found,
    pub(super) marks: RefCell<BTreeMap<&'static str, u64>>,
    pub(super) voter_doom: Rc<Cell<VoterDoom>>,
    /// Whoever replaces a tail of its log falls soon afterwards.
    pub(super) tails_fall: Rc<Cell<bool>>,
    /// Topics that must be there, or must not, at the end.
    pub expected: RefCell<BTreeMap<String, bool>>,
    pub deletions: RefCell<BTreeMap<At, Deletion>>,
    /// High watermarks that somebody was told.
    pub ends: RefCell<BTreeMap<At, i64>>,
    /// Bits in segments are flipped right now; and when that last began or ended.
    pub(super) damaged: Cell<bool>,
    pub(super) damage_changed: Cell<u64>,
    /// What a look after healing missed last.
    pub(super) last_missing: RefCell<String>,
    /// No new work is begun.
    pub quiet: Cell<bool>,
    pub(super) next_value: Cell<u64>,
    pub(super) next_process: Cell<u32>,
    pub(super) acknowledged: Cell<u64>,
    pub(super) crashes: Cell<u64>,
}

/// Runs a seed.
pub fn run(seed: u64) -> Verdict {
    let (cluster, elections) = form(seed);
    let finished = {
        let _tell = TellPlan(&cluster);
        cluster.world.run(live(cluster.clone()))
    };
    raft_group::observer::observe(None);
    (0..cluster.nodes.len()).for_each(|index| cluster.check_last_life(index));
    cluster.marks.borrow_mut().insert("a replica was elected", *elections.borrow());
    cluster.verdict(finished)
}

/// The cluster of a seed before anything happens, watched from now on; and how many replicas are elected.
fn form(seed: u64) -> (Rc<Cluster>, Rc<RefCell<u64>>) {
    let world = World::with_seed(seed);
    let plan = Plan::draw(&world);
    world.set_network(plan.network());
    let nodes = (0..plan.nodes).map(|i| world.add_node(&format!("node{i}"), plan.disk()));
    let nodes: Vec<NodeHandle> = nodes.collect();
    let partitions =
        plan.topics.iter().enumerate().flat_map(|(t, topic)| {
            (0..topic.partitions).map(move |index| (format!("t{t}"), index))
        });
    let violations = raft_rules::Found::default();
    let elections = Rc::new(RefCell::new(0));
    let voter_doom = Rc::new(Cell::new(VoterDoom::None));
    let (doom, voters) = (voter_doom.clone(), nodes.clone());
    let vote = move |voter: ReplicaId| {
        if doom.get() == VoterDoom::Next {
            doom.set(VoterDoom::Fell);
            node_of(&voters, voter).power_cut();
        }
    };
    let tails_fall = Rc::new(Cell::new(false));
    let (falls, owners, dice) = (tails_fall.clone(), nodes.clone(), world.clone());
    let replaced = move |replica: ReplicaId| {
        if falls.get() {
            let crash = [Crash::Kill, Crash::PowerCut][dice.random_below(2) as usize];
            let operation = 1 + dice.random_below(8);
            node_of(&owners, replica).crash_at_disk_operation(operation, crash);
        }
    };
    let told = raft_rules::Told { vote: Box::new(vote), replaced: Box::new(replaced) };
    let rules = raft_rules::Rules::new(violations.clone(), elections.clone(), told);
    raft_group::observer::observe(Some(Box::new(rules)));
    let cluster = Rc::new(Cluster {
        nodes,
        lives: RefCell::new(vec![None; plan.nodes]),
        starts: RefCell::new(vec![0; plan.nodes]),
        partitions: RefCell::new(partitions.collect()),
        last_batches: RefCell::default(),
        history: RefCell::default(),
        violations,
        marks: RefCell::default(),
        voter_doom,
        tails_fall,
        expected: RefCell::default(),
        deletions: RefCell::default(),
        ends: RefCell::default(),
        damaged: Cell::default(),
        damage_changed: Cell::default(),
        last_missing: RefCell::default(),
        quiet: Cell::default(),
        next_value: Cell::new(1),
        next_process: Cell::default(),
        acknowledged: Cell::default(),
        crashes: Cell::default(),
        world,
        plan,
    });
    (cluster, elections)
}

/// Ids of nodes count from 1, those of replicas from 2.
fn node_of(nodes: &[NodeHandle], replica: ReplicaId) -> &NodeHandle {
    &nodes[replica.0 as usize - 2]
}

/// Prints the plan of a run that panics.
struct TellPlan<'a>(&'a Cluster);

impl Drop for TellPlan<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", self.0.plan);
        }
    }
}

async fn live(cluster: Rc<Cluster>) -> Result<(), String> {
    (0..cluster.nodes.len()).for_each(|index| cluster.start(index));
    for (t, topic) in cluster.plan.topics.iter().enumerate() {
        Client::new(&cluster).create_topic(&format!("t{t}"), *topic).await?;
    }
    let clients = start_clients(&cluster);
    faults::break_things(&cluster).await;
    sleep(Duration::from_millis(cluster.below(3_000))).await;
    faults::heal(&cluster).await;
    let settled = judge::leaders_are_there(&cluster).await;
    cluster.quiet.set(true);
    settled?;
    let ended = async {
        for client in clients {
            client.await;
        }
    };
    let stuck = || format!("clients did not come to an end in {HEALED:?} after healing");
    timeout(HEALED, ended).await.map_err(|_| stuck())?;
    if cluster.plan.ends_dark {
        cluster.world.power_cut_all();
        faults::heal(&cluster).await;
        judge::leaders_are_there(&cluster).await?;
    }
    judge::everything_is_read(&cluster).await?;
    judge::last_batches_stand(&cluster).await?;
    judge::nothing_is_on_its_way(&cluster).await?;
    judge::others_lead(&cluster).await?;
    judge::nodes_agree(&cluster).await
}

fn start_clients(cluster: &Rc<Cluster>) -> Vec<Task<()>> {
    let mut clients = Vec::new();
    for _ in 0..cluster.plan.producers {
        clients.push(spawn(Class::Latency, produce::produce(cluster.clone())));
    }
    for _ in 0..cluster.plan.consumers {
        clients.push(spawn(Class::Latency, consume::consume(cluster.clone())));
    }
    for kind in &cluster.plan.clients {
        clients.push(match kind {
            Kind::Churn => spawn(Class::Latency, churn::churn(cluster.clone())),
            Kind::Founder => spawn(Class::Latency, churn::found(cluster.clone())),
            Kind::Deleter => spawn(Class::Latency, churn::delete_records(cluster.clone())),
            Kind::Committer => spawn(Class::Latency, committer::commit(cluster.clone())),
            Kind::Reassigner => spawn(Class::Latency, reassign::reassign(cluster.clone())),
            Kind::Elector => spawn(Class::Latency, elect::elect(cluster.clone())),
            Kind::Voters => spawn(Class::Latency, voters::change_voters(cluster.clone())),
        });
    }
    clients
}

impl Cluster {
    pub fn below(&self, bound: u64) -> u64 {
        self.world.random_below(bound)
    }

    pub fn mark(&self, what: &'static str) {
        *self.marks.borrow_mut().entry(what).or_default() += 1;
    }

    pub fn violation(&self, what: String) {
        self.violations.borrow_mut().push(what);
    }

    pub fn with(&self, kind: Kind) -> bool {
        self.plan.clients.contains(&kind)
    }

    /// A partition that is written to.
    pub fn any_partition(&self) -> At {
        let count = self.partitions.borrow().len() as u64;
        let nth = self.below(count) as usize;
        self.partitions.borrow()[nth].clone()
    }

    pub fn process(&self) -> u32 {
        self.next_process.replace(self.next_process.get() + 1)
    }

    pub fn value(&self) -> u64 {
        self.next_value.replace(self.next_value.get() + 1)
    }

    pub fn acknowledged(&self, values: usize) {
        self.acknowledged.set(self.acknowledged.get() + values as u64);
    }

    pub fn now(&self) -> u64 {
        (Instant::now() - Instant::from_nanos(0)).as_nanos() as u64
    }

    pub fn begin(&self, process: u32, kind: OpKind) -> OpId {
        let now = self.now();
        self.history.borrow_mut().invoke(process, kind, now)
    }

    pub fn end(&self, op: OpId, outcome: Outcome) {
        let now = self.now();
        self.history.borrow_mut().complete(op, outcome, now);
    }

    /// Bits in segments are flipped, or set right again.
    pub(super) fn damage(&self, there: bool) {
        self.damaged.set(there);
        self.damage_changed.set(self.now().max(1));
    }

    /// Whether an answer that comes now may be about damaged records.
    pub fn may_be_damaged(&self) -> bool {
        const ANSWER: u64 = 60_000_000_000;
        let changed = self.damage_changed.get();
        self.damaged.get() || (changed > 0 && self.now() < changed + ANSWER)
    }

    /// Starts a node with any number of shards.
    pub(super) fn start(&self, index: usize) {
        let shards = 1 + self.below(SHARDS_MAX) as usize;
        let ips: Vec<_> = self.nodes.iter().map(NodeHandle::ip).collect();
        let text = self.plan.properties(index, &ips, shards);
        let (config, _) = NodeConfig::from_properties(&text).expect("the plan's configuration");
        self.check_last_life(index);
        let context = NodeContext::new(config, shards, |_| ());
        self.lives.borrow_mut()[index] = Some(context.clone());
        self.starts.borrow_mut()[index] += 1;
        self.nodes[index].start(shards, move |shard| shard_main(shard, context.clone()));
    }

    /// A node that ended by itself says why; there is no reason here.
    pub(super) fn check_last_life(&self, index: usize) {
        if let Some(reason) = self.forget_life(index) {
            self.violation(format!("node {index} ended by itself: {reason}"));
        }
    }

    /// Which life of a node this is, or was last.
    pub(super) fn life(&self, index: usize) -> usize {
        self.starts.borrow()[index]
    }

    /// Why the last life ended by itself, if it did; nobody asks again.
    pub(super) fn forget_life(&self, index: usize) -> Option<String> {
        let life = self.lives.borrow_mut()[index].take();
        life.and_then(|life| life.failure.get().cloned())
    }

    pub(super) fn is_ready(&self, index: usize) -> bool {
        self.lives.borrow()[index].as_ref().is_some_and(|life| life.is_ready())
    }

    pub(super) fn verdict(&self, finished: Result<(), String>) -> Verdict {
        let history = self.history.take().finish();
        let mut report = checker::check(&history);
        // A run is short; what was acknowledged at all says the sum of many seeds.
        report.anomalies.retain(|anomaly| anomaly.kind() != AnomalyKind::NeverOk);
        let mut failures = self.violations.take();
        failures.extend(finished.err());
        if !report.is_valid() {
            failures.push(report.describe(&history, 5));
        }
        let failure = format!("{}\n{:?}", failures.join("\n"), self.plan);
        Verdict {
            trace_hash: self.world.trace_hash(),
            virtual_time: self.world.now() - Instant::from_nanos(0),
            crashes: self.crashes.get(),
            acknowledged: self.acknowledged.get(),
            marks: self.marks.take(),
            failure: (!failures.is_empty()).then_some(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::form;
    use runtime::time::{sleep, timeout};
    use std::time::Duration;

    #[test]
    fn a_node_that_waits_for_a_majority_ends_when_it_is_asked_to() {
        for seed in 1..6 {
            let (cluster, _) = form(seed);
            let alone = cluster.clone();
            cluster.world.run(async move {
                alone.start(0);
                sleep(Duration::from_secs(10)).await;
                assert!(alone.nodes[0].is_running() && !alone.is_ready(0), "seed {seed}");
                alone.nodes[0].stop();
                let ended = timeout(Duration::from_secs(10), alone.nodes[0].ended()).await;
                assert!(ended.is_ok(), "seed {seed}");
            });
            assert_eq!(cluster.forget_life(0), None, "seed {seed}");
            raft_group::observer::observe(None);
        }
    }
}

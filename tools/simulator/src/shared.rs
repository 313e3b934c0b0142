//! What the clients of one run share: the history, the counters, the values.

use crate::plan::{Client, Habit, Plan};
use crate::wire::{Connection, Lost};
use broker::node::NodeContext;
use checker::{HistoryBuilder, OpId, OpKind, Outcome};
use protocol::StrBytes;
use protocol::messages::TopicName;
use runtime::sim::{NodeHandle, World};
use runtime::time::sleep;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How far DeleteRecords was asked to go in a partition, and how far it is known to have gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deletion {
    pub asked: i64,
    pub done: i64,
}

pub type Deletions = BTreeMap<(String, i32), Deletion>;

/// One run.
pub struct Run {
    pub world: World,
    pub node: NodeHandle,
    pub address: SocketAddr,
    pub plan: Plan,
    pub history: RefCell<HistoryBuilder>,
    /// The life of the node that began last.
    pub context: RefCell<Option<Arc<NodeContext>>>,
    /// No new work is begun.
    pub quiet: Cell<bool>,
    pub acknowledged: Cell<u64>,
    pub crashes: Cell<u64>,
    /// Things that sometimes happen, and how often they did.
    pub marks: RefCell<BTreeMap<&'static str, u64>>,
    /// What went wrong and is no matter of histories.
    pub violations: RefCell<Vec<String>>,
    /// Topics that must be there, or must not, at the end.
    pub expected: RefCell<BTreeMap<String, bool>>,
    /// Partitions of each topic with history, as far as they are known to be there.
    pub topics: RefCell<Vec<i32>>,
    pub deletions: RefCell<Deletions>,
    /// High watermarks that somebody was told.
    pub ends: RefCell<BTreeMap<(String, i32), i64>>,
    /// Bits in segments are flipped right now; and when that last began or ended.
    pub damaged: Cell<bool>,
    pub damage_changed: Cell<u64>,
    /// Who owns which partition in a generation of the group.
    pub owners: RefCell<BTreeMap<(i32, (String, i32)), String>>,
    next_process: Cell<u32>,
    next_value: Cell<u64>,
}

impl Run {
    pub fn new(world: World, node: NodeHandle, plan: Plan) -> Rc<Run> {
        let address = SocketAddr::new(node.ip(), 9092);
        let topics = plan.topics.clone();
        Rc::new(Run {
            world,
            node,
            address,
            plan,
            history: RefCell::default(),
            context: RefCell::default(),
            quiet: Cell::default(),
            acknowledged: Cell::default(),
            crashes: Cell::default(),
            marks: RefCell::default(),
            violations: RefCell::default(),
            expected: RefCell::default(),
            topics: RefCell::new(topics),
            deletions: RefCell::default(),
            ends: RefCell::default(),
            damaged: Cell::default(),
            damage_changed: Cell::default(),
            owners: RefCell::default(),
            next_process: Cell::default(),
            next_value: Cell::default(),
        })
    }

    pub fn has(&self, habit: Habit) -> bool {
        self.plan.habits.contains(&habit)
    }

    pub fn with(&self, client: Client) -> bool {
        self.plan.clients.contains(&client)
    }

    /// Whether retention may take records of a partition.
    pub fn is_retained(&self, at: &(String, i32)) -> bool {
        self.plan.retention.is_some() && at.0 == "t0"
    }

    /// Whether an answer that comes now may be about damaged records.
    pub fn may_be_damaged(&self) -> bool {
        const ANSWER: u64 = 60_000_000_000;
        let recently =
            self.damage_changed.get() > 0 && self.now() < self.damage_changed.get() + ANSWER;
        self.damaged.get() || recently
    }

    /// Bits in segments are flipped, or set right again.
    pub fn damage(&self, there: bool) {
        self.damaged.set(there);
        self.damage_changed.set(self.now().max(1));
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.world.random_below(bound)
    }

    pub fn mark(&self, what: &'static str) {
        *self.marks.borrow_mut().entry(what).or_default() += 1;
    }

    pub fn violation(&self, what: String) {
        self.violations.borrow_mut().push(what);
    }

    pub fn process(&self) -> u32 {
        self.next_process.replace(self.next_process.get() + 1)
    }

    pub fn value(&self) -> u64 {
        self.next_value.replace(self.next_value.get() + 1)
    }

    pub fn now(&self) -> u64 {
        (runtime::time::Instant::now() - START).as_nanos() as u64
    }

    pub fn begin(&self, process: u32, kind: OpKind) -> OpId {
        let now = self.now();
        self.history.borrow_mut().invoke(process, kind, now)
    }

    pub fn end(&self, op: OpId, outcome: Outcome) {
        let now = self.now();
        self.history.borrow_mut().complete(op, outcome, now);
    }

    pub async fn connect(&self) -> Connection {
        loop {
            match Connection::open(self.address).await {
                Ok(connection) => return connection,
                Err(Lost) => sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// All partitions with history, by topic name and index.
    pub fn partitions(&self) -> Vec<(String, i32)> {
        let topics = self.topics.borrow();
        let named = topics.iter().enumerate();
        let named = named.flat_map(|(t, count)| (0..*count).map(move |i| (format!("t{t}"), i)));
        named.collect()
    }
}

const START: runtime::time::Instant = runtime::time::Instant::from_nanos(0);

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// The bytes of a record that stands for `value`: the number, then as many bytes as the number says.
pub fn payload(value: u64, bytes_max: u64) -> Vec<u8> {
    let filler = value.wrapping_mul(0x9E37_79B9_7F4A_7C15) % bytes_max;
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.extend((0..filler).map(|at| (value ^ at.wrapping_mul(31)) as u8));
    bytes
}

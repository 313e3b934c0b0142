//! Histories and how they are made.
//!
//! Operations lie in the order in which they ended; sends and reads of all of them lie in two
//! arrays that operations point into, so that ten million of them fit in memory. Times are
//! nanoseconds on one clock.

use hashbrown::HashMap;

/// A partition of a topic, numbered by the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u32);

/// An operation that has begun. Ids are given out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It may have happened.
    Info,
    /// It did not happen and never will.
    Fail,
}

/// What an operation was, for the question whether any of its kind ever succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpKind {
    Send,
    Poll,
    Transaction,
    Assign,
    Commit,
    FetchCommitted,
    Observe,
}

/// How a consumer got its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Assignment {
    /// By itself: it may neither skip nor go back between polls.
    #[default]
    Assigned,
    /// By a consumer group: after a rebalance it may.
    Subscribed,
}

/// One value sent. A value is sent to a partition once in a history, retries inside a client aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send {
    pub partition: PartitionId,
    pub value: u64,
    /// From the acknowledgement.
    pub offset: Option<i64>,
}

/// One value read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub partition: PartitionId,
    pub offset: i64,
    pub value: u64,
}

/// What a client was told about a partition or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    HighWatermark {
        partition: PartitionId,
        offset: i64,
    },
    LastStableOffset {
        partition: PartitionId,
        offset: i64,
    },
    /// Also says that what lies before may be gone (retention, DeleteRecords).
    LogStart {
        partition: PartitionId,
        offset: i64,
    },
    LeaderEpoch {
        partition: PartitionId,
        epoch: i32,
    },
    Committed {
        group: u32,
        generation: i32,
        partition: PartitionId,
        offset: i64,
    },
    /// -1 if none was told.
    FetchedCommit {
        group: u32,
        generation: i32,
        partition: PartitionId,
        offset: i64,
    },
    /// The new assignment of the process; with `from_start`, positions were reset.
    Assigned {
        partition: Option<PartitionId>,
        from_start: bool,
    },
    /// A record whose bytes were not those that were sent (checksum, timestamp, length).
    Corrupt {
        partition: PartitionId,
        offset: i64,
    },
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub id: OpId,
    pub process: u32,
    pub kind: OpKind,
    pub outcome: Outcome,
    pub assignment: Assignment,
    /// Its group rebalanced while it ran.
    pub rebalanced: bool,
    pub invoked: u64,
    pub completed: u64,
    sends: (u32, u32),
    reads: (u32, u32),
    observations: (u32, u32),
}

/// A finished history.
#[derive(Debug, Default)]
pub struct History {
    pub(crate) ops: Vec<Op>,
    sends: Vec<Send>,
    reads: Vec<Read>,
    observations: Vec<Observation>,
    partitions: Vec<String>,
    groups: Vec<String>,
    pub(crate) read_to_the_end: bool,
    /// Who read everything last.
    pub(crate) last_reader: Option<u32>,
}

fn slice<T>(all: &[T], (from, to): (u32, u32)) -> &[T] {
    &all[from as usize..to as usize]
}

impl History {
    pub fn builder() -> HistoryBuilder {
        HistoryBuilder::default()
    }

    /// In the order in which they ended.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub fn sends(&self, op: &Op) -> &[Send] {
        slice(&self.sends, op.sends)
    }

    pub fn reads(&self, op: &Op) -> &[Read] {
        slice(&self.reads, op.reads)
    }

    pub fn observations(&self, op: &Op) -> &[Observation] {
        slice(&self.observations, op.observations)
    }

    /// The name given to the builder.
    pub fn partition_name(&self, id: PartitionId) -> &str {
        &self.partitions[id.0 as usize]
    }

    pub fn group_name(&self, id: u32) -> &str {
        &self.groups[id as usize]
    }

    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }
}

/// An operation that has not ended.
#[derive(Debug)]
struct Open {
    process: u32,
    kind: OpKind,
    assignment: Assignment,
    rebalanced: bool,
    invoked: u64,
    sends: Vec<Send>,
    reads: Vec<Read>,
    observations: Vec<Observation>,
}

/// Collects a history while it happens.
///
/// An operation begins with [`Self::invoke`], gets its parts, and ends with [`Self::complete`]. What
/// has not ended when the history is finished counts as `info`.
#[derive(Debug, Default)]
pub struct HistoryBuilder {
    history: History,
    open: HashMap<OpId, Open>,
    next: u64,
    partition_ids: HashMap<String, PartitionId>,
    group_ids: HashMap<String, u32>,
}

impl HistoryBuilder {
    /// The number of a partition, by any name that is its own (`topic-0`).
    pub fn partition(&mut self, name: &str) -> PartitionId {
        if let Some(id) = self.partition_ids.get(name) {
            return *id;
        }
        let id = PartitionId(self.history.partitions.len() as u32);
        self.history.partitions.push(name.to_owned());
        self.partition_ids.insert(name.to_owned(), id);
        id
    }

    /// The number of a consumer group.
    pub fn group(&mut self, name: &str) -> u32 {
        if let Some(id) = self.group_ids.get(name) {
            return *id;
        }
        let id = self.history.groups.len() as u32;
        self.history.groups.push(name.to_owned());
        self.group_ids.insert(name.to_owned(), id);
        id
    }

    /// Begins an operation. A process is one client: one that crashed comes back under another
    /// number.
    pub fn invoke(&mut self, process: u32, kind: OpKind, time: u64) -> OpId {
        let id = OpId(self.next);
        self.next += 1;
        let open = Open {
            process,
            kind,
            assignment: Assignment::default(),
            rebalanced: false,
            invoked: time,
            sends: Vec::new(),
            reads: Vec::new(),
            observations: Vec::new(),
        };
        self.open.insert(id, open);
        id
    }

    fn with(&mut self, op: OpId, f: impl FnOnce(&mut Open)) {
        f(self.open.get_mut(&op).expect("the operation has begun and has not ended"));
    }

    /// Notes a value before it is sent.
    pub fn send(&mut self, op: OpId, partition: PartitionId, value: u64) {
        self.with(op, |o| o.sends.push(Send { partition, value, offset: None }));
    }

    /// Notes the acknowledged offset of a value noted before.
    pub fn acknowledged(&mut self, op: OpId, partition: PartitionId, value: u64, offset: i64) {
        self.with(op, |o| {
            let sent = o.sends.iter_mut().find(|s| s.partition == partition && s.value == value);
            sent.expect("the value was sent by this operation").offset = Some(offset);
        });
    }

    /// Notes a value that a poll returned, in the order of the poll.
    pub fn read(&mut self, op: OpId, partition: PartitionId, offset: i64, value: u64) {
        self.with(op, |o| o.reads.push(Read { partition, offset, value }));
    }

    /// Says how the polling consumer got its partitions, and whether it lost or won some meanwhile.
    pub fn polled_as(&mut self, op: OpId, assignment: Assignment, rebalanced: bool) {
        self.with(op, |o| (o.assignment, o.rebalanced) = (assignment, rebalanced));
    }

    pub fn observe(&mut self, op: OpId, observation: Observation) {
        self.with(op, |o| o.observations.push(observation));
    }

    /// Ends an operation.
    ///
    /// Panics if it has ended already.
    pub fn complete(&mut self, op: OpId, outcome: Outcome, time: u64) {
        let open = self.open.remove(&op).expect("the operation has begun and has not ended");
        let h = &mut self.history;
        let range = |from: usize, to: usize| (from as u32, to as u32);
        let (s, r, o) = (h.sends.len(), h.reads.len(), h.observations.len());
        h.sends.extend(open.sends);
        h.reads.extend(open.reads);
        h.observations.extend(open.observations);
        h.ops.push(Op {
            id: op,
            process: open.process,
            kind: open.kind,
            outcome,
            assignment: open.assignment,
            rebalanced: open.rebalanced,
            invoked: open.invoked,
            completed: time,
            sends: range(s, h.sends.len()),
            reads: range(r, h.reads.len()),
            observations: range(o, h.observations.len()),
        });
    }

    /// Ends a send with acks=0: nobody will ever know.
    pub fn unacked(&mut self, op: OpId, time: u64) {
        self.complete(op, Outcome::Info, time);
    }

    /// Says that at the end, after healing, every partition was polled from its start to its end:
    /// what was acknowledged and not seen by then is an anomaly.
    pub fn read_to_the_end(&mut self) {
        self.history.read_to_the_end = true;
    }

    /// As [`HistoryBuilder::read_to_the_end`], and all of it was read by this process: what anybody
    /// saw before must be there, too.
    pub fn read_to_the_end_by(&mut self, process: u32) {
        self.read_to_the_end();
        self.history.last_reader = Some(process);
    }

    /// The history; what is open counts as `info`, ended at `u64::MAX`.
    pub fn finish(mut self) -> History {
        let mut open: Vec<OpId> = self.open.keys().copied().collect();
        open.sort_unstable();
        for op in open {
            self.complete(op, Outcome::Info, u64::MAX);
        }
        self.history
    }
}

//! Appending batches to the partitions of this shard: validate, give offsets, copy into the open window, wait.
//!
//! Lives on: the shard that owns the partitions. Everything up to the copy is synchronous. The payload is copied exactly
//! once, into the WAL frame of the Raft group's open window; base offset and leader epoch are stamped there.
//!
//! Order: requests that share a partition get their places in the order in which they came, clients' and coordinators'
//! alike. A batch for which there is no room takes the turn of its partition and waits; who comes later queues behind it,
//! on that partition only. So a client that fills windows delays nobody whose batch still fits.
//!
//! When [`Shard::append`] returns, everything it reports as appended is durable as the topic asks (`disk`: synced;
//! `memory`: in the memory of a majority), and with `acks=all` on `min.insync.replicas` voters. Cost: no allocation per
//! batch beyond the waiter.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use config::{Durability, TopicConfig};
use futures_util::future::join_all;
use raft_group::{ProposeError, RaftIndex, WindowFull};
use record::{BatchRefusal, Validated};
use runtime::mutant;
use runtime::time::Instant;

use super::append_rules::is_judged_by_the_log;
use super::copies::Copies;
use super::partitions::raft_durability;
use super::{Partition, Shard};
use crate::entry::{self, ItemKind};
use crate::ids::{PartitionId, RaftGroupId};
use crate::partition::{
    AppendOutcome, MissingBatch, PartitionState, ProduceJoin, ProduceTicket, SequenceError,
};

/// One batch for one partition.
#[derive(Clone, Debug)]
pub struct AppendPart {
    /// The caller's number for it.
    pub slot: u32,
    /// Where to.
    pub partition: PartitionId,
    /// Exactly one record batch as sent.
    pub records: Bytes,
    /// An earlier batch of its producer that was refused on the way here.
    pub missing: Option<MissingBatch>,
}

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request of this version.
    Client {
        /// Decides about zstd.
        api_version: i16,
        /// The client waits for all replicas that are in sync (`acks=all`).
        all: bool,
    },
    /// A coordinator of this node; the batch is trusted.
    Coordinator,
}

/// A batch that stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; the original one if it was repeated.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Broker time for LogAppendTime topics and repeated batches, else -1.
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start_offset: i64,
    /// Losses of leadership before it.
    tenure: u64,
    /// What its acknowledgement waits for if that is not the commit: group, copies, index of the entry.
    copies: Option<(RaftGroupId, Copies, u64)>,
}

/// Why a batch is not in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The partition is not (or no longer) on this shard.
    #[error("the partition does not exist here")]
    UnknownPartition,
    /// No leader here right now.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// Fewer replicas are in sync than the topic asks for (`min.insync.replicas`).
    #[error("fewer replicas are in sync than min.insync.replicas")]
    NotEnoughReplicas,
    /// It is committed, but fewer replicas got it in time than the topic asks for.
    #[error("fewer replicas than min.insync.replicas got the batch in time")]
    NotEnoughReplicasAfterAppend,
    /// The disk is nearly full; retriable.
    #[error("the data directory's file system is nearly full")]
    DiskFull,
    /// The bytes are not acceptable.
    #[error(transparent)]
    Batch(#[from] BatchRefusal),
    /// Idempotence.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// Larger than a segment of the topic (`segment.bytes`) or an entry of the WAL can be.
    #[error("a batch of {bytes} bytes does not fit into a segment or an entry")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not committed within the request's timeout; it may be later.
    #[error("the batch was not committed in time")]
    TimedOut,
    /// An earlier batch of its producer was refused and has not come again.
    #[error("an earlier batch of the producer was refused and has to come first")]
    TooEarly,
    /// The shard no longer accepts anything.
    #[error("the node is stopping")]
    Stopping,
}

/// A batch that is not in the log, with what the answer tells of the log.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub error: AppendError,
    /// First offset of the log where Kafka tells it: when the log itself judged the batch. Else -1.
    pub log_start_offset: i64,
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Refused {
        Refused { error, log_start_offset: -1 }
    }
}

/// Answer for one part, with its slot.
pub type AppendAnswer = (u32, Result<Appended, Refused>);

enum Attempt {
    Done(Appended),
    NoRoom,
}

/// One request on its way in.
struct Request<'a> {
    origin: Origin,
    now_ms: i64,
    join: &'a Rc<ProduceJoin>,
}

impl Shard {
    /// Appends all parts and, if there is `patience`, waits that long until they are committed. Answers in the order of
    /// the parts.
    pub async fn append(
        self: &Rc<Self>,
        parts: Vec<AppendPart>,
        origin: Origin,
        patience: Option<Duration>,
    ) -> Vec<AppendAnswer> {
        let join = ProduceJoin::new();
        let request = Request { origin, now_ms: self.clock_ms(), join: &join };
        let mut answers = Vec::with_capacity(parts.len());
        let mut waiting = Vec::new();
        for part in &parts {
            let answer = self.append_now(part, &request).unwrap_or_else(|| {
                waiting.push(answers.len());
                Err(AppendError::TimedOut.into()) // replaced below
            });
            answers.push((part.slot, answer));
        }
        if !waiting.is_empty() {
            // polled in order: each takes its place in the queue of its partition before anybody else runs
            let late = waiting.iter().map(|at| self.append_in_turn(&parts[*at], &request));
            for (at, answer) in waiting.iter().zip(join_all(late).await) {
                answers[*at].1 = answer;
            }
        }
        self.bound_producers();
        if let Some(patience) = patience.filter(|_| !answers_early(origin))
            && join.is_open()
        {
            self.patience.watch(&join, patience);
            if !join.done().await {
                self.copies.borrow_mut().forget_expired();
            }
            self.check_acknowledged(&parts, &mut answers);
        }
        answers
    }

    /// Appends a part if nobody waits before it on its partition and there is room.
    fn append_now(
        self: &Rc<Self>,
        part: &AppendPart,
        request: &Request<'_>,
    ) -> Option<Result<Appended, Refused>> {
        let partition = self.partition(part.partition);
        if let Some(partition) = &partition
            && (self.waits_for_destage() || partition.append_turn.try_acquire(1).is_none())
        {
            return None;
        }
        match self.try_append(partition, part, request) {
            Ok(Attempt::Done(appended)) => Some(Ok(appended)),
            Ok(Attempt::NoRoom) => None,
            Err(e) => Some(Err(self.refused(part, e))),
        }
    }

    /// Appends a part when it is its turn and there is room.
    async fn append_in_turn(
        self: &Rc<Self>,
        part: &AppendPart,
        request: &Request<'_>,
    ) -> Result<Appended, Refused> {
        let turn = self.partition(part.partition).map(|partition| partition.append_turn.clone());
        let _turn = match &turn {
            Some(turn) => Some(turn.acquire(1).await),
            None => None,
        };
        loop {
            while self.waits_for_destage() {
                self.room().await;
            }
            let partition = self.partition(part.partition);
            // before the batch is judged once more
            if partition.as_ref().is_some_and(|partition| self.lacks_room(partition, part)) {
                self.raft.window_closed().await;
                continue;
            }
            match self.try_append(partition, part, request) {
                Ok(Attempt::Done(appended)) => return Ok(appended),
                Ok(Attempt::NoRoom) => self.raft.window_closed().await,
                Err(e) => return Err(self.refused(part, e)),
            }
        }
    }

    fn waits_for_destage(&self) -> bool {
        self.is_backlogged() && !self.disk_full.get()
    }

    /// Whether the window has no room for a batch of this size now, but will have.
    fn lacks_room(&self, partition: &Partition, part: &AppendPart) -> bool {
        let (group, durability) = {
            let state = partition.state.borrow();
            (state.group, raft_durability(&state.config))
        };
        match self.raft.open_window(group, durability) {
            Ok(window) => {
                let room = window.check_room(entry::ITEM_HEADER_BYTES + part.records.len());
                matches!(room, Err(WindowFull::Later { .. }))
            }
            Err(error) => matches!(error, ProposeError::Backlog { .. }),
        }
    }

    /// What is not acknowledged after the wait was cut short by the request's timeout, by the end of the partition or of
    /// this node's leadership.
    fn check_acknowledged(&self, parts: &[AppendPart], answers: &mut [AppendAnswer]) {
        for (part, (_, answer)) in parts.iter().zip(answers) {
            let Ok(appended) = answer else { continue };
            let error = match self.partition(part.partition) {
                None => Some(AppendError::UnknownPartition),
                Some(p) => self.missing(&p.state.borrow(), appended),
            };
            if let Some(error) = error {
                *answer = Err(error.into());
            }
        }
    }

    /// What a batch lacks to be acknowledged.
    fn missing(&self, state: &PartitionState, appended: &Appended) -> Option<AppendError> {
        let committed = state.has_committed(appended.tenure, appended.last_offset);
        let leads = state.tenure() == appended.tenure;
        let has = |(group, copies, index)| leads && self.copies.borrow().has(group, copies, index);
        let asks_for_more = matches!(appended.copies, Some((_, Copies::Durable(_), _)));
        match appended.copies.is_some_and(has) {
            true if committed || !asks_for_more => None,
            false if committed && !asks_for_more => None,
            _ if !leads => Some(AppendError::NotLeader),
            false if committed => Some(AppendError::NotEnoughReplicasAfterAppend),
            _ => Some(AppendError::TimedOut),
        }
    }

    fn refused(self: &Rc<Self>, part: &AppendPart, error: AppendError) -> Refused {
        if will_come_again(&error) {
            self.note_refused(part);
        }
        let by_the_log = match &error {
            AppendError::Sequence(_) => true,
            AppendError::Batch(refusal) => is_judged_by_the_log(refusal),
            _ => false,
        };
        let partition = self.partition(part.partition).filter(|_| by_the_log);
        let log_start_offset = partition.map_or(-1, |p| p.state.borrow().log_start_offset());
        Refused { error, log_start_offset }
    }

    fn try_append(
        &self,
        partition: Option<Rc<Partition>>,
        part: &AppendPart,
        request: &Request<'_>,
    ) -> Result<Attempt, AppendError> {
        let origin = request.origin;
        if let Some(missing) = part.missing {
            self.refused.borrow_mut().note(part.partition, missing, Instant::now());
        }
        let partition = partition.ok_or_else(|| match self.is_elsewhere(part.partition) {
            true => AppendError::NotLeader,
            false => AppendError::UnknownPartition,
        })?;
        if !partition.state.borrow().takes_batches() {
            return Err(AppendError::NotLeader);
        }
        if self.disk_full.get() && origin != Origin::Coordinator {
            return Err(AppendError::DiskFull);
        }
        let config = partition.state.borrow().config.clone();
        let all = matches!(origin, Origin::Client { all: true, .. });
        let copies = self.copies_wanted(partition.state.borrow().group, &config, all)?;
        let validated = self.validate(&part.records, &config, origin, request.now_ms)?;
        let bytes = validated.bytes(&part.records).len();
        if bytes as u64 > config.segment_bytes {
            return Err(AppendError::TooLarge { bytes });
        }
        self.place(&partition, &config, &part.records, &validated, copies, request)
    }

    /// What the acknowledgement of a batch waits for if not for the commit; an error if `min.insync.replicas` cannot be
    /// had now. A group of one replica is always in sync, and so costs no look.
    fn copies_wanted(
        &self,
        group: RaftGroupId,
        config: &TopicConfig,
        all: bool,
    ) -> Result<Option<Copies>, AppendError> {
        let memory = config.durability == Durability::Memory;
        let least = if all { usize::try_from(config.min_insync_replicas).unwrap_or(1) } else { 1 };
        if self.cluster().is_none() || (least <= 1 && !memory) {
            return Ok(None);
        }
        let image = self.image();
        let Some(view) = image.groups.get(&group) else { return Ok(None) };
        let least = view.voters.len().min(least);
        let in_sync = || view.in_sync().iter().filter(|node| image.is_live(**node)).count();
        if least > 1 && in_sync() < least {
            return Err(AppendError::NotEnoughReplicas);
        }
        let majority = view.voters.len() / 2 + 1;
        Ok(match memory {
            _ if least > majority => Some(Copies::Durable(least)),
            true if view.voters.len() > 1 => Some(Copies::Held),
            _ => None,
        })
    }

    fn place(
        &self,
        partition: &Rc<Partition>,
        config: &TopicConfig,
        sent: &Bytes,
        validated: &Validated,
        copies: Option<Copies>,
        request: &Request<'_>,
    ) -> Result<Attempt, AppendError> {
        let memory = config.durability == Durability::Memory;
        let mut state = partition.state.borrow_mut();
        let stored = validated.bytes(sent);
        if !self.bind_metadata(partition, state.group)? {
            return Ok(Attempt::NoRoom);
        }
        let mut window = match self.raft.open_window(state.group, raft_durability(config)) {
            Ok(window) => window,
            Err(ProposeError::Backlog { .. }) => return Ok(Attempt::NoRoom),
            Err(ProposeError::Stopped) => return Err(AppendError::Stopping),
            Err(_) => return Err(AppendError::NotLeader),
        };
        match window.check_room(entry::ITEM_HEADER_BYTES + stored.len()) {
            Ok(()) => {}
            Err(WindowFull::Later { .. }) => return Ok(Attempt::NoRoom),
            Err(WindowFull::Never { bytes, .. }) => return Err(AppendError::TooLarge { bytes }),
        }
        let batch = &validated.header;
        if self.refused.borrow_mut().hold_back(partition.id, batch) && !state.continues(batch) {
            return Err(AppendError::TooEarly);
        }
        let known = state.producers.len();
        let outcome = state.propose(batch, request.now_ms)?;
        self.refused.borrow_mut().took(partition.id, batch);
        if state.producers.len() > known {
            self.producer_added();
        }
        if let AppendOutcome::Appended { base_offset, .. } = outcome {
            let header = entry::item_header(ItemKind::Batch, memory, partition.id, stored.len());
            let at = window.append_all(&[&header, stored]).expect("room was checked");
            let copy = window.bytes_mut(at.start + header.len()..at.end);
            validated.patch(copy);
            record::stamp(copy, base_offset, state.leader_epoch);
        }
        // An older batch that is repeated stands in the log already, or in this window.
        let index = match window.is_empty() {
            true => window.ticket().index.0 - 1,
            false => window.ticket().index.0,
        };
        drop(window);
        let copies = copies.map(|copies| (state.group, copies, index));
        let log_start_offset = state.log_start_offset();
        let (base_offset, last_offset, log_append_time_ms) = match outcome {
            AppendOutcome::Appended { base_offset, last_offset } => {
                self.metrics.produce_batches.add(1);
                self.metrics.produce_bytes.add(stored.len() as u64);
                (base_offset, last_offset, validated.log_append_time_ms())
            }
            AppendOutcome::Duplicate(b) => {
                self.metrics.produce_duplicates.add(1);
                (b.base_offset, b.last_offset, b.timestamp)
            }
        };
        let committed = last_offset < state.high_watermark();
        if !committed && !matches!(copies, Some((_, Copies::Held, _))) {
            state.waiters.wait_commit(last_offset, ProduceTicket::take(request.join));
        }
        if let Some((group, copies, index)) = copies
            && !(committed && copies == Copies::Held)
        {
            self.wait_copies(group, copies, index, request.join);
        }
        Ok(Attempt::Done(Appended {
            base_offset,
            last_offset,
            log_append_time_ms,
            log_start_offset,
            tenure: state.tenure(),
            copies,
        }))
    }

    fn wait_copies(&self, group: RaftGroupId, copies: Copies, index: u64, join: &Rc<ProduceJoin>) {
        let ticket = || ProduceTicket::take(join);
        let waits = self.copies.borrow_mut().wait(group, copies, index, ticket);
        if let (true, Copies::Durable(voters)) = (waits, copies) {
            self.raft.want_copies(group, RaftIndex(index), voters);
        }
    }
}

/// Whether the client sends the batch again, and the log does not have it.
fn will_come_again(error: &AppendError) -> bool {
    match error {
        AppendError::UnknownPartition
        | AppendError::NotLeader
        | AppendError::NotEnoughReplicas
        | AppendError::DiskFull => true,
        // the one before it is noted
        AppendError::TooEarly
        | AppendError::NotEnoughReplicasAfterAppend
        | AppendError::Batch(_)
        | AppendError::Sequence(_)
        | AppendError::TooLarge { .. }
        | AppendError::TimedOut
        | AppendError::Stopping => false,
    }
}

/// A mutant of what clients are told; see [`mutant`].
fn answers_early(origin: Origin) -> bool {
    origin != Origin::Coordinator && mutant::is("acknowledged-before-durable")
}

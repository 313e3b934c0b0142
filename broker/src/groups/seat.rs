//! The seat of one coordinator: its state machine, the requests that wait for it, and its way into the log.
//!
//! Lives on: the shard that owns the partition; in the shard's [`super::Groups`]. All changes are synchronous; one task
//! at a time writes what the coordinator wants appended.
//!
//! Ordering: records reach the partition in the order of their tickets. One batch is on its way at a time and carries
//! everything that was queued when it set out: group commit, as in the WAL beneath. If a batch fails, what is queued
//! behind it fails with it, as the coordinator's contract asks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coordinator::{
    Append, AppendFailure, Clock, Effects, Event, GroupCoordinator, GroupError, Request,
    RequestToken, Response, Ticket,
};
use record::BatchBuilder;
use runtime::collections::HashMap;
use runtime::mutant;
use runtime::sync::{Notify, oneshot};
use runtime::task::{self, Class};
use runtime::time::Instant;

use super::commit_patience::CommitPatience;
use crate::ids::PartitionId;
use crate::shard::{AppendError, AppendPart, Origin, Refused, Shard};

/// Appends are gathered into one batch up to this size; a larger one goes alone.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// A record is either durable or the node has failed: giving up in between would leave the
/// coordinator's memory and its log apart.
const UNTIL_DURABLE: Duration = Duration::from_secs(u32::MAX as u64);
/// A request that comes while the coordinator loads waits this long, which nearly always is long enough, before the
/// client is told to try again.
const LOAD_PATIENCE: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Seat {
    pub(super) partition: PartitionId,
    /// Of the leadership that it belongs to: another one begins with another seat, loaded anew.
    pub(super) leader_epoch: i32,
    state: RefCell<State>,
    waiting: RefCell<HashMap<RequestToken, oneshot::Sender<Response>>>,
    next_token: Cell<u64>,
    /// For the requests that wait for the log alone.
    patience: RefCell<CommitPatience>,
    queue: RefCell<VecDeque<Append>>,
    writing: Cell<bool>,
    /// The state has changed, or the writer has nothing left to write.
    turned: Notify,
}

enum State {
    /// Reading the partition; topics deleted meanwhile are remembered.
    Loading(Vec<Arc<str>>),
    Ready(GroupCoordinator),
    /// The partition is gone from this shard.
    Closed,
}

/// Now, for a coordinator.
pub(super) fn clock() -> Clock {
    let monotonic_ms = (Instant::now().as_nanos() / 1_000_000) as i64;
    Clock { monotonic_ms, wall_ms: runtime::time::wall_clock_ms() }
}

impl Seat {
    pub(super) fn new(partition: PartitionId, leader_epoch: i32) -> Rc<Seat> {
        Rc::new(Seat {
            partition,
            leader_epoch,
            state: RefCell::new(State::Loading(Vec::new())),
            waiting: RefCell::default(),
            next_token: Cell::new(0),
            patience: RefCell::default(),
            queue: RefCell::default(),
            writing: Cell::new(false),
            turned: Notify::new(),
        })
    }

    /// Asks the coordinator and waits for its answer, which may take as long as a rebalance.
    pub(super) async fn ask(
        self: Rc<Self>,
        shard: Rc<Shard>,
        request: Request,
    ) -> Result<Response, GroupError> {
        if self.is_loading() {
            let _ = runtime::time::timeout(LOAD_PATIENCE, self.turned.notified()).await;
        }
        match &*self.state.borrow() {
            State::Loading(_) => return Err(GroupError::CoordinatorLoadInProgress),
            State::Closed => return Err(GroupError::NotCoordinator),
            State::Ready(_) => {}
        }
        let token = RequestToken(self.next_token.replace(self.next_token.get() + 1));
        let (tx, rx) = oneshot::channel();
        self.waiting.borrow_mut().insert(token, tx);
        let waits_for_log = waits_for_log(&request);
        self.handle(&shard, Event::Request(token, request));
        if waits_for_log {
            self.give_up_later(&shard, token);
        }
        rx.await.map_err(|_| match self.is_closed() {
            true => GroupError::NotCoordinator,
            false => GroupError::CoordinatorNotAvailable,
        })
    }

    /// `offsets.commit.timeout.ms`: a request that only waits to be committed is then told to try again; what it wants may
    /// be committed later.
    fn give_up_later(&self, shard: &Rc<Shard>, token: RequestToken) {
        if !self.waiting.borrow().contains_key(&token) {
            return;
        }
        let timeout_ms = shard.node.config.offsets_commit_timeout.as_millis();
        let timeout_ms = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
        let at = clock().monotonic_ms.saturating_add(timeout_ms);
        self.forget_answered();
        self.patience.borrow_mut().push(at, token);
        shard.groups.deadline_is(Some(at));
    }

    fn forget_answered(&self) {
        let waiting = self.waiting.borrow();
        self.patience.borrow_mut().forget(|token| waiting.contains_key(token));
    }

    /// Time has passed: gives up what waits for the log for too long, and tells the coordinator if it has something due.
    pub(super) fn tick(self: &Rc<Self>, shard: &Rc<Shard>, now_ms: i64) {
        self.forget_answered();
        while let Some(token) = self.patience.borrow_mut().pop_due(now_ms) {
            // whoever waits finds that nobody will answer
            self.waiting.borrow_mut().remove(&token);
        }
        if self.coordinator_deadline().is_some_and(|at| at <= now_ms) {
            self.handle(shard, Event::Tick);
        }
    }

    /// Hands an event to the coordinator, if it is loaded, and carries out what follows.
    pub(super) fn handle(self: &Rc<Self>, shard: &Rc<Shard>, event: Event) {
        let (effects, deadline) = match &mut *self.state.borrow_mut() {
            State::Ready(coordinator) => {
                let effects = coordinator.handle(event, clock());
                (effects, coordinator.next_deadline())
            }
            State::Loading(deleted) => {
                if let Event::TopicsDeleted(topics) = event {
                    deleted.extend(topics);
                }
                return;
            }
            State::Closed => return,
        };
        self.perform(shard, effects);
        shard.groups.deadline_is(deadline);
    }

    /// The loaded coordinator takes its seat.
    pub(super) fn open(self: &Rc<Self>, shard: &Rc<Shard>, mut coordinator: GroupCoordinator) {
        let deleted = match &mut *self.state.borrow_mut() {
            State::Loading(deleted) => std::mem::take(deleted),
            State::Ready(_) | State::Closed => return,
        };
        let effects = coordinator.finish_load(clock());
        self.state.replace(State::Ready(coordinator));
        self.turned.notify_waiters();
        self.perform(shard, effects);
        self.handle(shard, Event::TopicsDeleted(deleted));
    }

    /// Sends everybody who waits elsewhere.
    pub(super) fn close(&self) {
        if let State::Ready(coordinator) = self.state.replace(State::Closed) {
            self.answer(coordinator.unload());
        }
        self.queue.borrow_mut().clear();
        self.waiting.borrow_mut().clear();
        self.turned.notify_waiters();
    }

    /// Answers what is on its way to the log, then closes: for the end of the node.
    pub(super) async fn retire(self: Rc<Self>) {
        while self.writing.get() {
            self.turned.notified().await;
        }
        self.close();
    }

    fn is_loading(&self) -> bool {
        matches!(&*self.state.borrow(), State::Loading(_))
    }

    fn is_closed(&self) -> bool {
        matches!(&*self.state.borrow(), State::Closed)
    }

    pub(super) fn next_deadline(&self) -> Option<i64> {
        let patience = self.patience.borrow().next();
        [patience, self.coordinator_deadline()].into_iter().flatten().min()
    }

    fn coordinator_deadline(&self) -> Option<i64> {
        match &*self.state.borrow() {
            State::Ready(coordinator) => coordinator.next_deadline(),
            State::Loading(_) | State::Closed => None,
        }
    }

    pub(super) fn groups(&self) -> usize {
        match &*self.state.borrow() {
            State::Ready(coordinator) => coordinator.groups(),
            State::Loading(_) | State::Closed => 0,
        }
    }

    fn perform(self: &Rc<Self>, shard: &Rc<Shard>, mut effects: Effects) {
        let appends = std::mem::take(&mut effects.appends);
        self.answer(effects);
        if appends.is_empty() {
            return;
        }
        self.queue.borrow_mut().extend(appends);
        if !self.writing.replace(true) {
            let write = self.clone().write(shard.clone());
            task::spawn(Class::Latency, write).detach();
        }
    }

    fn answer(&self, effects: Effects) {
        let mut waiting = self.waiting.borrow_mut();
        for (token, response) in effects.responses {
            if let Some(tx) = waiting.remove(&token) {
                let _ = tx.send(response);
            }
        }
    }

    /// Writes until nothing is queued.
    async fn write(self: Rc<Self>, shard: Rc<Shard>) {
        while let Some((first, last, records)) = self.next_batch() {
            let part = AppendPart { slot: 0, partition: self.partition, records, missing: None };
            let wait = Some(UNTIL_DURABLE).filter(|_| !mutant::is("commit-before-durable"));
            let appended = shard.append(vec![part], Origin::Coordinator, wait);
            let answers = appended.await;
            match answers.into_iter().next() {
                Some((_, Ok(_))) => self.handle(&shard, Event::Appended(last)),
                Some((_, Err(Refused { error, .. }))) => {
                    tracing::warn!(partition = ?self.partition, %error, "a coordinator cannot write");
                    self.queue.borrow_mut().clear();
                    self.handle(&shard, Event::AppendFailed(first, as_failure(&error)));
                }
                None => break,
            }
        }
        self.writing.set(false);
        self.turned.notify_waiters();
    }

    /// The queued appends as one batch, with the first and the last ticket in it.
    fn next_batch(&self) -> Option<(Ticket, Ticket, Bytes)> {
        let mut queue = self.queue.borrow_mut();
        let first = queue.front()?.ticket;
        let now_ms = runtime::time::wall_clock_ms();
        let mut batch = BatchBuilder::new();
        let mut last = first;
        while let Some(append) = queue.front() {
            let bytes: usize = append.records.iter().map(record_bytes).sum();
            if !batch.is_empty() && batch.size() + bytes > BATCH_BYTES_MAX {
                break;
            }
            last = append.ticket;
            for record in &append.records {
                // fails beyond 2 GiB only, which no request can bring about; the append is then refused as empty
                let _ = batch.push(now_ms, Some(&record.key), record.value.as_deref(), &[]);
            }
            queue.pop_front();
        }
        let bytes = batch.finish().map(Bytes::copy_from_slice).unwrap_or_default();
        Some((first, last, bytes))
    }
}

/// Joins and syncs wait for other members too, and are timed by the coordinator.
fn waits_for_log(request: &Request) -> bool {
    match request {
        Request::OffsetCommit(_) | Request::OffsetDelete(_) | Request::DeleteGroups(_) => true,
        Request::JoinGroup(_)
        | Request::SyncGroup(_)
        | Request::Heartbeat(_)
        | Request::LeaveGroup(_)
        | Request::OffsetFetch(_)
        | Request::ListGroups(_)
        | Request::DescribeGroups(_) => false,
    }
}

/// About what a record takes in a batch.
fn record_bytes(record: &coordinator::Record) -> usize {
    const OVERHEAD: usize = 24;
    OVERHEAD + record.key.len() + record.value.as_ref().map_or(0, Bytes::len)
}

fn as_failure(error: &AppendError) -> AppendFailure {
    match error {
        AppendError::UnknownPartition | AppendError::NotLeader | AppendError::Stopping => {
            AppendFailure::NotLeader
        }
        AppendError::TooLarge { .. } => AppendFailure::TooLarge,
        AppendError::Batch(refusal) if refusal.kind() == record::RefusalKind::MessageTooLarge => {
            AppendFailure::TooLarge
        }
        AppendError::Batch(_)
        | AppendError::Sequence(_)
        | AppendError::DiskFull
        | AppendError::NotEnoughReplicas
        | AppendError::NotEnoughReplicasAfterAppend
        | AppendError::TooEarly
        | AppendError::TimedOut => AppendFailure::NotAvailable,
    }
}

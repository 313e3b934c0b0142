//! Consumers that assign their partitions themselves, with and without fetch sessions.
//!
//! What may be gone (DeleteRecords, retention) and what may be damaged ([`Run::damaged`]) is known here: everything else
//! that is not the next record is an anomaly.

use crate::shared::{Deletions, RETRY_PAUSE, Run, payload, text, topic_name};
use crate::wire::Connection;
use checker::{Assignment, Observation, OpId, OpKind, Outcome, PartitionId};
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};
use record::{BatchView, Codec, Decompressor, Records};
use runtime::time::sleep;
use std::collections::BTreeMap;
use std::rc::Rc;

pub type Positions = BTreeMap<(String, i32), i64>;

/// Reads partitions from positions on.
pub struct Consumer {
    run: Rc<Run>,
    pub process: u32,
    assignment: Assignment,
    connection: Connection,
    pub next: Positions,
    with_session: bool,
    session: (i32, i32),
    /// What the session of the node knows.
    told: Positions,
    /// High watermarks as last told.
    pub ends: Positions,
    /// The largest leader epoch seen in a batch.
    epochs: BTreeMap<(String, i32), i32>,
    decompressor: Decompressor,
}

/// The log start of a partition for ListOffsets.
const EARLIEST: i64 = -2;

/// Reads everything until the run is quiet.
pub async fn consume(run: Rc<Run>) {
    let next = run.partitions().into_iter().map(|at| (at, 0)).collect();
    let mut consumer = Consumer::new(run.clone(), next, Assignment::Assigned).await;
    while !run.quiet.get() {
        for at in run.partitions() {
            consumer.next.entry(at).or_insert(0);
        }
        consumer.poll().await;
    }
}

impl Consumer {
    pub async fn new(run: Rc<Run>, next: Positions, assignment: Assignment) -> Consumer {
        Consumer {
            process: run.process(),
            connection: run.connect().await,
            with_session: run.below(2) == 0,
            run,
            assignment,
            next,
            session: (0, 0),
            told: Positions::new(),
            ends: Positions::new(),
            epochs: BTreeMap::new(),
            decompressor: Decompressor::default(),
        }
    }

    /// One fetch. Says whether it was answered.
    pub async fn poll(&mut self) -> bool {
        let stale = self.stale_epoch();
        let request = self.request(&stale);
        let deleted = self.run.deletions.borrow().clone();
        let op = self.run.begin(self.process, OpKind::Poll);
        let rebalanced = self.assignment == Assignment::Subscribed;
        self.run.history.borrow_mut().polled_as(op, self.assignment, rebalanced);
        let Ok(answer) = self.connection.call(&request).await else {
            self.run.end(op, Outcome::Info);
            self.forget_session();
            self.connection = self.run.connect().await;
            return false;
        };
        if answer.error_code != 0 {
            self.run.end(op, Outcome::Fail);
            self.run.mark("a fetch session was lost");
            self.forget_session();
            return false;
        }
        if self.with_session {
            self.session = match answer.session_id {
                0 => (0, 0),
                id => (id, self.session.1 + 1),
            };
            if answer.session_id != 0 {
                self.run.mark("a fetch session was used");
            }
        }
        let mut pause = false;
        for topic in answer.responses {
            for found in topic.partitions {
                let at = (topic.topic.to_string(), found.partition_index);
                if stale.as_ref().is_some_and(|(of, _)| *of == at) {
                    self.fenced(&at, found.error_code);
                    pause = true;
                    continue;
                }
                if found.error_code != 0 {
                    pause = true;
                    self.refused(&at, found.error_code).await;
                    continue;
                }
                let name = format!("{}-{}", at.0, at.1);
                let partition = self.run.history.borrow_mut().partition(&name);
                let observed =
                    Observation::HighWatermark { partition, offset: found.high_watermark };
                self.run.history.borrow_mut().observe(op, observed);
                self.begins(op, &at, found.log_start_offset, &deleted);
                self.ends.insert(at.clone(), found.high_watermark);
                self.run.ends.borrow_mut().insert(at.clone(), found.high_watermark);
                pause |= !self.take(op, &at, partition, &found.records.unwrap_or_default());
            }
        }
        self.run.end(op, Outcome::Ok);
        if pause {
            self.forget_session();
            sleep(RETRY_PAUSE).await;
        }
        true
    }

    fn forget_session(&mut self) {
        self.session = (0, 0);
        self.told.clear();
    }

    async fn refused(&mut self, at: &(String, i32), code: i16) {
        let error = ErrorCode::from_code(code);
        let next = self.next.get(at).copied().unwrap_or(0);
        match error {
            Some(ErrorCode::OffsetOutOfRange) => self.begin_anew(at, next).await,
            Some(ErrorCode::CorruptMessage) if self.run.may_be_damaged() => {
                self.run.mark("a fetch of damaged records was refused");
            }
            Some(error) if error.is_retriable() && error != ErrorCode::CorruptMessage => {}
            _ => {
                let text = format!("fetch of {at:?} from {next} was answered {error:?}");
                self.run.violation(text);
            }
        }
    }

    /// What lay at `next` is gone: goes on at the log start, which must be behind it.
    async fn begin_anew(&mut self, at: &(String, i32), next: i64) {
        let part = ListOffsetsPartition::default()
            .with_partition_index(at.1)
            .with_current_leader_epoch(-1)
            .with_timestamp(EARLIEST);
        let topic =
            ListOffsetsTopic::default().with_name(topic_name(&at.0)).with_partitions(vec![part]);
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let deleted = self.run.deletions.borrow().clone();
        let op = self.run.begin(self.process, OpKind::Observe);
        let Ok(answer) = self.connection.call(&request).await else {
            self.run.end(op, Outcome::Info);
            self.connection = self.run.connect().await;
            return;
        };
        let told = &answer.topics[0].partitions[0];
        if told.error_code != 0 {
            return self.run.end(op, Outcome::Fail);
        }
        self.begins(op, at, told.offset, &deleted);
        self.run.end(op, Outcome::Ok);
        if told.offset <= next {
            let text = format!("{at:?} begins at {}, but {next} was out of range", told.offset);
            self.run.violation(text);
        }
        self.run.mark("a consumer went on at the log start");
        self.next.insert(at.clone(), told.offset.max(next));
    }

    /// Checks a log start against what was deleted (`known` when the question was asked) and notes it.
    fn begins(&self, op: OpId, at: &(String, i32), start: i64, known: &Deletions) {
        let name = format!("{}-{}", at.0, at.1);
        let partition = self.run.history.borrow_mut().partition(&name);
        let observed = Observation::LogStart { partition, offset: start };
        self.run.history.borrow_mut().observe(op, observed);
        let least = known.get(at).map_or(0, |deletion| deletion.done);
        let most = self.run.deletions.borrow().get(at).map_or(0, |deletion| deletion.asked);
        if start < least || (start > most && !self.run.is_retained(at)) {
            let text = format!("{name} begins at {start}; deleted were {least}, asked was {most}");
            self.run.violation(text);
        }
    }

    /// Now and then a leader epoch that is certainly old, for one partition.
    fn stale_epoch(&mut self) -> Option<((String, i32), i32)> {
        if self.run.below(20) > 0 {
            return None;
        }
        let (at, epoch) = self.epochs.iter().find(|(_, epoch)| **epoch > 0)?;
        let stale = (at.clone(), epoch - 1);
        self.forget_session();
        Some(stale)
    }

    fn fenced(&self, at: &(String, i32), code: i16) {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::FencedLeaderEpoch) => self.run.mark("an old leader epoch was fenced"),
            Some(error) if error.is_retriable() => {}
            error => self.run.violation(format!("an old epoch of {at:?} was answered {error:?}")),
        }
    }

    /// All partitions, or those that the session does not know to be at this position.
    fn request(&mut self, stale: &Option<((String, i32), i32)>) -> FetchRequest {
        let mut topics: BTreeMap<String, Vec<FetchPartition>> = BTreeMap::new();
        for (at, offset) in &self.next {
            if self.with_session && self.told.get(at) == Some(offset) {
                continue;
            }
            self.told.insert(at.clone(), *offset);
            let epoch = stale.as_ref().filter(|(of, _)| of == at).map_or(-1, |(_, epoch)| *epoch);
            let asked = FetchPartition::default()
                .with_partition(at.1)
                .with_current_leader_epoch(epoch)
                .with_fetch_offset(*offset)
                .with_log_start_offset(-1)
                .with_partition_max_bytes(1 + self.run.below(100_000) as i32);
            topics.entry(at.0.clone()).or_default().push(asked);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            FetchTopic::default().with_topic(topic_name(&topic)).with_partitions(partitions)
        });
        let (id, epoch) = if self.with_session { self.session } else { (0, -1) };
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(100)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_rack_id(text(""))
            .with_topics(topics.collect())
    }

    /// Notes the records from the position on and moves it; false if it cannot go on there for now.
    fn take(&mut self, op: OpId, at: &(String, i32), partition: PartitionId, bytes: &[u8]) -> bool {
        let Some(mut next) = self.next.get(at).copied() else {
            return true;
        };
        let mut whole = true;
        for batch in record::batches(bytes) {
            let Ok(batch) = batch else {
                break;
            };
            if batch.verify_crc().is_err() && self.run.may_be_damaged() {
                self.run.mark("a reader saw a wrong checksum");
                whole = false;
                break;
            }
            let epoch = self.epochs.entry(at.clone()).or_default();
            *epoch = (*epoch).max(batch.header.partition_leader_epoch);
            if self.take_batch(op, partition, &batch, next).is_none() {
                let offset = batch.header.base_offset;
                let observed = Observation::Corrupt { partition, offset };
                self.run.history.borrow_mut().observe(op, observed);
            }
            next = next.max(batch.header.next_offset());
        }
        self.next.insert(at.clone(), next);
        whole
    }

    /// Nothing if the batch is not one.
    fn take_batch(
        &mut self,
        op: OpId,
        partition: PartitionId,
        batch: &BatchView<'_>,
        from: i64,
    ) -> Option<()> {
        batch.verify_crc().ok()?;
        let plain = match batch.header.attributes.codec().ok()? {
            Codec::None => batch.records_bytes(),
            codec => self.decompressor.decompress(codec, batch.records_bytes()).ok()?,
        };
        let mut history = self.run.history.borrow_mut();
        let mut records = Records::new(&batch.header, plain);
        while let Some(read) = records.next() {
            let read = read.ok()?;
            let offset = records.offset_of(&read);
            if offset < from {
                continue;
            }
            let value = read.value.unwrap_or_default();
            let number = value.first_chunk().map(|n| u64::from_be_bytes(*n));
            match number.filter(|n| payload(*n, self.run.plan.value_bytes) == value) {
                Some(number) => history.read(op, partition, offset, number),
                None => history.observe(op, Observation::Corrupt { partition, offset }),
            }
        }
        Some(())
    }

    /// After healing: polls until every position is at its end.
    pub async fn read_to_the_end(&mut self) -> bool {
        for _ in 0..20_000 {
            let at_end = self.next.iter().all(|(at, next)| self.ends.get(at) == Some(next));
            if at_end {
                return true;
            }
            self.poll().await;
        }
        false
    }
}

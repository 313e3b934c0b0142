//! Consumers that assign their partitions themselves, with and without fetch sessions.

use crate::shared::{RETRY_PAUSE, Run, payload, text, topic_name};
use crate::wire::Connection;
use checker::{Assignment, Observation, OpId, OpKind, Outcome, PartitionId};
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::{BrokerId, FetchRequest};
use record::Records;
use runtime::time::sleep;
use std::collections::BTreeMap;
use std::rc::Rc;

pub type Positions = BTreeMap<(String, i32), i64>;

/// Reads partitions from positions on.
pub struct Consumer {
    run: Rc<Run>,
    process: u32,
    assignment: Assignment,
    connection: Connection,
    pub next: Positions,
    with_session: bool,
    session: (i32, i32),
    /// What the session of the node knows.
    told: Positions,
    /// High watermarks as last told.
    pub ends: Positions,
}

/// Reads everything until the run is quiet.
pub async fn consume(run: Rc<Run>) {
    let next = run.partitions().into_iter().map(|at| (at, 0)).collect();
    let mut consumer = Consumer::new(run.clone(), next, Assignment::Assigned).await;
    while !run.quiet.get() {
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
        }
    }

    /// One fetch. Says whether it was answered.
    pub async fn poll(&mut self) -> bool {
        let request = self.request();
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
                if found.error_code != 0 {
                    pause = true;
                    self.refused(&at, found.error_code);
                    continue;
                }
                let name = format!("{}-{}", at.0, at.1);
                let partition = self.run.history.borrow_mut().partition(&name);
                let observed =
                    Observation::HighWatermark { partition, offset: found.high_watermark };
                self.run.history.borrow_mut().observe(op, observed);
                self.ends.insert(at.clone(), found.high_watermark);
                self.take(op, &at, partition, &found.records.unwrap_or_default());
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

    fn refused(&mut self, at: &(String, i32), code: i16) {
        let error = ErrorCode::from_code(code);
        if !error.is_some_and(ErrorCode::is_retriable) || error == Some(ErrorCode::OffsetOutOfRange)
        {
            let next = self.next.get(at);
            self.run.violation(format!("fetch of {at:?} from {next:?} was answered {error:?}"));
        }
    }

    /// All partitions, or those that the session does not know to be at this position.
    fn request(&mut self) -> FetchRequest {
        let mut topics: BTreeMap<String, Vec<FetchPartition>> = BTreeMap::new();
        for (at, offset) in &self.next {
            if self.with_session && self.told.get(at) == Some(offset) {
                continue;
            }
            self.told.insert(at.clone(), *offset);
            let asked = FetchPartition::default()
                .with_partition(at.1)
                .with_current_leader_epoch(-1)
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

    /// Notes the records from the position on and moves it.
    fn take(&mut self, op: OpId, at: &(String, i32), partition: PartitionId, bytes: &[u8]) {
        let Some(next) = self.next.get_mut(at) else {
            return;
        };
        let mut history = self.run.history.borrow_mut();
        for batch in record::batches(bytes) {
            let Ok(batch) = batch else {
                break;
            };
            let from = *next;
            *next = from.max(batch.header.next_offset());
            if batch.verify_crc().is_err() {
                let offset = batch.header.base_offset;
                history.observe(op, Observation::Corrupt { partition, offset });
                continue;
            }
            let records = Records::new(&batch.header, batch.records_bytes());
            for read in records.clone() {
                let read = read.expect("a record of a batch with a good checksum");
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
        }
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

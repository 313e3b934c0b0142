//! Consumers that read from the leaders, whoever they are.

use super::client::Client;
use super::plan::Client as Kind;
use super::{At, Cluster};
use crate::shared::{RETRY_PAUSE, payload, text, topic_name};
use checker::{Assignment, Observation, OpId, OpKind, Outcome};
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};
use record::Records;
use runtime::time::sleep;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The log start of a partition for ListOffsets.
const EARLIEST: i64 = -2;

/// Reads everything until the run is quiet.
pub async fn consume(cluster: Rc<Cluster>) {
    let mut reader = Reader::new(&cluster);
    if cluster.plan.racks && cluster.below(2) == 0 {
        reader.rack = format!("r{}", cluster.below(3));
    }
    while !cluster.quiet.get() {
        let partitions = cluster.partitions.borrow().clone();
        for at in partitions {
            reader.poll(&at).await;
        }
    }
}

/// Reads all partitions from their beginning, one at a time.
pub struct Reader {
    client: Client,
    process: u32,
    next: BTreeMap<At, i64>,
    rack: String,
    /// Where leaders have sent it to.
    preferred: BTreeMap<At, usize>,
    /// Where each log began, as a node has told in that life of it.
    starts: BTreeMap<(At, usize, usize), i64>,
}

impl Reader {
    pub fn new(cluster: &Rc<Cluster>) -> Reader {
        let process = cluster.process();
        Reader {
            client: Client::new(cluster),
            process,
            next: BTreeMap::new(),
            rack: String::new(),
            preferred: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    pub fn process(&self) -> u32 {
        self.process
    }

    pub async fn read_to_the_end(&mut self) {
        let partitions = self.client.cluster.partitions.borrow().clone();
        for at in partitions {
            if self.client.cluster.with(Kind::Deleter) {
                while self.earliest(&at).await.is_none() {
                    self.client.forget_leaders();
                    sleep(RETRY_PAUSE).await;
                }
            }
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
        let preferred = self.preferred.get(at).copied();
        let asks = preferred.unwrap_or(leader);
        let offset = *self.next.entry(at.clone()).or_default();
        let epoch = self.client.epochs.get(at).copied().unwrap_or(-1);
        let asked = FetchPartition::default()
            .with_partition(at.1)
            .with_current_leader_epoch(epoch)
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
            .with_rack_id(text(&self.rack))
            .with_topics(vec![topic]);
        let op = cluster.begin(self.process, OpKind::Poll);
        cluster.history.borrow_mut().polled_as(op, Assignment::Assigned, false);
        let life = cluster.life(asks);
        let answer = self.client.ask(asks, &request).await;
        let Ok(answer) = answer.as_ref().map(|answer| &answer.responses[0].partitions[0]) else {
            cluster.end(op, Outcome::Info);
            self.preferred.remove(at);
            self.client.forget_leaders();
            sleep(RETRY_PAUSE).await;
            return None;
        };
        if answer.error_code != 0 {
            cluster.end(op, Outcome::Fail);
            match self.preferred.remove(at) {
                // It may be behind: the leader knows.
                Some(_) => cluster.mark("a fetch from a follower was refused"),
                None => self.refused(at, offset, answer.error_code).await,
            }
            sleep(RETRY_PAUSE).await;
            return None;
        }
        if life == cluster.life(asks) {
            self.goes_on(at, asks, life, answer.log_start_offset);
        }
        self.was_asked_for(at, answer.log_start_offset);
        let whole = self.take(op, at, &answer.records.clone().unwrap_or_default());
        cluster.end(op, Outcome::Ok);
        if preferred.is_some() {
            cluster.mark("records were read from a follower");
        }
        if let Ok(replica) = usize::try_from(answer.preferred_read_replica.0 - 1) {
            self.preferred.insert(at.clone(), replica);
        }
        let known = cluster.ends.borrow().get(at).copied().unwrap_or(0);
        cluster.ends.borrow_mut().insert(at.clone(), known.max(answer.high_watermark));
        if !whole {
            sleep(RETRY_PAUSE).await;
        }
        Some(answer.high_watermark)
    }

    async fn refused(&mut self, at: &At, offset: i64, code: i16) {
        let cluster = self.client.cluster.clone();
        self.client.forget_leaders();
        match ErrorCode::from_code(code) {
            Some(ErrorCode::OffsetOutOfRange) if cluster.with(Kind::Deleter) => {
                self.begin_anew(at, offset).await;
            }
            Some(ErrorCode::CorruptMessage) if cluster.may_be_damaged() => {
                cluster.mark("a fetch of damaged records was refused");
            }
            Some(ErrorCode::FencedLeaderEpoch | ErrorCode::UnknownLeaderEpoch) => {
                cluster.mark("a fetch of another leader epoch was refused");
            }
            Some(error)
                if error.is_retriable()
                    && error != ErrorCode::OffsetOutOfRange
                    && error != ErrorCode::CorruptMessage => {}
            error => {
                let what = format!("fetch of {at:?} from {offset} was answered {error:?}");
                cluster.violation(what);
            }
        }
    }

    /// What lay at `next` is gone: goes on at the log start, which must be behind it.
    async fn begin_anew(&mut self, at: &At, next: i64) {
        let Some(start) = self.earliest(at).await else { return };
        let cluster = &self.client.cluster;
        if start <= next {
            cluster.violation(format!("{at:?} begins at {start}, but {next} was out of range"));
        }
        cluster.mark("a consumer went on at the log start");
        self.next.insert(at.clone(), start.max(next));
    }

    /// Where the log begins, as its leader says: nobody else answers this. An acknowledged deletion holds for all leaders
    /// to come.
    async fn earliest(&mut self, at: &At) -> Option<i64> {
        let cluster = self.client.cluster.clone();
        let leader = self.client.leader(at).await;
        let epoch = self.client.epochs.get(at).copied().unwrap_or(-1);
        let deleted = cluster.deletions.borrow().get(at).map_or(0, |deletion| deletion.done);
        let part = ListOffsetsPartition::default()
            .with_partition_index(at.1)
            .with_current_leader_epoch(epoch)
            .with_timestamp(EARLIEST);
        let topic =
            ListOffsetsTopic::default().with_name(topic_name(&at.0)).with_partitions(vec![part]);
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let op = cluster.begin(self.process, OpKind::Observe);
        let Ok(answer) = self.client.ask(leader, &request).await else {
            cluster.end(op, Outcome::Info);
            return None;
        };
        let told = &answer.topics[0].partitions[0];
        if told.error_code != 0 {
            cluster.end(op, Outcome::Fail);
            return None;
        }
        let start = told.offset;
        let mut history = cluster.history.borrow_mut();
        let partition = history.partition(&format!("{}-{}", at.0, at.1));
        history.observe(op, Observation::LogStart { partition, offset: start });
        drop(history);
        cluster.end(op, Outcome::Ok);
        if start < deleted {
            cluster.violation(format!("{at:?} begins at {start}, but was deleted up to {deleted}"));
        }
        self.was_asked_for(at, start);
        Some(start)
    }

    /// A fetch is answered by followers, too, and by a node that led before it was started again and does not know yet
    /// what it led to. As in Kafka, such a node hears later where the log begins; in one life it does not go back.
    fn goes_on(&mut self, at: &At, node: usize, life: usize, start: i64) {
        let told = self.starts.entry((at.clone(), node, life)).or_insert(start);
        if start < *told {
            let text = format!("{at:?} began at {told} on node {node}, and now at {start}");
            self.client.cluster.violation(text);
        }
        *told = start.max(*told);
    }

    /// No log begins behind what was deleted.
    fn was_asked_for(&self, at: &At, start: i64) {
        let cluster = &self.client.cluster;
        let most = cluster.deletions.borrow().get(at).map_or(0, |deletion| deletion.asked);
        if start > most {
            let text = format!("{at:?} begins at {start}, but only {most} was asked for");
            cluster.violation(text);
        }
    }

    /// Notes the records from the position on and moves it; false if it cannot go on there for now.
    fn take(&mut self, op: OpId, at: &At, bytes: &[u8]) -> bool {
        let cluster = self.client.cluster.clone();
        let mut history = cluster.history.borrow_mut();
        let partition = history.partition(&format!("{}-{}", at.0, at.1));
        let next = self.next.entry(at.clone()).or_default();
        for batch in record::batches(bytes) {
            let Ok(batch) = batch else { break };
            if batch.verify_crc().is_err() {
                if cluster.may_be_damaged() {
                    cluster.mark("a reader saw a wrong checksum");
                    return false;
                }
                let offset = batch.header.base_offset;
                history.observe(op, Observation::Corrupt { partition, offset });
                break;
            }
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
                match number.filter(|n| payload(*n, cluster.plan.value_bytes) == value) {
                    Some(number) => history.read(op, partition, offset, number),
                    None => history.observe(op, Observation::Corrupt { partition, offset }),
                }
            }
        }
        true
    }
}

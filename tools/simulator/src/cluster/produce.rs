//! Producers. An idempotent one sends a batch until a leader says where it stands, and asks again later, when another
//! node leads: it must be told the same. A plain one sends once.

use super::client::Client;
use super::{At, Cluster};
use crate::producer::{build, read_one};
use crate::shared::RETRY_PAUSE;
use crate::wire::Lost;
use bytes::Bytes;
use checker::{OpId, OpKind, Outcome};
use protocol::produce::{ProducePart, encode_produce_request};
use protocol::{ApiKey, ErrorCode, Uuid};
use record::ProducerFields;
use runtime::time::{sleep, timeout};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Batches on their way at once: as many as a leader remembers for deduplication.
const BATCHES_MAX: u64 = 5;
/// Between batches that are on their way together, at most.
const PAUSE_US: u64 = 100_000;
/// A client asks another node when one does not answer for so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// One batch, from the moment it is sent for the first time.
struct Batch {
    op: OpId,
    values: Vec<u64>,
    records: Bytes,
}

/// What a leader said about a batch.
enum Answer {
    Stands(i64),
    Error(Option<ErrorCode>),
}

/// The last batch of each partition that a producer, by its process, wrote to, with its base offset.
pub type LastBatches = (u32, BTreeMap<At, (Bytes, i64)>);

/// Whoever writes.
pub struct Producer {
    cluster: Rc<Cluster>,
    client: Client,
    process: u32,
    /// Absent for plain ones.
    id: Option<i64>,
    sequences: BTreeMap<At, i32>,
    /// Batches.
    sent: u64,
    /// The last batch of each partition, with its base offset.
    last: BTreeMap<At, (Bytes, i64)>,
}

/// Writes until the run is quiet or its batches are sent; every batch that an idempotent one began it brings to an end.
pub async fn produce(cluster: Rc<Cluster>) {
    let is_plain = cluster.plan.plain && cluster.below(2) == 0;
    let mut producer = match is_plain {
        true => Producer::new(Client::new(&cluster), None),
        false => Producer::idempotent(&cluster).await,
    };
    while producer.sent < cluster.plan.batches && !cluster.quiet.get() {
        if !producer.write(&cluster.any_partition()).await {
            return;
        }
        if cluster.below(4) == 0 {
            producer.repeat_any().await;
        }
        sleep(Duration::from_millis(cluster.below(200))).await;
    }
    producer.ends();
}

/// Sends the last batches of all producers once more, until each was answered.
pub async fn repeat_last(cluster: &Rc<Cluster>) {
    let ended = cluster.last_batches.borrow().clone();
    for (process, last) in ended {
        let partitions: Vec<At> = last.keys().cloned().collect();
        let client = Client::new(cluster);
        let mut producer = Producer { process, last, ..Producer::new(client, None) };
        for at in partitions {
            while !producer.repeat(&at).await {
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

impl Producer {
    fn new(client: Client, id: Option<i64>) -> Producer {
        let cluster = client.cluster.clone();
        let process = cluster.process();
        let (sequences, last) = (BTreeMap::new(), BTreeMap::new());
        Producer { cluster, client, process, id, sequences, sent: 0, last }
    }

    pub async fn idempotent(cluster: &Rc<Cluster>) -> Producer {
        let mut client = Client::new(cluster);
        let id = client.producer_id().await;
        Producer::new(client, Some(id))
    }

    /// It writes no more; others may repeat what it wrote last.
    pub fn ends(self) {
        self.cluster.last_batches.borrow_mut().push((self.process, self.last));
    }

    /// Writes one batch, or several before it hears of the first; an idempotent producer does not go on before they stand.
    /// False after a violation.
    pub async fn write(&mut self, at: &At) -> bool {
        let pipelines = self.cluster.plan.pipelining;
        let count = if pipelines { 1 + self.cluster.below(BATCHES_MAX) } else { 1 };
        let batches: Vec<Batch> = (0..count).map(|_| self.next_batch(at)).collect();
        self.sent += count;
        match self.id {
            Some(_) => self.bring_in(at, batches).await,
            None => self.try_once(at, batches).await,
        }
    }

    fn next_batch(&mut self, at: &At) -> Batch {
        let cluster = &self.cluster;
        let values: Vec<u64> = (0..1 + cluster.below(5)).map(|_| cluster.value()).collect();
        let mut fields = ProducerFields::default();
        if let Some(producer_id) = self.id {
            let sequence = self.sequences.entry(at.clone()).or_default();
            fields = ProducerFields { producer_id, producer_epoch: 0, base_sequence: *sequence };
            *sequence += values.len() as i32;
        }
        let records = build(&values, fields, cluster.plan.value_bytes);
        let op = cluster.begin(self.process, OpKind::Send);
        let mut history = cluster.history.borrow_mut();
        let partition = history.partition(&format!("{}-{}", at.0, at.1));
        values.iter().for_each(|value| history.send(op, partition, *value));
        drop(history);
        Batch { op, values, records }
    }

    /// Sends until every batch stands in the log. False if one is refused, which is a violation.
    async fn bring_in(&mut self, at: &At, mut left: Vec<Batch>) -> bool {
        while !left.is_empty() {
            let (answers, lost) = self.exchange(at, &left).await;
            let mut again = Vec::new();
            let mut answers = answers.into_iter();
            for batch in left {
                match answers.next() {
                    Some(Answer::Stands(base)) => self.stands(at, batch, base),
                    Some(Answer::Error(error)) if !may_retry(error) => {
                        let what = format!("produce to {at:?} was answered {error:?}");
                        self.cluster.violation(what);
                        self.cluster.end(batch.op, Outcome::Info);
                        return false;
                    }
                    Some(Answer::Error(_)) => {
                        self.cluster.mark("produce answered with a retriable error");
                        again.push(batch);
                    }
                    None => again.push(batch),
                }
            }
            left = again;
            if lost {
                self.cluster.mark("produce repeated on a new connection");
            }
            if !left.is_empty() {
                self.client.forget_leaders();
                sleep(RETRY_PAUSE).await;
            }
        }
        true
    }

    /// Sends once. What is not answered may or may not come to stand in the log.
    async fn try_once(&mut self, at: &At, batches: Vec<Batch>) -> bool {
        let (answers, lost) = self.exchange(at, &batches).await;
        let mut answers = answers.into_iter();
        for batch in batches {
            match answers.next() {
                Some(Answer::Stands(base)) => self.stands(at, batch, base),
                Some(Answer::Error(error)) if !may_retry(error) => {
                    self.cluster.violation(format!("produce to {at:?} was answered {error:?}"));
                    self.cluster.end(batch.op, Outcome::Info);
                    return false;
                }
                _ => {
                    let now = self.cluster.now();
                    self.cluster.history.borrow_mut().unacked(batch.op, now);
                }
            }
        }
        self.cluster.mark("a batch was sent by a plain producer");
        self.client.forget_leaders();
        if lost {
            // What the old connection still carries may come after what the new one brings: another client.
            self.process = self.cluster.process();
        }
        true
    }

    fn stands(&mut self, at: &At, batch: Batch, base: i64) {
        let mut history = self.cluster.history.borrow_mut();
        let partition = history.partition(&format!("{}-{}", at.0, at.1));
        for (offset, value) in (base..).zip(&batch.values) {
            history.acknowledged(batch.op, partition, *value, offset);
        }
        drop(history);
        self.cluster.end(batch.op, Outcome::Ok);
        self.cluster.acknowledged(batch.values.len());
        if self.id.is_some() {
            self.last.insert(at.clone(), (batch.records, base));
        }
    }

    async fn repeat_any(&mut self) {
        let nth = self.cluster.below(self.last.len().max(1) as u64) as usize;
        if let Some(at) = self.last.keys().nth(nth).cloned() {
            self.repeat(&at).await;
        }
    }

    /// Sends a batch that stands in the log again, as a client does that never got the answer: whoever leads must say
    /// where it stands. False if nobody did.
    async fn repeat(&mut self, at: &At) -> bool {
        let (records, base) = self.last[at].clone();
        let op = self.cluster.begin(self.process, OpKind::Observe);
        let batch = Batch { op, values: Vec::new(), records };
        let (answers, _) = self.exchange(at, &[batch]).await;
        let answered = match answers.first() {
            Some(Answer::Stands(found)) => {
                self.cluster.mark("a batch was repeated");
                if *found != base {
                    let what = format!("a repeated batch of {at:?} at {base} came to {found}");
                    self.cluster.violation(what);
                }
                true
            }
            Some(Answer::Error(error)) if !may_retry(*error) => {
                let what = format!("a repeated batch of {at:?} was answered {error:?}");
                self.cluster.violation(what);
                true
            }
            _ => {
                self.client.forget_leaders();
                false
            }
        };
        self.cluster.end(op, Outcome::Info);
        answered
    }

    /// Sends all batches to the leader, then reads its answers; as many as came, and whether the connection broke.
    async fn exchange(&mut self, at: &At, batches: &[Batch]) -> (Vec<Answer>, bool) {
        let leader = self.client.leader(at).await;
        let mut answers = Vec::new();
        let talked = match self.client.connection(leader).await {
            Ok(connection) => {
                let talk = async {
                    let mut headers = Vec::new();
                    for batch in batches {
                        let header = connection.header(ApiKey::Produce);
                        let part = ProducePart {
                            topic: &at.0,
                            topic_id: Uuid::nil(),
                            index: at.1,
                            records: batch.records.clone(),
                        };
                        let frame = encode_produce_request(&header, None, -1, 10_000, &[part]);
                        connection.send(frame).await?;
                        headers.push(header);
                        if batches.len() > 1 && self.cluster.below(3) == 0 {
                            // Whoever leads may change between two batches.
                            sleep(Duration::from_micros(self.cluster.below(PAUSE_US))).await;
                        }
                    }
                    for header in headers {
                        let answer = connection.receive(&header).await?;
                        let (code, base) = read_one(answer, &header);
                        answers.push(match ErrorCode::from_code(code) {
                            Some(ErrorCode::None) if base >= 0 => Answer::Stands(base),
                            error => Answer::Error(error),
                        });
                    }
                    Ok::<(), Lost>(())
                };
                timeout(PATIENCE, talk).await.unwrap_or(Err(Lost))
            }
            Err(Lost) => Err(Lost),
        };
        if talked.is_err() {
            self.client.hang_up(leader);
        }
        (answers, talked.is_err())
    }
}

/// Whether the batch may be sent again. One that follows another that must be sent again is refused like that one: a
/// client that hears OUT_OF_ORDER_SEQUENCE_NUMBER instead may send records twice, under new sequences.
fn may_retry(error: Option<ErrorCode>) -> bool {
    error.is_some_and(|error| error.is_retriable())
}

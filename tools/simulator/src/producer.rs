//! Producers. An idempotent one repeats a batch with its sequence until the node says what became of it; a plain one
//! sends once and, with acks 0, never hears of it.

use crate::plan::Habit;
use crate::shared::{RETRY_PAUSE, Run, payload};
use crate::wire::{Connection, Lost};
use bytes::Bytes;
use checker::{OpId, OpKind, Outcome};
use protocol::messages::{InitProducerIdRequest, ProduceResponse};
use protocol::produce::{ProducePart, encode_produce_request};
use protocol::{ApiKey, ErrorCode, RequestHeader, Uuid};
use record::{BatchBuilder, Codec, ProducerFields};
use runtime::time::{sleep, wall_clock_ms};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// Requests of one producer that are on their way at once: as many batches as the node remembers for deduplication.
const REQUESTS_MAX: u64 = 5;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

type At = (String, i32);

/// One batch, from the moment it is sent for the first time.
struct Batch {
    op: OpId,
    at: At,
    values: Vec<u64>,
    records: Bytes,
}

/// What the node said about a batch.
#[derive(Clone, Copy)]
enum Answer {
    Stands(i64),
    Error(Option<ErrorCode>),
}

struct Producer {
    run: Rc<Run>,
    process: u32,
    connection: Connection,
    /// Absent for plain ones.
    id: Option<i64>,
    epoch: i16,
    acks: i16,
    codec: Codec,
    sequences: BTreeMap<At, i32>,
    /// Where sequences of the epoch before ended.
    before: BTreeMap<At, i32>,
    /// The last batch of each partition, with its base offset.
    last: BTreeMap<At, (Bytes, i64)>,
}

/// Writes until the run is quiet or its batches are sent; every batch it began it brings to an end.
pub async fn produce(run: Rc<Run>) {
    let mut producer = Producer::new(run.clone()).await;
    let mut sent = 0;
    while sent < run.plan.batches && !run.quiet.get() {
        let requests = producer.requests();
        sent += requests.iter().map(|request| request.len() as u64).sum::<u64>();
        let ended = match producer.id {
            Some(_) => producer.bring_in(requests).await,
            None => producer.try_once(requests).await,
        };
        if !ended {
            return;
        }
        if producer.id.is_some() && run.has(Habit::Epochs) && run.below(8) == 0 {
            producer.change_epoch().await;
        }
        if run.below(6) == 0 {
            producer.repeat().await;
        }
        if run.below(4) == 0 {
            sleep(Duration::from_millis(run.below(100))).await;
        }
    }
}

impl Producer {
    async fn new(run: Rc<Run>) -> Producer {
        let mut connection = run.connect().await;
        let plain = run.has(Habit::Plain) && run.below(2) == 0;
        let id = match plain {
            true => None,
            false => Some(init_producer_id(&run, &mut connection).await),
        };
        let acks = if plain { run.below(3) as i16 - 1 } else { -1 };
        let codec =
            if run.has(Habit::Compression) { CODECS[run.below(5) as usize] } else { Codec::None };
        Producer {
            process: run.process(),
            run,
            connection,
            id,
            epoch: 0,
            acks,
            codec,
            sequences: BTreeMap::new(),
            before: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// The next requests, each with batches for different partitions.
    fn requests(&mut self) -> Vec<Vec<Batch>> {
        let run = self.run.clone();
        let requests = if run.has(Habit::Pipelining) { 1 + run.below(REQUESTS_MAX) } else { 1 };
        let mut all = Vec::new();
        for _ in 0..requests {
            let partitions = run.partitions();
            let batches = if run.has(Habit::Spreading) { 1 + run.below(4) } else { 1 };
            let any = |_| partitions[run.below(partitions.len() as u64) as usize].clone();
            let targets: BTreeSet<At> = (0..batches).map(any).collect();
            // An unknown producer may begin at any sequence: its first batch must stand before the next one is sent.
            let begins = targets.iter().any(|at| !self.sequences.contains_key(at));
            all.push(targets.into_iter().map(|at| self.next_batch(at)).collect());
            if begins {
                break;
            }
        }
        all
    }

    fn next_batch(&mut self, at: At) -> Batch {
        let run = self.run.clone();
        let values: Vec<u64> = (0..1 + run.below(5)).map(|_| run.value()).collect();
        let mut fields = ProducerFields::default();
        if let Some(producer_id) = self.id {
            let sequence = self.sequences.entry(at.clone()).or_default();
            fields = ProducerFields {
                producer_id,
                producer_epoch: self.epoch,
                base_sequence: *sequence,
            };
            *sequence += values.len() as i32;
        }
        let records = build_with(self.codec, &values, fields, run.plan.value_bytes);
        let op = run.begin(self.process, OpKind::Send);
        let mut history = run.history.borrow_mut();
        let partition = history.partition(&format!("{}-{}", at.0, at.1));
        for value in &values {
            history.send(op, partition, *value);
        }
        drop(history);
        Batch { op, at, values, records }
    }

    /// Sends until every batch stands in the log. False if the node refuses one, which is a violation.
    async fn bring_in(&mut self, mut left: Vec<Vec<Batch>>) -> bool {
        let mut refused = false;
        while !left.is_empty() {
            let (answers, lost) = self.exchange(&left).await;
            let mut again = Vec::new();
            // Behind a batch that has to be sent again all of its partition are out of order.
            let mut behind = BTreeSet::new();
            for (nth, request) in left.into_iter().enumerate() {
                let mut rest = Vec::new();
                for (at, batch) in request.into_iter().enumerate() {
                    let answer = answers.get(nth).map(|answers| answers[at]);
                    match answer {
                        Some(Answer::Stands(base)) => self.stands(batch, base),
                        Some(Answer::Error(error))
                            if !may_retry(error, behind.contains(&batch.at)) =>
                        {
                            refused = true;
                            self.run.violation(format!(
                                "produce to {:?} was answered {error:?}",
                                batch.at
                            ));
                            self.run.end(batch.op, Outcome::Info);
                        }
                        _ => {
                            if answer.is_some() {
                                self.run.mark("produce answered with a retriable error");
                            }
                            behind.insert(batch.at.clone());
                            rest.push(batch);
                        }
                    }
                }
                if !rest.is_empty() {
                    again.push(rest);
                }
            }
            left = again;
            if lost {
                self.run.mark("produce repeated on a new connection");
                self.connection = self.run.connect().await;
            } else if !left.is_empty() {
                sleep(RETRY_PAUSE).await;
            }
        }
        !refused
    }

    /// Sends once. What is not answered may or may not come to stand in the log.
    async fn try_once(&mut self, requests: Vec<Vec<Batch>>) -> bool {
        let (answers, lost) = self.exchange(&requests).await;
        for (nth, request) in requests.into_iter().enumerate() {
            for (at, batch) in request.into_iter().enumerate() {
                match answers.get(nth).map(|answers| answers[at]) {
                    Some(Answer::Stands(base)) => self.stands(batch, base),
                    Some(Answer::Error(Some(ErrorCode::KafkaStorageError))) => {
                        self.run.end(batch.op, Outcome::Fail);
                    }
                    Some(Answer::Error(error)) if !may_retry(error, false) => {
                        self.run
                            .violation(format!("produce to {:?} was answered {error:?}", batch.at));
                        self.run.end(batch.op, Outcome::Info);
                    }
                    _ => {
                        let now = self.run.now();
                        self.run.history.borrow_mut().unacked(batch.op, now);
                    }
                }
            }
        }
        if self.acks == 0 {
            self.run.mark("a batch was sent without acknowledgement");
        }
        if lost {
            // What the old connection still carries may come after what the new one brings: another client.
            self.connection = self.run.connect().await;
            self.process = self.run.process();
        }
        true
    }

    fn stands(&mut self, batch: Batch, base: i64) {
        let mut history = self.run.history.borrow_mut();
        let partition = history.partition(&format!("{}-{}", batch.at.0, batch.at.1));
        for (offset, value) in (base..).zip(&batch.values) {
            history.acknowledged(batch.op, partition, *value, offset);
        }
        drop(history);
        self.run.end(batch.op, Outcome::Ok);
        self.run.acknowledged.set(self.run.acknowledged.get() + batch.values.len() as u64);
        if self.id.is_some() {
            self.last.insert(batch.at, (batch.records, base));
        }
    }

    /// Sends a batch that stands in the log again, as a client does that never got the answer: it must be told where it
    /// stands, also by a node that was started since.
    async fn repeat(&mut self) {
        let nth = self.run.below(self.last.len().max(1) as u64) as usize;
        let Some((at, (records, base))) = self.last.iter().nth(nth) else {
            return;
        };
        let (at, records, base) = (at.clone(), records.clone(), *base);
        let op = self.run.begin(self.process, OpKind::Observe);
        let batch = Batch { op, at: at.clone(), values: Vec::new(), records };
        let (answers, lost) = self.exchange(&[vec![batch]]).await;
        match answers.first().map(|answers| answers[0]) {
            Some(Answer::Stands(found)) => {
                self.run.mark("a batch was repeated");
                if found != base {
                    self.run
                        .violation(format!("a repeated batch of {at:?} at {base} came to {found}"));
                }
            }
            Some(Answer::Error(error)) if !may_retry(error, false) => {
                self.run.violation(format!("a repeated batch of {at:?} was answered {error:?}"));
            }
            _ => {}
        }
        self.run.end(op, Outcome::Info);
        if lost {
            self.connection = self.run.connect().await;
        }
    }

    /// Sends all requests, then reads their answers; as many as came, and whether the connection broke.
    async fn exchange(&mut self, requests: &[Vec<Batch>]) -> (Vec<Vec<Answer>>, bool) {
        let mut headers = Vec::new();
        for request in requests {
            let parts: Vec<ProducePart> = request.iter().map(Batch::part).collect();
            let header = self.connection.header(ApiKey::Produce);
            let frame = encode_produce_request(&header, None, self.acks, 10_000, &parts);
            if self.connection.send(frame).await.is_err() {
                return (Vec::new(), true);
            }
            headers.push(header);
        }
        let mut answers = Vec::new();
        if self.acks == 0 {
            return (answers, false);
        }
        if headers.len() > 1 {
            self.run.mark("produce requests overlapped");
        }
        for (header, request) in headers.into_iter().zip(requests) {
            match self.connection.receive(&header).await {
                Ok(answer) => answers.push(read_answer(answer, &header, request)),
                Err(Lost) => return (answers, true),
            }
        }
        (answers, false)
    }

    /// Goes on in a new epoch, as a client does that cannot know what became of a batch; then the old epoch is fenced
    /// wherever the new one has written.
    async fn change_epoch(&mut self) {
        self.epoch += 1;
        self.before = std::mem::take(&mut self.sequences);
        self.last.clear();
        let Some(at) = self.before.keys().nth(self.run.below(self.before.len() as u64) as usize)
        else {
            return;
        };
        let at = at.clone();
        let batch = self.next_batch(at.clone());
        if !self.bring_in(vec![vec![batch]]).await {
            return;
        }
        let sequences = std::mem::replace(&mut self.sequences, self.before.clone());
        self.epoch -= 1;
        let zombie = self.next_batch(at);
        self.epoch += 1;
        self.sequences = sequences;
        let op = zombie.op;
        let (answers, lost) = self.exchange(&[vec![zombie]]).await;
        match answers.first().map(|answers| answers[0]) {
            Some(Answer::Error(Some(ErrorCode::InvalidProducerEpoch))) => {
                self.run.mark("a batch of an old producer epoch was refused");
                self.run.end(op, Outcome::Fail);
            }
            Some(Answer::Stands(base)) => {
                self.run.violation(format!("a batch of an old producer epoch was taken at {base}"));
                self.run.end(op, Outcome::Info);
            }
            _ => self.run.end(op, Outcome::Info),
        }
        if lost {
            self.connection = self.run.connect().await;
        }
    }
}

impl Batch {
    fn part(&self) -> ProducePart<'_> {
        ProducePart {
            topic: &self.at.0,
            topic_id: Uuid::nil(),
            index: self.at.1,
            records: self.records.clone(),
        }
    }
}

/// Whether the batch may be sent again; one that follows another that must be sent again is out of order.
fn may_retry(error: Option<ErrorCode>, behind: bool) -> bool {
    match error {
        None | Some(ErrorCode::None) => false,
        Some(ErrorCode::OutOfOrderSequenceNumber) => behind,
        Some(error) => error.is_retriable(),
    }
}

/// What the answer says of each batch of its request.
fn read_answer(answer: Bytes, header: &RequestHeader, request: &[Batch]) -> Vec<Answer> {
    let answer = protocol::decode_response::<ProduceResponse>(answer, header.api_version);
    let (_, answer) = answer.unwrap_or_else(|cause| panic!("not a Produce answer: {cause}"));
    let mut found = BTreeMap::new();
    for topic in &answer.responses {
        for part in &topic.partition_responses {
            let error = ErrorCode::from_code(part.error_code);
            let answer = match error {
                Some(ErrorCode::None) if part.base_offset >= 0 => Answer::Stands(part.base_offset),
                error => Answer::Error(error),
            };
            found.insert((topic.name.to_string(), part.index), answer);
        }
    }
    let of = |batch: &Batch| found.get(&batch.at).copied();
    request.iter().map(|batch| of(batch).expect("every partition is answered")).collect()
}

/// A batch of records that stand for `values`.
pub fn build(values: &[u64], producer: ProducerFields, bytes_max: u64) -> Bytes {
    build_with(Codec::None, values, producer, bytes_max)
}

fn build_with(codec: Codec, values: &[u64], producer: ProducerFields, bytes_max: u64) -> Bytes {
    let mut batch = BatchBuilder::new().producer(producer).codec(codec);
    for value in values {
        let pushed = batch.push(wall_clock_ms(), None, Some(&payload(*value, bytes_max)), &[]);
        pushed.expect("a small record");
    }
    Bytes::copy_from_slice(batch.finish().expect("a small batch"))
}

async fn init_producer_id(run: &Run, connection: &mut Connection) -> i64 {
    loop {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
            .with_transaction_timeout_ms(60_000);
        match connection.call(&request).await {
            Ok(answer) if answer.error_code == 0 => return answer.producer_id.0,
            Ok(_) => {
                run.mark("a producer id was refused");
                sleep(RETRY_PAUSE).await;
            }
            Err(Lost) => *connection = run.connect().await,
        }
    }
}

/// Sends a batch once: error code and base offset.
pub async fn send_once(
    connection: &mut Connection,
    (topic, index): &(String, i32),
    records: Bytes,
) -> Result<(i16, i64), Lost> {
    let header = connection.header(ApiKey::Produce);
    let part = ProducePart { topic, topic_id: Uuid::nil(), index: *index, records };
    connection.send(encode_produce_request(&header, None, -1, 10_000, &[part])).await?;
    let answer = connection.receive(&header).await?;
    Ok(read_one(answer, &header))
}

/// Error code and base offset in the answer about one batch.
pub fn read_one(answer: Bytes, header: &RequestHeader) -> (i16, i64) {
    let answer = protocol::decode_response::<ProduceResponse>(answer, header.api_version);
    let (_, answer) = answer.unwrap_or_else(|cause| panic!("not a Produce answer: {cause}"));
    let part = &answer.responses[0].partition_responses[0];
    (part.error_code, part.base_offset)
}

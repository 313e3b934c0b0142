//! Produce (key 0): the hot path in.
//!
//! parse a view (records untouched) -> resolve partitions -> one message per owning shard (none if it is this one) ->
//! wait for the commit -> write the answer. Source: Kafka's `KafkaApis.handleProduceRequest`, `ReplicaManager`.
//!
//! Where Kafka is bad for its users this does better: a partition named twice in one request is refused (Kafka drops one
//! of the batches in silence), and null records are answered (Kafka never answers).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use protocol::produce::{
    CurrentLeader, PartitionOutcome, ProduceRequestView, ProduceResponseWriter, RecordErrorEntry,
};
use protocol::{ErrorCode, Uuid};
use record::BatchHeader;
use runtime::shards::ShardId;
use server::Reply;

use super::Call;
use super::leader_hints::LeaderHints;
use crate::error_codes::KafkaCode;
use crate::ids::{PartitionId, TopicId};
use crate::metadata::{Image, Topic};
use crate::shard::{AppendAnswer, AppendError, AppendPart, Appended, Origin, Refused};

/// From this version on topics are named by their ids.
const IDS_FROM: i16 = 13;
/// The client id that may write internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// What became of one partition of the request.
enum Outcome {
    /// Refused before it got to its shard.
    Refused(ErrorCode),
    /// Given to its shard; the answer is pending.
    Sent,
    /// The shard's answer.
    Done(Result<Appended, Refused>),
}

/// Answers a request.
pub async fn handle(call: Call, body: Bytes) -> Reply {
    let request = match ProduceRequestView::parse(body, call.version()) {
        Ok(request) => request,
        Err(e) => return Reply::close(e.to_string()),
    };
    let (mut outcomes, parts) = plan(&call, &request);
    let wait = request.acks != 0;
    let patience = wait.then(|| Duration::from_millis(request.timeout_ms.max(0) as u64));
    let origin = Origin::Client { api_version: call.version(), all: request.acks == -1 };
    for (slot, result) in append(&call, parts, origin, patience).await {
        outcomes[slot as usize] = Outcome::Done(result);
    }
    let metrics = &call.shard.metrics;
    metrics.produce_requests.add(1);
    metrics.produce_refused.add(outcomes.iter().filter_map(failure).count() as u64);
    metrics.produce_latency.record(call.received.elapsed());
    if wait {
        return Reply::frame(write_answer(&call, &request, &outcomes));
    }
    match outcomes.iter().find_map(failure) {
        Some(code) => Reply::close(format!("a produce without acknowledgement failed: {code}")),
        None => Reply::nothing(),
    }
}

fn failure(outcome: &Outcome) -> Option<ErrorCode> {
    match outcome {
        Outcome::Refused(code) => Some(*code),
        Outcome::Done(Err(e)) => Some(e.error.code()),
        Outcome::Sent | Outcome::Done(Ok(_)) => None,
    }
}

/// What is said of acks that do not exist: Kafka looks at topics and at the form of batches first.
fn of_form(records: &[u8], api_version: i16) -> ErrorCode {
    match record::validate_form(records, api_version) {
        Ok(_) => ErrorCode::InvalidRequiredAcks,
        Err(refusal) => AppendError::from(refusal).code(),
    }
}

/// Whether a batch belongs to a transaction.
fn begins_one(batch: &[u8]) -> bool {
    BatchHeader::parse_prefix(batch).is_ok_and(|header| header.is_transactional())
}

/// Parts by owning shard; almost always one shard, so a list instead of a map.
type PartsByShard = Vec<(ShardId, Vec<AppendPart>)>;

fn plan(call: &Call, request: &ProduceRequestView) -> (Vec<Outcome>, PartsByShard) {
    let image = call.shard.image();
    let mut outcomes = Vec::with_capacity(request.partition_count());
    let mut parts: PartsByShard = Vec::new();
    let refused = refuse_whole(call, request);
    let mut named = Named::default();
    for topic in request.topics() {
        let found = find_topic(&image, call, request, topic.name, topic.topic_id);
        for partition in topic.partitions() {
            let slot = outcomes.len() as u32;
            let located = match (&refused, &found) {
                (Some(code), _) => Err(*code),
                (None, Err(code)) => Err(*code),
                (None, Ok(topic)) => locate(&image, topic, partition.index),
            };
            let records = partition.records.unwrap_or_default();
            let at = || match request.version() >= IDS_FROM {
                true => call.shard.unplaced(topic.topic_id.as_bytes(), partition.index),
                false => call.shard.unplaced(topic.name, partition.index),
            };
            let outcome = match located {
                Err(code) => {
                    if code.is_retriable() {
                        call.shard.note_unplaced(at(), &records);
                    }
                    Outcome::Refused(code)
                }
                Ok(_) if !(-1..=1).contains(&request.acks) => {
                    Outcome::Refused(of_form(&records, call.version()))
                }
                Ok((id, _)) if named.again(id) => Outcome::Refused(ErrorCode::InvalidRequest),
                Ok((id, shard)) => {
                    let missing = call.shard.take_unplaced(at, &records);
                    let part = AppendPart { slot, partition: id, records, missing };
                    match parts.iter_mut().find(|(to, _)| *to == shard) {
                        Some((_, of_shard)) => of_shard.push(part),
                        None => parts.push((shard, vec![part])),
                    }
                    Outcome::Sent
                }
            };
            outcomes.push(outcome);
        }
    }
    (outcomes, parts)
}

/// Partitions that the request has named so far; allocates from the second one on.
#[derive(Default)]
struct Named {
    first: Option<PartitionId>,
    more: BTreeMap<PartitionId, ()>,
}

impl Named {
    fn again(&mut self, id: PartitionId) -> bool {
        match self.first {
            None => {
                self.first = Some(id);
                false
            }
            Some(first) if first == id => true,
            Some(_) => self.more.insert(id, ()).is_some(),
        }
    }
}

/// Reasons that concern every partition alike.
fn refuse_whole(call: &Call, request: &ProduceRequestView) -> Option<ErrorCode> {
    if request.partition_count() > call.shard.node.config.limits.request_partitions_max {
        return Some(ErrorCode::InvalidRequest);
    }
    if request.transactional_id().is_some() {
        return Some(ErrorCode::InvalidTxnState);
    }
    // as in `KafkaApis.handleProduceRequest`: records of a transaction need one
    let mut records = request.topics().flat_map(|topic| topic.partitions());
    let is_transactional = records.any(|of| of.records.is_some_and(|records| begins_one(&records)));
    is_transactional.then_some(ErrorCode::TransactionalIdAuthorizationFailed)
}

fn find_topic<'a>(
    image: &'a Image,
    call: &Call,
    request: &ProduceRequestView,
    name: &str,
    id: Uuid,
) -> Result<&'a Topic, ErrorCode> {
    let by_id = request.version() >= IDS_FROM;
    let topic = match by_id {
        true => image.topic_by_id(TopicId(*id.as_bytes())).ok_or(ErrorCode::UnknownTopicId)?,
        false => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
    };
    if topic.internal && call.header.client_id() != ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(topic)
}

fn locate(image: &Image, topic: &Topic, index: i32) -> Result<(PartitionId, ShardId), ErrorCode> {
    image.locate(topic, index).ok_or(ErrorCode::UnknownTopicOrPartition)
}

async fn append(
    call: &Call,
    mut parts: PartsByShard,
    origin: Origin,
    patience: Option<Duration>,
) -> Vec<AppendAnswer> {
    if parts.len() <= 1 {
        return match parts.pop() {
            Some((to, parts)) => append_on(call, to, parts, origin, patience).await,
            None => Vec::new(),
        };
    }
    let calls = parts.into_iter().map(|(to, parts)| append_on(call, to, parts, origin, patience));
    join_all(calls).await.concat()
}

async fn append_on(
    call: &Call,
    to: ShardId,
    parts: Vec<AppendPart>,
    origin: Origin,
    patience: Option<Duration>,
) -> Vec<AppendAnswer> {
    let shard: &Rc<_> = &call.shard;
    if to == shard.id {
        return shard.append(parts, origin, patience).await;
    }
    shard.on(to, move |there| async move { there.append(parts, origin, patience).await }).await
}

fn write_answer(call: &Call, request: &ProduceRequestView, outcomes: &[Outcome]) -> Bytes {
    let correlation_id = call.header.correlation_id;
    let topics = request.topic_count();
    let mut writer = ProduceResponseWriter::new(call.version(), correlation_id, topics);
    let mut outcomes = outcomes.iter();
    let image = call.shard.image();
    let mut hints = LeaderHints::new(&image, &call.connection.listener);
    for topic in request.topics() {
        writer.topic(topic.name, topic.topic_id, topic.partition_count());
        for partition in topic.partitions() {
            let outcome = outcomes.next().expect("one outcome per partition");
            let leader = failure(outcome).and_then(|code| {
                let id = TopicId(*topic.topic_id.as_bytes());
                let known = image.topic_by_id(id).or_else(|| image.topic(topic.name));
                hints.hint(known.map(|topic| &**topic), partition.index, code)
            });
            write_partition(&mut writer, partition.index, outcome, leader);
        }
    }
    writer.finish(0, &hints.endpoints())
}

fn write_partition(
    writer: &mut ProduceResponseWriter,
    index: i32,
    outcome: &Outcome,
    current_leader: Option<CurrentLeader>,
) {
    let Refused { error, log_start_offset } = match outcome {
        Outcome::Done(Ok(done)) => {
            let success = PartitionOutcome::success(index, done.base_offset, done.log_start_offset);
            let log_append_time_ms = done.log_append_time_ms;
            return writer.partition(&PartitionOutcome { log_append_time_ms, ..success });
        }
        Outcome::Done(Err(refused)) => refused,
        Outcome::Refused(code) => {
            return writer.partition(&PartitionOutcome::failure(index, *code));
        }
        Outcome::Sent => unreachable!("a shard answers every part it is given"),
    };
    let log_start_offset = *log_start_offset;
    let failure = PartitionOutcome::failure(index, error.code());
    let failure = PartitionOutcome { log_start_offset, current_leader, ..failure };
    let AppendError::Batch(refusal) = error else {
        return writer.partition(&failure);
    };
    let entry = |e: &record::RecordError| RecordErrorEntry {
        batch_index: e.batch_index,
        message: Some(e.to_string()),
    };
    let record_errors: Vec<_> = refusal.record_errors().iter().map(entry).collect();
    let message = refusal.error_message();
    writer.partition(&PartitionOutcome {
        record_errors: &record_errors,
        error_message: message.as_deref(),
        ..failure
    });
}

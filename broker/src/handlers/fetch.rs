//! Fetch (key 1): the hot path out.
//!
//! session -> plan by shard -> read, or wait and read -> what the answer mentions -> one vectored answer with record
//! bytes attached. Source: Kafka's `KafkaApis.handleFetchRequest`, `FetchSession`, KIP-74, KIP-227, KIP-392, KIP-516.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::fetch::{DivergingEpoch, FetchRequestView, FetchResponseWriter, PartitionData};
use protocol::produce::CurrentLeader;
use protocol::{ErrorCode, Uuid};
use server::Reply;

use super::Call;
use super::leader_hints::LeaderHints;
use crate::error_codes::KafkaCode;
use crate::fetch::{
    self, CachedPartition, FetchContext, PartitionKey, Partitions, Plan, Read, ReadLimits,
    ReadPart, Reader, Told, preferred_replica,
};
use crate::ids::TopicId;
use crate::metadata::Image;

/// Consumers may read from followers from this version on.
const ANY_REPLICA_FROM: i16 = 11;

/// One partition of the answer.
struct Answer {
    key: PartitionKey,
    result: Result<Read, ErrorCode>,
}

/// Answers a request.
pub async fn handle(call: Call, body: Bytes) -> Reply {
    let request = match FetchRequestView::parse(body, call.version()) {
        Ok(request) => request,
        Err(e) => return Reply::close(e.to_string()),
    };
    if !(0..=1).contains(&request.isolation_level) {
        return refuse_whole(&call, &request, ErrorCode::UnknownServerError);
    }
    if request.partition_count() > call.shard.node.config.limits.request_partitions_max {
        return refuse_whole(&call, &request, ErrorCode::InvalidRequest);
    }
    call.shard.bring_session(request.session_id).await;
    let context = match open_session(&call, &request) {
        Ok(context) => context,
        Err(code) => return session_error(&call, code),
    };
    let answers = read(&call, &request, context.partitions()).await;
    let frame = write_answer(&call, &request, context, answers);
    call.shard.metrics.fetch_requests.add(1);
    call.shard.metrics.fetch_latency.record(call.received.elapsed());
    Reply::segments(frame)
}

fn open_session(call: &Call, request: &FetchRequestView) -> Result<FetchContext, ErrorCode> {
    let by_id = request.names_topics_by_id();
    let key = |name: &Rc<str>, id: Uuid, index| PartitionKey {
        topic_id: TopicId(*id.as_bytes()),
        topic_name: name.clone(),
        index,
    };
    let mut named = Partitions::default();
    for topic in request.topics() {
        let name: Rc<str> = topic.name.into();
        for p in topic.partitions() {
            let asked = CachedPartition::asked(
                p.fetch_offset,
                p.partition_max_bytes,
                p.current_leader_epoch,
                p.last_fetched_epoch,
            );
            named.insert(key(&name, topic.topic_id, p.partition), asked);
        }
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics() {
        let name: Rc<str> = topic.name.into();
        forgotten.extend(topic.partitions().map(|index| key(&name, topic.topic_id, index)));
    }
    let now_ms = call.shard.clock_ms().max(0) as u64;
    let mut sessions = call.shard.sessions.borrow_mut();
    let (id, epoch) = (request.session_id, request.session_epoch);
    let opened = sessions.open(id, epoch, by_id, named, &forgotten, now_ms);
    opened.map_err(|e| e.code())
}

/// Reads the partitions, waiting as the request asks; answers in their order.
async fn read(call: &Call, request: &FetchRequestView, partitions: &Partitions) -> Vec<Answer> {
    let image = call.shard.image();
    let mut plan: std::collections::BTreeMap<_, Vec<ReadPart>> = Default::default();
    let mut answers = Vec::with_capacity(partitions.len());
    let mut failed = false;
    let reader = Reader { rack: request.rack_id(), listener: &call.connection.listener };
    let selects = call.shard.node.config.rack_aware_reads && !reader.rack.is_empty();
    for (slot, (key, asked)) in partitions.iter().enumerate() {
        let located = match locate(&image, request, key) {
            // Replicas follow by Raft, so whoever fetches as one is no replica of this partition.
            Ok(_) if request.replica_id >= 0 => Err(ErrorCode::NotLeaderOrFollower),
            located => located,
        };
        let result = match located {
            Ok((id, shard)) => {
                let topic = image.topic_by_id(id.topic).filter(|_| selects);
                let preferred =
                    topic.and_then(|topic| preferred_replica(&image, topic, id.index, &reader));
                plan.entry(shard).or_default().push(ReadPart {
                    preferred,
                    slot: slot as u32,
                    partition: id,
                    offset: asked.fetch_offset,
                    bytes_max: usize::try_from(asked.bytes_max).ok(),
                    current_leader_epoch: asked.current_leader_epoch,
                    last_fetched_epoch: asked.last_fetched_epoch,
                });
                Err(ErrorCode::UnknownServerError)
            }
            Err(code) => {
                failed = true;
                Err(code)
            }
        };
        answers.push(Answer { key: key.clone(), result });
    }
    let plan: Plan = plan.into_iter().map(|(to, parts)| (to, parts.into())).collect();
    let bytes_max = request.max_bytes.clamp(0, i32::MAX) as usize;
    let bytes_max = bytes_max.min(call.shard.node.config.limits.fetch_bytes_max);
    let wait = if failed { 0 } else { request.max_wait_ms.max(0) as u64 };
    let limits = ReadLimits {
        bytes_max,
        bytes_min: (request.min_bytes.max(0) as usize).min(bytes_max),
        read_committed: request.isolation_level == 1,
        from_any_replica: request.version() >= ANY_REPLICA_FROM,
        deadline: call.received + Duration::from_millis(wait),
    };
    let read = fetch::fetch(&call.shard, &plan, limits, call.connection.gone()).await;
    let several = plan.len() > 1;
    for (slot, result) in read {
        answers[slot as usize].result = result.map_err(|e| e.code());
    }
    if several {
        trim(&mut answers, partitions, bytes_max);
    }
    answers
}

/// Shards read side by side, each within the whole limit and each with one batch beyond the limits (KIP-74); what is too
/// much together, or beyond the limits of a later partition, is left for the next fetch. Answers are in the order of
/// `partitions`.
fn trim(answers: &mut [Answer], partitions: &Partitions, bytes_max: usize) {
    let mut total = 0;
    for (answer, asked) in answers.iter_mut().zip(partitions.values()) {
        let Ok(read) = &mut answer.result else { continue };
        let of_partition = usize::try_from(asked.bytes_max).unwrap_or(0);
        if total > 0 && (total + read.bytes > bytes_max || read.bytes > of_partition) {
            read.records.clear();
            read.bytes = 0;
        }
        total += read.bytes;
    }
}

fn locate(
    image: &Image,
    request: &FetchRequestView,
    key: &PartitionKey,
) -> Result<(crate::ids::PartitionId, runtime::shards::ShardId), ErrorCode> {
    let topic = match request.names_topics_by_id() {
        true => image.topic_by_id(key.topic_id).ok_or(ErrorCode::UnknownTopicId)?,
        false => image.topic(&key.topic_name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
    };
    image.locate(topic, key.index).ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn told(answer: &Answer) -> Told {
    match &answer.result {
        Ok(read) => Told {
            high_watermark: read.high_watermark,
            log_start_offset: read.log_start_offset,
            bytes: read.bytes,
            notable: read.diverging.is_some() || read.preferred.is_some(),
            failed: false,
        },
        Err(_) => {
            Told { high_watermark: -1, log_start_offset: -1, bytes: 0, notable: true, failed: true }
        }
    }
}

fn write_answer(
    call: &Call,
    request: &FetchRequestView,
    context: FetchContext,
    mut answers: Vec<Answer>,
) -> Vec<Bytes> {
    let mut sessions = call.shard.sessions.borrow_mut();
    let session_id = match context {
        FetchContext::Sessionless(_) => 0,
        FetchContext::Incremental { id, .. } => {
            answers.retain(|answer| sessions.tell(id, &answer.key, told(answer)));
            id
        }
        FetchContext::Full { partitions, uses_topic_ids } => {
            let all: Vec<Told> = answers.iter().map(told).collect();
            let now_ms = call.shard.clock_ms().max(0) as u64;
            sessions.create(partitions, &all, uses_topic_ids, now_ms, runtime::random::u64)
        }
    };
    call.shard.metrics.fetch_sessions.set(sessions.len() as u64);
    drop(sessions);
    let same_topic = |a: &Answer, b: &Answer| {
        a.key.topic_id == b.key.topic_id && a.key.topic_name == b.key.topic_name
    };
    let topics = answers.chunk_by(same_topic).count();
    let (version, correlation_id) = (call.version(), call.header.correlation_id);
    let mut writer =
        FetchResponseWriter::new(version, correlation_id, 0, ErrorCode::None, session_id, topics);
    let mut bytes = 0;
    let image = call.shard.image();
    let mut hints = LeaderHints::new(&image, &call.connection.listener);
    for topic in answers.chunk_by(same_topic) {
        let key = &topic[0].key;
        writer.topic(&key.topic_name, Uuid::from_bytes(key.topic_id.0), topic.len());
        for answer in topic {
            let leader = answer.result.as_ref().err().and_then(|code| {
                let known =
                    image.topic_by_id(key.topic_id).or_else(|| image.topic(&key.topic_name));
                hints.hint(known.map(|topic| &**topic), answer.key.index, *code)
            });
            bytes += write_partition(&mut writer, answer, request.isolation_level == 1, leader);
        }
    }
    call.shard.metrics.fetch_bytes.add(bytes as u64);
    writer.finish(&hints.endpoints())
}

fn write_partition(
    writer: &mut FetchResponseWriter,
    answer: &Answer,
    committed: bool,
    current_leader: Option<CurrentLeader>,
) -> usize {
    let index = answer.key.index;
    let read = match &answer.result {
        Ok(read) => read,
        Err(code) => {
            let failure = PartitionData::failure(index, *code);
            writer.partition(&PartitionData { current_leader, ..failure });
            return 0;
        }
    };
    let was_read = read.diverging.is_none() && read.preferred.is_none();
    writer.partition(&PartitionData {
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        // Where nothing was read they are not told either, as Kafka does.
        aborted_transactions: (committed && was_read).then_some(&[][..]),
        preferred_read_replica: read.preferred.map_or(-1, |node| node.0),
        records: &read.records,
        diverging_epoch: read
            .diverging
            .map(|(epoch, end_offset)| DivergingEpoch { epoch, end_offset }),
        ..PartitionData::failure(index, ErrorCode::None)
    });
    read.bytes
}

/// The answer to a session that cannot be used.
fn session_error(call: &Call, code: ErrorCode) -> Reply {
    let (version, correlation_id) = (call.version(), call.header.correlation_id);
    let writer = FetchResponseWriter::new(version, correlation_id, 0, code, 0, 0);
    Reply::segments(writer.finish(&[]))
}

/// The answer to a request that is wrong as a whole: below version 13 every partition carries the error too.
fn refuse_whole(call: &Call, request: &FetchRequestView, code: ErrorCode) -> Reply {
    let (version, correlation_id) = (call.version(), call.header.correlation_id);
    let topics = if version < 13 { request.topic_count() } else { 0 };
    let session = request.session_id;
    let mut writer = FetchResponseWriter::new(version, correlation_id, 0, code, session, topics);
    for topic in request.topics().take(topics) {
        writer.topic(topic.name, topic.topic_id, topic.partition_count());
        for partition in topic.partitions() {
            writer.partition(&PartitionData::failure(partition.partition, code));
        }
    }
    Reply::segments(writer.finish(&[]))
}

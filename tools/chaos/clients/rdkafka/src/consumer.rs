//! Readers: one that follows the log, a member of a group, and one that reads everything once.

use crate::history;
use crate::{Done, Job};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(100);
const RECORDS_PER_POLL_MAX: usize = 500;
const ASK: Duration = Duration::from_secs(5);
/// How often watermarks are asked for, and offsets committed.
const INTERVAL: Duration = Duration::from_millis(700);
/// The last reading waits for leaders as long as this.
const READ_PATIENCE: Duration = Duration::from_secs(180);

/// Notes that the group has rebalanced.
#[derive(Default)]
struct Rebalances {
    happened: AtomicBool,
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.happened.store(true, Ordering::Relaxed);
    }
}

type Reader = BaseConsumer<Rebalances>;

/// Records of one poll, and where each partition stands after it.
#[derive(Default)]
struct Polled {
    reads: Vec<Value>,
    told: Vec<Value>,
    next: BTreeMap<i32, i64>,
}

fn reader(job: &Job, group: &str) -> Result<(Reader, ClientConfig), KafkaError> {
    let mut config = job.config();
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "2000")
        .set("partition.assignment.strategy", "range");
    Ok((config.create_with_context(Rebalances::default())?, config))
}

fn assign_all(job: &Job, consumer: &Reader) -> Result<(), KafkaError> {
    let mut all = TopicPartitionList::new();
    for partition in 0..job.partitions {
        all.add_partition_offset(&job.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)
}

fn poll(job: &Job, consumer: &Reader, process: u64, subscribed: bool) -> BTreeMap<i32, i64> {
    let began = history::now();
    let end = Instant::now() + POLL;
    let mut polled = Polled::default();
    while polled.reads.len() < RECORDS_PER_POLL_MAX {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match consumer.poll(left) {
            Some(Ok(message)) => take(job, &mut polled, &message),
            // A leader that is gone, a coordinator that moves: it goes on by itself.
            Some(Err(_)) | None => {}
        }
    }
    let rebalanced = consumer.context().happened.swap(false, Ordering::Relaxed);
    if polled.reads.is_empty() && !rebalanced {
        return polled.next;
    }
    let more = json!({
        "reads": polled.reads, "told": polled.told, "subscribed": subscribed, "rebalanced": rebalanced,
    });
    history::begin(process, "poll", began, &json!({})).end("ok", &more);
    polled.next
}

fn take(job: &Job, polled: &mut Polled, message: &impl Message) {
    let name = job.partition_name(message.partition());
    let payload = message.payload().unwrap_or_default();
    let value = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    polled.next.insert(message.partition(), message.offset() + 1);
    match value {
        Some(value) if job.payload(value) == payload => {
            polled.reads.push(json!([name, message.offset(), value]));
        }
        _ => polled.told.push(json!({"corrupt": [name, message.offset()]})),
    }
}

/// Follows all partitions from their start, and the high watermarks.
pub fn follow(job: &Job, process: u64) -> Done {
    let (consumer, _) = reader(job, "unused")?;
    assign_all(job, &consumer)?;
    let mut asked = Instant::now();
    let mut turn = 0;
    while !job.stopped() {
        poll(job, &consumer, process, false);
        if asked.elapsed() > INTERVAL / 4 {
            turn = (turn + 1) % job.partitions;
            ask_watermark(job, &consumer, process, turn);
            asked = Instant::now();
        }
    }
    Ok(())
}

fn ask_watermark(job: &Job, consumer: &Reader, process: u64, partition: i32) {
    let op = history::begin(process, "observe", history::now(), &json!({}));
    match consumer.fetch_watermarks(&job.topic, partition, Duration::from_millis(500)) {
        Ok((start, end)) => {
            let name = job.partition_name(partition);
            op.end(
                "ok",
                &json!({"told": [{"high_watermark": [name, end]}, {"log_start": [name, start]}]}),
            );
        }
        Err(_) => op.end("info", &json!({})),
    }
}

/// Reads in a group, commits now and then, and asks for what is committed.
pub fn be_member(job: &Job, process: u64, group: &str) -> Done {
    let (consumer, _) = reader(job, group)?;
    consumer.subscribe(&[&job.topic])?;
    let mut uncommitted: BTreeMap<i32, i64> = BTreeMap::new();
    let mut committed = Instant::now();
    let mut rounds = 0u64;
    while !job.stopped() {
        uncommitted.extend(poll(job, &consumer, process, true));
        if committed.elapsed() < INTERVAL {
            continue;
        }
        committed = Instant::now();
        let owned = consumer.assignment()?;
        uncommitted.retain(|p, _| owned.find_partition(&job.topic, *p).is_some());
        commit(job, &consumer, process, group, std::mem::take(&mut uncommitted))?;
        rounds += 1;
        if rounds % 4 == 0 {
            ask_committed(job, &consumer, process, group, owned);
        }
    }
    Ok(())
}

fn commit(
    job: &Job,
    consumer: &Reader,
    process: u64,
    group: &str,
    offsets: BTreeMap<i32, i64>,
) -> Result<(), KafkaError> {
    if offsets.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::new();
    let mut told = Vec::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(&job.topic, partition, Offset::Offset(offset))?;
        told.push(json!({"committed": [group, 0, job.partition_name(partition), offset]}));
    }
    let more = json!({"told": told});
    let op = history::begin(process, "commit", history::now(), &more);
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    let outcome = match consumer.commit(&list, CommitMode::Sync) {
        Ok(()) => "ok",
        Err(error) => match error.rdkafka_error_code() {
            Some(IllegalGeneration | UnknownMemberId | RebalanceInProgress) => "fail",
            _ => "info",
        },
    };
    op.end(outcome, &more);
    Ok(())
}

fn ask_committed(
    job: &Job,
    consumer: &Reader,
    process: u64,
    group: &str,
    owned: TopicPartitionList,
) {
    if owned.count() == 0 {
        return;
    }
    let op = history::begin(process, "fetch_committed", history::now(), &json!({}));
    let Ok(found) = consumer.committed_offsets(owned, ASK) else {
        op.end("info", &json!({}));
        return;
    };
    let mut told = Vec::new();
    for element in found.elements() {
        let name = job.partition_name(element.partition());
        match (element.error(), element.offset()) {
            (Err(_), _) => return op.end("info", &json!({})),
            (_, Offset::Offset(offset)) => {
                told.push(json!({"fetched_commit": [group, 0, name, offset]}));
            }
            _ => told.push(json!({"fetched_commit": [group, 0, name, -1]})),
        }
    }
    op.end("ok", &json!({"told": told}));
}

/// Reads every partition from its start to where it ended when the reading began.
pub fn read_all(job: &Job, process: u64) -> Done {
    let (consumer, _) = reader(job, "unused")?;
    let patience = Instant::now() + READ_PATIENCE;
    let mut ends = BTreeMap::new();
    for partition in 0..job.partitions {
        let end = loop {
            match consumer.fetch_watermarks(&job.topic, partition, ASK) {
                Ok((_, end)) => break end,
                Err(error) if Instant::now() > patience => {
                    return Err(format!("partition {partition} has no end: {error}").into());
                }
                Err(_) => std::thread::sleep(POLL),
            }
        };
        if end > 0 {
            ends.insert(partition, end);
        }
    }
    assign_all(job, &consumer)?;
    let mut moved = Instant::now();
    while !ends.is_empty() {
        let next = poll(job, &consumer, process, false);
        if !next.is_empty() {
            moved = Instant::now();
        }
        ends.retain(|partition, end| next.get(partition).is_none_or(|next| next < end));
        if moved.elapsed() > READ_PATIENCE {
            return Err(format!("these partitions cannot be read to their ends: {ends:?}").into());
        }
    }
    Ok(())
}

//! An idempotent producer at a steady rate.

use crate::history::{self, Op};
use crate::{Done, Job};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const DELIVERY_TIMEOUT_MS: u64 = 60_000;
const FLUSH_PATIENCE: Duration = Duration::from_millis(DELIVERY_TIMEOUT_MS + 5_000);

/// Writes down what became of each record.
struct Deliveries {
    topic: String,
}

struct Sent {
    op: Op,
    value: u64,
}

impl ClientContext for Deliveries {
    /// What it makes of refusals, above all when it gives its records other sequences: without that nobody can say whose a
    /// record is that stands there twice.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        eprintln!("{}.{:03} {facility}: {message}", now.as_secs(), now.subsec_millis());
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let (outcome, offset, partition) = match result {
            // A batch that was found again by its sequence has no offset.
            Ok(message) => ("ok", Some(message.offset()).filter(|o| *o >= 0), message.partition()),
            Err((error, message)) => (outcome_of(error), None, message.partition()),
        };
        let name = format!("{}-{partition}", self.topic);
        sent.op.end(outcome, &json!({"sends": [[name, sent.value, offset]]}));
    }
}

fn outcome_of(error: &KafkaError) -> &'static str {
    use RDKafkaErrorCode::{InvalidProducerEpoch, OutOfOrderSequenceNumber, ProducerFenced};
    match error.rdkafka_error_code() {
        Some(OutOfOrderSequenceNumber | InvalidProducerEpoch | ProducerFenced) => "fail",
        _ => "info",
    }
}

pub fn run(job: &Job, first_process: u64, rate: u64) -> Done {
    let step = Duration::from_secs(1) / u32::try_from(rate.max(1))?;
    for process in first_process.. {
        let producer: ThreadedProducer<Deliveries> = job
            .config()
            .set("enable.idempotence", "true")
            .set("debug", "eos")
            .set_log_level(RDKafkaLogLevel::Debug)
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("message.timeout.ms", DELIVERY_TIMEOUT_MS.to_string())
            .set("request.timeout.ms", "5000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .create_with_context(Deliveries { topic: job.topic.clone() })?;
        let mut next = Instant::now();
        let mut numbers = (process << 32)..;
        while !job.stopped() && producer.client().fatal_error().is_none() {
            if let Some(value) = numbers.next() {
                send(job, &producer, process, value);
            }
            next += step;
            match next.checked_duration_since(Instant::now()) {
                Some(early) => std::thread::sleep(early),
                // After a pause it goes on at its rate and does not catch up.
                None => next = next.max(Instant::now() - Duration::from_secs(1)),
            }
        }
        if let Some((code, why)) = producer.client().fatal_error() {
            eprintln!("fatal: librdkafka producer {process}: {code}: {why}");
        }
        // What is not delivered by then has told its time-out.
        let _ = producer.flush(FLUSH_PATIENCE);
        if job.stopped() {
            return Ok(());
        }
    }
    Ok(())
}

fn send(job: &Job, producer: &ThreadedProducer<Deliveries>, process: u64, value: u64) {
    let partition = (value % u64::from(job.partitions.unsigned_abs())) as i32;
    let name = job.partition_name(partition);
    let more = json!({"sends": [[name, value, null]]});
    let op = history::begin(process, "send", history::now(), &more);
    let payload = job.payload(value);
    let record =
        BaseRecord::<(), [u8], _>::with_opaque_to(&job.topic, Box::new(Sent { op, value }));
    if let Err((_, record)) = producer.send(record.partition(partition).payload(&payload)) {
        // Its queue is full, or it has failed for good: this record never left.
        record.delivery_opaque.op.end("fail", &more);
        std::thread::sleep(Duration::from_millis(20));
    }
}

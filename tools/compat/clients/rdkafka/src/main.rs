//! rdkafka (librdkafka for Rust); see ../../README.md for the protocol that this program speaks.

// A client program of its own: it has no shard and no simulated world.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Done = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(30);

struct Request(Value);

impl Request {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    fn number(&self, field: &str) -> i64 {
        self.0[field].as_i64().unwrap_or_default()
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.text("bootstrap"));
        config
    }
}

fn main() -> Done {
    let argument = std::env::args().nth(1).ok_or("the request is missing")?;
    let request = Request(serde_json::from_str(&argument)?);
    match request.text("command") {
        "create" => create(&request),
        "produce" => produce(&request),
        "consume" => consume(&request),
        "member" => member(&request),
        "codecs" => {
            say(json!({
                "event": "codecs", "codecs": ["gzip", "snappy", "lz4", "zstd"],
                "assignors": ["range", "roundrobin", "cooperative-sticky"], "idempotent": true,
            }));
            Ok(())
        }
        other => Err(format!("unknown command {other}").into()),
    }
}

fn say(line: Value) {
    println!("{line}");
}

fn create(request: &Request) -> Done {
    let admin: AdminClient<_> = request.config().create()?;
    let partitions = i32::try_from(request.number("partitions"))?;
    let topic = NewTopic::new(
        request.text("topic"),
        partitions,
        TopicReplication::Fixed(-1),
    );
    let created = admin.create_topics([&topic], &AdminOptions::new());
    for result in futures_executor::block_on(created)? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    say(json!({"event": "done"}));
    Ok(())
}

/// Remembers whether a delivery failed.
struct Deliveries(Arc<AtomicBool>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("{error}");
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

fn produce(request: &Request) -> Done {
    let failed = Arc::new(AtomicBool::new(false));
    let mut config = request.config();
    if !request.text("codec").is_empty() {
        config.set("compression.type", request.text("codec"));
    }
    let context = Deliveries(failed.clone());
    if request.0["idempotent"] == true {
        config.set("enable.idempotence", "true");
    }
    let producer: ThreadedProducer<Deliveries> = config.create_with_context(context)?;
    let size = usize::try_from(request.number("size"))?;
    let first = request.number("first");
    // All at once, or so many per line of input.
    let chunk = request.0["chunk"].as_i64();
    for i in first..first + request.number("count") {
        if chunk.is_some_and(|chunk| (i - first) % chunk == 0) {
            if i > first {
                deliver(&producer, &failed)?;
                say(json!({"event": "sent"}));
            }
            if std::io::stdin().read_line(&mut String::new())? == 0 {
                break;
            }
        }
        let key = format!("k{i}");
        let mut value = format!("v{i}");
        // Not by a format's width, which ends at 65 535.
        value.push_str(&".".repeat(size.saturating_sub(value.len())));
        let mut record = BaseRecord::to(request.text("topic"))
            .key(&key)
            .payload(&value);
        if request.0["headers"] == true {
            let n = format!("h{i}");
            let headers = OwnedHeaders::new().insert(Header {
                key: "n",
                value: Some(&n),
            });
            record = record.headers(headers.insert(Header {
                key: "bin",
                value: Some(&[0x00, 0xff]),
            }));
        }
        if request.number("timestamp") != 0 {
            record = record.timestamp(request.number("timestamp") + i);
        }
        producer.send(record).map_err(|(error, _)| error)?;
    }
    deliver(&producer, &failed)?;
    if chunk.is_some() {
        say(json!({"event": "sent"}));
    }
    say(json!({"event": "done"}));
    Ok(())
}

fn deliver(producer: &ThreadedProducer<Deliveries>, failed: &AtomicBool) -> Done {
    producer.flush(PATIENCE)?;
    match failed.load(Ordering::SeqCst) {
        true => Err("a record was not delivered".into()),
        false => Ok(()),
    }
}

fn say_message(message: &BorrowedMessage<'_>) {
    let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
    let mut headers = Map::new();
    for header in message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
    {
        let bytes = header.value.unwrap_or_default();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        headers.insert(header.key.to_owned(), hex.into());
    }
    say(json!({
        "event": "record",
        "partition": message.partition(),
        "offset": message.offset(),
        "key": String::from_utf8_lossy(message.key().unwrap_or_default()),
        "value": value.trim_end_matches('.'),
        "size": value.len(),
        "timestamp": message.timestamp().to_millis(),
        "headers": headers,
    }));
}

/// librdkafka tells of a lost connection among the messages, and goes on by itself.
fn heals(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    )
}

fn consume(request: &Request) -> Done {
    let consumer: BaseConsumer = request.config().set("group.id", "unused").create()?;
    let topic = request.text("topic");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let found = metadata.topics().first().ok_or("no such topic")?;
    let mut partitions = TopicPartitionList::new();
    for partition in found.partitions() {
        let start = request.0["from"]
            .as_i64()
            .map_or(Offset::Beginning, Offset::Offset);
        partitions.add_partition_offset(topic, partition.id(), start)?;
    }
    if request.0["from"].is_i64() {
        partitions = consumer.offsets_for_times(partitions, PATIENCE)?;
    }
    consumer.assign(&partitions)?;
    let mut left = request.number("count");
    while left > 0 {
        match consumer.poll(PATIENCE) {
            Some(Err(error)) if heals(&error) => eprintln!("{error}"),
            Some(message) => {
                say_message(&message?);
                left -= 1;
            }
            None => {}
        }
    }
    Ok(())
}

/// Prints every assignment.
struct Assignments;

impl ClientContext for Assignments {}

impl ConsumerContext for Assignments {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // A cooperative assignor tells what is added or taken away; this is all of it.
        if let (Rebalance::Assign(_) | Rebalance::Revoke(_), Ok(list)) =
            (rebalance, consumer.assignment())
        {
            let mut partitions: Vec<i32> = list.elements().iter().map(|p| p.partition()).collect();
            partitions.sort_unstable();
            say(json!({"event": "assigned", "partitions": partitions}));
        }
    }
}

fn member(request: &Request) -> Done {
    let mut config = request.config();
    config
        .set("group.id", request.text("group"))
        .set("auto.offset.reset", "earliest");
    if !request.text("assignor").is_empty() {
        config.set("partition.assignment.strategy", request.text("assignor"));
    }
    let consumer: BaseConsumer<Assignments> = config.create_with_context(Assignments)?;
    consumer.subscribe(&[request.text("topic")])?;
    let ended = Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        seen.store(true, Ordering::SeqCst);
    });
    while !ended.load(Ordering::SeqCst) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Err(error)) if heals(&error) => eprintln!("{error}"),
            Some(message) => say_message(&message?),
            None => {}
        }
    }
    drop(consumer);
    say(json!({"event": "left"}));
    Ok(())
}

//! Whether the load generator tells the truth: the throughput that `kafka-producer-perf-test` finds
//! beside what it finds itself, with the same settings, on the same nodes, in turns.
//!
//! One producer, acks=all, idempotent, five requests of a megabyte out. Both can only come to the same
//! where the broker is the limit. So that Java's producer, on its one CPU, is not, records are of 8 KiB
//! and Kafka's tool takes them from a file: otherwise it makes every byte of every record while it runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::load::{BatchTemplate, Engine, Payload, Recorder, Saturate, SaturatingProducer};
use crate::rivals::{Cluster, Durability, Place, System, kafka_tool};
use crate::scenarios::{Settings, Stage, warm_up};
use crate::wire::Connection;

const PARTITIONS: i32 = 16;
const RECORD_BYTES: usize = 8192;
const BATCH_BYTES: usize = 1_000_000;
const ROUNDS: usize = 3;
/// Of one run of Kafka's tool: four of its reports or more, up to 300 MB/s.
const RECORDS: u32 = 800_000;
/// Records in the file that it draws from.
const PAYLOADS: usize = 100;

/// Megabytes (10^6) of records a second.
pub struct Agreement {
    pub ours: f64,
    pub theirs: f64,
}

pub fn run(
    system: System,
    durability: Durability,
    place: &Place,
    settings: &Settings,
) -> Result<Vec<Agreement>> {
    System::Kafka.prepare()?;
    system.prepare()?;
    let dir = tempfile::Builder::new().prefix("agreement-").tempdir_in(&place.dir)?;
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    cluster.start()?;
    cluster.ready()?;
    let payloads = dir.path().join("payloads");
    fs::write(&payloads, lines_of_text()).context("payloads cannot be written")?;
    let mut agreements = Vec::new();
    {
        let mut stage = Stage::new(&cluster, system, durability, settings, place)?;
        warm_up(&mut stage, settings.warm_up)?;
        for _ in 0..ROUNDS {
            let (ours, theirs) = (ours(&mut stage)?, theirs(&mut stage, &payloads)?);
            agreements.push(Agreement { ours, theirs });
        }
    }
    cluster.kill()?;
    Ok(agreements)
}

fn ours(stage: &mut Stage<'_>) -> Result<f64> {
    let topic = stage.topic("ours", PARTITIONS)?;
    let template = BatchTemplate::fill(&mut Payload::new(4), RECORD_BYTES, BATCH_BYTES)?;
    let identity = stage.identity()?;
    let window = stage.window(stage.settings.seconds);
    let mut engine = Engine::new()?;
    for (leader, partitions) in stage.leaders(&topic)? {
        let plan = Saturate {
            topic: topic.clone(),
            partitions,
            batches_per_request: 1,
            in_flight_max: 5,
            end_ns: window.end_ns,
        };
        let connection = Connection::open(leader)?;
        let producer = SaturatingProducer::new(plan, connection, identity, template.clone());
        engine.add(Box::new(producer))?;
    }
    let mut recorder = Recorder::new(window);
    stage.run(&mut engine, &mut recorder)?;
    Ok(recorder.acked_records as f64 * RECORD_BYTES as f64 / 1e6 / window.seconds())
}

fn theirs(stage: &mut Stage<'_>, payloads: &Path) -> Result<f64> {
    let topic = stage.topic("theirs", PARTITIONS)?;
    let output = kafka_tool("org.apache.kafka.tools.ProducerPerformance", "-Xms512m -Xmx512m")?
        .args(["--topic", &topic, "--throughput", "-1"])
        .args(["--num-records", &RECORDS.to_string()])
        .arg("--payload-file")
        .arg(payloads)
        .arg("--producer-props")
        .arg(format!("bootstrap.servers={}", stage.cluster.address()))
        .args(["acks=all", "enable.idempotence=true", "linger.ms=5", "compression.type=none"])
        .arg(format!("batch.size={BATCH_BYTES}"))
        .args(["buffer.memory=67108864", "max.in.flight.requests.per.connection=5"])
        .output()
        .context("java is needed to run kafka-producer-perf-test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(records) = records_per_second(&text) else {
        bail!("kafka-producer-perf-test: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Ok(records * RECORD_BYTES as f64 / 1e6)
}

/// Records of printable characters, one a line.
fn lines_of_text() -> Vec<u8> {
    let mut bytes = Payload::new(5).bytes(PAYLOADS * (RECORD_BYTES + 1));
    for line in bytes.chunks_mut(RECORD_BYTES + 1) {
        line.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        line[RECORD_BYTES] = b'\n';
    }
    bytes
}

/// The mean of its reports, one every five seconds, without the first, in which the JVM warms up. Each line is
/// `N records sent, R records/sec (M MB/sec), ...`; the last one is a summary.
fn records_per_second(text: &str) -> Option<f64> {
    let rate = |line: &str| line.split(',').nth(1)?.split_whitespace().next()?.parse::<f64>().ok();
    let rates: Vec<f64> =
        text.lines().filter(|line| line.contains("records/sec")).filter_map(rate).collect();
    let warm = rates.get(1..rates.len().checked_sub(1)?).filter(|warm| !warm.is_empty())?;
    Some(warm.iter().sum::<f64>() / warm.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_tool_draws_from_records_of_the_size_that_is_compared() {
        let text = String::from_utf8(lines_of_text()).unwrap();
        assert_eq!(text.lines().count(), PAYLOADS);
        assert!(text.lines().all(|line| line.len() == RECORD_BYTES));
    }

    #[test]
    fn the_rate_is_that_of_kafkas_tool_once_it_is_warm() {
        let text = "10 records sent, 2.0 records/sec (0.00 MB/sec), 2.0 ms avg latency.\n\
                    500 records sent, 100.0 records/sec (0.10 MB/sec), 2.0 ms avg latency.\n\
                    1000 records sent, 200.0 records/sec (0.20 MB/sec), 2.0 ms avg latency.\n\
                    1510 records sent, 90.967150 records/sec (0.09 MB/sec), 90 ms avg\n";
        assert_eq!(records_per_second(text), Some(150.0));
        assert_eq!(records_per_second("1 records sent, 3.0 records/sec (0.1 MB/sec)"), None);
        assert_eq!(records_per_second("no such host"), None);
    }
}

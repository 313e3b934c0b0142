//! What every client has to do when a leader dies: go on, and neither lose nor double a record.
//!
//! Nothing sleeps. A producer sends a chunk per line of its input and tells when it is acknowledged, so the leader of its
//! first partition is killed with a chunk in flight. A consumer has read part of the log when the leader goes, and the
//! rest is written after that. The dead node comes back for the next scenario.

use crate::clients::Client;
use crate::node::{Node, leader_of};
use crate::outcome::Report;
use crate::process::{Line, Process};
use crate::program::{Event, Program, Record, last_line, parse};
use crate::scenarios::{Bench, has_numbers};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Libraries that cannot do this with any broker. kafkajs sends what a retry leaves only to nodes that have not answered
/// yet (`sendMessages.js`): what goes to a new leader that has acknowledged other partitions is dropped and reported as
/// sent. And its consumer begins again at what it committed last.
const UNABLE: [&str; 1] = ["kafkajs"];

pub const NAMES: [&str; 2] = ["leader dies, produce", "leader dies, consume"];

const PARTITIONS: i32 = 3;
const CHUNK: i64 = 20;
const CHUNKS: i64 = 30;
const RECORDS: i64 = CHUNK * CHUNKS;
/// The longest wait of a library with its defaults before it looks for the new leader.
const PATIENCE: Duration = Duration::from_secs(90);

/// A client and a cluster that may be hurt.
pub struct Victim<'a> {
    pub client: &'a Client,
    pub program: &'a Program,
    pub fallback: &'a Program,
    pub node: &'a mut Node,
    /// The binary whose `topic describe` names leaders.
    pub millrace: &'a Path,
}

pub fn run(mut victim: Victim<'_>, report: &mut Report) {
    if UNABLE.contains(&victim.client.name) {
        return NAMES.iter().for_each(|name| report.absent(name));
    }
    let steps = [Victim::produce, Victim::consume];
    for (name, step) in NAMES.into_iter().zip(steps) {
        let done = step(&mut victim);
        report.note(name, done.and(victim.node.start_again()));
    }
}

impl Victim<'_> {
    fn bench(&self) -> Bench<'_> {
        let Self { client, program, fallback, node, .. } = self;
        Bench { client, program, fallback, node }
    }

    fn kill_leader(&mut self, topic: &str) -> Result<()> {
        let leader = leader_of(self.millrace, &self.node.bootstrap, topic)?;
        self.node.kill(leader)
    }

    fn produce(&mut self) -> Result<()> {
        let bench = self.bench();
        let topic = bench.topic("failover-produce");
        bench.create(&topic, PARTITIONS)?;
        let idempotent = self.program.abilities()?.idempotent;
        let mut producer = self.program.start(&json!({
            "command": "produce", "bootstrap": self.node.bootstrap, "topic": topic,
            "first": 0, "count": RECORDS, "chunk": CHUNK, "idempotent": idempotent,
        }))?;
        for chunk in 0..CHUNKS {
            producer.write(b"\n").with_context(|| last_line(&producer.errors()).to_owned())?;
            if chunk == CHUNKS / 3 {
                self.kill_leader(&topic)?;
            }
            wait_for(&producer, &format!("chunk {chunk}"), |event| *event == Event::Sent)?;
        }
        wait_for(&producer, "its end", |event| *event == Event::Done)?;
        let records = self.read(&topic)?;
        match idempotent {
            true => has_numbers(&records, 0..RECORDS),
            false => has_all(&records, 0..RECORDS),
        }
    }

    /// All that is in the topic, read by the Java client: it counts, and does not stop at a number.
    fn read(&self, topic: &str) -> Result<Vec<Record>> {
        let described = crate::node::describe(self.millrace, &self.node.bootstrap, topic)?;
        let partitions = described["partitions"].as_array().context("no partitions")?;
        let ends = partitions.iter().map(|partition| partition["end_offset"].as_u64().unwrap_or(0));
        self.fallback.consume(&self.node.bootstrap, topic, ends.sum::<u64>() as usize, None)
    }

    fn consume(&mut self) -> Result<()> {
        let bench = self.bench();
        let topic = bench.topic("failover-consume");
        bench.create(&topic, PARTITIONS)?;
        let bootstrap = self.node.bootstrap.clone();
        self.fallback.produce(&bootstrap, &topic, 0..RECORDS / 2, &json!({}))?;
        let consumer = self.program.start(&json!({
            "command": "consume", "bootstrap": bootstrap, "topic": topic, "count": RECORDS, "from": "beginning",
        }))?;
        let mut records = Vec::new();
        read_until(&consumer, &mut records, RECORDS as usize / 2)?;
        self.kill_leader(&topic)?;
        self.fallback.produce(&bootstrap, &topic, RECORDS / 2..RECORDS, &json!({}))?;
        read_until(&consumer, &mut records, RECORDS as usize)?;
        has_numbers(&records, 0..RECORDS)
    }
}

/// The next event that the caller waits for; others are passed over.
fn wait_for(process: &Process, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
    let end = Instant::now() + PATIENCE;
    loop {
        match process.line(Duration::from_millis(100)) {
            Line::Text(line) => match parse(&line)? {
                Some(event) if wanted(&event) => return Ok(event),
                _ => {}
            },
            Line::Ended => bail!("it ended before {what}: {}", last_line(&process.errors())),
            Line::NotYet if Instant::now() > end => {
                let waited = PATIENCE.as_secs();
                bail!("waited {waited} s for {what}: {}", last_line(&process.errors()))
            }
            Line::NotYet => {}
        }
    }
}

fn read_until(consumer: &Process, records: &mut Vec<Record>, count: usize) -> Result<()> {
    while records.len() < count {
        let read = wait_for(consumer, &format!("record {} of {count}", records.len()), |event| {
            matches!(event, Event::Record(_))
        })?;
        records.extend(read.record());
    }
    Ok(())
}

/// Without idempotence a record may come twice; none may be missing.
fn has_all(records: &[Record], mut expected: std::ops::Range<i64>) -> Result<()> {
    let seen: BTreeSet<i64> = records.iter().filter_map(Record::number).collect();
    let missing = expected.find(|number| !seen.contains(number));
    ensure!(missing.is_none(), "record {missing:?} was acknowledged and is missing");
    Ok(())
}

//! What every client has to do against a fresh node, apart from groups (`membership`).

use crate::clients::Client;
use crate::failover;
use crate::membership;
use crate::node::Node;
use crate::outcome::Report;
use crate::program::{Abilities, Program, Record};
use anyhow::{Result, anyhow, bail, ensure};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a client has to do with one node as with several, in the order of the matrix.
const ALONE: [&str; 19] = [
    "create topic",
    "produce",
    "from beginning",
    "headers",
    "large",
    "by timestamp",
    "gzip",
    "snappy",
    "lz4",
    "zstd",
    "join",
    "rebalance",
    "leave",
    "crash",
    "resume",
    "range",
    "roundrobin",
    "sticky",
    "cooperative-sticky",
];

/// All scenarios in the order of the matrix.
pub fn names(nodes: usize) -> Vec<&'static str> {
    let dying: &[&str] = if nodes > 1 { &failover::NAMES } else { &[] };
    [&ALONE, dying].concat()
}

const CODECS: [&str; 4] = ["gzip", "snappy", "lz4", "zstd"];
const RECORDS: i64 = 100;
const LARGE_BYTES: usize = 900_000;
/// Not the broker's own clock, and not so old that retention takes it.
const AGO: Duration = Duration::from_secs(3600);

/// A client at work: its program, the node, and a program that creates topics where it cannot.
pub struct Bench<'a> {
    pub client: &'a Client,
    pub program: &'a Program,
    pub fallback: &'a Program,
    pub node: &'a Node,
}

impl Bench<'_> {
    pub fn topic(&self, purpose: &str) -> String {
        format!("{}-{purpose}", self.client.name)
    }

    pub fn create(&self, topic: &str, partitions: i32) -> Result<()> {
        let program = if self.client.creates_topics { self.program } else { self.fallback };
        program.create(&self.node.bootstrap, topic, partitions)
    }

    fn produce(
        &self,
        topic: &str,
        numbers: std::ops::Range<i64>,
        more: serde_json::Value,
    ) -> Result<()> {
        self.program.produce(&self.node.bootstrap, topic, numbers, &more)
    }

    fn consume(&self, topic: &str, count: usize, from: Option<i64>) -> Result<Vec<Record>> {
        self.program.consume(&self.node.bootstrap, topic, count, from)
    }
}

pub fn run(bench: &Bench<'_>, report: &mut Report) {
    if bench.client.creates_topics {
        report.note("create topic", bench.create(&bench.topic("created"), 4));
    } else {
        report.absent("create topic");
    }
    report.note("produce", produce(bench));
    report.note("from beginning", from_beginning(bench));
    report.note("headers", headers(bench));
    report.note("large", large(bench));
    report.note("by timestamp", by_timestamp(bench));
    let abilities = bench.program.abilities();
    for codec in CODECS {
        if_able(codec, &abilities, |able| &able.codecs, report, || compressed(bench, codec));
    }
    membership::run(bench, report);
    membership::assignors(bench, &abilities, report);
}

/// What only some libraries can: absent where one cannot, failed where it does not say.
pub fn if_able(
    name: &str,
    abilities: &Result<Abilities>,
    known: impl Fn(&Abilities) -> &Vec<String>,
    report: &mut Report,
    scenario: impl FnOnce() -> Result<()>,
) {
    match abilities {
        Err(error) => {
            report.note(name, Err(anyhow!("{error:#}")));
        }
        Ok(abilities) if known(abilities).iter().any(|has| has == name) => {
            report.note(name, scenario());
        }
        Ok(_) => report.absent(name),
    }
}

/// Into a topic that does not exist yet; all other scenarios create theirs.
fn produce(bench: &Bench<'_>) -> Result<()> {
    let topic = bench.topic("plain");
    bench.produce(&topic, 0..RECORDS, json!({}))?;
    has_numbers(&bench.consume(&topic, RECORDS as usize, None)?, 0..RECORDS)
}

/// From all partitions.
fn from_beginning(bench: &Bench<'_>) -> Result<()> {
    let topic = bench.topic("several");
    bench.create(&topic, 3)?;
    bench.produce(&topic, 0..RECORDS, json!({}))?;
    has_numbers(&bench.consume(&topic, RECORDS as usize, None)?, 0..RECORDS)
}

fn headers(bench: &Bench<'_>) -> Result<()> {
    let topic = bench.topic("headers");
    bench.create(&topic, 2)?;
    bench.produce(&topic, 0..5, json!({"headers": true}))?;
    let records = bench.consume(&topic, 5, None)?;
    has_numbers(&records, 0..5)?;
    for record in &records {
        let number = record.number().unwrap_or_default();
        let expected: String =
            format!("h{number}").bytes().map(|byte| format!("{byte:02x}")).collect();
        ensure!(
            record.headers.get("n") == Some(&expected),
            "header n of record {number}: {:?}",
            record.headers
        );
        // kcat takes headers as text, so its bytes are others; all have to come back.
        let binary = record.headers.get("bin").map(String::as_str);
        ensure!(
            matches!(binary, Some("00ff" | "01")),
            "header bin of record {number}: {:?}",
            record.headers
        );
    }
    Ok(())
}

fn large(bench: &Bench<'_>) -> Result<()> {
    let topic = bench.topic("large");
    bench.create(&topic, 2)?;
    // One by one: kafkajs puts all that it is given into one batch, which then is too large.
    for number in 0..3 {
        bench.produce(&topic, number..number + 1, json!({"size": LARGE_BYTES}))?;
    }
    let records = bench.consume(&topic, 3, None)?;
    has_numbers(&records, 0..3)?;
    let short = records.iter().find(|record| record.size != LARGE_BYTES);
    ensure!(short.is_none(), "a record came back with {:?} bytes", short.map(|record| record.size));
    Ok(())
}

/// Two rounds, the second one later. Reading from the time of the second gives exactly what is at or behind the first
/// record of that time in each partition.
fn by_timestamp(bench: &Bench<'_>) -> Result<()> {
    let topic = bench.topic("time");
    bench.create(&topic, 1)?;
    let ago = (SystemTime::now() - AGO).duration_since(UNIX_EPOCH)?;
    let more = json!({"timestamp": u64::try_from(ago.as_millis())?});
    bench.produce(&topic, 0..5, more.clone())?;
    bench.produce(&topic, 5..10, more)?;
    let all = bench.consume(&topic, 10, None)?;
    has_numbers(&all, 0..10)?;
    let from = all[5].timestamp;
    ensure!(from > all[4].timestamp, "timestamps do not grow: {} after {}", from, all[4].timestamp);
    let later = bench.consume(&topic, 5, Some(from))?;
    has_numbers(&later, 5..10)
}

/// Records large enough and alike, so that compression is worth it; several batches.
fn compressed(bench: &Bench<'_>, codec: &str) -> Result<()> {
    let topic = bench.topic(codec);
    bench.create(&topic, 2)?;
    bench.produce(&topic, 0..200, json!({"codec": codec, "size": 1000}))?;
    let records = bench.consume(&topic, 200, None)?;
    has_numbers(&records, 0..200)
}

/// Exactly these numbers, each once, and in each partition in the order of their offsets.
pub fn has_numbers(records: &[Record], expected: std::ops::Range<i64>) -> Result<()> {
    let mut seen = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for record in records {
        let Some(number) = record.number() else {
            bail!("a record came back changed: key {}, value {}", record.key, record.value);
        };
        if let Some(other) = seen.insert(number, record) {
            bail!(
                "record {number} came twice, at {}-{} and {}-{}",
                other.partition,
                other.offset,
                record.partition,
                record.offset
            );
        }
        let end = ends.insert(record.partition, record.offset).unwrap_or(-1);
        ensure!(
            record.offset > end,
            "offset {} after {end} in partition {}",
            record.offset,
            record.partition
        );
    }
    let missing: Vec<i64> = expected.clone().filter(|number| !seen.contains_key(number)).collect();
    ensure!(missing.is_empty(), "records are missing: {missing:?}");
    let strange = seen.keys().find(|number| !expected.contains(number));
    ensure!(strange.is_none(), "record {strange:?} was not sent");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{has_numbers, if_able};
    use crate::outcome::{Kind, Outcome, Report};
    use crate::program::{Abilities, Record};

    fn record(number: i64, offset: i64) -> Record {
        Record {
            partition: 0,
            offset,
            key: format!("k{number}"),
            value: format!("v{number}"),
            size: 2,
            timestamp: 0,
            headers: Default::default(),
        }
    }

    #[test]
    fn what_a_library_does_not_tell_of_has_failed_and_what_it_cannot_is_absent() {
        let mut report = Report::new("x", "x 1", Kind::Client);
        let can = Abilities { codecs: vec!["gzip".to_owned()], ..Abilities::default() };
        for (name, abilities) in [
            ("gzip", Ok(can.clone())),
            ("lz4", Ok(can)),
            ("zstd", Err(anyhow::anyhow!("no end after 60 s"))),
        ] {
            if_able(name, &abilities, |able| &able.codecs, &mut report, || Ok(()));
        }
        assert_eq!(report.outcome("gzip"), Some(&Outcome::Passed));
        assert_eq!(report.outcome("lz4"), Some(&Outcome::Absent));
        let failed = Outcome::Failed("no end after 60 s".to_owned());
        assert_eq!(report.outcome("zstd"), Some(&failed));
    }

    #[test]
    fn lost_doubled_disordered_and_strange_records_are_each_told() {
        assert!(has_numbers(&[record(0, 0), record(1, 1)], 0..2).is_ok());
        let told = |records: &[Record]| has_numbers(records, 0..2).unwrap_err().to_string();
        assert!(told(&[record(0, 0)]).contains("missing"));
        assert!(told(&[record(0, 0), record(0, 1)]).contains("twice"));
        assert!(told(&[record(0, 1), record(1, 0)]).contains("offset 0 after 1"));
        assert!(told(&[record(0, 0), record(1, 1), record(7, 2)]).contains("was not sent"));
    }
}

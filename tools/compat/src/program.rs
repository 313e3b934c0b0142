//! A client program (`clients/README.md`): what it can be asked, what it prints.

use crate::process::{Line, Process};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// For what is asked once more.
const MORE_PATIENCE: Duration = Duration::from_secs(180);

/// How a client program is started.
#[derive(Clone, Debug)]
pub struct Program {
    pub words: Vec<OsString>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    Done,
    /// A chunk was acknowledged.
    Sent,
    Left,
    Record(Record),
    Assigned {
        partitions: BTreeSet<i32>,
    },
    Codecs(Abilities),
}

/// What a library can do besides what all can.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Abilities {
    pub codecs: Vec<String>,
    /// Kafka's names of the assignors that a member can be asked to use.
    #[serde(default)]
    pub assignors: Vec<String>,
    /// Whether it has an idempotent producer.
    #[serde(default)]
    pub idempotent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    /// Without its padding; `size` is with it.
    pub value: String,
    pub size: usize,
    pub timestamp: i64,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

impl Record {
    /// The number that its key and value carry, if they agree.
    pub fn number(&self) -> Option<i64> {
        let number = self.key.strip_prefix('k')?.parse().ok()?;
        (self.value == format!("v{number}")).then_some(number)
    }
}

impl Program {
    pub fn start(&self, request: &Value) -> Result<Process> {
        let (program, args) = self.words.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        Process::start(command.args(args).arg(request.to_string()))
    }

    /// Runs a request that ends by itself and returns what it printed.
    pub fn run(&self, request: &Value) -> Result<Vec<Event>> {
        self.run_within(PATIENCE, request)
    }

    fn run_within(&self, patience: Duration, request: &Value) -> Result<Vec<Event>> {
        let mut process = self.start(request)?;
        let end = Instant::now() + patience;
        let mut events = Vec::new();
        loop {
            match process.line(Duration::from_millis(100)) {
                Line::Text(line) => events.extend(parse(&line)?),
                Line::Ended => break,
                Line::NotYet if Instant::now() > end => {
                    let seen = events.len();
                    bail!(
                        "no end after {} s, {seen} lines so far. {}",
                        patience.as_secs(),
                        last_line(&process.errors())
                    );
                }
                Line::NotYet => {}
            }
        }
        let status = process.wait(PATIENCE)?;
        if !status.success() {
            bail!("{}", last_line(&process.errors()));
        }
        Ok(events)
    }

    /// With as many replicas as the broker has nodes, all of which `bootstrap` names.
    pub fn create(&self, bootstrap: &str, topic: &str, partitions: i32) -> Result<()> {
        let replicas = bootstrap.split(',').count();
        let request = json!({
            "command": "create", "bootstrap": bootstrap, "topic": topic, "partitions": partitions,
            "replicas": replicas,
        });
        self.run(&request).map(drop)
    }

    /// Sends records; `more` adds to the request (`codec`, `size`, `headers`, `timestamp`).
    pub fn produce(
        &self,
        bootstrap: &str,
        topic: &str,
        numbers: std::ops::Range<i64>,
        more: &Value,
    ) -> Result<()> {
        let mut request = json!({
            "command": "produce", "bootstrap": bootstrap, "topic": topic,
            "first": numbers.start, "count": numbers.end - numbers.start,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        self.run(&request).map(drop)
    }

    /// Reads `count` records from the beginning (`from` null) or from a time.
    pub fn consume(
        &self,
        bootstrap: &str,
        topic: &str,
        count: usize,
        from: Option<i64>,
    ) -> Result<Vec<Record>> {
        let from = from.map_or(json!("beginning"), |from| json!(from));
        let request = json!({"command": "consume", "bootstrap": bootstrap, "topic": topic, "count": count, "from": from});
        let events = self.run(&request)?;
        Ok(events.into_iter().filter_map(Event::record).collect())
    }

    /// What the library can do. The broker has no part in it, so a failure says something of this host only, and it is
    /// asked once more; another one is the caller's to tell, or the matrix would be short without a word.
    pub fn abilities(&self) -> Result<Abilities> {
        match self.abilities_within(PATIENCE) {
            Ok(abilities) => Ok(abilities),
            Err(first) => self
                .abilities_within(MORE_PATIENCE)
                .with_context(|| format!("asked twice what it can do; first: {first:#}")),
        }
    }

    fn abilities_within(&self, patience: Duration) -> Result<Abilities> {
        let events = self.run_within(patience, &json!({"command": "codecs"}))?;
        match events.into_iter().next() {
            Some(Event::Codecs(abilities)) => Ok(abilities),
            other => bail!("asked for codecs, got {other:?}"),
        }
    }
}

impl Event {
    pub fn record(self) -> Option<Record> {
        match self {
            Event::Record(record) => Some(record),
            _ => None,
        }
    }
}

/// An event, or nothing where a library writes to standard output on its own.
pub fn parse(line: &str) -> Result<Option<Event>> {
    if !line.starts_with('{') {
        return Ok(None);
    }
    serde_json::from_str(line).map(Some).with_context(|| format!("not an event: {line}"))
}

pub fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::{Event, Program, parse};

    #[test]
    fn the_lines_of_the_protocol_are_understood() {
        let line = r#"{"event":"record","partition":1,"offset":2,"key":"k7","value":"v7","size":9,"timestamp":3}"#;
        let record = parse(line).unwrap().and_then(Event::record).unwrap();
        assert_eq!((record.number(), record.size), (Some(7), 9));
        assert_eq!(parse(r#"{"event":"left"}"#).unwrap(), Some(Event::Left));
        assert_eq!(parse("a library's own words").unwrap(), None);
        assert!(parse(r#"{"event":"strange"}"#).is_err());
    }

    #[test]
    fn a_program_that_does_not_say_what_it_can_do_is_an_error_and_one_that_comes_round_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("asked");
        let program = |script: String| {
            let words = ["sh".to_owned(), "-c".to_owned(), script].map(Into::into).to_vec();
            Program { words }
        };
        let silent = program("echo it broke >&2; exit 3".to_owned()).abilities();
        assert!(format!("{:#}", silent.unwrap_err()).contains("it broke"));
        let answer = r#"{"event":"codecs","codecs":["gzip"]}"#;
        let asked = asked.display();
        let second = program(format!("test -e '{asked}' && echo '{answer}'; touch '{asked}'"));
        assert_eq!(second.abilities().unwrap().codecs, ["gzip"]);
    }

    #[test]
    fn a_record_whose_key_and_value_disagree_has_no_number() {
        let line = r#"{"event":"record","partition":0,"offset":0,"key":"k7","value":"v8","size":2,"timestamp":3}"#;
        let record = parse(line).unwrap().and_then(Event::record).unwrap();
        assert_eq!(record.number(), None);
    }
}

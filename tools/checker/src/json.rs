//! Histories as JSON lines: one line when an operation begins, one when it ends.
//!
//! ```text
//! {"id":7,"process":2,"time":100,"type":"invoke","op":"send","sends":[["t-0",41,null]]}
//! {"id":7,"process":2,"time":180,"type":"ok","op":"send","sends":[["t-0",41,1203]]}
//! {"id":8,"process":3,"time":200,"type":"invoke","op":"poll"}
//! {"id":8,"process":3,"time":230,"type":"ok","op":"poll","reads":[["t-0",1203,41]]}
//! ```
//!
//! A line that begins an operation and is followed by nothing is an operation nobody knows about. A
//! last line that was cut (the writer was killed) is ignored; any other bad line is an error.

use hashbrown::HashMap;
use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::history::{Assignment, History, HistoryBuilder, Observation, OpId, OpKind, Outcome};

#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("cannot read the history: {0}")]
    Io(#[from] std::io::Error),
    #[error("line {line}: {reason}")]
    Line { line: usize, reason: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    Invoke,
    Ok,
    Info,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOp {
    Send,
    Poll,
    Transaction,
    Assign,
    Commit,
    FetchCommitted,
    Observe,
}

/// What a client was told, by name of partition and group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    HighWatermark(String, i64),
    LastStableOffset(String, i64),
    LogStart(String, i64),
    LeaderEpoch(String, i32),
    /// Group, generation, partition, offset.
    Committed(String, i32, String, i64),
    FetchedCommit(String, i32, String, i64),
    /// Partition and whether positions were reset to the start.
    Assigned(Option<String>, bool),
    Corrupt(String, i64),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: u64,
    pub process: u32,
    /// Nanoseconds.
    pub time: u64,
    #[serde(rename = "type")]
    pub event_type: EventType,
    pub op: EventOp,
    /// Partition, value, acknowledged offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sends: Vec<(String, u64, Option<i64>)>,
    /// Partition, offset, value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<(String, i64, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Told>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subscribed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebalanced: bool,
}

/// Writes one line; a history survives its writer up to the last whole line.
pub fn write(out: &mut impl Write, event: &Event) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

/// Reads a history. `read_to_the_end` as in [`HistoryBuilder::read_to_the_end`].
pub fn read(mut input: impl BufRead, read_to_the_end: bool) -> Result<History, JsonError> {
    let mut builder = History::builder();
    let mut open: HashMap<u64, (OpId, Event)> = HashMap::new();
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if input.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        match event(&mut builder, &mut open, &text) {
            Err(_) if !text.ends_with(b"\n") => break,
            Err(reason) => return Err(JsonError::Line { line, reason }),
            Ok(()) => {}
        }
    }
    // The values of operations without an end are known from their beginning.
    let mut unknown: Vec<(OpId, Event)> = open.into_values().collect();
    unknown.sort_by_key(|(id, _)| *id);
    for (id, begun) in unknown {
        parts(&mut builder, id, &begun);
    }
    if read_to_the_end {
        builder.read_to_the_end();
    }
    Ok(builder.finish())
}

fn event(
    builder: &mut HistoryBuilder,
    open: &mut HashMap<u64, (OpId, Event)>,
    line: &[u8],
) -> Result<(), String> {
    let event: Event = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let outcome = match event.event_type {
        EventType::Invoke => {
            let id = builder.invoke(event.process, kind(event.op), event.time);
            if open.insert(event.id, (id, event)).is_some() {
                return Err("an operation with this id is open".into());
            }
            return Ok(());
        }
        EventType::Ok => Outcome::Ok,
        EventType::Info => Outcome::Info,
        EventType::Fail => Outcome::Fail,
    };
    let Some((id, begun)) = open.remove(&event.id) else {
        return Err("the end of an operation that has not begun".into());
    };
    // An end may leave out what the beginning said.
    let mut event = event;
    if event.sends.is_empty() {
        event.sends = begun.sends;
    }
    parts(builder, id, &event);
    builder.complete(id, outcome, event.time);
    Ok(())
}

fn parts(builder: &mut HistoryBuilder, id: OpId, event: &Event) {
    for (partition, value, offset) in &event.sends {
        let partition = builder.partition(partition);
        builder.send(id, partition, *value);
        if let Some(offset) = offset {
            builder.acknowledged(id, partition, *value, *offset);
        }
    }
    for (partition, offset, value) in &event.reads {
        let partition = builder.partition(partition);
        builder.read(id, partition, *offset, *value);
    }
    for told in &event.told {
        let observation = observation(builder, told);
        builder.observe(id, observation);
    }
    let assignment = if event.subscribed { Assignment::Subscribed } else { Assignment::Assigned };
    builder.polled_as(id, assignment, event.rebalanced);
}

fn observation(builder: &mut HistoryBuilder, told: &Told) -> Observation {
    let mut p = |name: &str| builder.partition(name);
    match told {
        Told::HighWatermark(n, offset) => {
            Observation::HighWatermark { partition: p(n), offset: *offset }
        }
        Told::LastStableOffset(n, offset) => {
            Observation::LastStableOffset { partition: p(n), offset: *offset }
        }
        Told::LogStart(n, offset) => Observation::LogStart { partition: p(n), offset: *offset },
        Told::LeaderEpoch(n, epoch) => Observation::LeaderEpoch { partition: p(n), epoch: *epoch },
        Told::Assigned(n, from_start) => {
            Observation::Assigned { partition: n.as_deref().map(p), from_start: *from_start }
        }
        Told::Corrupt(n, offset) => Observation::Corrupt { partition: p(n), offset: *offset },
        Told::Committed(g, generation, n, offset) => Observation::Committed {
            group: builder.group(g),
            generation: *generation,
            partition: builder.partition(n),
            offset: *offset,
        },
        Told::FetchedCommit(g, generation, n, offset) => Observation::FetchedCommit {
            group: builder.group(g),
            generation: *generation,
            partition: builder.partition(n),
            offset: *offset,
        },
    }
}

fn kind(op: EventOp) -> OpKind {
    match op {
        EventOp::Send => OpKind::Send,
        EventOp::Poll => OpKind::Poll,
        EventOp::Transaction => OpKind::Transaction,
        EventOp::Assign => OpKind::Assign,
        EventOp::Commit => OpKind::Commit,
        EventOp::FetchCommitted => OpKind::FetchCommitted,
        EventOp::Observe => OpKind::Observe,
    }
}

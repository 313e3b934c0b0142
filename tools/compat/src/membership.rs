//! A consumer group's life: join, rebalance, leave, crash, resume; one topic of four partitions, one group. Then, for every
//! client-side assignor that a library lets one choose: a second member comes and goes.
//!
//! Session timeouts are the library's own, so a crash takes up to 45 s to be noticed. Nothing sleeps for a fixed time:
//! each step waits for its condition with a bound.

use crate::outcome::Report;
use crate::process::{Line, Process};
use crate::program::{Abilities, Event, Record, last_line, parse};
use crate::scenarios::{Bench, has_numbers, if_able};
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

const PARTITIONS: [i32; 4] = [0, 1, 2, 3];
/// A rebalance, with the slowest heartbeat and back-off of all the libraries.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest default session timeout is 45 s; then comes a rebalance.
const CRASH_PATIENCE: Duration = Duration::from_secs(120);
const NAMES: [&str; 5] = ["join", "rebalance", "leave", "crash", "resume"];
/// Eager ones, and one that hands partitions over without stopping the others (KIP-429).
const ASSIGNORS: [&str; 4] = ["range", "roundrobin", "sticky", "cooperative-sticky"];

/// A running member and what it has said so far.
struct Member {
    process: Process,
    assigned: BTreeSet<i32>,
    records: Vec<Record>,
    left: bool,
    ended: bool,
}

impl Member {
    fn start(bench: &Bench<'_>, topic: &str, assignor: Option<&str>) -> Result<Self> {
        let mut request = json!({
            "command": "member", "bootstrap": bench.node.bootstrap, "topic": topic, "group": format!("{topic}-group"),
        });
        if let Some(assignor) = assignor {
            request["assignor"] = json!(assignor);
        }
        let process = bench.program.start(&request)?;
        Ok(Self {
            process,
            assigned: BTreeSet::new(),
            records: Vec::new(),
            left: false,
            ended: false,
        })
    }

    fn listen(&mut self) -> Result<()> {
        loop {
            match self.process.line(Duration::from_millis(5)) {
                Line::Text(line) => match parse(&line)? {
                    Some(Event::Assigned { partitions }) => self.assigned = partitions,
                    Some(Event::Record(record)) => self.records.push(record),
                    Some(Event::Left) => self.left = true,
                    _ => {}
                },
                Line::NotYet => return Ok(()),
                Line::Ended => {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
    }

    fn has_seen(&self, number: i64) -> bool {
        self.records.iter().any(|record| record.number() == Some(number))
    }

    /// Politely: its input ends, it leaves and exits.
    fn leave(mut self) -> Result<Vec<Record>> {
        self.process.end_input();
        wait(&mut [&mut self], PATIENCE, "the member to leave", |members| members[0].ended)?;
        ensure!(self.left, "the member did not leave: {}", last_line(&self.process.errors()));
        Ok(self.records)
    }
}

/// Listens to the members until the condition holds.
fn wait(
    members: &mut [&mut Member],
    patience: Duration,
    what: &str,
    holds: impl Fn(&[&mut Member]) -> bool,
) -> Result<()> {
    let end = Instant::now() + patience;
    loop {
        for member in members.iter_mut() {
            member.listen()?;
        }
        if holds(members) {
            return Ok(());
        }
        if let Some(gone) = members.iter().find(|member| member.ended) {
            bail!("waiting for {what}, but a member ended: {}", last_line(&gone.process.errors()));
        }
        if Instant::now() > end {
            let has: Vec<_> =
                members.iter().map(|member| (&member.assigned, member.records.len())).collect();
            bail!(
                "waited {} s for {what}; partitions and records of each: {has:?}",
                patience.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All partitions are owned, each by one member, and none by nobody's share.
fn shared_out(members: &[&mut Member]) -> bool {
    let owned: usize = members.iter().map(|member| member.assigned.len()).sum();
    let all: BTreeSet<i32> =
        members.iter().flat_map(|member| member.assigned.iter().copied()).collect();
    owned == PARTITIONS.len()
        && all.len() == PARTITIONS.len()
        && members.iter().all(|member| !member.assigned.is_empty())
}

fn all_seen(members: &[&mut Member], mut numbers: Range<i64>) -> bool {
    numbers.all(|number| members.iter().any(|member| member.has_seen(number)))
}

pub fn run(bench: &Bench<'_>, report: &mut Report) {
    let mut group = match Group::start(bench, "group", None) {
        Ok(group) => group,
        Err(error) => {
            report.note(NAMES[0], Err(error));
            return;
        }
    };
    // Each step stands on the one before it, so the first failure ends the story.
    let steps = [Group::join, Group::rebalance, Group::leave, Group::crash, Group::resume];
    for (name, step) in NAMES.into_iter().zip(steps) {
        if !report.note(name, step(&mut group)) {
            return;
        }
    }
}

/// The members agree on one assignor, and the broker hands its assignments through.
pub fn assignors(bench: &Bench<'_>, abilities: &Result<Abilities>, report: &mut Report) {
    for assignor in ASSIGNORS {
        if_able(assignor, abilities, |able| &able.assignors, report, || share_by(bench, assignor));
    }
}

fn share_by(bench: &Bench<'_>, assignor: &str) -> Result<()> {
    let mut group = Group::start(bench, assignor, Some(assignor.to_owned()))?;
    group.join()?;
    group.rebalance()?;
    group.leave()?;
    match group.first.take() {
        Some(first) => first.leave().map(drop),
        None => Ok(()),
    }
}

struct Group<'a> {
    bench: &'a Bench<'a>,
    topic: String,
    assignor: Option<String>,
    /// How many records were sent.
    sent: i64,
    first: Option<Member>,
    second: Option<Member>,
}

impl<'a> Group<'a> {
    fn start(bench: &'a Bench<'a>, purpose: &str, assignor: Option<String>) -> Result<Self> {
        let topic = bench.topic(purpose);
        bench.create(&topic, PARTITIONS.len() as i32)?;
        Ok(Self { bench, topic, assignor, sent: 0, first: None, second: None })
    }

    fn member(&self) -> Result<Member> {
        Member::start(self.bench, &self.topic, self.assignor.as_deref())
    }

    fn send(&mut self) -> Result<Range<i64>> {
        let numbers = self.sent..self.sent + 40;
        self.sent = numbers.end;
        self.bench.program.produce(
            &self.bench.node.bootstrap,
            &self.topic,
            numbers.clone(),
            &json!({}),
        )?;
        Ok(numbers)
    }

    fn members(&mut self) -> Vec<&mut Member> {
        self.first.iter_mut().chain(self.second.iter_mut()).collect()
    }

    /// Waits until the present members own everything, sends, and waits until they have read it.
    fn settle(&mut self, patience: Duration) -> Result<()> {
        wait(&mut self.members(), patience, "the partitions to be shared out", shared_out)?;
        let numbers = self.send()?;
        wait(&mut self.members(), PATIENCE, "the records", |members| {
            all_seen(members, numbers.clone())
        })
    }

    fn join(&mut self) -> Result<()> {
        self.first = Some(self.member()?);
        self.settle(PATIENCE)
    }

    fn rebalance(&mut self) -> Result<()> {
        self.second = Some(self.member()?);
        self.settle(PATIENCE)
    }

    fn leave(&mut self) -> Result<()> {
        if let Some(second) = self.second.take() {
            second.leave()?;
        }
        self.settle(PATIENCE)
    }

    /// What the dead member had read but not committed may come again, so records may be seen twice here; none is lost.
    fn crash(&mut self) -> Result<()> {
        self.rebalance()?;
        if let Some(mut second) = self.second.take() {
            second.process.crash();
        }
        self.settle(CRASH_PATIENCE)
    }

    /// A member that comes after all have left gets exactly what nobody has read.
    fn resume(&mut self) -> Result<()> {
        if let Some(first) = self.first.take() {
            first.leave()?;
        }
        let numbers = self.send()?;
        let mut last = self.member()?;
        wait(&mut [&mut last], PATIENCE, "the records", |members| {
            all_seen(members, numbers.clone())
        })?;
        has_numbers(&last.leave()?, numbers)
    }
}

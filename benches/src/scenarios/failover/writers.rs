//! One writer per watched partition and node, each with a connection of its own and at most one
//! record out. Who does not lead refuses; who has ended is left alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use record::BatchBuilder;

use crate::clock::{now_ns, wall_ms};
use crate::wire::{Connection, PartitionBatch, encode_produce, parse_produce};

/// Between two records of a writer.
const PACE_NS: u64 = 25_000_000;

/// Numbers of acknowledged records by partition.
pub type Acknowledged = BTreeMap<i32, Vec<u64>>;

pub struct Writers {
    topic: String,
    writers: Vec<Writer>,
    next_number: u64,
    acknowledged: Acknowledged,
    /// Who acknowledged last, and when.
    leaders: BTreeMap<i32, (SocketAddr, u64)>,
}

/// From when the time without a leader counts.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    At(u64),
    /// From what the old leader acknowledged last, partition by partition.
    LastAcknowledged,
}

struct Writer {
    node: SocketAddr,
    partition: i32,
    /// None: the node has ended.
    connection: Option<Connection>,
    /// The record that is out.
    sent: Option<u64>,
    next_ns: u64,
}

/// A record was acknowledged.
struct Ack {
    node: SocketAddr,
    partition: i32,
    at_ns: u64,
}

impl Writers {
    pub fn open(topic: &str, partitions: &[i32], nodes: &[SocketAddr]) -> Result<Writers> {
        let mut writers = Vec::new();
        let begin = now_ns();
        let every = PACE_NS / (partitions.len() * nodes.len()).max(1) as u64;
        for &partition in partitions {
            for &node in nodes {
                writers.push(Writer {
                    node,
                    partition,
                    connection: Some(Connection::open(node)?),
                    sent: None,
                    next_ns: begin + every * writers.len() as u64,
                });
            }
        }
        let acknowledged = partitions.iter().map(|p| (*p, Vec::new())).collect();
        let (topic, leaders) = (topic.to_owned(), BTreeMap::new());
        Ok(Writers { topic, writers, next_number: 1, acknowledged, leaders })
    }

    /// Runs for `time`, and on until every watched partition has accepted a record, at most for `limit` in all.
    pub fn run_for(&mut self, time: Duration, limit: Duration) -> Result<()> {
        let begin = now_ns();
        loop {
            self.turn()?;
            let ran = Duration::from_nanos(now_ns() - begin);
            match self.acknowledged.iter().find(|(_, numbers)| numbers.is_empty()) {
                None if ran >= time => return Ok(()),
                Some((partition, _)) if ran >= limit => {
                    bail!("{}-{partition} accepts nothing in {limit:?}", self.topic)
                }
                _ => {}
            }
        }
    }

    /// The node that acknowledged last for most partitions.
    pub fn busiest(&self) -> Option<SocketAddr> {
        let mut led: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for (leader, _) in self.leaders.values() {
            *led.entry(*leader).or_default() += 1;
        }
        led.into_iter().max_by_key(|(_, count)| *count).map(|(leader, _)| leader)
    }

    /// Runs until a survivor has acknowledged a record of every partition that `gone` led; tells
    /// how long after `since` each was, in nanoseconds.
    pub fn until_available(
        &mut self,
        gone: SocketAddr,
        since: Since,
        limit: Duration,
    ) -> Result<Vec<u64>> {
        let mut back: BTreeMap<i32, u64> = BTreeMap::new();
        let led = self.leaders.iter().filter(|(_, (leader, _))| *leader == gone);
        let mut last: BTreeMap<i32, u64> = led.map(|(p, (_, at_ns))| (*p, *at_ns)).collect();
        let begin = now_ns();
        while back.len() < last.len() {
            for ack in self.turn()? {
                let Some(last) = last.get_mut(&ack.partition) else { continue };
                if ack.node == gone {
                    *last = ack.at_ns;
                    continue;
                }
                let since = match since {
                    Since::At(at_ns) => at_ns,
                    Since::LastAcknowledged => *last,
                };
                back.entry(ack.partition).or_insert(ack.at_ns.saturating_sub(since));
            }
            if now_ns() - begin > limit.as_nanos() as u64 {
                let missing = last.len() - back.len();
                bail!("{missing} partitions accept nothing after {limit:?}");
            }
        }
        Ok(back.into_values().collect())
    }

    /// Goes on for a moment; gives what was acknowledged in all.
    pub fn finish(mut self) -> Result<Acknowledged> {
        const AFTER: Duration = Duration::from_millis(500);
        self.run_for(AFTER, AFTER)?;
        Ok(self.acknowledged)
    }

    fn turn(&mut self) -> Result<Vec<Ack>> {
        let mut acks = Vec::new();
        for writer in &mut self.writers {
            if writer.connection.is_none() {
                continue;
            }
            if writer.turn(&self.topic, &mut self.next_number, &mut acks).is_err() {
                // the end of a connection, with whatever was out
                writer.connection = None;
            }
        }
        for (ack, number) in &acks {
            self.leaders.insert(ack.partition, (ack.node, ack.at_ns));
            self.acknowledged.entry(ack.partition).or_default().push(*number);
        }
        Ok(acks.into_iter().map(|(ack, _)| ack).collect())
    }
}

impl Writer {
    fn turn(
        &mut self,
        topic: &str,
        next_number: &mut u64,
        acks: &mut Vec<(Ack, u64)>,
    ) -> Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let now = now_ns();
        if self.sent.is_none() && now >= self.next_ns {
            let number = *next_number;
            *next_number += 1;
            self.sent = Some(number);
            self.next_ns = now + PACE_NS;
            let batch = one_record(number)?;
            let batches = [PartitionBatch { partition: self.partition, batch }];
            let correlation = connection.correlation();
            connection.send(encode_produce(correlation, topic, &batches))?;
        }
        if self.sent.is_none() {
            return Ok(());
        }
        connection.receive()?;
        let mut received = connection.take_received();
        while let Some(frame) = received.next_frame() {
            let mut error = 0;
            parse_produce(frame, |code| error = code)?;
            if let Some(number) = self.sent.take().filter(|_| error == 0) {
                let at_ns = now_ns();
                acks.push((Ack { node: self.node, partition: self.partition, at_ns }, number));
            }
        }
        connection.give_back(received);
        Ok(())
    }
}

fn one_record(number: u64) -> Result<Bytes> {
    let mut value = [0; 100];
    value[..8].copy_from_slice(&number.to_be_bytes());
    let mut builder = BatchBuilder::new();
    builder.push(wall_ms(), None, Some(&value), &[])?;
    Ok(Bytes::copy_from_slice(builder.finish()?))
}

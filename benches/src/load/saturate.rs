//! A producer that always has `in_flight_max` requests out: what a broker can take at most.

use std::collections::VecDeque;

use anyhow::Result;

use super::{Agent, BatchTemplate, ProducerIdentity, Recorder};
use crate::wire::{Connection, PartitionBatch, encode_produce, parse_produce};

pub struct Saturate {
    pub topic: String,
    /// Partitions that this producer writes to, in turn.
    pub partitions: Vec<i32>,
    /// Batches of one request, each to another partition.
    pub batches_per_request: usize,
    pub in_flight_max: usize,
    pub end_ns: u64,
}

struct Sent {
    at_ns: u64,
    records: u64,
    bytes: u64,
}

pub struct SaturatingProducer {
    plan: Saturate,
    connection: Connection,
    identity: ProducerIdentity,
    template: BatchTemplate,
    sequences: Vec<i32>,
    next: usize,
    in_flight: VecDeque<Sent>,
}

impl SaturatingProducer {
    pub fn new(
        plan: Saturate,
        connection: Connection,
        identity: ProducerIdentity,
        template: BatchTemplate,
    ) -> SaturatingProducer {
        let sequences = vec![0; plan.partitions.len()];
        let in_flight = VecDeque::with_capacity(plan.in_flight_max);
        SaturatingProducer { plan, connection, identity, template, sequences, next: 0, in_flight }
    }

    fn send(&mut self, now: u64) -> Result<()> {
        let mut batches = Vec::with_capacity(self.plan.batches_per_request);
        for _ in 0..self.plan.batches_per_request {
            let sequence = &mut self.sequences[self.next];
            let batch = self.template.stamped(self.identity, *sequence, None);
            *sequence = record::increment_sequence(*sequence, self.template.records as i32);
            batches.push(PartitionBatch { partition: self.plan.partitions[self.next], batch });
            self.next = (self.next + 1) % self.plan.partitions.len();
        }
        let correlation = self.connection.correlation();
        let frame = encode_produce(correlation, &self.plan.topic, &batches);
        let count = batches.len() as u64;
        self.in_flight.push_back(Sent {
            at_ns: now,
            records: count * self.template.records as u64,
            bytes: count * self.template.size() as u64,
        });
        self.connection.send(frame)
    }
}

impl Agent for SaturatingProducer {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn tick(&mut self, now: u64, _: &mut Recorder) -> Result<()> {
        while now < self.plan.end_ns && self.in_flight.len() < self.plan.in_flight_max {
            self.send(now)?;
        }
        Ok(())
    }

    fn answer(&mut self, now: u64, frame: &[u8], recorder: &mut Recorder) -> Result<()> {
        let mut refused = false;
        parse_produce(frame, |error| {
            refused |= error != 0;
            recorder.error(error);
        })?;
        let Some(sent) = self.in_flight.pop_front() else {
            anyhow::bail!("an answer to no request");
        };
        if !refused {
            recorder.acked(now, sent.at_ns, sent.records, sent.bytes);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.in_flight.is_empty()
    }
}

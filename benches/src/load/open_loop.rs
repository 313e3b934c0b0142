//! A producer at a fixed rate: every record has an intended time, whatever the broker does.
//!
//! As Java's producer with `linger.ms=0` does: a record is sent at once while fewer than
//! `in_flight_max` requests are out; otherwise records gather per partition, up to `batch_bytes`,
//! and go with the next request.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Result;
use bytes::Bytes;
use record::{BatchBuilder, ProducerFields};

use super::batch_maker::STAMP_BYTES;
use super::{Agent, Payload, ProducerIdentity, Recorder};
use crate::clock::wall_ms;
use crate::wire::{Connection, PartitionBatch, encode_produce, parse_produce};

#[derive(Clone)]
pub struct OpenLoop {
    pub topic: String,
    /// Those that get records, in turn.
    pub partitions: Vec<i32>,
    pub record_bytes: usize,
    pub per_second: f64,
    pub in_flight_max: usize,
    pub batch_bytes: usize,
    /// Records that fall due together, to one partition: 1 is one record per tick of the clock.
    pub burst: usize,
    pub begin_ns: u64,
    pub end_ns: u64,
}

pub struct OpenLoopProducer {
    plan: OpenLoop,
    connection: Connection,
    identity: Option<ProducerIdentity>,
    /// By place in the plan's partitions, as everywhere here.
    sequences: Vec<i32>,
    /// Intended time and partition of records not sent yet.
    due: VecDeque<(u64, usize)>,
    in_flight: VecDeque<Vec<u64>>,
    next_ns: f64,
    next_partition: usize,
    value: Vec<u8>,
    builder: BatchBuilder,
}

impl OpenLoopProducer {
    /// Without an identity the producer is not idempotent.
    pub fn new(plan: OpenLoop, connection: Connection, who: Option<ProducerIdentity>) -> Self {
        OpenLoopProducer {
            connection,
            identity: who,
            sequences: vec![0; plan.partitions.len()],
            due: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_ns: plan.begin_ns as f64,
            next_partition: 0,
            value: Payload::new(0x9e37_79b9).bytes(plan.record_bytes.max(STAMP_BYTES)),
            builder: BatchBuilder::with_capacity(plan.batch_bytes),
            plan,
        }
    }

    fn fall_due(&mut self, now: u64, recorder: &mut Recorder) {
        let step = 1e9 * self.plan.burst as f64 / self.plan.per_second;
        let until = now.min(self.plan.end_ns) as f64;
        while self.next_ns <= until && self.next_ns < self.plan.end_ns as f64 {
            let intended = self.next_ns as u64;
            for _ in 0..self.plan.burst {
                self.due.push_back((intended, self.next_partition));
            }
            if recorder.window.contains(intended) {
                recorder.intended_records += self.plan.burst as u64;
            }
            self.next_partition = (self.next_partition + 1) % self.plan.partitions.len();
            self.next_ns += step;
        }
    }

    fn send_due(&mut self) -> Result<()> {
        let mut gathered: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let overhead = 20;
        let per_batch = (self.plan.batch_bytes / (self.value.len() + overhead)).max(1);
        // one batch per partition and request, 1 MiB in all, as max.request.size has it
        let mut bytes = 0;
        while let Some(&(intended, partition)) = self.due.front() {
            let batch = gathered.entry(partition).or_default();
            if batch.len() == per_batch || bytes + self.value.len() > 1 << 20 {
                break;
            }
            batch.push(intended);
            bytes += self.value.len() + overhead;
            self.due.pop_front();
        }
        gathered.retain(|_, batch| !batch.is_empty());
        let mut batches = Vec::with_capacity(gathered.len());
        for (&partition, intended) in &gathered {
            let batch = self.build(partition, intended)?;
            let partition = self.plan.partitions[partition];
            batches.push(PartitionBatch { partition, batch });
        }
        let correlation = self.connection.correlation();
        let frame = encode_produce(correlation, &self.plan.topic, &batches);
        self.in_flight.push_back(gathered.into_values().flatten().collect());
        self.connection.send(frame)
    }

    fn build(&mut self, partition: usize, intended: &[u64]) -> Result<Bytes> {
        self.builder.clear();
        let sequence = &mut self.sequences[partition];
        if let Some(who) = self.identity {
            self.builder.set_producer(ProducerFields {
                producer_id: who.id,
                producer_epoch: who.epoch,
                base_sequence: *sequence,
            });
        }
        *sequence = record::increment_sequence(*sequence, intended.len() as i32);
        let now = wall_ms();
        for stamp in intended {
            self.value[..STAMP_BYTES].copy_from_slice(&stamp.to_be_bytes());
            self.builder.push(now, None, Some(&self.value), &[])?;
        }
        Ok(Bytes::copy_from_slice(self.builder.finish()?))
    }
}

impl Agent for OpenLoopProducer {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn tick(&mut self, now: u64, recorder: &mut Recorder) -> Result<()> {
        self.fall_due(now, recorder);
        while !self.due.is_empty() && self.in_flight.len() < self.plan.in_flight_max {
            self.send_due()?;
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
        if refused {
            return Ok(());
        }
        for &intended in &sent {
            recorder.produce_latency(now, intended);
        }
        recorder.all_requests += 1;
        if recorder.window.contains(now) {
            recorder.acked_requests += 1;
            recorder.acked_records += sent.len() as u64;
            recorder.acked_bytes += (sent.len() * self.value.len()) as u64;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.due.is_empty() && self.in_flight.is_empty()
    }
}

//! Reads a topic from its end of the moment on, always with one fetch out.
//!
//! Every first record of a batch carries its intended time; with `every_record` all of them do.

use anyhow::{Result, bail};

use super::batch_maker::STAMP_BYTES;
use super::{Agent, Recorder};
use crate::wire::{Connection, FetchPosition, encode_fetch, parse_fetch};

pub struct Consumer {
    connection: Connection,
    topic: String,
    positions: Vec<FetchPosition>,
    every_record: bool,
    waiting: bool,
    end_ns: u64,
}

impl Consumer {
    /// Reads these partitions from offset 0.
    pub fn new(
        connection: Connection,
        topic: &str,
        partitions: Vec<i32>,
        every_record: bool,
        end_ns: u64,
    ) -> Consumer {
        let at = |partition| FetchPosition { partition, offset: 0 };
        Consumer {
            connection,
            topic: topic.to_owned(),
            positions: partitions.into_iter().map(at).collect(),
            every_record,
            waiting: false,
            end_ns,
        }
    }
}

impl Agent for Consumer {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn tick(&mut self, now: u64, _: &mut Recorder) -> Result<()> {
        if self.waiting || now > self.end_ns {
            return Ok(());
        }
        self.waiting = true;
        let correlation = self.connection.correlation();
        let frame = encode_fetch(correlation, &self.topic, &self.positions, 1 << 20)?;
        self.connection.send(frame)
    }

    fn answer(&mut self, now: u64, frame: &[u8], recorder: &mut Recorder) -> Result<()> {
        self.waiting = false;
        let mut failed = Ok(());
        let positions = &mut self.positions;
        let every_record = self.every_record;
        let error = parse_fetch(frame, |part| {
            recorder.error(part.error_code);
            let position = positions.iter_mut().find(|p| p.partition == part.index);
            if let Some(position) = position
                && let Err(e) = take(now, &part.records, position, every_record, recorder)
            {
                failed = Err(e);
            }
        })?;
        recorder.error(error);
        failed
    }

    fn is_done(&self) -> bool {
        true
    }
}

fn take(
    now: u64,
    records: &[u8],
    position: &mut FetchPosition,
    every_record: bool,
    recorder: &mut Recorder,
) -> Result<()> {
    for batch in record::batches(records) {
        // the last batch may be cut off at the size limit
        let Ok(batch) = batch else { return Ok(()) };
        if batch.header.base_offset > position.offset {
            bail!("offsets {} to {} are missing", position.offset, batch.header.base_offset);
        }
        let stamps = if every_record { usize::MAX } else { 1 };
        for read in batch.records()?.take(stamps) {
            let Ok(read) = read else { bail!("a record that cannot be read") };
            if let Some(stamp) = read.value.and_then(|v| v.first_chunk::<STAMP_BYTES>()) {
                recorder.end_to_end_latency(now, u64::from_be_bytes(*stamp));
            }
        }
        let count = batch.header.next_offset() - position.offset;
        recorder.consumed(now, count as u64, batch.header.size as u64);
        position.offset = batch.header.next_offset();
    }
    Ok(())
}

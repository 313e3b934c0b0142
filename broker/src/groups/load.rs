//! Loading a coordinator: its partition is read from the start, and every record replayed.
//!
//! Until that is done requests are answered COORDINATOR_LOAD_IN_PROGRESS. The topic is compacted, so what is read is
//! about what is kept in memory afterwards.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use coordinator::GroupCoordinator;
use record::{BatchError, Codec, Records};
use runtime::time::Instant;

use super::registry::settings;
use super::seat::Seat;
use crate::fetch::{ReadError, ReadLimits, ReadPart};
use crate::ids::PartitionId;
use crate::shard::Shard;

/// Read at a time.
const READ_BYTES: usize = 1 << 20;
/// Between attempts while segments cannot be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a partition is not loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl Seat {
    /// Loads and opens the seat; tries again while the partition cannot be read.
    pub(super) async fn load(self: Rc<Self>, shard: Rc<Shard>) {
        loop {
            let began = Instant::now();
            match self.read_partition(&shard).await {
                Ok(coordinator) => {
                    tracing::debug!(
                        partition = ?self.partition,
                        groups = coordinator.groups(),
                        took = ?began.elapsed(),
                        "coordinator loaded"
                    );
                    return self.open(&shard, coordinator);
                }
                // the next leadership comes with another seat
                Err(LoadError::Read(ReadError::UnknownPartition | ReadError::NotLeader)) => return,
                Err(error) => {
                    tracing::error!(partition = ?self.partition, %error, "coordinator not loaded");
                    runtime::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn read_partition(&self, shard: &Rc<Shard>) -> Result<GroupCoordinator, LoadError> {
        let group = {
            let partition = shard.partition(self.partition).ok_or(ReadError::UnknownPartition)?;
            let state = partition.state.borrow();
            state.group
        };
        // everything of earlier terms must have been applied, or the end would be too low
        shard.raft.ready(group).await.map_err(|_| ReadError::UnknownPartition)?;
        let partition = shard.partition(self.partition).ok_or(ReadError::UnknownPartition)?;
        let (start, end) = {
            let state = partition.state.borrow();
            (state.log_start_offset(), state.high_watermark())
        };
        let mut coordinator = GroupCoordinator::new(settings(&shard.node.config));
        let mut offset = start;
        while offset < end {
            let chunks = read_chunk(shard, self.partition, offset).await?;
            let before = offset;
            for chunk in &chunks {
                offset = offset.max(replay(shard, &mut coordinator, chunk, start)?);
            }
            if offset == before {
                break;
            }
            runtime::task::yield_if_needed().await;
        }
        Ok(coordinator)
    }
}

async fn read_chunk(
    shard: &Rc<Shard>,
    partition: PartitionId,
    offset: i64,
) -> Result<Vec<Bytes>, ReadError> {
    let part = ReadPart {
        slot: 0,
        partition,
        offset,
        bytes_max: Some(READ_BYTES),
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        preferred: None,
    };
    let limits = ReadLimits {
        bytes_max: READ_BYTES,
        bytes_min: 0,
        read_committed: false,
        from_any_replica: false,
        deadline: Instant::now(),
    };
    let mut answers = shard.read_parts(&[part], &limits).await;
    let (_, read) = answers.pop().ok_or(ReadError::UnknownPartition)?;
    Ok(read?.records)
}

/// Replays whole batches; returns the offset behind them.
fn replay(
    shard: &Shard,
    coordinator: &mut GroupCoordinator,
    bytes: &[u8],
    log_start_offset: i64,
) -> Result<i64, BatchError> {
    let mut next_offset = 0;
    for batch in record::batches(bytes) {
        let batch = batch?;
        batch.verify_crc()?;
        next_offset = batch.header.next_offset();
        if batch.header.is_control() {
            continue;
        }
        match batch.header.attributes.codec()? {
            Codec::None => replay_records(coordinator, batch.records()?, log_start_offset)?,
            codec => {
                let mut scratch = shard.scratch.borrow_mut();
                let plain = scratch.decompressor().decompress(codec, batch.records_bytes())?;
                let records = Records::new(&batch.header, plain);
                replay_records(coordinator, records, log_start_offset)?;
            }
        }
    }
    Ok(next_offset)
}

fn replay_records(
    coordinator: &mut GroupCoordinator,
    mut records: Records<'_>,
    log_start_offset: i64,
) -> Result<(), BatchError> {
    while let Some(record) = records.next() {
        let record = record?;
        let offset = records.offset_of(&record);
        let Some(key) = record.key.filter(|_| offset >= log_start_offset) else { continue };
        match coordinator.replay(key, record.value) {
            Ok(true) => {}
            Ok(false) => {
                tracing::debug!(offset, "a record of another kind of group is passed over")
            }
            // one damaged record must not make all groups of the partition unavailable
            Err(error) => tracing::error!(offset, %error, "a record of a group cannot be read"),
        }
    }
    Ok(())
}

//! What a clean stop leaves beside the partition directories so that Apache Kafka can start on them.
//!
//! Lives on: shard 0, at the end of a stop and at the start. Millrace itself never reads these files; a crash leaves
//! none, and Kafka then recovers the segments by itself.

use std::path::Path;
use std::rc::Rc;

use storage::checkpoint::CheckpointError;
use storage::checkpoint::kafka_files::{self, PartitionOffset};

use crate::shard::Shard;

/// One partition at the stop: topic, index, log start, end.
pub type Left = (String, i32, i64, i64);

impl Shard {
    /// The partitions of this shard that hold or held something.
    pub(super) async fn left_behind(self: Rc<Self>) -> Vec<Left> {
        let image = self.image();
        let left = |partition: Rc<crate::shard::Partition>| {
            let state = partition.state.borrow();
            let topic = image.topic_by_id(partition.id.topic)?;
            let (start, end) = (state.log_start_offset(), state.high_watermark());
            (!state.is_untouched())
                .then(|| (topic.name.to_string(), partition.id.index, start, end))
        };
        self.owned().into_iter().filter_map(left).collect()
    }
}

/// Writes the offset files and the mark of a clean stop.
///
/// # Errors
/// [`CheckpointError`]: Kafka would have to recover the segments; nothing of ours is touched.
pub async fn write(dir: &Path, mut left: Vec<Left>) -> Result<(), CheckpointError> {
    left.sort();
    let offsets = |pick: fn(&Left) -> i64| -> Vec<PartitionOffset> {
        let one =
            |l: &Left| PartitionOffset { topic: l.0.clone(), partition: l.1, offset: pick(l) };
        left.iter().map(one).collect()
    };
    let ends = offsets(|l| l.3);
    kafka_files::write_offsets(dir, kafka_files::RECOVERY_POINTS, &ends).await?;
    kafka_files::write_offsets(dir, kafka_files::HIGH_WATERMARKS, &ends).await?;
    let starts = offsets(|l| l.2);
    kafka_files::write_offsets(dir, kafka_files::LOG_START_OFFSETS, &starts).await?;
    kafka_files::write_clean_shutdown(dir, -1).await
}

/// Takes the mark away before anything is written.
///
/// # Errors
/// [`CheckpointError`].
pub async fn begin(dir: &Path) -> Result<(), CheckpointError> {
    kafka_files::remove_clean_shutdown(dir).await
}

//! The topic settings that a log obeys, under Kafka's names.

/// Settings of one log; shared by the partitions of a topic. Defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it grows beyond.
    pub segment_bytes: u32,
    /// `segment.ms`: and when a batch is this much younger than the segment's first.
    pub segment_ms: i64,
    /// `index.interval.bytes`: bytes of batches between index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: a segment is closed when one of its indexes has grown to this.
    pub segment_index_bytes: u32,
    /// `retention.ms`; below zero: no limit.
    pub retention_ms: i64,
    /// `retention.bytes`; below zero: no limit.
    pub retention_bytes: i64,
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `min.compaction.lag.ms`: a segment with a younger record is not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: one that was never compacted and whose records are all older is
    /// due, however few bytes it has.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long compaction keeps a tombstone.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted file stays for those who still read it.
    pub file_delete_delay_ms: u64,
    /// `producer.id.expiration.ms`: producers not heard of for this long leave the snapshots.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            retention_ms: 7 * 24 * 3600 * 1000,
            retention_bytes: -1,
            delete: true,
            compact: false,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3600 * 1000,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: 24 * 3600 * 1000,
        }
    }
}

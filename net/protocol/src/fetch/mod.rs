//! Fetch, versions 4 to 18, without `kafka-protocol`: requests are read where they lie, answers are
//! fields in one buffer with record bytes attached.

mod request;
mod response;

pub use request::{
    FetchPartition, FetchPartitions, FetchRequestView, FetchTopic, FetchTopics, ForgottenTopic,
    ForgottenTopics,
};
pub use response::{
    AbortedTransaction, DivergingEpoch, FetchResponseWriter, FetchResult, PartitionData,
    SnapshotId, read_fetch_response,
};

/// First version in the flexible encoding.
pub(crate) const FLEXIBLE_FROM: i16 = 12;
/// First version that names topics by id.
pub(crate) const TOPIC_IDS_FROM: i16 = 13;
/// First version with fetch sessions.
pub(crate) const SESSIONS_FROM: i16 = 7;

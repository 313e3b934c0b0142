//! Fetch, versions 4 to 18, without `kafka-protocol`: requests are read where they lie, answers are
//! fields in one buffer with record bytes attached.

mod request;
mod response;
mod versions;

pub use request::{
    FetchPartition, FetchPartitions, FetchRequestView, FetchTopic, FetchTopics, ForgottenTopic,
    ForgottenTopics,
};
pub use response::{
    AbortedTransaction, DivergingEpoch, FetchResponseWriter, FetchResult, PartitionData,
    SnapshotId, read_fetch_response,
};

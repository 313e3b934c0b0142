//! Produce, versions 3 to 13, without `kafka-protocol`: requests are read where they lie, answers
//! are written in one pass into one buffer. The other direction is for tools.

mod request;
mod response;
mod versions;

pub use request::{
    ProducePart, ProducePartition, ProducePartitions, ProduceRequestView, ProduceTopic,
    ProduceTopics, encode_produce_request,
};
pub use response::{
    CurrentLeader, NodeEndpoint, PartitionOutcome, ProduceResponseWriter, ProduceResult,
    RecordErrorEntry, read_produce_response,
};

pub(crate) use response::{put_endpoints, put_leader};

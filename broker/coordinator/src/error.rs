//! What can go wrong: answers to clients, and records that cannot be read.

use thiserror::Error;

/// The error codes a coordinator answers with; the broker maps each to Kafka's number.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum GroupError {
    #[error("the append failed for a reason the client cannot change")]
    UnknownServerError,
    #[error("committed metadata is too long")]
    OffsetMetadataTooLarge,
    #[error("the coordinator is loading its partition")]
    CoordinatorLoadInProgress,
    #[error("the coordinator cannot write for the moment")]
    CoordinatorNotAvailable,
    #[error("another shard or node is the coordinator")]
    NotCoordinator,
    #[error("the generation is not the group's current one")]
    IllegalGeneration,
    #[error("protocol type or protocols do not fit those of the group")]
    InconsistentGroupProtocol,
    #[error("the group id is empty")]
    InvalidGroupId,
    #[error("the group does not know the member")]
    UnknownMemberId,
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    #[error("the group is rebalancing; join again")]
    RebalanceInProgress,
    #[error("the group still has members")]
    NonEmptyGroup,
    #[error("the group does not exist")]
    GroupIdNotFound,
    #[error("join again with the member id given")]
    MemberIdRequired,
    #[error("the group has its maximum of members")]
    GroupMaxSizeReached,
    #[error("another member took over the instance id")]
    FencedInstanceId,
    #[error("the coordinator holds its maximum of groups or offsets")]
    InvalidCommitOffsetSize,
    #[error("a member subscribes to the topic")]
    GroupSubscribedToTopic,
}

/// A record of `__consumer_offsets` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("{what} ends after {present} bytes, {needed} more are needed")]
    Truncated { what: &'static str, needed: usize, present: usize },
    #[error("{what} has version {version}, the highest known is {highest}")]
    UnknownVersion { what: &'static str, version: i16, highest: i16 },
    #[error("{what} holds length {length}")]
    BadLength { what: &'static str, length: i64 },
    #[error("{what} is not UTF-8")]
    NotUtf8 { what: &'static str },
}

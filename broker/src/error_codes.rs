//! The one map from the broker's errors to Kafka's error codes.
//!
//! Exhaustive matches only: a new variant does not compile until it has a code here.

use coordinator::GroupError;
use protocol::ErrorCode;
use record::RefusalKind;

use crate::cluster::{UnregisterRefusal, VoterRefusal};
use crate::fetch::{ReadError, SessionError};
use crate::partition::SequenceError;
use crate::shard::{AppendError, ChangeError, LookupError};

/// An error that has a code on the wire.
pub trait KafkaCode {
    /// Its code.
    fn code(&self) -> ErrorCode;
}

impl KafkaCode for AppendError {
    fn code(&self) -> ErrorCode {
        match self {
            AppendError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            AppendError::NotLeader | AppendError::TooEarly | AppendError::Stopping => {
                ErrorCode::NotLeaderOrFollower
            }
            AppendError::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
            AppendError::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
            AppendError::DiskFull => ErrorCode::KafkaStorageError,
            AppendError::Batch(refusal) => refusal.kind().code(),
            AppendError::Sequence(e) => e.code(),
            AppendError::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            AppendError::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}

impl KafkaCode for GroupError {
    fn code(&self) -> ErrorCode {
        match self {
            GroupError::UnknownServerError => ErrorCode::UnknownServerError,
            GroupError::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            GroupError::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
            GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
            GroupError::NotCoordinator => ErrorCode::NotCoordinator,
            GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
            GroupError::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
            GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
            GroupError::UnknownMemberId => ErrorCode::UnknownMemberId,
            GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            GroupError::NonEmptyGroup => ErrorCode::NonEmptyGroup,
            GroupError::GroupIdNotFound => ErrorCode::GroupIdNotFound,
            GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
            GroupError::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
            GroupError::InvalidCommitOffsetSize => ErrorCode::InvalidCommitOffsetSize,
            GroupError::FencedInstanceId => ErrorCode::FencedInstanceId,
            GroupError::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        }
    }
}

impl KafkaCode for RefusalKind {
    fn code(&self) -> ErrorCode {
        match self {
            RefusalKind::CorruptMessage => ErrorCode::CorruptMessage,
            RefusalKind::InvalidRecord => ErrorCode::InvalidRecord,
            RefusalKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
            RefusalKind::MessageTooLarge => ErrorCode::MessageTooLarge,
            RefusalKind::UnsupportedCompressionType => ErrorCode::UnsupportedCompressionType,
            RefusalKind::Unknown => ErrorCode::UnknownServerError,
        }
    }
}

impl KafkaCode for SequenceError {
    fn code(&self) -> ErrorCode {
        match self {
            SequenceError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        }
    }
}

impl KafkaCode for ReadError {
    fn code(&self) -> ErrorCode {
        match self {
            ReadError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ReadError::NotLeader => ErrorCode::NotLeaderOrFollower,
            ReadError::OutOfRange => ErrorCode::OffsetOutOfRange,
            ReadError::FencedEpoch => ErrorCode::FencedLeaderEpoch,
            ReadError::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
            ReadError::NotAvailable => ErrorCode::OffsetNotAvailable,
            ReadError::Storage => ErrorCode::KafkaStorageError,
            ReadError::Corrupt => ErrorCode::CorruptMessage,
            ReadError::NegativeLimit => ErrorCode::UnknownServerError,
        }
    }
}

impl KafkaCode for SessionError {
    fn code(&self) -> ErrorCode {
        match self {
            SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
            SessionError::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
            SessionError::TopicIds => ErrorCode::FetchSessionTopicIdError,
        }
    }
}

impl KafkaCode for ChangeError {
    fn code(&self) -> ErrorCode {
        match self {
            ChangeError::NotController | ChangeError::Stopping => ErrorCode::NotController,
        }
    }
}

impl KafkaCode for VoterRefusal {
    fn code(&self) -> ErrorCode {
        match self {
            VoterRefusal::NotLeader => ErrorCode::NotController,
            VoterRefusal::Alone => ErrorCode::UnsupportedVersion,
            VoterRefusal::Duplicate { .. } => ErrorCode::DuplicateVoter,
            VoterRefusal::NotFound { .. } => ErrorCode::VoterNotFound,
            VoterRefusal::OtherDirectory { .. } | VoterRefusal::NoMajority { .. } => {
                ErrorCode::InvalidRequest
            }
            VoterRefusal::TimedOut(_) => ErrorCode::RequestTimedOut,
        }
    }
}

impl KafkaCode for UnregisterRefusal {
    fn code(&self) -> ErrorCode {
        match self {
            UnregisterRefusal::Unknown { .. } => ErrorCode::BrokerIdNotRegistered,
            UnregisterRefusal::Alive { .. } | UnregisterRefusal::Votes { .. } => {
                ErrorCode::InvalidRequest
            }
        }
    }
}

impl KafkaCode for LookupError {
    fn code(&self) -> ErrorCode {
        match self {
            LookupError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            LookupError::FencedEpoch => ErrorCode::FencedLeaderEpoch,
            LookupError::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
            LookupError::OutOfRange => ErrorCode::OffsetOutOfRange,
            LookupError::PolicyViolation => ErrorCode::PolicyViolation,
            LookupError::NotLeader => ErrorCode::NotLeaderOrFollower,
            LookupError::Storage => ErrorCode::KafkaStorageError,
            LookupError::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}

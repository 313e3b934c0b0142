//! What can go wrong between a client and a broker, told to a person.

use protocol::{DecodeError, EncodeError, ErrorCode};
use record::{BatchError, BuildError};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{address}` is not an address; write host:port, for example localhost:9092")]
    Address { address: String },
    #[error(
        "cannot connect to {address} ({cause}); is the broker running? name it with --bootstrap host:port"
    )]
    Connect { address: String, cause: std::io::Error },
    #[error(
        "the connection to {address} broke ({cause}); try again, and look into the broker's log"
    )]
    Broken { address: String, cause: std::io::Error },
    #[error("{address} closed the connection; does it speak the Kafka protocol without TLS there?")]
    Closed { address: String },
    #[error(
        "{address} sent {bytes} bytes as the size of an answer; it does not speak the Kafka protocol"
    )]
    AnswerSize { address: String, bytes: i32 },
    #[error("{address} answered request {got} instead of {expected}")]
    AnswerOrder { address: String, expected: i32, got: i32 },
    #[error("{address} does not serve {api} in a version that this client knows")]
    NotServed { address: String, api: String },
    #[error("{what}: {reason} ({})", code.name())]
    Refused { what: String, code: ErrorCode, reason: String },
    #[error("{what}: the broker answered with error {code}, which this client does not know")]
    UnknownCode { what: String, code: i16 },
    #[error("topic {topic} does not exist; create it with: millrace topic create {topic}")]
    NoTopic { topic: String },
    #[error("topic {topic} has no partition {partition}; it has {partitions}")]
    NoPartition { topic: String, partition: i32, partitions: usize },
    #[error("group {group} does not exist; `millrace group list` shows those that do")]
    NoGroup { group: String },
    #[error("partition {partition} of topic {topic} has no leader now; try again")]
    NoLeader { topic: String, partition: i32 },
    #[error("partition {partition} of {topic} holds bytes that are no records: {cause}")]
    Records { topic: String, partition: i32, cause: BatchError },
    #[error("the records cannot be written as a batch: {0}")]
    Build(#[from] BuildError),
    #[error("the answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("the request cannot be written: {0}")]
    Encode(#[from] EncodeError),
}

impl ClientError {
    /// Nothing for code 0, else what the broker refused, in its own words if it has some.
    pub fn check(
        what: impl FnOnce() -> String,
        code: i16,
        message: Option<&str>,
    ) -> Result<(), Self> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Ok(()),
            None => Err(Self::UnknownCode { what: what(), code }),
            Some(code) => {
                let own = message.map(str::trim).filter(|message| !message.is_empty());
                let reason = own.map_or_else(|| explain(code).to_owned(), str::to_owned);
                Err(Self::Refused { what: what(), code, reason })
            }
        }
    }

    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// For codes that a person meets and that come without a message.
fn explain(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition => "there is no such topic or partition",
        ErrorCode::TopicAlreadyExists => "there is a topic of that name already",
        ErrorCode::InvalidTopicException => "that is not a valid topic name",
        ErrorCode::MessageTooLarge => "a record is larger than max.message.bytes of the topic",
        ErrorCode::OffsetOutOfRange => "that offset is not in the log; read from beginning or end",
        ErrorCode::GroupIdNotFound => "there is no such group",
        ErrorCode::NonEmptyGroup => "the group still has members",
        ErrorCode::RequestTimedOut => "the broker did not get it done in time; try again",
        _ => "the broker refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_brokers_words_or_in_ours() {
        let what = || "create topic t".to_owned();
        assert!(ClientError::check(what, 0, None).is_ok());
        let own = ClientError::check(what, 36, Some("Topic 't' already exists.")).unwrap_err();
        assert_eq!(
            own.to_string(),
            "create topic t: Topic 't' already exists. (TOPIC_ALREADY_EXISTS)"
        );
        let ours = ClientError::check(what, 36, Some("")).unwrap_err();
        assert!(ours.to_string().contains("there is a topic of that name already"));
        assert!(ClientError::check(what, 9999, None).unwrap_err().to_string().contains("9999"));
    }
}

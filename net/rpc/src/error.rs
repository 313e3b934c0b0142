//! What can go wrong, by whom it concerns: who sends, who calls, and why a connection ended.

use std::io;

use crate::Refusal;

/// A message was not queued. Messages may be lost anyway; this one surely is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("node {0} has no known address")]
    UnknownNode(i32),
    /// There is no connection, and the next attempt is not due yet.
    #[error("node {0} cannot be reached at the moment")]
    Unreachable(i32),
    #[error("{queued_bytes} bytes wait for node {node} already")]
    Full { node: i32, queued_bytes: usize },
    #[error("{bytes} bytes are above the limit of {bytes_max} for a frame")]
    TooLarge { bytes: usize, bytes_max: usize },
}

/// A call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It never left this node: [`SendError::UnknownNode`], a full queue, too large.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// No connection could be made; the other side has not seen the call.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The other side, or this one, has refused the connection.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The connection ended before the answer came: the call may have been carried out or not.
    #[error("the connection was lost before the answer came: {0}")]
    Lost(String),
    /// The time limit ran out: the call may have been carried out or not.
    #[error("no answer in time")]
    Timeout,
    /// The other side has answered that it cannot.
    #[error("the other side answered: {0}")]
    Failed(#[from] CallFailure),
}

/// The answer of a handler that cannot do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct CallFailure {
    /// The application's; the numbers above [`CallFailure::BUSY`] are this crate's.
    pub code: u16,
    /// One sentence, at most [`CallFailure::REASON_BYTES_MAX`] bytes of it travel.
    pub reason: String,
}

impl CallFailure {
    /// Too many calls at once, or too many bytes of answers. Try again later.
    pub const BUSY: u16 = 0xff00;
    /// The handler knows no such method.
    pub const UNKNOWN_METHOD: u16 = 0xff01;
    /// The answer is larger than a frame.
    pub const TOO_LARGE: u16 = 0xff02;

    pub const REASON_BYTES_MAX: usize = 1024;

    pub fn new(code: u16, reason: impl Into<String>) -> CallFailure {
        CallFailure { code, reason: reason.into() }
    }

    /// For methods that a handler does not know.
    pub fn unknown_method(method: u16) -> CallFailure {
        CallFailure::new(CallFailure::UNKNOWN_METHOD, format!("unknown method {method}"))
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the other side has closed it")]
    Closed,
    #[error("it was silent for too long")]
    Silent,
    #[error("connecting took too long")]
    ConnectTimeout,
    /// A newer connection of the same peer shard took its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The other side does not keep to the protocol.
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    /// The handler does not understand what came.
    #[error("bad message: {0}")]
    Message(#[from] BadMessage),
}

impl Ended {
    /// Whether the other side did something that no correct peer does. One that is killed leaves
    /// half a frame.
    pub fn is_misbehaviour(&self) -> bool {
        let cut = matches!(self, Ended::Frame(FrameError::Cut));
        !cut && matches!(self, Ended::Refused(_) | Ended::Frame(_) | Ended::Message(_))
    }
}

/// What came on a connection is not a frame that may come there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the checksum of a frame's header is wrong")]
    HeaderChecksum,
    #[error("the checksum of a frame's body is wrong")]
    BodyChecksum,
    #[error("unknown kind of frame {0}")]
    UnknownKind(u8),
    #[error("a frame of kind {0} does not travel in this direction")]
    Unexpected(u8),
    #[error("{bytes} bytes are above the limit of {bytes_max} for a frame")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("an answer to call {0}, which was never made")]
    UnknownCall(u64),
    #[error("a failure without a code")]
    ShortFailure,
    #[error("the stream ends within a frame")]
    Cut,
}

/// A handler does not understand a message; the connection that brought it ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMessage(pub String);

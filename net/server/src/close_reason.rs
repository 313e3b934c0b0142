//! Why a connection ended, named by whose doing it was.

use std::{borrow::Cow, io, time::Duration};

use protocol::HeaderError;

use crate::frame::FrameError;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    #[error("the client closed it")]
    Client,
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("a request header does not parse: {0}")]
    Header(#[from] HeaderError),
    #[error("{0}")]
    Service(Cow<'static, str>),
    #[error("a request was not complete after {waited:?}")]
    PartialFrame { waited: Duration },
    #[error("no traffic for {waited:?}")]
    Idle { waited: Duration },
    #[error("the client took none of its answers for {waited:?}")]
    SlowReader { waited: Duration },
    #[error("the node stops")]
    Stopped,
    #[error("the node stops and did not wait any longer")]
    Abandoned,
}

impl CloseReason {
    /// Whether answers were written before the end that the client may still have to receive.
    pub(crate) fn follows_answers(&self) -> bool {
        match self {
            CloseReason::Frame(_)
            | CloseReason::Header(_)
            | CloseReason::Service(_)
            | CloseReason::Stopped => true,
            CloseReason::Client
            | CloseReason::Socket(_)
            | CloseReason::PartialFrame { .. }
            | CloseReason::Idle { .. }
            | CloseReason::SlowReader { .. }
            | CloseReason::Abandoned => false,
        }
    }

    pub(crate) const KINDS: usize = 10;
    /// Names of what counts them, in the order of [`CloseReason::kind`].
    pub(crate) const METRICS: [&'static str; Self::KINDS] = [
        "closed_by_client",
        "closed_by_socket_error",
        "closed_for_frame",
        "closed_for_header",
        "closed_by_service",
        "closed_for_partial_frame",
        "closed_for_idling",
        "closed_for_slow_reading",
        "closed_by_stop",
        "closed_by_abandoning",
    ];

    pub(crate) fn kind(&self) -> usize {
        match self {
            CloseReason::Client => 0,
            CloseReason::Socket(_) => 1,
            CloseReason::Frame(_) => 2,
            CloseReason::Header(_) => 3,
            CloseReason::Service(_) => 4,
            CloseReason::PartialFrame { .. } => 5,
            CloseReason::Idle { .. } => 6,
            CloseReason::SlowReader { .. } => 7,
            CloseReason::Stopped => 8,
            CloseReason::Abandoned => 9,
        }
    }
}

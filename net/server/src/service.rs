//! The seam between the server and what answers requests.
//!
//! Order on one connection, the contract both sides rely on:
//! - answers are written in the order of their requests, always;
//! - calls are started in that order, each polled until its first wait before the next is started,
//!   so effects made before a call's first wait have the order of the requests;
//! - a request that is a [`Pipelining::Barrier`] starts when all earlier calls have answered, and
//!   later ones start when it has answered. That is Kafka's rule for all requests;
//! - neighbours that are all [`Pipelining::Overlap`] run side by side, at most
//!   [`Options::calls_max`](crate::Options::calls_max) of them;
//! - a call that was started is polled to its end, also when its client is gone. Only the last
//!   deadline of a stop cuts calls short.
//!
//! A call is kept in a slot that is reused, moved there once: keep its future small (a few hundred
//! bytes) and `Box::pin` the rare, large ones inside.

use std::{borrow::Cow, future::Future, rc::Rc, time::Duration};

use bytes::Bytes;
use protocol::RequestHeader;
use runtime::time::Instant;

use crate::connection_info::ConnectionInfo;

/// Answers the requests of a shard's connections.
pub trait Service: 'static {
    /// Whether requests of this API may run beside their neighbours; see the module's contract.
    fn pipelining(&self, api_key: i16) -> Pipelining;

    /// Answers one request. The header's API and version may be any; those that are not served get
    /// [`Reply::close`], except ApiVersions.
    fn call(
        self: Rc<Self>,
        connection: Rc<ConnectionInfo>,
        request: Request,
    ) -> impl Future<Output = Reply> + 'static;

    /// The connection is gone and none of its calls runs any more.
    fn closed(&self, _connection: &ConnectionInfo) {}
}

/// How a request stands to its neighbours on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipelining {
    /// Alone: after everything earlier, before everything later.
    Barrier,
    /// Beside other requests that overlap.
    Overlap,
}

/// One request as it came.
#[derive(Debug)]
pub struct Request {
    pub header: RequestHeader,
    /// What follows the header. Shares memory with its neighbours' bodies: drop it when decoded,
    /// or copy what is kept for long.
    pub body: Bytes,
    /// When its last byte was read.
    pub received: Instant,
}

/// What becomes of a request.
#[derive(Debug)]
pub struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) mute: Duration,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Frame(Bytes),
    Segments(Vec<Bytes>),
    Nothing,
    Close(Cow<'static, str>),
}

impl Reply {
    /// A whole answer: length field, header, body.
    pub fn frame(frame: Bytes) -> Reply {
        Outcome::Frame(frame).into()
    }

    /// A whole answer in pieces that are written one after the other without being copied.
    pub fn segments(segments: Vec<Bytes>) -> Reply {
        Outcome::Segments(segments).into()
    }

    /// No answer: a produce with acks=0 that went well.
    pub fn nothing() -> Reply {
        Outcome::Nothing.into()
    }

    /// The connection is closed, after the answers to earlier requests are written. `reason` goes
    /// to the debug log.
    pub fn close(reason: impl Into<Cow<'static, str>>) -> Reply {
        Outcome::Close(reason.into()).into()
    }

    /// After this answer no further request of the connection is started for `duration` (KIP-219:
    /// a throttled client gets its answer first and is held back after).
    pub fn then_mute(self, duration: Duration) -> Reply {
        Reply { mute: duration, ..self }
    }
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Reply {
        Reply { outcome, mute: Duration::ZERO }
    }
}

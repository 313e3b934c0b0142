//! What goes into a coordinator and what comes out.

use std::sync::Arc;

use bytes::Bytes;

use crate::{GroupError, Request, Response};

/// Names a waiting request for the shell; opaque here.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestToken(pub u64);

/// Names an append; tickets of one coordinator rise by one.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One thing that happens to a coordinator.
#[derive(Clone, Debug)]
pub enum Event {
    Request(RequestToken, Request),
    /// The deadline has passed (or may have: a tick that comes early does nothing).
    Tick,
    /// Every append up to and including this ticket is committed.
    Appended(Ticket),
    /// This append and all later ones will never be committed.
    AppendFailed(Ticket, AppendFailure),
    /// The topics are gone; their offsets go too.
    TopicsDeleted(Vec<Arc<str>>),
}

/// Why an append will not be committed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AppendFailure {
    /// Full disk, too few replicas, a timeout: it may work later.
    NotAvailable,
    /// This node or shard no longer leads the partition.
    NotLeader,
    /// The records are larger than the topic allows.
    TooLarge,
}

impl AppendFailure {
    pub(crate) fn as_group_error(self) -> GroupError {
        match self {
            AppendFailure::NotAvailable => GroupError::CoordinatorNotAvailable,
            AppendFailure::NotLeader => GroupError::NotCoordinator,
            AppendFailure::TooLarge => GroupError::UnknownServerError,
        }
    }
}

/// One record for the partition; no value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// Records to be written as one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub ticket: Ticket,
    pub records: Vec<Record>,
}

/// What the shell has to do; empty vectors allocate nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// In this order.
    pub appends: Vec<Append>,
    pub responses: Vec<(RequestToken, Response)>,
}

impl Effects {
    pub(crate) fn respond(&mut self, token: RequestToken, response: Response) {
        self.responses.push((token, response));
    }
}

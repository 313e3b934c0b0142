//! One member of a classic group.

use std::sync::Arc;

use bytes::Bytes;

use crate::deadlines::Session;
use crate::record::MemberValue;
use crate::{DescribedMember, JoinedMember, Protocol, RequestToken, Settings};

/// Owner: its [`crate::group::ClassicGroup`], keyed by `id`.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    /// A static member; fixed for its life.
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// In the member's order of preference.
    pub(crate) protocols: Vec<Protocol>,
    /// Empty until the leader's sync is stored; reset when a sync fails.
    pub(crate) assignment: Bytes,
    /// The parked JoinGroup. Set and cleared only by the group, which counts these.
    pub(crate) awaiting_join: Option<RequestToken>,
    /// The parked SyncGroup.
    pub(crate) awaiting_sync: Option<RequestToken>,
    /// From its first join to the end of that join phase: such a member does not know its id yet.
    pub(crate) is_new: bool,
    pub(crate) session: Session,
}

impl Member {
    pub(crate) fn from_value(value: &MemberValue, protocol_name: &Arc<str>) -> Self {
        Member {
            id: value.member_id.clone(),
            instance_id: value.instance_id.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            rebalance_timeout_ms: match value.rebalance_timeout_ms {
                -1 => value.session_timeout_ms,
                timeout_ms => timeout_ms,
            },
            session_timeout_ms: value.session_timeout_ms,
            protocols: vec![Protocol {
                name: protocol_name.clone(),
                metadata: value.subscription.clone(),
            }],
            assignment: value.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            session: Session::default(),
        }
    }

    pub(crate) fn to_value(&self, protocol_name: Option<&str>, assignment: Bytes) -> MemberValue {
        MemberValue {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol_name),
            assignment,
        }
    }

    pub(crate) fn to_joined(&self, protocol_name: Option<&str>) -> JoinedMember {
        JoinedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol_name),
        }
    }

    /// With metadata only if a protocol is named.
    pub(crate) fn to_described(&self, protocol_name: Option<&str>) -> DescribedMember {
        DescribedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: self.metadata(protocol_name),
            assignment: self.assignment.clone(),
        }
    }

    /// What [`Settings::members_bytes_max`] counts.
    pub(crate) fn memory_bytes(&self) -> usize {
        Settings::MEMBER_BYTES + metadata_bytes(&self.protocols)
    }

    /// Empty if the member does not support the protocol.
    pub(crate) fn metadata(&self, protocol_name: Option<&str>) -> Bytes {
        self.protocols
            .iter()
            .find(|protocol| Some(&*protocol.name) == protocol_name)
            .map(|protocol| protocol.metadata.clone())
            .unwrap_or_default()
    }

    /// A member that waits for the group need not send heartbeats; a new one is timed nevertheless,
    /// because nobody would notice if its client had given up.
    pub(crate) fn is_excused_from_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// Names and metadata of protocols.
pub(crate) fn metadata_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}

/// Each protocol name once, in order.
pub(crate) fn distinct_names(protocols: &[Protocol]) -> impl Iterator<Item = &Arc<str>> {
    protocols
        .iter()
        .enumerate()
        .filter(|(i, p)| !protocols[..*i].iter().any(|earlier| earlier.name == p.name))
        .map(|(_, protocol)| &protocol.name)
}

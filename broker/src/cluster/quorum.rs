//! How the metadata group is: who votes and who listens, and how far each of them is (Kafka's DescribeQuorum).
//!
//! Lives on: the metadata shard. Its leader knows; another node asks it. Offsets are Raft indexes, told as Kafka tells
//! them: the end of a log is the offset behind its last entry. A replica is caught up at the moment it answered for, as
//! in Kafka's `LeaderState`: if it has now what was the end of the log when it was last heard of, it was caught up then.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use raft_group::{GroupProgress, MemberProgress, ReplicaId};
use runtime::time::{Instant, sleep};
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::messages::{QUORUM, decode_call};
use crate::ids::{METADATA_GROUP, NodeId, TopicId};
use crate::shard::{Shard, node_of, replica_of};

/// How long a leader that can answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// When the leader last heard of a replica of the metadata group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// Wall clock of its last answer, ms.
    at: i64,
    /// The end of the leader's log then.
    end: u64,
    /// Wall clock when it last had everything.
    caught_up: i64,
}

/// The metadata group, as its leader sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QuorumReport {
    pub(crate) leader: NodeId,
    pub(crate) epoch: u64,
    pub(crate) high_watermark: i64,
    pub(crate) voters: Vec<ReplicaReport>,
    pub(crate) observers: Vec<ReplicaReport>,
}

/// One member of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReplicaReport {
    pub(crate) node: NodeId,
    /// Zero if it is not registered.
    pub(crate) directory: TopicId,
    /// Where other nodes meet it, if that is known.
    pub(crate) peer: Option<(String, u16)>,
    pub(crate) log_end: i64,
    /// Wall clock, ms; -1: never.
    pub(crate) heard: i64,
    /// Wall clock, ms; -1: never.
    pub(crate) caught_up: i64,
}

impl Shard {
    /// The metadata group, as its leader sees it; nothing if none is found in time.
    pub(crate) async fn describe_quorum(self: Rc<Self>) -> Option<QuorumReport> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(report) = self.report_quorum() {
                return Some(report);
            }
            if let Some(leader) = self.metadata_leader()
                && leader != self.node.node_id()
                && let Ok(answer) = self.call_leader(leader, QUORUM, Bytes::new()).await
                && let Ok(Some(report)) = decode_call::<Option<QuorumReport>>(&answer)
            {
                return Some(report);
            }
            if Instant::now() >= give_up {
                return None;
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// The same from here, if this node leads.
    pub(super) fn report_quorum(&self) -> Option<QuorumReport> {
        if !self.leads_metadata() {
            return None;
        }
        let progress = self.raft.progress(METADATA_GROUP)?;
        let report = |member: &MemberProgress| self.report_replica(&progress, member);
        let (voters, observers): (Vec<_>, Vec<_>) =
            progress.members.iter().partition(|member| member.voter);
        Some(QuorumReport {
            leader: self.node.node_id(),
            epoch: progress.term.0,
            high_watermark: offset(progress.committed.0),
            voters: voters.into_iter().filter_map(report).collect(),
            observers: observers.into_iter().filter_map(report).collect(),
        })
    }

    fn report_replica(
        &self,
        progress: &GroupProgress,
        member: &MemberProgress,
    ) -> Option<ReplicaReport> {
        let node = node_of(member.replica)?;
        let image = self.metadata_writer().latest();
        let link = image.nodes.get(&node).and_then(|node| node.link.as_ref());
        let is_leader = node == self.node.node_id();
        let heard = match is_leader {
            true => {
                let now = self.clock_ms();
                Heard { at: now, end: progress.last_index.0, caught_up: now }
            }
            false => self.cluster().map(|c| c.heard_of(member.replica)).unwrap_or_default(),
        };
        let quorum = &self.node.config.quorum;
        let named = quorum.voters.iter().find(|voter| voter.node_id == node.0);
        let named = match is_leader {
            true => quorum.peer_advertised.as_ref(),
            false => named.map(|voter| &voter.address),
        };
        let peer = match link {
            Some(link) => Some((link.peer.0.to_string(), link.peer.1)),
            None => named.map(|address| (address.host.clone(), address.port)),
        };
        let matched = if is_leader { progress.last_index } else { member.matched };
        let told = |ms: i64| if ms == 0 { -1 } else { ms };
        Some(ReplicaReport {
            node,
            directory: link.map_or(TopicId::ZERO, |link| link.directory),
            peer,
            log_end: offset(matched.0),
            heard: told(heard.at),
            caught_up: told(heard.caught_up),
        })
    }

    /// A node has sent Raft's messages of the metadata group, which this node may lead.
    pub(super) fn note_quorum(&self, from: NodeId) {
        let Some(cluster) = self.cluster() else { return };
        let Some(progress) = self.raft.progress(METADATA_GROUP) else { return };
        let replica = replica_of(from);
        if let Some(member) = progress.members.iter().find(|member| member.replica == replica) {
            cluster.hear_replica(replica, member.matched.0, progress.last_index.0, self.clock_ms());
        }
    }
}

impl Cluster {
    fn heard_of(&self, replica: ReplicaId) -> Heard {
        self.quorum_heard.borrow().get(&replica).copied().unwrap_or_default()
    }

    fn hear_replica(&self, replica: ReplicaId, matched: u64, end: u64, now: i64) {
        let mut heard = self.quorum_heard.borrow_mut();
        let heard = heard.entry(replica).or_default();
        if matched >= end {
            heard.caught_up = now;
        } else if heard.at != 0 && matched >= heard.end {
            heard.caught_up = heard.at;
        }
        (heard.at, heard.end) = (now, end);
    }
}

/// Kafka's offset behind an entry.
fn offset(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX - 1) + 1
}

//! Who votes on metadata, changed while the cluster runs (KIP-853), and who is told of them.
//!
//! Lives on: the metadata shard of the metadata group's leader; other nodes ask it. Every node of the cluster that does
//! not vote listens as a learner, so a voter that is added has the log already; the leader waits until it has all of it.
//! A voter that is removed goes on listening, unless it is no node of the cluster any more. One voter comes or goes at a
//! time, which needs no joint configuration: any two majorities before and after have a node in common.
//!
//! Refused beside what Kafka refuses: a removal after which too few of the remaining voters would answer. A leader that
//! is to be removed hands over first, and the next leader removes it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use raft_group::{ConfChange, GroupStatus, MemberChange, Membership, ProposeError, ReplicaId};
use rpc::{CallFailure, PeerId};
use runtime::time::{Instant, sleep, timeout};
use serde::{Deserialize, Serialize};

use super::messages::{CHANGE_VOTERS, decode_call, encode};
use crate::ids::{METADATA_GROUP, NodeId, TopicId};
use crate::metadata::Image;
use crate::shard::{METADATA_SHARD, Shard, node_of, replica_of};

/// Longest that one change may take, whatever the request says.
pub(crate) const CHANGE_MAX: Duration = Duration::from_secs(60);
/// Between two looks at how far a change is.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long a leader that hands over waits for the next one.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// How long a node that has joined may take to register before its replica is taken for left over.
const JOINING_MAX: Duration = Duration::from_secs(30);

/// One voter comes or goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VoterChange {
    pub(crate) add: bool,
    pub(crate) node: NodeId,
    pub(crate) directory: TopicId,
    pub(crate) timeout_ms: u64,
}

/// Why the voters are as they were.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum VoterRefusal {
    #[error("this node does not lead the metadata")]
    NotLeader,
    #[error(
        "this node is a cluster of its own and meets no others; see controller.quorum.bootstrap.servers"
    )]
    Alone,
    #[error("The voter id for {voter} is already part of the set of voters {voters}.")]
    Duplicate { voter: String, voters: String },
    #[error("Cannot remove voter {voter} from the set of voters {voters}")]
    NotFound { voter: String, voters: String },
    #[error("node {node} is registered with directory {registered}, not {asked}")]
    OtherDirectory { node: i32, registered: String, asked: String },
    #[error("of the voters that would remain ({remaining}) too few answer for a majority")]
    NoMajority { remaining: String },
    #[error("{0}")]
    TimedOut(String),
}

impl Shard {
    /// Changes the voters, wherever their leader is; on the metadata shard.
    pub(crate) async fn change_voters(
        self: Rc<Self>,
        change: VoterChange,
    ) -> Result<(), VoterRefusal> {
        let Some(cluster) = self.cluster().cloned() else { return Err(VoterRefusal::Alone) };
        let limit = Duration::from_millis(change.timeout_ms).min(CHANGE_MAX);
        let give_up = Instant::now() + limit;
        loop {
            let leader = self.metadata_leader();
            let outcome = match leader {
                Some(leader) if leader == self.node.node_id() => {
                    self.clone().change_voters_here(change.clone()).await
                }
                Some(leader) => {
                    let peer = PeerId { node: leader.0, shard: METADATA_SHARD };
                    let body = vec![encode(&change)];
                    let answer = cluster.peers.call(peer, CHANGE_VOTERS, body, limit).await;
                    let decode = |answer: Bytes| decode_call(&answer).ok();
                    answer.ok().and_then(decode).unwrap_or(Err(VoterRefusal::NotLeader))
                }
                None => Err(VoterRefusal::NotLeader),
            };
            match outcome {
                Err(VoterRefusal::NotLeader) if Instant::now() < give_up => sleep(LOOK_AGAIN).await,
                Err(VoterRefusal::NotLeader) => {
                    let text = "no leader of the metadata has answered in time".to_owned();
                    return Err(VoterRefusal::TimedOut(text));
                }
                outcome => return outcome,
            }
        }
    }

    /// Answers [`CHANGE_VOTERS`].
    pub(super) async fn take_voter_change(
        self: Rc<Self>,
        body: Bytes,
    ) -> Result<Vec<Bytes>, CallFailure> {
        let change: VoterChange = decode_call(&body)?;
        let outcome = self.change_voters_here(change).await;
        Ok(vec![encode(&outcome)])
    }

    async fn change_voters_here(self: Rc<Self>, change: VoterChange) -> Result<(), VoterRefusal> {
        let Some(cluster) = self.cluster().cloned() else { return Err(VoterRefusal::Alone) };
        let limit = Duration::from_millis(change.timeout_ms).min(CHANGE_MAX);
        let late = || VoterRefusal::TimedOut("another change of voters is on its way".to_owned());
        let changed = async {
            let _turn = cluster.changing_voters.acquire(1).await;
            match change.add {
                true => self.add_voter(&change).await,
                false => self.remove_voter(&change).await,
            }
        };
        timeout(limit, changed).await.unwrap_or_else(|_| Err(late()))
    }

    async fn add_voter(self: &Rc<Self>, change: &VoterChange) -> Result<(), VoterRefusal> {
        let replica = replica_of(change.node);
        let status = self.led_metadata()?;
        if status.membership.has_voter(replica) {
            let image = self.metadata_writer().latest();
            let voter = key(change.node, change.directory);
            return Err(VoterRefusal::Duplicate {
                voter,
                voters: keys(&image, &status.membership),
            });
        }
        let limit = Duration::from_millis(change.timeout_ms).min(CHANGE_MAX);
        let give_up = Instant::now() + limit.mul_f32(0.8);
        while !self.is_caught_up(change)? {
            if Instant::now() >= give_up {
                return Err(VoterRefusal::TimedOut(format!(
                    "node {} is not registered, or has not got the metadata yet; start it, and try again",
                    change.node.0
                )));
            }
            sleep(LOOK_AGAIN).await;
        }
        let has_come = |members: &Membership| members.voters.contains(&replica);
        self.change_members(MemberChange::AddVoter(replica), has_come).await
    }

    /// Whether a node has everything that is committed.
    fn is_caught_up(&self, change: &VoterChange) -> Result<bool, VoterRefusal> {
        self.led_metadata()?;
        let image = self.metadata_writer().latest();
        let Some(link) = image.nodes.get(&change.node).and_then(|node| node.link.as_ref()) else {
            return Ok(false);
        };
        if link.directory != change.directory {
            return Err(VoterRefusal::OtherDirectory {
                node: change.node.0,
                registered: link.directory.to_string(),
                asked: change.directory.to_string(),
            });
        }
        let progress = self.raft.progress(METADATA_GROUP).ok_or(VoterRefusal::NotLeader)?;
        let replica = replica_of(change.node);
        let member = progress.members.iter().find(|member| member.replica == replica);
        Ok(member.is_some_and(|it| it.recent_active && it.matched >= progress.committed))
    }

    async fn remove_voter(self: &Rc<Self>, change: &VoterChange) -> Result<(), VoterRefusal> {
        let replica = replica_of(change.node);
        let members = self.led_metadata()?.membership;
        let image = self.metadata_writer().latest();
        let link = image.nodes.get(&change.node).and_then(|node| node.link.as_ref());
        let is_meant = link.is_none_or(|link| link.directory == change.directory);
        if !members.voters.contains(&replica) || !is_meant || members.voters.len() == 1 {
            let voter = key(change.node, change.directory);
            return Err(VoterRefusal::NotFound { voter, voters: keys(&image, &members) });
        }
        self.check_majority_without(replica)?;
        if change.node == self.node.node_id() {
            self.leave_lead(&members).await;
            return Err(VoterRefusal::NotLeader);
        }
        let step = match link {
            Some(_) => MemberChange::AddLearner(replica),
            None => MemberChange::Remove(replica),
        };
        self.change_members(step, |members| !members.has_voter(replica)).await
    }

    /// Refuses a removal that would stop the metadata group.
    fn check_majority_without(&self, replica: ReplicaId) -> Result<(), VoterRefusal> {
        let progress = self.raft.progress(METADATA_GROUP).ok_or(VoterRefusal::NotLeader)?;
        let others = progress.members.iter().filter(|m| m.voter && m.replica != replica);
        let answers: Vec<(ReplicaId, bool)> =
            others.map(|member| (member.replica, member.recent_active)).collect();
        let active = answers.iter().filter(|(_, active)| *active).count();
        if 2 * active > answers.len() {
            return Ok(());
        }
        let nodes = answers.iter().filter_map(|(replica, _)| node_of(*replica));
        let remaining: Vec<String> = nodes.map(|node| node.0.to_string()).collect();
        Err(VoterRefusal::NoMajority { remaining: remaining.join(", ") })
    }

    /// Hands the metadata group to the voter that lacks least.
    async fn leave_lead(self: &Rc<Self>, members: &Membership) {
        let Some(progress) = self.raft.progress(METADATA_GROUP) else { return };
        let me = replica_of(self.node.node_id());
        let able = progress.members.iter().filter(|member| {
            member.replica != me && member.recent_active && members.voters.contains(&member.replica)
        });
        let Some(heir) = able.max_by_key(|member| member.matched) else { return };
        let _ = self.raft.transfer_leadership(METADATA_GROUP, heir.replica);
        let give_up = Instant::now() + HAND_OVER_MAX;
        while self.leads_metadata() && Instant::now() < give_up {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Proposes one change of members and waits until it is in force.
    async fn change_members(
        self: &Rc<Self>,
        change: MemberChange,
        is_done: impl Fn(&Membership) -> bool,
    ) -> Result<(), VoterRefusal> {
        loop {
            let status = self.led_metadata()?;
            if is_done(&status.membership) {
                return Ok(());
            }
            let change = ConfChange { changes: vec![change] };
            match self.raft.propose_conf_change(METADATA_GROUP, &change) {
                Ok(_) | Err(ProposeError::ChangePending(_) | ProposeError::Transferring(_)) => {}
                Err(ProposeError::NotLeader { .. } | ProposeError::NotReady(_)) => {
                    return Err(VoterRefusal::NotLeader);
                }
                Err(error) => return Err(VoterRefusal::TimedOut(error.to_string())),
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn led_metadata(&self) -> Result<GroupStatus, VoterRefusal> {
        let status = self.raft.status(METADATA_GROUP).filter(|_| self.leads_metadata());
        status.ok_or(VoterRefusal::NotLeader)
    }

    /// Lets go of replicas whose nodes are not of the cluster any more; the leader does so again and again.
    pub(super) fn drop_left_learners(&self, image: &Image) {
        let Some(cluster) = self.cluster() else { return };
        let Ok(status) = self.led_metadata() else { return };
        let mut joining = cluster.joining.borrow_mut();
        let is_joining = |node: &NodeId, (since, _): &mut (Instant, TopicId)| {
            since.elapsed() < JOINING_MAX && !image.nodes.contains_key(node)
        };
        joining.retain(is_joining);
        let is_left = |replica: &&ReplicaId| {
            node_of(**replica).is_some_and(|node| {
                !image.nodes.contains_key(&node) && !joining.contains_key(&node)
            })
        };
        if let Some(left) = status.membership.learners.iter().find(is_left) {
            let change = ConfChange { changes: vec![MemberChange::Remove(*left)] };
            let _ = self.raft.propose_conf_change(METADATA_GROUP, &change);
        }
    }

    /// Whether a node votes on metadata, as far as this node knows; on the metadata shard.
    pub(crate) fn is_metadata_voter(&self, node: NodeId) -> bool {
        let status = self.raft.status(METADATA_GROUP);
        status.is_some_and(|status| status.membership.has_voter(replica_of(node)))
    }
}

/// As Kafka writes one.
fn key(node: NodeId, directory: TopicId) -> String {
    format!("ReplicaKey(id={}, directoryId={directory})", node.0)
}

fn keys(image: &Image, members: &Membership) -> String {
    let directory = |node: NodeId| {
        let link = image.nodes.get(&node).and_then(|node| node.link.as_ref());
        link.map_or(TopicId::ZERO, |link| link.directory)
    };
    let nodes = members.voters.iter().filter_map(|replica| node_of(*replica));
    let keys: Vec<String> = nodes.map(|node| key(node, directory(node))).collect();
    format!("[{}]", keys.join(", "))
}

//! Changing metadata on a node that does not lead the metadata group.
//!
//! The leader lends its turn: it takes its own turn on behalf of the other node and tells it the index of its newest
//! entry. The other node waits until it has applied that, validates against the very same image, and sends the records.
//! So what a request asks for is decided where it came in, by the code that decides on the leader, and no two changes
//! cross. A turn that is not used within [`TURN_MAX`] is over; records that come later are refused.
//!
//! A change is answered when this node has applied it and every shard of it has the image.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rpc::{CallError, CallFailure, PeerId};
use runtime::sync::oneshot;
use runtime::task::{self, Class};
use runtime::time::{Instant, sleep, timeout};

use super::LentTurn;
use super::messages::{
    BEGIN_CHANGE, COMMIT_CHANGE, Commit, NOT_CONTROLLER, TURN_IS_OVER, Turn, decode_call, encode,
};
use crate::ids::{METADATA_GROUP, NodeId};
use crate::metadata::{Image, decode_records, encode_records};
use crate::shard::{Change, ChangeError, METADATA_SHARD, Shard, node_of};

/// How long a lent turn waits for its records.
const TURN_MAX: Duration = Duration::from_secs(2);
/// How long a call of this protocol may take: a turn may have to wait for others.
const CALL_MAX: Duration = Duration::from_secs(5);
/// How long a change waits for a leader.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two attempts.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Turns lent at the same time, most of which wait for their turn.
const LENT_MAX: usize = 256;

impl Shard {
    /// Who leads the metadata group, as this node's replica sees it.
    pub(crate) fn metadata_leader(&self) -> Option<NodeId> {
        if self.leads_metadata() {
            return Some(self.node.node_id());
        }
        match self.raft.status(METADATA_GROUP)?.leadership.leadership {
            raft_group::Leadership::Following(leader) => leader.and_then(node_of),
            _ => None,
        }
    }

    /// Carries out a change with a turn of the leader; on the metadata shard.
    pub(crate) async fn change_by_leader<T: 'static>(
        self: &Rc<Self>,
        validate: impl FnOnce(&Image) -> Change<T> + 'static,
    ) -> Result<T, ChangeError> {
        let writer = self.metadata_writer();
        let _turn = writer.turn().await;
        let give_up = Instant::now() + PATIENCE;
        loop {
            if self.leads_metadata() {
                let seen = self.see_all_metadata().await;
                let change = validate(&writer.latest());
                if !change.records.is_empty() {
                    self.commit_records(&change.records, seen).await?;
                    self.publish_metadata().await;
                }
                return Ok(change.answer);
            }
            if let Some((leader, turn)) = self.borrow_turn().await {
                let change = validate(&writer.latest());
                let is_change = !change.records.is_empty();
                let records = if is_change { encode_records(&change.records) } else { Vec::new() };
                let index = self.use_turn(leader, turn, records).await;
                if is_change {
                    let applied = writer.wait_applied(index?);
                    timeout(CALL_MAX, applied).await.map_err(|_| ChangeError::NotController)?;
                    self.publish_metadata().await;
                }
                return Ok(change.answer);
            }
            if Instant::now() >= give_up {
                return Err(ChangeError::NotController);
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// A turn of the leader, with the metadata that belong to it applied here.
    async fn borrow_turn(self: &Rc<Self>) -> Option<(NodeId, u64)> {
        let leader = self.metadata_leader()?;
        let turn = self.call_leader(leader, BEGIN_CHANGE, Bytes::new()).await.ok()?;
        let turn: Turn = decode_call(&turn).ok()?;
        timeout(TURN_MAX, self.metadata_writer().wait_applied(turn.index)).await.ok()?;
        Some((leader, turn.number))
    }

    async fn use_turn(
        self: &Rc<Self>,
        leader: NodeId,
        turn: u64,
        records: Vec<u8>,
    ) -> Result<u64, ChangeError> {
        let body = encode(&Commit { turn, records });
        let index = self.call_leader(leader, COMMIT_CHANGE, body).await;
        let index = index.map_err(|_| ChangeError::NotController)?;
        decode_call(&index).map_err(|_| ChangeError::NotController)
    }

    pub(super) async fn call_leader(
        &self,
        leader: NodeId,
        method: u16,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let cluster = self.cluster().expect("only nodes of a cluster call others");
        let peer = PeerId { node: leader.0, shard: METADATA_SHARD };
        cluster.peers.call(peer, method, vec![body], CALL_MAX).await
    }

    /// Answers [`BEGIN_CHANGE`].
    pub(super) async fn lend_turn(self: Rc<Self>) -> Result<Vec<Bytes>, CallFailure> {
        let refused = || CallFailure::new(NOT_CONTROLLER, "this node does not lead the metadata");
        let cluster = self.cluster().ok_or_else(refused)?.clone();
        if !self.leads_metadata() || cluster.lent.borrow().len() >= LENT_MAX {
            return Err(refused());
        }
        let number = cluster.next_turn.replace(cluster.next_turn.get() + 1);
        let (lend, records): (LentTurn, _) = oneshot::channel();
        cluster.lent.borrow_mut().insert(number, lend);
        let (begun, begins) = oneshot::channel();
        let shard = self.clone();
        let serve = async move {
            let _turn = shard.metadata_writer().turn().await;
            // the other node must know the members of the group, too
            let seen = shard.see_all_metadata().await;
            if begun.send(seen).is_ok()
                && let Ok(Ok((records, answer))) = timeout(TURN_MAX, records).await
            {
                let outcome = match records.is_empty() {
                    true => Ok(0),
                    false => shard.commit_records(&records, seen).await,
                };
                let _ = answer.send(outcome);
                shard.publish_soon();
            }
            cluster.lent.borrow_mut().remove(&number);
        };
        task::spawn(Class::Latency, serve).detach();
        match timeout(CALL_MAX, begins).await {
            Ok(Ok(index)) if self.leads_metadata() => Ok(vec![encode(&Turn { number, index })]),
            _ => Err(refused()),
        }
    }

    /// Answers [`COMMIT_CHANGE`].
    pub(super) async fn take_change(
        self: Rc<Self>,
        body: Bytes,
    ) -> Result<Vec<Bytes>, CallFailure> {
        let over = || CallFailure::new(TURN_IS_OVER, "the turn is over");
        let commit: Commit = decode_call(&body)?;
        let lent = self.cluster().and_then(|c| c.lent.borrow_mut().remove(&commit.turn));
        let records = match commit.records.is_empty() {
            true => Vec::new(),
            false => {
                decode_records(&commit.records).map_err(|e| CallFailure::new(TURN_IS_OVER, e))?
            }
        };
        let (tx, rx) = oneshot::channel();
        lent.ok_or_else(over)?.send((records, tx)).map_err(|_| over())?;
        match rx.await {
            Ok(Ok(index)) => Ok(vec![encode(&index)]),
            Ok(Err(_)) | Err(_) => Err(over()),
        }
    }
}

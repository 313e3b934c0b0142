//! What nodes ask each other about moves, and the answers that need no waiting.

use std::rc::Rc;

use bytes::Bytes;
use rpc::{CallError, CallFailure, PeerId};
use runtime::shards::ShardId;
use serde::{Deserialize, Serialize};

use crate::cluster::catch_up::PartitionCopy;
use crate::cluster::messages::{
    COMPLETE_COPIES, DESCRIBE_PARTITION, MOVE_PROGRESS, SEAL_PARTITIONS, decode_call, encode,
};
use crate::ids::{NodeId, PartitionId, TopicId};
use crate::shard::Shard;

/// The shard has nothing of what was asked.
const NOT_HERE: u16 = 3;

/// One move.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Moving {
    pub topic: TopicId,
    pub index: i32,
    /// The entry that began it.
    pub id: u64,
    /// The entry that sealed it; 0 if none did.
    pub sealed: u64,
}

impl Moving {
    pub fn partition(&self) -> PartitionId {
        PartitionId { topic: self.topic, index: self.index }
    }
}

/// Answer to [`SEAL_PARTITIONS`] for one partition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SealedAt {
    pub end: i64,
    pub leader_epoch: i32,
    /// The old group's log up to this entry is all there is of the partition. A replica of both groups that has all
    /// batches may still lack an entry behind them, which moves the log start.
    pub entry: u64,
}

impl Shard {
    /// Answers the calls about moves.
    pub(in crate::cluster) async fn answer_move(
        self: Rc<Self>,
        method: u16,
        body: Bytes,
    ) -> Result<Vec<Bytes>, CallFailure> {
        let answer = match method {
            MOVE_PROGRESS => encode(&self.near_copies(decode_call(&body)?)),
            SEAL_PARTITIONS => encode(&self.sealed_ends(decode_call(&body)?).await),
            COMPLETE_COPIES => encode(&self.complete_copies(decode_call(&body)?).await),
            DESCRIBE_PARTITION => encode(&self.describe_led(decode_call(&body)?)?),
            other => return Err(CallFailure::unknown_method(other)),
        };
        Ok(vec![answer])
    }

    /// Asks a shard of any node, also of this one.
    pub(super) async fn ask_shard(
        self: &Rc<Self>,
        node: NodeId,
        shard: ShardId,
        method: u16,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        if node != self.node.node_id() {
            return self.call_peer(PeerId { node: node.0, shard }, method, body).await;
        }
        if usize::from(shard.0) >= self.count {
            // The metadata say how many shards it had, until it registers with as many as it has now.
            let failure = CallFailure::new(NOT_HERE, format!("there is no shard {shard} here"));
            return Err(CallError::Failed(failure));
        }
        let answer = self.on(shard, move |there| there.answer_move(method, body)).await;
        let mut parts = answer.map_err(CallError::Failed)?;
        Ok(parts.pop().unwrap_or_default())
    }

    /// Which of these have nearly everything here.
    fn near_copies(&self, asked: Vec<Moving>) -> Vec<bool> {
        let image = self.image();
        let arrivals = self.cluster().map(|cluster| cluster.arrivals.borrow());
        let is_near = |asked: &Moving| {
            let id = asked.partition();
            if !image.is_coming(id, image.node) {
                // it is in both groups
                return self.partition(id).is_some();
            }
            let arrival = arrivals.as_ref().and_then(|arrivals| arrivals.get(&id));
            arrival.is_some_and(|arrival| arrival.id == asked.id && arrival.near)
        };
        asked.iter().map(is_near).collect()
    }

    /// What this shard has of a partition that it leads.
    fn describe_led(&self, (topic, index): (TopicId, i32)) -> Result<PartitionCopy, CallFailure> {
        let partition = self.partition(PartitionId { topic, index });
        let partition = partition.filter(|partition| partition.state.borrow().leads);
        let partition = partition.ok_or_else(|| CallFailure::new(NOT_HERE, "it is not led here"));
        partition.map(|partition| PartitionCopy::of(&partition))
    }
}

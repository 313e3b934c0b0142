//! DescribeLogDirs (key 35, KIP-113, KIP-827): the data directory, its room, and the bytes of the partitions in it.
//!
//! A node has one directory. A partition's bytes are those of its batches, also of those that were committed in the last
//! moments and stand in the WAL alone.
//! Source: Kafka's `ReplicaManager.describeLogDirs`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::future::join_all;
use protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use protocol::{ErrorCode, StrBytes};

use super::Call;
use crate::ids::PartitionId;
use crate::shard::Shard;

/// Answers a request.
pub async fn handle(call: Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let shard = &call.shard;
    let dir = &shard.node.config.data_dir;
    let asked: Option<BTreeSet<(&str, i32)>> = request.topics.as_ref().map(|topics| {
        let pairs = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|index| (&**topic.topic, *index)));
        pairs.collect()
    });
    let (total, usable) = match runtime::fs::disk_space(dir).await {
        Ok(space) => (saturated(space.total), saturated(space.available)),
        Err(_) => (-1, -1),
    };
    let result = DescribeLogDirsResult::default()
        .with_error_code(ErrorCode::None.code())
        .with_log_dir(StrBytes::from_string(dir.display().to_string()))
        .with_topics(topics(shard, asked).await)
        .with_total_bytes(total)
        .with_usable_bytes(usable);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

async fn topics(
    shard: &Rc<Shard>,
    asked: Option<BTreeSet<(&str, i32)>>,
) -> Vec<DescribeLogDirsTopic> {
    let image = shard.image();
    let sizes = shard.shards().map(|to| shard.on(to, |there| async move { sizes(&there) }));
    let mut by_topic: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (id, bytes) in join_all(sizes).await.into_iter().flatten() {
        let Some(topic) = image.topic_by_id(id.topic) else { continue };
        if asked.as_ref().is_none_or(|asked| asked.contains(&(&*topic.name, id.index))) {
            let partition = DescribeLogDirsPartition::default()
                .with_partition_index(id.index)
                .with_partition_size(saturated(bytes));
            by_topic.entry(&topic.name).or_default().push(partition);
        }
    }
    let topic = |(name, mut partitions): (&str, Vec<DescribeLogDirsPartition>)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        DescribeLogDirsTopic::default().with_name(name).with_partitions(partitions)
    };
    by_topic.into_iter().map(topic).collect()
}

fn sizes(shard: &Rc<Shard>) -> Vec<(PartitionId, u64)> {
    // A write from the tail into a segment that is under way counts in both.
    let size = |partition: Rc<crate::shard::Partition>| {
        let tail = partition.state.borrow().tail.undestaged_bytes();
        (partition.id, partition.log.bytes() + tail as u64)
    };
    shard.owned().into_iter().map(size).collect()
}

fn saturated(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

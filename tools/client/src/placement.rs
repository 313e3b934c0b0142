//! Where data lives: nodes, replicas of every partition, and changing them.

use crate::client::{Client, name};
use crate::error::ClientError;
use protocol::StrBytes;
use protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ListPartitionReassignmentsRequest,
};
use std::collections::BTreeMap;

const TIMEOUT_MS: i32 = 30_000;

/// A node that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: i32,
    pub address: String,
    pub rack: Option<String>,
}

/// The replicas of one partition; the first is preferred to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub topic: String,
    pub partition: i32,
    pub replicas: Vec<i32>,
}

/// A partition on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassigned {
    pub topic: String,
    pub partition: i32,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

impl Client {
    /// The nodes that are alive, by id.
    pub fn live_nodes(&mut self) -> Result<Vec<Node>, ClientError> {
        let mut nodes: Vec<Node> = self
            .metadata(None, false)?
            .brokers
            .iter()
            .map(|node| Node {
                id: node.node_id.0,
                address: format!("{}:{}", node.host, node.port),
                rack: node.rack.as_ref().map(ToString::to_string),
            })
            .collect();
        nodes.sort_by_key(|node| node.id);
        Ok(nodes)
    }

    /// Every partition of every topic, the broker's own included, with its replicas.
    pub fn assignments(&mut self) -> Result<Vec<Assigned>, ClientError> {
        let mut all = Vec::new();
        for topic in self.metadata(None, false)?.topics {
            let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
            for partition in topic.partitions {
                all.push(Assigned {
                    topic: name.clone(),
                    partition: partition.partition_index,
                    replicas: partition.replica_nodes.iter().map(|node| node.0).collect(),
                });
            }
        }
        all.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(all)
    }

    /// Gives partitions these replicas; returns when the cluster has begun to.
    pub fn reassign(&mut self, wanted: &[Assigned]) -> Result<(), ClientError> {
        let wanted = wanted.iter().map(|w| (w.topic.as_str(), w.partition, Some(&w.replicas)));
        self.alter(wanted)
    }

    /// Leaves partitions that are on their way where they were.
    pub fn cancel_reassignment(&mut self, of: &[(String, i32)]) -> Result<(), ClientError> {
        self.alter(of.iter().map(|(topic, partition)| (topic.as_str(), *partition, None)))
    }

    fn alter<'a>(
        &mut self,
        wanted: impl Iterator<Item = (&'a str, i32, Option<&'a Vec<i32>>)>,
    ) -> Result<(), ClientError> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for (topic, index, replicas) in wanted {
            let replicas = replicas.map(|all| all.iter().copied().map(BrokerId).collect());
            let partition = ReassignablePartition::default().with_partition_index(index);
            topics.entry(topic).or_default().push(partition.with_replicas(replicas));
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            ReassignableTopic::default().with_name(name(topic)).with_partitions(partitions)
        });
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(TIMEOUT_MS)
            .with_topics(topics.collect());
        let answer = self.any().call(&request)?;
        let text = |message: &Option<StrBytes>| message.as_ref().map(ToString::to_string);
        let what = || "change replicas".to_owned();
        ClientError::check(what, answer.error_code, text(&answer.error_message).as_deref())?;
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let what = || format!("change the replicas of {}-{index}", &*topic.name);
                let message = text(&partition.error_message);
                ClientError::check(what, partition.error_code, message.as_deref())?;
            }
        }
        Ok(())
    }

    /// All partitions that are on their way.
    pub fn reassignments(&mut self) -> Result<Vec<Reassigned>, ClientError> {
        let request = ListPartitionReassignmentsRequest::default()
            .with_timeout_ms(TIMEOUT_MS)
            .with_topics(None);
        let answer = self.any().call(&request)?;
        let message = answer.error_message.as_ref().map(ToString::to_string);
        ClientError::check(
            || "list reassignments".to_owned(),
            answer.error_code,
            message.as_deref(),
        )?;
        let ids = |nodes: &[BrokerId]| nodes.iter().map(|node| node.0).collect();
        let mut all = Vec::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                all.push(Reassigned {
                    topic: topic.name.to_string(),
                    partition: partition.partition_index,
                    adding: ids(&partition.adding_replicas),
                    removing: ids(&partition.removing_replicas),
                });
            }
        }
        Ok(all)
    }
}

//! Topics: create, list, describe, delete.

use crate::client::{Client, name};
use crate::error::ClientError;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, ListOffsetsRequest,
};
use protocol::{ApiKey, ErrorCode, StrBytes, Uuid};
use std::collections::BTreeMap;

const TIMEOUT_MS: i32 = 30_000;
const TOPIC_RESOURCE: i8 = 2;
/// Where a configuration's value comes from: the topic itself.
const SOURCE_TOPIC: i8 = 1;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    pub name: String,
    /// The broker's `num.partitions` if absent.
    pub partitions: Option<i32>,
    /// The broker's `default.replication.factor` if absent.
    pub replication: Option<i16>,
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
    pub partitions: usize,
    pub replication: usize,
    pub internal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    pub topic: Topic,
    pub partitions: Vec<Partition>,
    /// What differs from the broker's defaults.
    pub configs: Vec<TopicConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    /// First offset that can be read.
    pub start_offset: i64,
    /// Exclusive: the next record gets it.
    pub end_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    pub name: String,
    pub value: String,
}

impl Client {
    pub fn create_topic(&mut self, new: &NewTopic) -> Result<(), ClientError> {
        let configs = new.configs.iter().map(|(name, value)| {
            let value = StrBytes::from_string(value.clone());
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_value(Some(value))
        });
        let topic = CreatableTopic::default()
            .with_name(name(&new.name))
            .with_num_partitions(new.partitions.unwrap_or(-1))
            .with_replication_factor(new.replication.unwrap_or(-1))
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
        let answer = self.any().call(&request)?;
        answer.topics.iter().try_for_each(|created| {
            let what = || format!("create topic {}", new.name);
            ClientError::check(what, created.error_code, created.error_message.as_deref())
        })
    }

    pub fn delete_topic(&mut self, topic: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest::default().with_timeout_ms(TIMEOUT_MS);
        let connection = self.any();
        // From version 6 topics are named one by one, so that an id can stand for a name.
        let request = match connection.version_up_to(ApiKey::DeleteTopics, i16::MAX)? >= 6 {
            true => {
                request.with_topics(vec![DeleteTopicState::default().with_name(Some(name(topic)))])
            }
            false => request.with_topic_names(vec![name(topic)]),
        };
        let answer = connection.call(&request)?;
        answer.responses.iter().try_for_each(|deleted| {
            let what = || format!("delete topic {topic}");
            // Kafka's own words for this case speak of a server and a partition
            let missing = deleted.error_code == ErrorCode::UnknownTopicOrPartition.code();
            let message = deleted.error_message.as_deref().filter(|_| !missing);
            ClientError::check(what, deleted.error_code, message)
        })
    }

    /// All topics by name.
    pub fn topics(&mut self) -> Result<Vec<Topic>, ClientError> {
        let mut topics: Vec<Topic> =
            self.metadata(None, false)?.topics.iter().map(summary).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    pub fn describe_topic(&mut self, topic: &str) -> Result<TopicDescription, ClientError> {
        let found = self.topic(topic, false)?;
        let starts = self.offsets(&found, EARLIEST)?;
        let ends = self.offsets(&found, LATEST)?;
        let mut partitions: Vec<Partition> = found
            .partitions
            .iter()
            .map(|partition| Partition {
                index: partition.partition_index,
                leader: partition.leader_id.0,
                leader_epoch: partition.leader_epoch,
                replicas: ids(&partition.replica_nodes),
                in_sync: ids(&partition.isr_nodes),
                start_offset: starts.get(&partition.partition_index).copied().unwrap_or(-1),
                end_offset: ends.get(&partition.partition_index).copied().unwrap_or(-1),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        Ok(TopicDescription {
            topic: summary(&found),
            partitions,
            configs: self.topic_configs(topic)?,
        })
    }

    fn topic_configs(&mut self, topic: &str) -> Result<Vec<TopicConfig>, ClientError> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(StrBytes::from_string(topic.to_owned()))
            .with_configuration_keys(None);
        let answer =
            self.any().call(&DescribeConfigsRequest::default().with_resources(vec![resource]))?;
        let mut configs = Vec::new();
        for result in answer.results {
            let what = || format!("read the configuration of topic {topic}");
            ClientError::check(what, result.error_code, result.error_message.as_deref())?;
            let own =
                result.configs.into_iter().filter(|config| config.config_source == SOURCE_TOPIC);
            configs.extend(own.map(|config| TopicConfig {
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()).unwrap_or_default(),
            }));
        }
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(configs)
    }

    /// The offset for a time (or -1 end, -2 beginning) in every partition; -1 where no record is that late.
    pub(crate) fn offsets(
        &mut self,
        topic: &MetadataResponseTopic,
        timestamp: i64,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let topic_name = topic.name.clone().unwrap_or_default();
        let mut by_leader: BTreeMap<i32, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for partition in &topic.partitions {
            let asked = ListOffsetsPartition::default()
                .with_partition_index(partition.partition_index)
                .with_current_leader_epoch(-1)
                .with_timestamp(timestamp);
            by_leader.entry(partition.leader_id.0).or_default().push(asked);
        }
        let mut offsets = BTreeMap::new();
        for (leader, partitions) in by_leader {
            let asked = ListOffsetsTopic::default()
                .with_name(topic_name.clone())
                .with_partitions(partitions);
            let request = ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(vec![asked]);
            let answer = self.node(leader)?.call(&request)?;
            for found in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                let what =
                    || format!("look up offsets of {}-{}", topic_name.0, found.partition_index);
                ClientError::check(what, found.error_code, None)?;
                offsets.insert(found.partition_index, found.offset);
            }
        }
        Ok(offsets)
    }
}

fn summary(topic: &MetadataResponseTopic) -> Topic {
    Topic {
        name: topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default(),
        id: topic.topic_id,
        partitions: topic.partitions.len(),
        replication: topic
            .partitions
            .iter()
            .map(|partition| partition.replica_nodes.len())
            .max()
            .unwrap_or(0),
        internal: topic.is_internal,
    }
}

fn ids(nodes: &[BrokerId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

//! CreateTopics (key 19; KIP-4, KIP-464, KIP-525).
//!
//! An answer means that every shard of this node knows the topic and, as a rule, who leads it. Checks come in Kafka's
//! order, since the first one that fails is the answer.

use std::collections::{BTreeMap, BTreeSet};

use config::{ConfigEntry, ConfigSource, NodeConfig, TopicOverrides};
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use protocol::{ErrorCode, StrBytes, Uuid};

use super::assignment::{check_replicas, place, place_on};
use super::name::{check_collision, check_name};
use super::{NEW_PARTITIONS_MAX, Refusal, leader_patience};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::ids::TopicId;
use crate::metadata::{Image, MetadataRecord, PartitionRecord, Placer};
use crate::shard::Change;

/// Kafka's own metadata log; nobody may have a topic of that name.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Answers a request.
pub async fn handle(call: Call, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let node = call.shard.node.clone();
    let names: Vec<_> = request.topics.iter().map(|t| t.name.clone()).collect();
    let patience = leader_patience(request.timeout_ms);
    let create = move |image: &Image| decide(image, &node.config, request);
    let topics = match call.shard.change_metadata(create).await {
        Ok(topics) => {
            let created = topics.iter().filter(|topic| topic.error_code == 0);
            let created: Vec<_> = created.map(|t| TopicId(t.topic_id.into_bytes())).collect();
            call.shard.leaders_known(&created, patience).await;
            topics
        }
        Err(error) => {
            let refused = names.into_iter().map(|name| {
                let refusal = Refusal::new(error.code(), error.to_string());
                refused(CreatableTopicResult::default().with_name(name), refusal)
            });
            refused.collect()
        }
    };
    CreateTopicsResponse::default().with_topics(topics)
}

/// Which topics of a request can be created, as records and answers.
pub(super) fn decide(
    image: &Image,
    config: &NodeConfig,
    request: CreateTopicsRequest,
) -> Change<Vec<CreatableTopicResult>> {
    let too_many = new_partitions(config, &request) > NEW_PARTITIONS_MAX;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(topic.name.to_string()).or_default() += 1;
    }
    let mut placer = Placer::new(image);
    let (mut records, mut answer, mut answered) = (Vec::new(), Vec::new(), BTreeSet::new());
    for topic in &request.topics {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        let plan = match counts[&**topic.name] {
            1 if too_many => Err(Refusal::new(
                ErrorCode::PolicyViolation,
                "Excessively large number of partitions per request.",
            )),
            1 => plan(image, config, &mut placer, topic),
            _ => Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        if !answered.insert(&**topic.name) {
            continue;
        }
        match plan {
            Ok(plan) => {
                answer.push(plan.describe(image, result));
                if !request.validate_only {
                    records.push(plan.into_record(&topic.name));
                }
            }
            Err(refusal) => answer.push(refused(result, refusal)),
        }
    }
    if !records.is_empty() {
        records.splice(0..0, placer.take_created());
    }
    Change { records, answer }
}

fn new_partitions(config: &NodeConfig, request: &CreateTopicsRequest) -> usize {
    let count = |topic: &CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => config.num_partitions.max(0) as usize,
        (0, count) => count.max(0) as usize,
        (assigned, _) => assigned,
    };
    request.topics.iter().map(count).sum()
}

/// A topic that can be created.
struct Plan {
    id: TopicId,
    partitions: Vec<PartitionRecord>,
    replicas: usize,
    overrides: TopicOverrides,
}

fn plan(
    image: &Image,
    config: &NodeConfig,
    placer: &mut Placer<'_>,
    topic: &CreatableTopic,
) -> Result<Plan, Refusal> {
    let name: &str = &topic.name;
    if name == CLUSTER_METADATA {
        let message = format!("Creation of internal topic {name} is prohibited.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    check_name(name)?;
    check_collision(image, name)?;
    if image.topic(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    let pairs = topic.configs.iter();
    let pairs = pairs.map(|c| (&*c.name, c.value.as_deref()));
    let overrides = TopicOverrides::from_request(pairs)
        .map_err(|e| Refusal::new(ErrorCode::InvalidConfig, e.to_string()))?;
    let (partitions, replicas) = match topic.assignments.is_empty() {
        true => place_anywhere(image, config, placer, topic)?,
        false => place_as_assigned(image, placer, topic)?,
    };
    let id = TopicId::random();
    Ok(Plan { id, partitions, replicas, overrides })
}

fn place_anywhere(
    image: &Image,
    config: &NodeConfig,
    placer: &mut Placer<'_>,
    topic: &CreatableTopic,
) -> Result<(Vec<PartitionRecord>, usize), Refusal> {
    let replicas = match topic.replication_factor {
        -1 => config.default_replication_factor,
        given => given,
    };
    let count = match topic.num_partitions {
        -1 => config.num_partitions,
        given => given,
    };
    let replicas = usize::try_from(replicas).ok().filter(|n| *n > 0);
    let replicas = replicas.ok_or_else(|| {
        Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    })?;
    if count <= 0 {
        return Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    let partitions = (0..count).map(|_| place(image, placer, replicas));
    Ok((partitions.collect::<Result<_, _>>()?, replicas))
}

fn place_as_assigned(
    image: &Image,
    placer: &mut Placer<'_>,
    topic: &CreatableTopic,
) -> Result<(Vec<PartitionRecord>, usize), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    if topic.replication_factor != -1 {
        return invalid(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.num_partitions != -1 {
        return invalid(
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        );
    }
    let mut lists = BTreeMap::new();
    let mut replicas = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if lists.insert(index, &assignment.broker_ids).is_some() {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicaAssignment,
                format!("Found multiple manual partition assignments for partition {index}"),
            ));
        }
        check_replicas(image, &assignment.broker_ids, replicas)?;
        replicas.get_or_insert(assignment.broker_ids.len());
    }
    if !lists.keys().copied().eq(0..lists.len() as i32) {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    let partitions = lists.values().map(|list| place_on(placer, list));
    Ok((partitions.collect::<Result<_, _>>()?, replicas.unwrap_or_default()))
}

impl Plan {
    fn describe(&self, image: &Image, result: CreatableTopicResult) -> CreatableTopicResult {
        // our own keys are shown where they are set: clients know Kafka's list
        let is_shown = |entry: &ConfigEntry| {
            !entry.name.starts_with("millrace.") || entry.source == ConfigSource::DynamicTopic
        };
        let configs = self.overrides.describe(image.defaults()).into_iter().filter(is_shown);
        let configs = configs.map(|entry| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(entry.name))
                .with_value(entry.value.map(StrBytes::from_string))
                .with_read_only(entry.read_only)
                .with_config_source(entry.source.wire())
                .with_is_sensitive(entry.sensitive)
        });
        result
            .with_topic_id(Uuid::from_bytes(self.id.0))
            .with_error_message(None)
            .with_num_partitions(self.partitions.len() as i32)
            .with_replication_factor(self.replicas as i16)
            .with_configs(Some(configs.collect()))
    }

    fn into_record(self, name: &str) -> MetadataRecord {
        let configs = self.overrides.iter();
        MetadataRecord::CreateTopic {
            topic: self.id,
            name: name.to_owned(),
            partitions: self.partitions,
            configs: configs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }
}

fn refused(result: CreatableTopicResult, refusal: Refusal) -> CreatableTopicResult {
    result
        .with_error_code(refusal.error.code())
        .with_error_message(refusal.wire_message())
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}

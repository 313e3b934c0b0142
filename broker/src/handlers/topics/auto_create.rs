//! Topics that come into being because somebody asked for them (`auto.create.topics.enable`).
//!
//! They get the broker's defaults; the broker's own topics get what their coordinators need, as Kafka's
//! `AutoTopicCreationManager` gives them.

use std::rc::Rc;

use config::NodeConfig;
use protocol::StrBytes;
use protocol::messages::CreateTopicsRequest;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};

use super::create_topics::decide;
use crate::groups::OFFSETS_TOPIC;
use crate::metadata::Image;
use crate::shard::Shard;

/// Creates what can be created; the rest is answered with an error to whoever asks again.
pub async fn auto_create(shard: &Rc<Shard>, names: &[String]) {
    if names.iter().any(|name| name == OFFSETS_TOPIC)
        && let Err(error) = shard.ensure_offsets_topic().await
    {
        tracing::debug!(%error, "the offsets topic was not created on demand");
    }
    let node = shard.node.clone();
    let others = names.iter().filter(|name| *name != OFFSETS_TOPIC);
    let topics = others.map(|name| topic(&node.config, name)).collect();
    let request = CreateTopicsRequest::default().with_topics(topics);
    let create = move |image: &Image| decide(image, &node.config, request);
    match shard.change_metadata(create).await {
        Ok(topics) => {
            for topic in topics.iter().filter(|topic| topic.error_code != 0) {
                let (name, code) = (&**topic.name, topic.error_code);
                tracing::debug!(name, code, "a topic was not created on demand");
            }
        }
        Err(error) => tracing::debug!(%error, "no topic was created on demand"),
    }
}

fn topic(config: &NodeConfig, name: &str) -> CreatableTopic {
    let topic = CreatableTopic::default()
        .with_name(StrBytes::from_string(name.to_owned()).into())
        .with_num_partitions(-1)
        .with_replication_factor(-1);
    let text = |key: &str| config.values.get(key).unwrap_or_default().to_owned();
    let of_coordinator = |prefix: &str, configs: Vec<(&'static str, String)>| {
        let configs = configs.into_iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value)))
        });
        topic
            .clone()
            .with_num_partitions(text(&format!("{prefix}.num.partitions")).parse().unwrap_or(-1))
            .with_replication_factor(
                text(&format!("{prefix}.replication.factor")).parse().unwrap_or(-1),
            )
            .with_configs(configs.collect())
    };
    match name {
        "__transaction_state" => of_coordinator(
            "transaction.state.log",
            vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                ("min.insync.replicas", text("transaction.state.log.min.isr")),
                ("segment.bytes", text("transaction.state.log.segment.bytes")),
                ("unclean.leader.election.enable", "false".to_owned()),
            ],
        ),
        "__share_group_state" => of_coordinator(
            "share.coordinator.state.topic",
            vec![
                ("cleanup.policy", "delete".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("retention.ms", "-1".to_owned()),
                ("min.insync.replicas", text("share.coordinator.state.topic.min.isr")),
                ("segment.bytes", text("share.coordinator.state.topic.segment.bytes")),
            ],
        ),
        _ => topic,
    }
}

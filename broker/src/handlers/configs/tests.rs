//! What changing configs decides, on an image without a node around it.

use std::sync::Arc;

use config::{BrokerValues, NodeConfig};
use protocol::StrBytes;
use protocol::messages::IncrementalAlterConfigsRequest;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};

use super::alter_configs::{Answered, decide, incremental};
use super::resource::{BROKER, CLIENT_METRICS, GROUP, TOPIC};
use crate::ids::{NodeId, RaftGroupId, TopicId};
use crate::metadata::{Image, MetadataRecord, PartitionRecord};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

fn file() -> BrokerValues {
    let (values, _) = BrokerValues::from_properties("node.id=1").expect("a valid file");
    NodeConfig::with_values(values).expect("a node can start with it").values
}

fn image() -> Image {
    let node = NodeId(1);
    let mut image = Image::empty("cluster", node, 1, Arc::new(file()));
    let records = vec![
        MetadataRecord::RegisterNode { node, rack: None, endpoints: vec![] },
        MetadataRecord::CreateRaftGroup { group: RaftGroupId(1), voters: vec![node] },
        MetadataRecord::CreateTopic {
            topic: TopicId([7; 16]),
            name: "t".into(),
            partitions: vec![PartitionRecord { group: RaftGroupId(1), epoch_base: 0 }],
            configs: vec![("max.message.bytes".into(), "2000".into())],
        },
    ];
    apply(&mut image, records);
    image
}

fn apply(image: &mut Image, records: Vec<MetadataRecord>) {
    for record in records {
        image.apply(&record).expect("a record that fits");
    }
}

fn resource(kind: i8, name: &str, configs: &[(&str, i8, &str)]) -> AlterConfigsResource {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let configs = configs.iter().map(|(key, operation, value)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(Some(text(value)))
    });
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect())
}

/// The error codes of the answers, after what was decided took effect.
fn alter(image: &mut Image, resources: Vec<AlterConfigsResource>) -> Vec<i16> {
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
    let change = decide(image, &incremental(request), false);
    apply(image, change.records);
    let code = |answered: &Answered| answered.refusal.as_ref().map_or(0, |r| r.error.code());
    change.answer.iter().map(code).collect()
}

#[test]
fn operations_of_one_request_take_effect_together_or_not_at_all() {
    let mut image = image();
    let good = [
        ("retention.ms", SET, "1234"),
        ("max.message.bytes", DELETE, ""),
        ("cleanup.policy", APPEND, "compact"),
    ];
    assert_eq!(alter(&mut image, vec![resource(TOPIC, "t", &good)]), [0]);
    let bad = [("retention.ms", SET, "9"), ("segment.ms", SET, "soon")];
    assert_eq!(alter(&mut image, vec![resource(TOPIC, "t", &bad)]), [40]);
    let topic = image.topic("t").expect("there");
    let overrides: Vec<_> = topic.overrides.iter().collect();
    assert_eq!(overrides, [("cleanup.policy", "delete,compact"), ("retention.ms", "1234")]);
    assert!(topic.config.cleanup_policy.compact);
}

#[test]
fn resources_are_refused_one_by_one_and_a_repeated_one_once() {
    let mut image = image();
    let set = [("retention.ms", SET, "1")];
    let asked = vec![
        resource(TOPIC, "t", &set),
        resource(TOPIC, "nope", &set),
        resource(TOPIC, "bad name", &set),
        resource(TOPIC, "", &set),
        resource(TOPIC, "nope2", &[("retention.ms", SET, "x")]),
        resource(BROKER, "9", &set),
        resource(BROKER, "x", &set),
        resource(8, "1", &set),
        resource(99, "x", &set),
        resource(GROUP, "g", &set),
        resource(TOPIC, "t", &set),
    ];
    assert_eq!(alter(&mut image, asked), [42, 3, 17, 42, 40, 42, 42, 42, 42, 40]);
}

#[test]
fn an_unknown_operation_has_kafkas_answer() {
    let mut image = image();
    let codes = alter(&mut image, vec![resource(TOPIC, "t", &[("retention.ms", 4, "1")])]);
    assert_eq!(codes, [-1]);
}

#[test]
fn a_cluster_wide_broker_config_reaches_topics_that_do_not_set_their_own() {
    let mut image = image();
    let set = [("log.retention.ms", SET, "777000"), ("plugin.key", SET, "kept")];
    assert_eq!(alter(&mut image, vec![resource(BROKER, "", &set)]), [0]);
    assert_eq!(image.topic("t").expect("there").config.retention_ms, 777_000);
    let delete = [("log.retention.ms", DELETE, "")];
    assert_eq!(alter(&mut image, vec![resource(BROKER, "", &delete)]), [0]);
    assert_ne!(image.topic("t").expect("there").config.retention_ms, 777_000);
    let fixed = [("log.dirs", SET, "/elsewhere")];
    assert_eq!(alter(&mut image, vec![resource(BROKER, "1", &fixed)]), [42]);
}

#[test]
fn groups_and_client_metrics_keep_what_they_are_given() {
    let mut image = image();
    let group = [("consumer.session.timeout.ms", SET, "50000")];
    let metrics = [("interval.ms", SET, "1000")];
    let asked = vec![resource(GROUP, "g", &group), resource(CLIENT_METRICS, "m", &metrics)];
    assert_eq!(alter(&mut image, asked), [0, 0]);
    assert_eq!(image.configs.len(), 2);
    let group = [("consumer.session.timeout.ms", DELETE, "")];
    assert_eq!(alter(&mut image, vec![resource(GROUP, "g", &group)]), [0]);
    assert_eq!(image.configs.len(), 1, "a resource without overrides takes no memory");
}

#[test]
fn the_old_api_replaces_all_overrides_of_a_resource() {
    let mut image = image();
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let mut asked =
        incremental(IncrementalAlterConfigsRequest::default().with_resources(vec![resource(
            TOPIC,
            "t",
            &[("retention.ms", SET, "5")],
        )]));
    asked[0].replaces = true;
    let change = decide(&image, &asked, false);
    assert!(change.answer[0].refusal.is_none());
    apply(&mut image, change.records);
    let overrides: Vec<_> = image.topic("t").expect("there").overrides.iter().collect();
    assert_eq!(overrides, [("retention.ms", "5")], "max.message.bytes is gone");
    asked[0].kind = BROKER;
    asked[0].name = text("");
    let refusal = decide(&image, &asked, false).answer[0].refusal.clone().expect("refused");
    assert_eq!(refusal.error.code(), 40, "retention.ms is no key of a broker");
}

#[test]
fn an_operation_that_a_key_does_not_allow_is_told_before_anything_about_the_resource() {
    let mut image = image();
    let append = [("retention.ms", APPEND, "1")];
    let asked = vec![
        resource(TOPIC, "", &append),
        resource(TOPIC, "bad name", &append),
        resource(GROUP, "", &append),
        resource(CLIENT_METRICS, "", &append),
        resource(BROKER, "1", &append),
        resource(BROKER, "9", &append),
        resource(8, "1", &append),
    ];
    assert_eq!(alter(&mut image, asked), [40, 40, 40, 40, 40, 42, 42]);
}

#[test]
fn a_broker_config_that_would_change_nothing_is_refused_with_a_reason() {
    let mut image = image();
    let idle = [("num.io.threads", SET, "16")];
    assert_eq!(alter(&mut image, vec![resource(BROKER, "", &idle)]), [42]);
    let once = [("listeners", SET, "PLAINTEXT://:9")];
    assert_eq!(alter(&mut image, vec![resource(BROKER, "1", &once)]), [42]);
    let contradiction = [("max.connections.per.ip.overrides", SET, "nonsense")];
    assert_eq!(alter(&mut image, vec![resource(BROKER, "1", &contradiction)]), [42]);
    let live = [("max.connections.per.ip.overrides", SET, "127.0.0.1:5")];
    assert_eq!(alter(&mut image, vec![resource(BROKER, "1", &live)]), [0]);
}

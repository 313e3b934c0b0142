//! What a person meets who starts a node with a file.

use std::time::Duration;

use config::{
    AlterOp, Alteration, BrokerValues, ConfigSource, CpuLatency, Durability, InvalidConfig,
    NodeConfig, Realtime, TopicConfig, TopicOverrides,
};

const COMBINED: &str = include_str!("kafka_4_3/combined.properties");

/// The keys of the `config/server.properties` that Kafka 4.3 ships.
const STOCK: &str = include_str!("kafka_4_3/server.properties");

fn error(text: &str) -> String {
    NodeConfig::from_properties(text).unwrap_err().to_string()
}

#[test]
fn a_combined_roles_file_of_kafka_starts_a_node_unchanged() {
    let (node, _) = NodeConfig::from_properties(COMBINED).unwrap();
    assert_eq!(node.node_id, 1);
    assert_eq!(node.data_dir, std::path::Path::new("/var/lib/kafka/data"));
    assert_eq!(node.listeners.len(), 1);
    assert_eq!(node.listeners[0].bind.port, 21611);
    assert_eq!(node.listeners[0].advertised.as_ref().unwrap().host, "127.0.0.1");
    assert!(!node.quorum.is_clustered(), "it votes alone");
}

#[test]
fn kafkas_stock_file_starts_a_node_unchanged() {
    let (node, warnings) = NodeConfig::from_properties(STOCK).unwrap();
    assert_eq!(node.listeners[0].bind.host, "");
    assert_eq!(node.limits.frame_bytes_max, 104_857_600);
    let mut warned: Vec<&str> = warnings.iter().flat_map(|w| &w.keys).map(|k| k.as_str()).collect();
    warned.sort_unstable();
    let expected = [
        "inter.broker.listener.name",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "share.coordinator.state.topic.min.isr",
        "share.coordinator.state.topic.replication.factor",
        "transaction.state.log.min.isr",
        "transaction.state.log.replication.factor",
    ];
    assert_eq!(warned, expected);
}

#[test]
fn the_sample_in_deploy_is_applied_in_full() {
    let sample = include_str!("../../../deploy/server.properties");
    let (node, warnings) = NodeConfig::from_properties(sample).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(node.metrics_listen.as_deref(), Some("127.0.0.1:9644"));
}

#[test]
fn defaults_are_kafkas_and_our_own_limits_are_on() {
    let (node, warnings) = NodeConfig::from_properties("node.id=0").unwrap();
    assert!(warnings.is_empty());
    assert_eq!(node.node_id, 0);
    assert_eq!(node.durability, Durability::Disk);
    assert_eq!(node.limits.frame_bytes_max, 100 << 20);
    assert_eq!(node.limits.frame_timeout, Duration::from_secs(30));
    assert_eq!(node.limits.idle_timeout, Duration::from_secs(600));
    assert_eq!(node.limits.connections_max, 10_000);
    assert_eq!(node.limits.connections_per_ip_max, 1_000);
    assert_eq!(node.limits.connection_rate_max, 500);
    assert_eq!(node.limits.connection_unsent_bytes_max, 16 << 20);
    assert_eq!(node.limits.request_memory_bytes, 256 << 20);
    assert_eq!(node.limits.request_partitions_max, 2_000);
    assert_eq!(node.limits.fetch_bytes_max, 55 << 20);
    assert_eq!(node.limits.fetch_sessions_max, 1_000);
    assert_eq!(node.limits.producer_ids_max, 100_000);
    assert_eq!(node.offsets_topic_partitions, 50);
    assert!(node.auto_create_topics);
    assert_eq!(node.metrics_listen, None);
}

#[test]
fn what_the_host_grants_for_latency_is_taken_unless_the_file_says_otherwise() {
    let node = |line: &str| {
        let (node, warnings) = NodeConfig::from_properties(&format!("node.id=1\n{line}")).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        node
    };
    let of = |value: &str| node(&format!("millrace.shards.realtime.priority={value}")).realtime;
    assert_eq!(node("").realtime, Realtime::IfGranted);
    assert_eq!(of("-1"), Realtime::IfGranted);
    assert_eq!(of("0"), Realtime::Never);
    assert_eq!(of("99"), Realtime::Priority(99));
    let of = |value: &str| node(&format!("millrace.cpu.latency.us={value}")).cpu_latency;
    assert_eq!(node("").cpu_latency, CpuLatency::WhileWriting);
    assert_eq!(of("-1"), CpuLatency::WhileWriting);
    assert_eq!(of("-2"), CpuLatency::OfHost);
    assert_eq!(of("70"), CpuLatency::AtMost(Duration::from_micros(70)));
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let message = error("node.id=1\nlog.retention.hour=5");
    assert_eq!(message, r#"unknown key "log.retention.hour"; did you mean "log.retention.hours"?"#);
    let message = error("node.id=1\nmillrace.shard=2");
    assert_eq!(message, r#"unknown key "millrace.shard"; did you mean "millrace.shards"?"#);
    assert_eq!(error("node.id=1\nwibble=2"), r#"unknown key "wibble""#);
    assert!(error("zookeeper.connect=localhost:2181").contains("ZooKeeper is gone"));
}

#[test]
fn plugin_and_listener_prefixes_are_known() {
    let file = "node.id=1\nlistener.name.internal.ssl.keystore.location=/k\n\
                listener.name.internal.scram-sha-256.sasl.jaas.config=secret\n\
                rsm.config.anything=1\nconfig.providers.file.class=X";
    let (node, warnings) = NodeConfig::from_properties(file).unwrap();
    assert_eq!(warnings.iter().map(|w| w.keys.len()).sum::<usize>(), 4);
    let entries = node.values.describe();
    let jaas = entries.iter().find(|e| e.name.ends_with("scram-sha-256.sasl.jaas.config")).unwrap();
    assert!(jaas.sensitive && jaas.value.is_none());
}

#[test]
fn one_warning_is_given_per_reason() {
    let file = "node.id=1\nnum.io.threads=8\nnum.network.threads=3\nnum.io.threads=9";
    let (_, warnings) = NodeConfig::from_properties(file).unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].keys, ["num.io.threads", "num.network.threads"]);
    assert!(warnings[0].to_string().starts_with("num.io.threads, num.network.threads have no"));
}

#[test]
fn what_is_set_and_has_no_effect_is_said() {
    let said = |line: &str| {
        let (_, warnings) = NodeConfig::from_properties(&format!("node.id=1\n{line}")).unwrap();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    // a setting that works, under a prefix for which it does not
    let one_listener = said("listener.name.plaintext.max.connections=5");
    assert!(one_listener.starts_with("listener.name.plaintext.max.connections has no effect"));
    let directories = said("log.dirs=/a,/b");
    assert!(directories.starts_with("log.dirs beyond its first directory has no effect"));
    assert_eq!(said("max.connections=5\nlog.dirs=/a"), "");
}

#[test]
fn nodes_that_were_asked_to_talk_in_secret_do_not_start_talking_in_the_clear() {
    let cluster = "node.id=1\ncontroller.quorum.voters=1@a:1,2@b:1,3@c:1\n\
                   listeners=PLAINTEXT://:9092,CONTROLLER://:1\n\
                   controller.listener.names=CONTROLLER\n";
    let map = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:";
    assert!(NodeConfig::from_properties(&format!("{cluster}{map}PLAINTEXT")).is_ok());
    for protocol in ["SSL", "SASL_SSL", "SASL_PLAINTEXT"] {
        assert!(error(&format!("{cluster}{map}{protocol}")).contains(protocol));
        let between = format!("node.id=1\nsecurity.inter.broker.protocol={protocol}");
        assert!(error(&between).contains("in the clear"));
    }
}

#[test]
fn a_negative_idle_time_lets_connections_be_silent_for_ever() {
    let idle = |value: i64| {
        let file = format!("node.id=1\nconnections.max.idle.ms={value}");
        NodeConfig::from_properties(&file).unwrap().0.limits.idle_timeout
    };
    assert_eq!(idle(-1), Duration::MAX);
    assert_eq!(idle(5), Duration::from_millis(5));
}

#[test]
fn bad_values_missing_ids_and_contradictions_are_refused() {
    assert!(error("").contains("node.id is required"));
    assert!(error("node.id=1\nbroker.id=2").contains("node.id=1 says otherwise"));
    assert!(error("node.id=x").contains("Not a number of type INT"));
    assert!(error("node.id=1\nprocess.roles=controller").contains("broker,controller"));
    assert!(error("node.id=1\nnum.partitions=0").contains("Value must be at least 1"));
    assert!(error("node.id=1\nmillrace.durability=fast").contains("must be one of: disk, memory"));
    assert!(error("node.id=1\nmax.connections.per.ip.overrides=a").contains("address:count"));
    assert!(error("node.id=1\nlog.dirs=,").contains("log.dirs"));
}

#[test]
fn a_node_that_was_asked_to_check_access_does_not_start_without_checking() {
    let message = error("node.id=1\nauthorizer.class.name=org.apache.kafka.Standard");
    assert!(message.contains("this release has no authorizer"), "{message}");
    assert!(NodeConfig::from_properties("node.id=1\nauthorizer.class.name=").is_ok());
}

fn topic(file: &str, overrides: &[(&str, &str)]) -> TopicConfig {
    let (broker, _) = BrokerValues::from_properties(file).unwrap();
    let pairs = overrides.iter().map(|(k, v)| (*k, Some(*v)));
    TopicConfig::resolve(&TopicOverrides::from_request(pairs).unwrap(), &broker)
}

#[test]
fn retention_and_roll_take_the_finest_unit_that_is_set() {
    assert_eq!(topic("", &[]).retention_ms, 604_800_000);
    assert_eq!(topic("log.retention.hours=2", &[]).retention_ms, 7_200_000);
    assert_eq!(topic("log.retention.hours=2\nlog.retention.minutes=3", &[]).retention_ms, 180_000);
    let all = "log.retention.hours=2\nlog.retention.minutes=3\nlog.retention.ms=4";
    assert_eq!(topic(all, &[]).retention_ms, 4);
    assert_eq!(topic(all, &[("retention.ms", "-1")]).retention_ms, -1);
    assert_eq!(topic("log.retention.hours=-1", &[]).retention_ms, -1);
    assert_eq!(topic("log.roll.hours=1", &[]).segment_ms, 3_600_000);
    assert_eq!(topic("log.roll.hours=1\nlog.roll.ms=9", &[]).segment_ms, 9);
    assert_eq!(topic("log.roll.jitter.hours=1", &[]).segment_jitter_ms, 3_600_000);
}

#[test]
fn a_topic_is_as_durable_as_the_node_says_unless_it_says_itself() {
    assert_eq!(topic("", &[]).durability, Durability::Disk);
    assert_eq!(topic("millrace.durability=memory", &[]).durability, Durability::Memory);
    let own = [("millrace.durability", "disk")];
    assert_eq!(topic("millrace.durability=memory", &own).durability, Durability::Disk);
}

#[test]
fn an_empty_cleanup_policy_keeps_everything() {
    let policy = topic("", &[("cleanup.policy", "")]).cleanup_policy;
    assert!(!policy.delete && !policy.compact);
    let policy = topic("log.cleanup.policy=compact,delete", &[]).cleanup_policy;
    assert!(policy.delete && policy.compact);
}

#[test]
fn a_dynamic_broker_value_reaches_topics_and_is_shown_with_its_source() {
    let (mut broker, _) = BrokerValues::from_properties("message.max.bytes=2000").unwrap();
    let set = |name: &str, value: &str| Alteration {
        name: name.to_owned(),
        op: AlterOp::Set,
        value: Some(value.to_owned()),
    };
    let none = Default::default();
    let layer = BrokerValues::alter_dynamic(&none, &[set("message.max.bytes", "3000")]).unwrap();
    assert!(broker.set_dynamic(&none, &layer).is_empty());
    let config = TopicConfig::resolve(&TopicOverrides::default(), &broker);
    assert_eq!(config.max_message_bytes, 3000);
    let entries = TopicOverrides::default().describe(&broker);
    let entry = entries.iter().find(|e| e.name == "max.message.bytes").unwrap();
    assert_eq!(entry.source, ConfigSource::DynamicBroker);
    assert_eq!(entry.synonyms.len(), 3);
    let refused = BrokerValues::alter_dynamic(&none, &[set("process.roles", "broker")]);
    let message = "Cannot update these configs dynamically: [process.roles]";
    assert_eq!(refused.unwrap_err().to_string(), message);
    let idle = BrokerValues::alter_dynamic(&none, &[set("num.io.threads", "16")]).unwrap_err();
    assert!(idle.is_request_error());
    let begins = "num.io.threads cannot be altered while the node runs: a Millrace node runs one";
    assert!(idle.to_string().starts_with(begins), "{idle}");
    assert!(BrokerValues::alter_dynamic(&none, &[set("num.io.threads", "8")]).is_ok());
    let once = BrokerValues::alter_dynamic(&none, &[set("listeners", "PLAINTEXT://:9")]);
    assert!(matches!(once, Err(InvalidConfig::NotDynamic { .. })), "read at the start only");
    let unknown = [("gone.key".to_owned(), "1".to_owned())].into();
    assert_eq!(broker.set_dynamic(&unknown, &none), ["gone.key"]);
}

#[test]
fn altering_a_topic_changes_all_or_nothing() {
    let overrides = TopicOverrides::from_request([("retention.ms", Some("5"))]).unwrap();
    let set = |name: &str, value: &str| Alteration {
        name: name.to_owned(),
        op: AlterOp::Set,
        value: Some(value.to_owned()),
    };
    assert!(overrides.altered(&[set("flush.ms", "1"), set("segment.bytes", "200")]).is_err());
    let altered = overrides.altered(&[set("flush.ms", "1")]).unwrap();
    assert_eq!(altered.iter().count(), 2);
    let null = TopicOverrides::from_request([("retention.ms", None), ("flush.ms", None)]);
    let message = "Null value not supported for topic configs: retention.ms,flush.ms";
    assert_eq!(null.unwrap_err().to_string(), message);
}

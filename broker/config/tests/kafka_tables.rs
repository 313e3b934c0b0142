//! Our tables against Kafka 4.3.1's own: `keys.txt` was printed from its `ConfigDef`s,
//! `topic_values.tsv` holds what its `LogConfig.validate` said to each line, and the `describe_*`
//! files what `kafka-configs --describe --all` answered.

use std::collections::{BTreeMap, BTreeSet};

use config::{
    BrokerValues, ConfigEntry, ConfigSource, GroupOverrides, Key, Meaning, NodeConfig,
    TopicOverrides, Validator, broker_key, broker_keys, group_keys, topic_keys,
};

const KEYS: &str = include_str!("kafka_4_3/keys.txt");
const TOPIC_VALUES: &str = include_str!("kafka_4_3/topic_values.tsv");
const DESCRIBE_TOPIC: &str = include_str!("kafka_4_3/describe_topic.txt");
const DESCRIBE_GROUP: &str = include_str!("kafka_4_3/describe_group.txt");
const DESCRIBE_BROKER: &str = include_str!("kafka_4_3/describe_broker.txt");
const COMBINED: &str = include_str!("kafka_4_3/combined.properties");

/// Limits that Kafka leaves open and Millrace does not.
const OWN_DEFAULTS: [&str; 3] =
    ["max.connections", "max.connections.per.ip", "max.connection.creation.rate"];

/// Dynamic in Kafka, read at the start here.
const AT_START: [&str; 2] = ["listeners", "listener.security.protocol.map"];

fn validator_text(key: &Key) -> String {
    let list = |names: &[&str]| format!("[{}]", names.join(", "));
    match key.validator {
        None => String::new(),
        Some(Validator::AtLeast(min)) => format!("[{min},...]"),
        Some(Validator::Between(min, max)) => format!("[{min},...,{max}]"),
        Some(Validator::BetweenDouble(min, max)) => format!("[{min},...,{max}]"),
        Some(Validator::OneOf(names) | Validator::EachOneOf(names)) => list(names),
        Some(Validator::OneOfIgnoringCase(names)) => format!("(case insensitive) {}", list(names)),
        Some(Validator::NonEmpty) => "non-empty".to_owned(),
        Some(Validator::GzipLevel) => "[1,...,9] or -1".to_owned(),
        Some(Validator::ThrottledReplicas) => {
            "[partitionId]:[brokerId],[partitionId]:[brokerId],...".to_owned()
        }
        Some(Validator::ShareOffsetReset) => {
            "[latest, earliest, by_duration:PnDTnHnMn.nS]".to_owned()
        }
    }
}

fn row(table: &str, key: &Key) -> String {
    let default = match key.default {
        Some(text) => text,
        None if key.required => "(required)",
        None => "null",
    };
    let importance = format!("{:?}", key.importance).to_uppercase();
    let (name, kind, valid) = (key.name, key.key_type.name(), validator_text(key));
    format!("{table}|{name}|{kind}|{default}|{valid}|{importance}|{}", key.internal)
}

fn kafka_rows(table: &str) -> BTreeSet<String> {
    let prefix = format!("{table}|");
    let rows = KEYS.lines().filter(|line| line.starts_with(&prefix));
    // validators that Kafka prints so and that refuse nothing a file can say
    rows.map(|row| row.replace("non-empty string", "non-empty"))
        .map(|row| row.replace("|non-null string|", "||").replace("|non-empty list|", "||"))
        .collect()
}

#[test]
fn every_broker_key_has_kafkas_type_default_validator_and_importance() {
    let quota = |key: &&Key| key.internal && key.dynamic || key.name.contains("_");
    let ours = broker_keys().filter(|k| !k.name.starts_with("millrace.") && !quota(k));
    let ours: BTreeSet<String> = ours.map(|key| row("broker", key)).collect();
    let kafka = kafka_rows("broker");
    let own = |row: &&String| OWN_DEFAULTS.iter().any(|n| row.starts_with(&format!("broker|{n}|")));
    let differences: Vec<_> = ours.symmetric_difference(&kafka).filter(|r| !own(r)).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(ours.len(), 360);
}

#[test]
fn every_topic_and_group_key_is_kafkas() {
    let ours = topic_keys().filter(|k| k.name != "millrace.durability").map(|k| row("topic", k));
    assert_eq!(ours.collect::<BTreeSet<_>>(), kafka_rows("topic"));
    let ours: BTreeSet<_> = group_keys().map(|k| row("group", k)).collect();
    assert_eq!(ours, kafka_rows("group"));
}

#[test]
fn the_same_broker_keys_are_dynamic() {
    let kafka: BTreeSet<&str> = KEYS.lines().filter_map(|l| l.strip_prefix("dynamic|")).collect();
    let ours = broker_keys().filter(|k| k.dynamic && !k.internal).map(|k| k.name);
    let ours: BTreeSet<&str> = ours.filter(|n| !n.starts_with("millrace.")).collect();
    let kafka: BTreeSet<&str> = kafka.into_iter().filter(|n| !AT_START.contains(n)).collect();
    assert_eq!(ours, kafka);
}

#[test]
fn every_default_passes_its_own_validator_and_every_key_says_what_it_does() {
    let keys = broker_keys().chain(topic_keys()).chain(group_keys());
    for key in keys {
        assert!(key.doc.len() > 10, "{} has no documentation", key.name);
        if let Some(text) = key.default {
            let value = config::Value::parse(key, text);
            assert_eq!(value.map(|v| v.to_text()).as_deref(), Ok(text), "{}", key.name);
        }
    }
    let mut names: Vec<&str> = broker_keys().map(|key| key.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn topic_values_are_judged_with_kafkas_words() {
    for line in TOPIC_VALUES.lines() {
        let (input, verdict) = line.split_once('\t').unwrap();
        let pairs = input.split('|').map(|pair| pair.split_once('=').unwrap());
        let ours = match TopicOverrides::from_request(pairs.map(|(k, v)| (k, Some(v)))) {
            Ok(_) => "OK".to_owned(),
            Err(error) => error.to_string(),
        };
        let kafka = verdict.split_once("Exception: ").map_or(verdict, |(_, message)| message);
        if input.contains("remote.storage.enable=true") {
            // refused by the controller, after what this file shows
            assert!(ours.starts_with("Tiered Storage functionality is disabled"), "{ours}");
            continue;
        }
        assert_eq!(ours, kafka, "{input}");
    }
}

fn source_name(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
        ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
        ConfigSource::Default => "DEFAULT_CONFIG",
        ConfigSource::DynamicGroup => "DYNAMIC_GROUP_CONFIG",
    }
}

/// An entry as `kafka-configs` prints it.
fn printed(entry: &ConfigEntry) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonym =
        |s: &config::Synonym| format!("{}:{}={}", source_name(s.source), s.name, text(&s.value));
    let synonyms: Vec<String> = entry.synonyms.iter().map(synonym).collect();
    let (name, value, sensitive) = (&entry.name, text(&entry.value), entry.sensitive);
    format!("{name}={value} sensitive={sensitive} synonyms={{{}}}", synonyms.join(", "))
}

fn by_name<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let line = line.trim();
        Some((line.split_once('=')?.0.to_owned(), line.to_owned()))
    };
    lines.filter_map(pair).collect()
}

fn compare(entries: &[ConfigEntry], kafka: &str, skip: &[&str]) {
    let kafka = by_name(kafka.lines());
    let ours: Vec<String> = entries.iter().map(printed).collect();
    let ours = by_name(ours.iter().map(String::as_str));
    for name in kafka.keys().chain(ours.keys()) {
        if !name.starts_with("millrace.") && !skip.contains(&name.as_str()) {
            assert_eq!(ours.get(name), kafka.get(name));
        }
    }
}

#[test]
fn a_topic_is_described_as_kafka_describes_it() {
    let file = "node.id=1\nlog.retention.hours=100\nlog.segment.bytes=2097152\nlog.roll.ms=5000";
    let (broker, _) = BrokerValues::from_properties(file).unwrap();
    let overrides = TopicOverrides::from_request([
        ("retention.ms", Some(" 5 ")),
        ("cleanup.policy", Some("compact , delete")),
        ("min.cleanable.dirty.ratio", Some("1e-2")),
        ("segment.bytes", Some("3000000")),
        ("preallocate", Some("TRUE")),
    ])
    .unwrap();
    compare(&overrides.describe(&broker), DESCRIBE_TOPIC, &[]);
}

#[test]
fn a_group_without_settings_is_described_as_kafka_describes_it() {
    let (broker, _) = BrokerValues::from_properties("node.id=1").unwrap();
    compare(&GroupOverrides::default().describe(&broker), DESCRIBE_GROUP, &[]);
}

#[test]
fn a_broker_is_described_as_kafka_describes_it() {
    let (node, _) = NodeConfig::from_properties(COMBINED).unwrap();
    compare(&node.values.describe(), DESCRIBE_BROKER, &OWN_DEFAULTS);
}

#[test]
fn keys_of_other_releases_and_features_are_never_applied_in_silence() {
    for key in broker_keys() {
        let prefixes = ["ssl.", "sasl.", "remote.", "group.share.", "transaction.state"];
        if prefixes.iter().any(|prefix| key.name.starts_with(prefix)) {
            assert!(matches!(key.meaning, Meaning::NoEffect(_)), "{}", key.name);
        }
    }
    assert!(broker_key("authorizer.class.name").is_some());
}

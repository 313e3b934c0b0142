//! Answers of `DescribeConfigs`, entry for entry as Kafka's `ConfigHelper` makes them.
//!
//! Sources and synonyms follow Kafka also where that surprises: an entry's synonyms begin at the
//! first layer that has the entry's own name, so a `log.retention.hours` in the file is not shown
//! as a synonym of `retention.ms`, although its value is in force.

use std::collections::BTreeMap;

use crate::broker_keys::{broker_key, broker_keys};
use crate::broker_values::BrokerValues;
use crate::group_config::GroupOverrides;
use crate::group_keys::{broker_key_of_group, group_keys};
use crate::key::{Key, KeyType};
use crate::topic_config::TopicConfig;
use crate::topic_keys::{broker_key_of_topic, topic_keys};
use crate::topic_overrides::TopicOverrides;
use crate::value::Value;

/// Where a value comes from; `wire` is Kafka's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicGroup = 8,
}

impl ConfigSource {
    pub fn wire(self) -> i8 {
        self as i8
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` for null, and always for sensitive keys.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub synonyms: Vec<Synonym>,
    /// `None` when the key is not in the tables (the wire's 0).
    pub key_type: Option<KeyType>,
    pub read_only: bool,
    pub sensitive: bool,
    pub documentation: &'static str,
}

impl ConfigEntry {
    pub fn type_wire(&self) -> i8 {
        self.key_type.map_or(0, KeyType::wire)
    }
}

impl BrokerValues {
    /// Every key that is not internal, and every other name of the file, sorted by name.
    pub fn describe(&self) -> Vec<ConfigEntry> {
        let known = broker_keys().filter(|key| !key.internal).map(|key| key.name);
        let mut names: Vec<&str> = known.chain(self.file_names()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| self.describe_key(name)).collect()
    }

    /// The cluster-wide dynamic layer alone: the broker resource with an empty name.
    pub fn describe_cluster_default(&self) -> Vec<ConfigEntry> {
        let entries = self.dynamic_default.keys().map(|name| self.describe_key(name));
        let only_default = |mut entry: ConfigEntry| {
            entry.synonyms.retain(|s| s.source == ConfigSource::DynamicDefaultBroker);
            entry.source = ConfigSource::DynamicDefaultBroker;
            entry.value = entry.synonyms.first().and_then(|s| s.value.clone());
            entry
        };
        entries.map(only_default).collect()
    }

    fn describe_key(&self, name: &str) -> ConfigEntry {
        let base = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.'));
        let key = broker_key(name).or_else(|| broker_key(base?.1));
        let sensitive = key.is_none_or(Key::is_sensitive);
        let value = self.get(name).map(|text| match key.map(|key| Value::parse(key, text)) {
            Some(Ok(value)) => value.to_text(),
            _ => text.to_owned(),
        });
        let synonyms = self.synonyms(name, sensitive);
        ConfigEntry {
            name: name.to_owned(),
            value: value.filter(|_| !sensitive),
            source: source_of(&synonyms),
            synonyms,
            key_type: key.map(|key| key.key_type),
            read_only: key.is_none_or(|key| !key.dynamic),
            sensitive,
            documentation: key.map_or("", |key| key.doc),
        }
    }

    /// What sets `name` or one of its broker synonyms, highest layer first, from the first entry
    /// that bears the name itself.
    fn synonyms(&self, name: &str, sensitive: bool) -> Vec<Synonym> {
        let family = broker_synonyms(name);
        let shown = |text: &str| (!sensitive).then(|| text.to_owned());
        let layer = |map: &BTreeMap<String, String>, source| -> Vec<Synonym> {
            let find = |n: &&str| map.get(*n).map(|text| (n.to_string(), shown(text)));
            let found = family.iter().filter_map(find);
            found.map(|(name, value)| Synonym { name, value, source }).collect()
        };
        let mut all = layer(&self.dynamic_node, ConfigSource::DynamicBroker);
        all.extend(layer(&self.dynamic_default, ConfigSource::DynamicDefaultBroker));
        all.extend(layer(&self.file, ConfigSource::StaticBroker));
        let defaults = family.iter().filter_map(|n| broker_key(n)?.default.map(|text| (*n, text)));
        all.extend(defaults.map(|(n, text)| Synonym {
            name: n.to_owned(),
            value: shown(text),
            source: ConfigSource::Default,
        }));
        let own = all.iter().position(|s| s.name == name).unwrap_or(all.len());
        all.split_off(own)
    }
}

fn source_of(synonyms: &[Synonym]) -> ConfigSource {
    synonyms.first().map_or(ConfigSource::Default, |s| s.source)
}

/// Names that set the same thing, most specific first (`DynamicBrokerConfig.brokerConfigSynonyms`).
fn broker_synonyms(name: &str) -> Vec<&str> {
    const FAMILIES: [&[&str]; 3] = [
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    ];
    if let Some(family) = FAMILIES.iter().find(|family| family.contains(&name)) {
        return family.to_vec();
    }
    match name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')) {
        Some((_, base)) => vec![name, base],
        None => vec![name],
    }
}

impl TopicOverrides {
    /// Every public topic key, sorted by name.
    pub fn describe(&self, broker: &BrokerValues) -> Vec<ConfigEntry> {
        let config = TopicConfig::resolve(self, broker);
        let entry = |key: &'static Key| {
            let own = self.get(key.name).map(str::to_owned);
            let mut synonyms = match broker_key_of_topic(key.name) {
                Some(name) => broker.synonyms(name, false),
                None => Vec::new(),
            };
            let value = config.text_of(key.name);
            if own.is_some() {
                let source = ConfigSource::DynamicTopic;
                let synonym = Synonym { name: key.name.to_owned(), value: value.clone(), source };
                synonyms.insert(0, synonym);
            }
            entry_of(key, value, synonyms)
        };
        sorted(topic_keys().filter(|key| !key.internal).map(entry))
    }
}

impl GroupOverrides {
    /// Every group key, sorted by name.
    pub fn describe(&self, broker: &BrokerValues) -> Vec<ConfigEntry> {
        let entry = |key: &'static Key| {
            let synonym_of = broker_key_of_group(key.name);
            let own_default = |text: &str| Synonym {
                name: key.name.to_owned(),
                value: Some(text.to_owned()),
                source: ConfigSource::Default,
            };
            let mut synonyms = match synonym_of {
                Some(name) => broker.synonyms(name, false),
                None => key.default.map(own_default).into_iter().collect(),
            };
            let inherited = synonym_of.and_then(|name| broker.get(name)).or(key.default);
            let text = self.get(key.name).or(inherited);
            let parsed = text.and_then(|text| Value::parse(key, text).ok());
            let value = parsed.map(|value| value.to_text());
            if self.get(key.name).is_some() {
                let source = ConfigSource::DynamicGroup;
                let synonym = Synonym { name: key.name.to_owned(), value: value.clone(), source };
                synonyms.insert(0, synonym);
            }
            entry_of(key, value, synonyms)
        };
        sorted(group_keys().map(entry))
    }
}

fn entry_of(key: &'static Key, value: Option<String>, synonyms: Vec<Synonym>) -> ConfigEntry {
    ConfigEntry {
        name: key.name.to_owned(),
        value,
        source: source_of(&synonyms),
        synonyms,
        key_type: Some(key.key_type),
        read_only: false,
        sensitive: false,
        documentation: key.doc,
    }
}

fn sorted(entries: impl Iterator<Item = ConfigEntry>) -> Vec<ConfigEntry> {
    let mut entries: Vec<ConfigEntry> = entries.collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

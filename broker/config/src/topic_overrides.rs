//! What a topic sets for itself: validated text by key, as stored in the metadata log.
//!
//! Invariant: every key is a topic key and every value passed Kafka's validation, so resolving
//! cannot fail. Source: `LogConfig.validate`, `ControllerConfigurationValidator`.

use std::collections::BTreeMap;

use crate::alter::{Alteration, apply};
use crate::error::InvalidConfig;
use crate::topic_keys::topic_key;
use crate::value::Value;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicOverrides(BTreeMap<String, String>);

impl TopicOverrides {
    /// The configs of CreateTopics or of the old AlterConfigs. Of a key given twice the last
    /// counts; a null value is an error.
    pub fn from_request<'a>(
        pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<TopicOverrides, InvalidConfig> {
        let mut map = BTreeMap::new();
        let mut null = Vec::new();
        for (name, value) in pairs {
            match value {
                Some(value) => drop(map.insert(name.to_owned(), value.to_owned())),
                None => null.push(name.to_owned()),
            }
        }
        if !null.is_empty() {
            return Err(InvalidConfig::NullTopicConfig { names: null });
        }
        Self::from_map(map)
    }

    /// Validates a stored or complete map.
    pub fn from_map(map: BTreeMap<String, String>) -> Result<TopicOverrides, InvalidConfig> {
        // Kafka looks at all names before any value
        if let Some(name) = map.keys().find(|name| topic_key(name).is_none()) {
            return Err(InvalidConfig::UnknownTopicConfig { name: name.clone() });
        }
        let mut parsed = BTreeMap::new();
        for (name, text) in &map {
            let Some(key) = topic_key(name) else { continue };
            parsed.insert(key.name, Value::parse(key, text)?);
        }
        check_rules(&parsed)?;
        Ok(TopicOverrides(map))
    }

    /// IncrementalAlterConfigs: all alterations or an error, and then nothing changed.
    pub fn altered(&self, alterations: &[Alteration]) -> Result<TopicOverrides, InvalidConfig> {
        Self::from_map(apply(&self.0, alterations, topic_key)?)
    }

    /// The text as it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Rules across keys.
fn check_rules(parsed: &BTreeMap<&str, Value>) -> Result<(), InvalidConfig> {
    let integer = |name: &str, default: i64| match parsed.get(name) {
        Some(Value::Integer(value)) => *value,
        _ => default,
    };
    let min = integer("min.compaction.lag.ms", 0);
    let max = integer("max.compaction.lag.ms", i64::MAX);
    if min > max {
        return Err(InvalidConfig::Rule(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > \
             max.compaction.lag.ms ({max})"
        )));
    }
    if parsed.get("remote.storage.enable") == Some(&Value::Boolean(true)) {
        return Err(InvalidConfig::Rule(
            "Tiered Storage functionality is disabled in the broker. \
             Topic cannot be configured with remote log storage."
                .to_owned(),
        ));
    }
    Ok(())
}

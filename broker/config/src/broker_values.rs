//! The text of every broker key, in Kafka's layers: per node, cluster-wide default, file, default.
//!
//! Everything in here was parsed and validated on its way in, so that the typed getters cannot
//! fail for a name in the tables. Dynamic layers come from the metadata log.

use std::collections::BTreeMap;

use crate::alter::{Alteration, apply};
use crate::broker_keys::{broker_key, broker_keys, reasons};
use crate::error::{ConfigError, InvalidConfig};
use crate::key::{Key, Meaning};
use crate::node_config::{IP_OVERRIDES, parse_ip_overrides};
use crate::properties::{Property, parse_properties};
use crate::value::Value;

/// Keys of one start-up file that do nothing, with the one reason they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub keys: Vec<String>,
    pub reason: &'static str,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let have = if self.keys.len() == 1 { "has" } else { "have" };
        write!(f, "{} {have} no effect: {}", self.keys.join(", "), self.reason)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerValues {
    pub(crate) file: BTreeMap<String, String>,
    pub(crate) dynamic_default: BTreeMap<String, String>,
    pub(crate) dynamic_node: BTreeMap<String, String>,
}

/// Keys that older releases had: a nearest name would mislead.
const REMOVED: &[(&str, &str)] = &[
    ("zookeeper.", "ZooKeeper is gone since Kafka 4.0; set process.roles and node.id instead"),
    ("inter.broker.protocol.version", "removed in Kafka 4.0; delete the line"),
    ("log.message.format.version", "removed in Kafka 4.0; delete the line"),
    (
        "log.message.timestamp.difference.max.ms",
        "removed in Kafka 4.0; use log.message.timestamp.before.max.ms and .after.max.ms",
    ),
    ("log.message.downconversion.enable", "removed in Kafka 4.0; delete the line"),
    ("control.plane.listener.name", "removed in Kafka 4.0; delete the line"),
    ("broker.id.generation.enable", "removed in Kafka 4.0; set node.id"),
    ("reserved.broker.max.id", "removed in Kafka 4.0; set node.id"),
];

/// Prefixes under which Kafka hands arbitrary keys to plug-in classes.
const PLUGIN_PREFIXES: &[&str] = &["config.providers.", "rsm.config.", "rlmm.config."];
const PLUGIN_REASON: &str = "it belongs to a Java class, and Millrace does not load Java classes";

impl BrokerValues {
    /// Reads a `server.properties`. Unknown keys and bad values are errors; keys without effect
    /// come back as warnings, one per reason.
    pub fn from_properties(text: &str) -> Result<(BrokerValues, Vec<Warning>), ConfigError> {
        Self::from_list(parse_properties(text)?)
    }

    /// Since 4.1 a new Kafka cluster holds this key in its cluster-wide dynamic layer (KIP-966),
    /// and tools show it there; it cannot be deleted.
    fn pin_min_insync_replicas(&mut self) {
        const NAME: &str = "min.insync.replicas";
        if !self.dynamic_default.contains_key(NAME) {
            let value = self.get(NAME).unwrap_or("1").to_owned();
            self.dynamic_default.insert(NAME.to_owned(), value);
        }
    }

    fn from_list(list: Vec<Property>) -> Result<(BrokerValues, Vec<Warning>), ConfigError> {
        let mut values = BrokerValues::default();
        let mut idle: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for Property { key: name, value, .. } in list {
            let reason = match find_key(&name)? {
                Found::Plugin => Some(PLUGIN_REASON),
                Found::Key(key) => {
                    check_static(key, &name, &value)?;
                    match key.meaning {
                        Meaning::NoEffect(reason) => Some(reason),
                        Meaning::Applied if name != key.name => Some(reasons::PER_LISTENER),
                        Meaning::Applied | Meaning::Refused(_) => None,
                    }
                }
            };
            let first = values.file.insert(name.clone(), value).is_none();
            if let Some(reason) = reason.filter(|_| first) {
                idle.entry(reason).or_default().push(name);
            }
        }
        if values.list("log.dirs").iter().filter(|dir| !dir.is_empty()).count() > 1 {
            let beyond = "log.dirs beyond its first directory".to_owned();
            idle.entry(reasons::ONE_DIRECTORY).or_default().push(beyond);
        }
        values.pin_min_insync_replicas();
        let warnings = idle.into_iter().map(|(reason, keys)| Warning { keys, reason });
        Ok((values, warnings.collect()))
    }

    /// The value in force as text: the highest layer that has the key, else its default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.set_value(name).or_else(|| broker_key(name)?.default)
    }

    /// The value in force if any layer sets it.
    pub fn set_value(&self, name: &str) -> Option<&str> {
        let layers = [&self.dynamic_node, &self.dynamic_default, &self.file];
        layers.into_iter().find_map(|layer| layer.get(name)).map(String::as_str)
    }

    /// Names that the file sets, also those that are not in the tables (listener prefixes).
    pub(crate) fn file_names(&self) -> impl Iterator<Item = &str> {
        self.file.keys().map(String::as_str)
    }

    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        let key = broker_key(name).unwrap_or_else(|| panic!("no broker key is named {name}"));
        let parsed = |text| {
            Value::parse(key, text)
                .unwrap_or_else(|error| panic!("{name} was validated when it was stored: {error}"))
        };
        self.get(name).map(parsed)
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Value::Integer(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Boolean(true))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.to_text())
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(parts)) => parts,
            _ => Vec::new(),
        }
    }

    /// Replaces the dynamic layers by what the metadata log holds. Entries that are unknown or
    /// invalid (written by another release) are left out and returned by name.
    pub fn set_dynamic(
        &mut self,
        cluster: &BTreeMap<String, String>,
        node: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let mut refused = Vec::new();
        let mut keep = |layer: &BTreeMap<String, String>| {
            let valid = |name: &str, text: &str| {
                broker_key(name).is_some_and(|key| Value::parse(key, text).is_ok())
            };
            let (good, bad): (BTreeMap<_, _>, BTreeMap<_, _>) =
                layer.clone().into_iter().partition(|(name, text)| valid(name, text));
            refused.extend(bad.into_keys());
            good
        };
        self.dynamic_default = keep(cluster);
        self.dynamic_node = keep(node);
        self.pin_min_insync_replicas();
        refused
    }

    /// Applies `IncrementalAlterConfigs` of a broker resource to one stored dynamic layer and
    /// returns the layer to store. Only keys that Kafka takes dynamically are accepted. For broker
    /// resources Kafka answers INVALID_REQUEST whatever is wrong.
    pub fn alter_dynamic(
        layer: &BTreeMap<String, String>,
        alterations: &[Alteration],
    ) -> Result<BTreeMap<String, String>, InvalidConfig> {
        let altered = apply(layer, alterations, broker_key)?;
        for Alteration { name, .. } in alterations {
            let Some(key) = broker_key(name).filter(|key| key.dynamic) else {
                return Err(InvalidConfig::NotDynamic { name: name.clone() });
            };
            if let Some(text) = altered.get(name) {
                let value = Value::parse(key, text)?;
                check_rule(name, text)?;
                check_alterable(key, &value)?;
            }
        }
        Ok(altered)
    }
}

/// What a value must keep to beyond its type.
fn check_rule(name: &str, text: &str) -> Result<(), InvalidConfig> {
    if name != IP_OVERRIDES {
        return Ok(());
    }
    let refused =
        |reason| InvalidConfig::Value { name: name.to_owned(), value: text.to_owned(), reason };
    parse_ip_overrides(text).map(drop).map_err(refused)
}

/// A value that would change nothing is refused, or people would wait for its effect. The default is always fine.
fn check_alterable(key: &Key, value: &Value) -> Result<(), InvalidConfig> {
    let (Meaning::NoEffect(reason) | Meaning::Refused(reason)) = key.meaning else {
        return Ok(());
    };
    match key.default.map(|text| Value::parse(key, text)) {
        Some(Ok(default)) if default == *value => Ok(()),
        _ => Err(InvalidConfig::NotAlterable { name: key.name.to_owned(), reason }),
    }
}

enum Found {
    Key(&'static Key),
    Plugin,
}

fn find_key(name: &str) -> Result<Found, ConfigError> {
    // listener.name.<listener>.<key>, also with a SASL mechanism between them
    let base = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.'));
    let candidates = match base {
        Some((_, rest)) => [Some(rest), rest.split_once('.').map(|(_, key)| key)],
        None => [Some(name), None],
    };
    if let Some(key) = candidates.into_iter().flatten().find_map(broker_key) {
        return Ok(Found::Key(key));
    }
    if PLUGIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(Found::Plugin);
    }
    let removed =
        |(old, _): &&(&str, _)| name == *old || old.ends_with('.') && name.starts_with(old);
    if let Some((_, reason)) = REMOVED.iter().find(removed) {
        return Err(ConfigError::RemovedKey { name: name.to_owned(), reason });
    }
    Err(ConfigError::UnknownKey { name: name.to_owned(), nearest: nearest_key(name) })
}

/// The closest known name, unless nothing is close.
fn nearest_key(name: &str) -> Option<String> {
    let scored = broker_keys()
        .filter(|key| !key.internal)
        .map(|key| (strsim::damerau_levenshtein(name, key.name), key.name));
    let (distance, nearest) = scored.min()?;
    (distance <= 3 + nearest.len() / 4).then(|| nearest.to_owned())
}

fn check_static(key: &Key, name: &str, text: &str) -> Result<(), ConfigError> {
    let value = Value::parse(key, text)?;
    match key.meaning {
        Meaning::Refused(reason) if Some(value.to_text().as_str()) != key.default => {
            Err(ConfigError::Refused {
                name: name.to_owned(),
                value: text.to_owned(),
                reason: reason.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

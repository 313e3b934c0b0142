//! Overrides of one consumer, share or streams group, validated and altered as topics' are.

use std::collections::BTreeMap;

use crate::alter::{Alteration, apply};
use crate::broker_values::BrokerValues;
use crate::error::InvalidConfig;
use crate::group_keys::{broker_key_of_group, group_key};
use crate::value::Value;

/// Invariant: every key is a group key and every value is valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides(BTreeMap<String, String>);

impl GroupOverrides {
    pub fn from_map(map: BTreeMap<String, String>) -> Result<GroupOverrides, InvalidConfig> {
        for (name, text) in &map {
            let unknown = || InvalidConfig::UnknownGroupConfig { name: name.clone() };
            Value::parse(group_key(name).ok_or_else(unknown)?, text)?;
        }
        Ok(GroupOverrides(map))
    }

    pub fn altered(&self, alterations: &[Alteration]) -> Result<GroupOverrides, InvalidConfig> {
        Self::from_map(apply(&self.0, alterations, group_key)?)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// The values in force for one group, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig(BTreeMap<&'static str, Value>);

impl GroupConfig {
    pub fn resolve(overrides: &GroupOverrides, broker: &BrokerValues) -> GroupConfig {
        let value = |key: &'static crate::key::Key| {
            let inherited = broker_key_of_group(key.name).and_then(|name| broker.get(name));
            let text = overrides.get(key.name).or(inherited).or(key.default)?;
            Some((key.name, Value::parse(key, text).ok()?))
        };
        GroupConfig(crate::group_keys::group_keys().filter_map(value).collect())
    }

    /// A number; `None` if the name is not that of a numeric group key.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Value::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(Value::to_text)
    }
}

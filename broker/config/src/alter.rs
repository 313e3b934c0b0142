//! `IncrementalAlterConfigs`: set, delete, append and subtract on a map of overrides.
//!
//! Source: Kafka's `ConfigurationControlManager.incrementalAlterConfigResource`. Append and
//! subtract start from the override, else from the key's default, and keep the order.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::InvalidConfig;
use crate::key::{Key, KeyType};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set,
    Delete,
    Append,
    Subtract,
}

impl AlterOp {
    /// The operation of that wire code.
    pub fn from_wire(code: i8) -> Result<AlterOp, InvalidConfig> {
        match code {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            _ => Err(InvalidConfig::UnknownOperation { code }),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    pub name: String,
    pub op: AlterOp,
    /// Null on the wire is `None`; only `Delete` may have it.
    pub value: Option<String>,
}

/// What Kafka refuses before it looks at the resource: a key twice, a value that is null.
pub fn check_shape(alterations: &[Alteration]) -> Result<(), InvalidConfig> {
    let mut seen = BTreeSet::new();
    if !alterations.iter().all(|a| seen.insert(a.name.as_str())) {
        return Err(InvalidConfig::DuplicateKeys);
    }
    let is_null = |a: &&Alteration| a.op != AlterOp::Delete && a.value.is_none();
    let names: Vec<String> = alterations.iter().filter(is_null).map(|a| a.name.clone()).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(InvalidConfig::NullValue { names }),
    }
}

/// Only lists can be appended to and subtracted from; Kafka says so before anything else about a resource.
pub fn check_lists(
    alterations: &[Alteration],
    is_list: impl Fn(&str) -> bool,
) -> Result<(), InvalidConfig> {
    for Alteration { name, op, .. } in alterations {
        let operation = match op {
            AlterOp::Set | AlterOp::Delete => continue,
            AlterOp::Append => "APPEND",
            AlterOp::Subtract => "SUBTRACT",
        };
        if !is_list(name) {
            return Err(InvalidConfig::NotAList { operation, name: name.clone() });
        }
    }
    Ok(())
}

/// Applies all or nothing; the caller validates the outcome.
pub(crate) fn apply(
    current: &BTreeMap<String, String>,
    alterations: &[Alteration],
    find: impl Fn(&str) -> Option<&'static Key>,
) -> Result<BTreeMap<String, String>, InvalidConfig> {
    check_shape(alterations)?;
    check_lists(alterations, |name| find(name).is_some_and(|key| key.key_type == KeyType::List))?;
    let mut altered = current.clone();
    for Alteration { name, op, value } in alterations {
        let value = value.as_deref().unwrap_or_default();
        match op {
            AlterOp::Set => {
                altered.insert(name.clone(), value.to_owned());
                continue;
            }
            AlterOp::Delete => {
                altered.remove(name);
                continue;
            }
            AlterOp::Append | AlterOp::Subtract => {}
        }
        let default = find(name).and_then(|key| key.default).unwrap_or_default();
        let old = altered.get(name).map_or(default, String::as_str);
        let mut parts: Vec<&str> = old.split(',').filter(|part| !part.is_empty()).collect();
        for part in value.split(',') {
            match op {
                AlterOp::Append if parts.contains(&part) => {}
                AlterOp::Append => parts.push(part),
                _ => parts.retain(|old| *old != part),
            }
        }
        let joined = parts.join(",");
        altered.insert(name.clone(), joined);
    }
    Ok(altered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic_keys::topic_key;

    fn alteration(name: &str, op: AlterOp, value: Option<&str>) -> Alteration {
        Alteration { name: name.into(), op, value: value.map(Into::into) }
    }

    fn run(current: &[(&str, &str)], list: &[Alteration]) -> Result<Vec<String>, InvalidConfig> {
        let current = current.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let altered = apply(&current, list, topic_key)?;
        Ok(altered.into_iter().map(|(k, v)| format!("{k}={v}")).collect())
    }

    #[test]
    fn append_starts_from_the_default_and_adds_only_what_is_missing() {
        let append = |v| alteration("cleanup.policy", AlterOp::Append, Some(v));
        assert_eq!(run(&[], &[append("compact")]).unwrap(), ["cleanup.policy=delete,compact"]);
        assert_eq!(run(&[], &[append("delete")]).unwrap(), ["cleanup.policy=delete"]);
        let subtract = alteration("cleanup.policy", AlterOp::Subtract, Some("delete"));
        let current = [("cleanup.policy", "compact,delete")];
        assert_eq!(run(&current, &[subtract]).unwrap(), ["cleanup.policy=compact"]);
    }

    #[test]
    fn append_to_a_number_is_refused_with_kafkas_words() {
        let append = alteration("retention.ms", AlterOp::Append, Some("1"));
        let error = run(&[], &[append]).unwrap_err();
        let text = "Can't APPEND to key retention.ms because its type is not LIST.";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn null_values_and_repeated_keys_are_request_errors() {
        let null = alteration("retention.ms", AlterOp::Set, None);
        let error = run(&[], std::slice::from_ref(&null)).unwrap_err();
        assert_eq!(error.to_string(), "Null value not supported for : retention.ms");
        assert!(error.is_request_error());
        let twice = [null.clone(), null];
        assert_eq!(run(&[], &twice).unwrap_err(), InvalidConfig::DuplicateKeys);
        assert!(AlterOp::from_wire(4).unwrap_err().is_request_error());
    }

    #[test]
    fn delete_returns_to_the_default_and_is_fine_when_nothing_is_set() {
        let delete = alteration("retention.ms", AlterOp::Delete, None);
        assert!(run(&[("retention.ms", "5")], std::slice::from_ref(&delete)).unwrap().is_empty());
        assert!(run(&[], &[delete]).unwrap().is_empty());
    }
}

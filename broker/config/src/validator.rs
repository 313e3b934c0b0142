//! Validators with the very messages of Kafka's `ConfigDef`, so that clients read what they know.

use crate::error::InvalidConfig;
use crate::value::Value;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validator {
    /// Smallest value, inclusive.
    AtLeast(i64),
    /// Both ends inclusive.
    Between(i64, i64),
    BetweenDouble(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfIgnoringCase(&'static [&'static str]),
    /// A list whose parts are all among these; it may be empty.
    EachOneOf(&'static [&'static str]),
    /// Text or a list that is not empty.
    NonEmpty,
    /// -1 or 1 to 9.
    GzipLevel,
    /// `*` or `partition:broker` pairs.
    ThrottledReplicas,
    /// `latest`, `earliest` or `by_duration:` with an ISO-8601 duration.
    ShareOffsetReset,
}

impl Validator {
    /// Checks a parsed value. A value of another type than the validator expects passes: the
    /// tables' test proves that none is paired so.
    pub(crate) fn check(&self, name: &str, value: &Value) -> Result<(), InvalidConfig> {
        match self.complaint(name, value) {
            None => Ok(()),
            Some(Complaint::Value(reason)) => Err(InvalidConfig::Value {
                name: name.to_owned(),
                value: value.to_message(),
                reason,
            }),
            Some(Complaint::Part(part, reason)) => {
                Err(InvalidConfig::Value { name: name.to_owned(), value: part, reason })
            }
            Some(Complaint::Whole(message)) => Err(InvalidConfig::Rule(message)),
        }
    }

    fn complaint(&self, name: &str, value: &Value) -> Option<Complaint> {
        match (self, value) {
            (Self::AtLeast(min), Value::Integer(v)) => at_least(v < min, min),
            (Self::Between(min, max), Value::Integer(v)) => {
                at_least(v < min, min).or_else(|| at_most(v > max, max))
            }
            (Self::BetweenDouble(min, max), Value::Double(v)) => {
                at_least(v < min, min).or_else(|| at_most(v > max, max))
            }
            (Self::GzipLevel, Value::Integer(v)) => (*v != -1 && !(1..=9).contains(v)).then(|| {
                Complaint::Value("Value must be between 1 and 9 or equal to -1".to_owned())
            }),
            (Self::OneOf(names), Value::Text(v)) => (!names.contains(&v.as_str()))
                .then(|| Complaint::Value(format!("String must be one of: {}", names.join(", ")))),
            (Self::OneOfIgnoringCase(names), Value::Text(v)) => {
                (!names.iter().any(|n| n.eq_ignore_ascii_case(v))).then(|| {
                    let names = names.join(", ");
                    Complaint::Value(format!("String must be one of (case insensitive): {names}"))
                })
            }
            (Self::EachOneOf(names), Value::List(parts)) => each_one_of(name, names, parts),
            (Self::NonEmpty, Value::Text(v)) if v.is_empty() => {
                Some(Complaint::Value("String must be non-empty".to_owned()))
            }
            (Self::NonEmpty, Value::List(parts)) if parts.is_empty() => {
                Some(Complaint::Whole(format!(
                    "Configuration '{name}' must not be empty. Valid values include: any non-empty value"
                )))
            }
            (Self::ThrottledReplicas, Value::List(parts)) => throttled_replicas(name, parts),
            (Self::ShareOffsetReset, Value::Text(v)) => share_offset_reset(v),
            _ => None,
        }
    }
}

enum Complaint {
    /// "Invalid value <value> for configuration <name>: <reason>"
    Value(String),
    /// The same, but about one part of a list.
    Part(String, String),
    /// A message of its own.
    Whole(String),
}

fn at_least(broken: bool, min: impl std::fmt::Display) -> Option<Complaint> {
    broken.then(|| Complaint::Value(format!("Value must be at least {min}")))
}

fn at_most(broken: bool, max: impl std::fmt::Display) -> Option<Complaint> {
    broken.then(|| Complaint::Value(format!("Value must be no more than {max}")))
}

fn each_one_of(name: &str, names: &[&str], parts: &[String]) -> Option<Complaint> {
    if parts.iter().any(String::is_empty) {
        let message = format!("Configuration '{name}' values must not be empty.");
        return Some(Complaint::Whole(message));
    }
    let unknown = parts.iter().find(|part| !names.contains(&part.as_str()))?;
    let reason = format!("String must be one of: {}", names.join(", "));
    Some(Complaint::Part(unknown.clone(), reason))
}

fn throttled_replicas(name: &str, parts: &[String]) -> Option<Complaint> {
    let is_pair = |part: &String| {
        part.split_once(':').is_some_and(|(partition, broker)| {
            [partition, broker]
                .iter()
                .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    let everything = matches!(parts, [only] if only == "*");
    (!everything && !parts.iter().all(is_pair)).then(|| {
        Complaint::Value(format!(
            "{name} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        ))
    })
}

fn share_offset_reset(value: &str) -> Option<Complaint> {
    let duration = value.strip_prefix("by_duration:");
    let known = matches!(value, "latest" | "earliest")
        || duration.is_some_and(|d| d.starts_with('P') && d.len() > 2);
    (!known).then(|| {
        Complaint::Value("must be latest, earliest or by_duration:PnDTnHnMn.nS".to_owned())
    })
}

//! Subscriptions to client metrics (KIP-714) as configs: kept and shown, without effect while no receiver exists.
//!
//! Source: Kafka's `ClientMetricsConfigs`. A wrong selector is INVALID_CONFIG, everything else INVALID_REQUEST.

use std::collections::BTreeMap;

use config::{AlterOp, Alteration};
use protocol::ErrorCode;
use regex::Regex;

use super::refusal::Refusal;

const INTERVAL: &str = "interval.ms";
const MATCH: &str = "match";
const METRICS: &str = "metrics";
const INTERVAL_MS: std::ops::RangeInclusive<i32> = 100..=3_600_000;
/// What a selector may look at.
const SELECTORS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];
const SELECTOR_BYTES_MAX: usize = 64 << 10;

/// Keys with their default and the wire's number of their type.
pub(super) const KEYS: [(&str, &str, i8); 3] =
    [(INTERVAL, "300000", 3), (MATCH, "", 7), (METRICS, "", 7)];

/// Where a value that was set comes from.
pub(super) const SOURCE: i8 = 7;

/// The map after the alterations, or what is wrong with them. Nothing can be appended to or subtracted from.
pub(super) fn altered(
    stored: &BTreeMap<String, String>,
    alterations: &[Alteration],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut after = stored.clone();
    for Alteration { name, op, value } in alterations {
        match (op, value) {
            (AlterOp::Delete, _) => drop(after.remove(name)),
            (_, None) => {
                let message = format!("Null value not supported for : {name}");
                return Err(Refusal::invalid_request(message));
            }
            (_, Some(value)) => drop(after.insert(name.clone(), value.clone())),
        }
    }
    check(&after)?;
    Ok(after)
}

/// Checks a whole map.
pub(super) fn check(values: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (name, value) in values {
        match name.as_str() {
            INTERVAL => check_interval(value)?,
            MATCH => value.split(',').filter(|s| !s.is_empty()).try_for_each(check_selector)?,
            METRICS => {}
            other => {
                let message = format!("Unknown client metrics configuration: {other}");
                return Err(Refusal::invalid_request(message));
            }
        }
    }
    Ok(())
}

fn check_interval(value: &str) -> Result<(), Refusal> {
    match value.trim().parse::<i32>() {
        Ok(ms) if INTERVAL_MS.contains(&ms) => Ok(()),
        _ => Err(Refusal::invalid_request(format!(
            "Invalid value {value} for {INTERVAL}, interval must be between 100 and 3600000 \
             (1 hour)"
        ))),
    }
}

fn check_selector(selector: &str) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidConfig, message));
    match selector.split_once('=') {
        Some((name, pattern)) if SELECTORS.contains(&name.trim()) => {
            let long = pattern.len() > SELECTOR_BYTES_MAX;
            match !long && Regex::new(pattern.trim()).is_ok() {
                true => Ok(()),
                false => invalid(format!("Illegal regular expression in {selector}")),
            }
        }
        _ => invalid(format!("Illegal client matching pattern: {selector}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let alteration =
            Alteration { name: name.into(), op: AlterOp::Set, value: Some(value.into()) };
        altered(&BTreeMap::new(), &[alteration])
    }

    #[test]
    fn values_are_judged_as_kafka_judges_them() {
        for (name, value) in [
            (INTERVAL, "1000"),
            (METRICS, "*"),
            (METRICS, "org.apache."),
            (MATCH, "client_id=a.*,client_software_name=x"),
        ] {
            assert_eq!(set(name, value).unwrap()[name], value);
        }
        for (name, value, error) in [
            (INTERVAL, "99", ErrorCode::InvalidRequest),
            (INTERVAL, "3600001", ErrorCode::InvalidRequest),
            ("x", "y", ErrorCode::InvalidRequest),
            (MATCH, "foo=a", ErrorCode::InvalidConfig),
            (MATCH, "client_id", ErrorCode::InvalidConfig),
            (MATCH, "client_id=[", ErrorCode::InvalidConfig),
        ] {
            assert_eq!(set(name, value).unwrap_err().error, error, "{name}={value}");
        }
    }
}

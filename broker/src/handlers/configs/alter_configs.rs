//! AlterConfigs (key 33) and IncrementalAlterConfigs (key 44, KIP-339): one change of overrides, asked for in two ways.
//!
//! The old API gives all overrides of a resource, the new one what to do with each key. Both are a list of alterations,
//! on an empty map or on what is stored; all of a resource is done or nothing. What is wrong in several ways is answered
//! as Kafka would: the shape of the request, then the node it is for, then operations that a key does not allow, then
//! the name of the resource, then values, then whether it exists (`ConfigAdminManager`, `ConfigurationControlManager`).

use std::collections::BTreeMap;

use config::{AlterOp, Alteration, BrokerValues, GroupOverrides, InvalidConfig, TopicOverrides};
use protocol::messages::incremental_alter_configs_request::AlterableConfig;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use protocol::messages::{alter_configs_response, incremental_alter_configs_response};
use protocol::{ErrorCode, StrBytes};

use super::refusal::Refusal;
use super::{client_metrics, resource};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::metadata::{ConfigChange, ConfigResource, Image, MetadataRecord};
use crate::shard::Change;

/// Brokers, consumer groups and client metrics subscriptions with overrides of their own.
const RESOURCES_MAX: usize = 100_000;
/// Overrides of one resource, with the names and values that only plug-ins know.
const OVERRIDES_MAX: usize = 1_000;

/// One resource as either request names it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) kind: i8,
    pub(super) name: StrBytes,
    /// What is stored goes first.
    pub(super) replaces: bool,
    pub(super) alterations: Result<Vec<Alteration>, InvalidConfig>,
}

/// What became of one resource.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    kind: i8,
    name: StrBytes,
    pub(super) refusal: Option<Refusal>,
}

/// Answers AlterConfigs.
pub async fn replace(call: Call, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let asked = request.resources.into_iter().map(|resource| Asked {
        kind: resource.resource_type,
        name: resource.resource_name,
        replaces: true,
        alterations: Ok(resource
            .configs
            .into_iter()
            .map(|config| Alteration {
                name: config.name.to_string(),
                op: AlterOp::Set,
                value: config.value.map(|value| value.to_string()),
            })
            .collect()),
    });
    let answered = alter(&call, asked.collect(), request.validate_only).await;
    let responses = answered.into_iter().map(|Answered { kind, name, refusal }| {
        let (code, message) = wire(refusal);
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_error_code(code)
            .with_error_message(message)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Answers IncrementalAlterConfigs.
pub async fn change(
    call: Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let validate_only = request.validate_only;
    let answered = alter(&call, incremental(request), validate_only).await;
    let responses = answered.into_iter().map(|Answered { kind, name, refusal }| {
        let (code, message) = wire(refusal);
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_error_code(code)
            .with_error_message(message)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

pub(super) fn incremental(request: IncrementalAlterConfigsRequest) -> Vec<Asked> {
    let asked = request.resources.into_iter().map(|resource| Asked {
        kind: resource.resource_type,
        name: resource.resource_name,
        replaces: false,
        alterations: alterations(resource.configs),
    });
    asked.collect()
}

/// An operation that does not exist is worse than anything but a request of the wrong shape.
fn alterations(configs: Vec<AlterableConfig>) -> Result<Vec<Alteration>, InvalidConfig> {
    let mut unknown = None;
    let mut alteration = |config: AlterableConfig| Alteration {
        name: config.name.to_string(),
        op: AlterOp::from_wire(config.config_operation).unwrap_or_else(|error| {
            unknown.get_or_insert(error);
            AlterOp::Set
        }),
        value: config.value.map(|value| value.to_string()),
    };
    let alterations: Vec<Alteration> = configs.into_iter().map(&mut alteration).collect();
    match unknown {
        None => Ok(alterations),
        Some(error) => config::check_shape(&alterations).and(Err(error)),
    }
}

fn wire(refusal: Option<Refusal>) -> (i16, Option<StrBytes>) {
    match refusal {
        None => (ErrorCode::None.code(), None),
        Some(refusal) => (refusal.error.code(), refusal.wire_message()),
    }
}

async fn alter(call: &Call, asked: Vec<Asked>, validate_only: bool) -> Vec<Answered> {
    let names: Vec<_> = asked.iter().map(|asked| (asked.kind, asked.name.clone())).collect();
    let decided = move |image: &Image| decide(image, &asked, validate_only);
    match call.shard.change_metadata(decided).await {
        Ok(answered) => answered,
        Err(error) => {
            let refusal = Refusal::new(error.code(), error.to_string());
            let refused = |(kind, name)| Answered { kind, name, refusal: Some(refusal.clone()) };
            names.into_iter().map(refused).collect()
        }
    }
}

/// Which resources of a request can be changed, as records and answers. One that is named again is answered once.
pub(super) fn decide(image: &Image, asked: &[Asked], validate_only: bool) -> Change<Vec<Answered>> {
    let (mut records, mut answer) = (Vec::new(), Vec::new());
    let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for asked in asked {
        *times.entry((asked.kind, &asked.name)).or_default() += 1;
    }
    for asked in asked {
        let outcome = match times.remove(&(asked.kind, &*asked.name)) {
            None => continue,
            Some(1) => altered(image, asked),
            Some(_) => Err(Refusal::invalid_request("Each resource must appear at most once.")),
        };
        let refusal = match outcome {
            Ok(record) => {
                records.extend(record.filter(|_| !validate_only));
                None
            }
            Err(refusal) => Some(refusal),
        };
        answer.push(Answered { kind: asked.kind, name: asked.name.clone(), refusal });
    }
    Change { records, answer }
}

/// The record that makes the change, or none if nothing changes.
fn altered(image: &Image, asked: &Asked) -> Result<Option<MetadataRecord>, Refusal> {
    let alterations = asked.alterations.as_ref().map_err(|error| match asked.kind {
        // the broker itself looks at its own, and names what it does not know
        resource::BROKER => Refusal::invalid_request(error.to_string()),
        _ => Refusal::from(error.clone()),
    })?;
    config::check_shape(alterations)?;
    let resolve = || resource::to_alter(image, asked.kind, &asked.name);
    let resolved = match asked.kind {
        resource::TOPIC | resource::GROUP | resource::CLIENT_METRICS => None,
        _ => Some(resolve()?),
    };
    config::check_lists(alterations, |name| resource::is_list(asked.kind, name))?;
    if resource::is_missing_topic(image, asked.kind, &asked.name) {
        TopicOverrides::default().altered(alterations)?;
    }
    let target = match resolved {
        Some(target) => target,
        None => resolve()?,
    };
    let none = BTreeMap::new();
    let before = match &target {
        ConfigResource::Topic(_) => resource::topic(image, &asked.name)?.overrides.as_map(),
        other => image.configs.get(other).unwrap_or(&none),
    };
    let from = if asked.replaces { &none } else { before };
    let after = match &target {
        ConfigResource::Topic(_) => {
            TopicOverrides::from_map(from.clone())?.altered(alterations)?.as_map().clone()
        }
        ConfigResource::Group(_) => {
            GroupOverrides::from_map(from.clone())?.altered(alterations)?.as_map().clone()
        }
        ConfigResource::Broker(_) => alter_broker(from, alterations, asked.replaces)?,
        ConfigResource::ClientMetrics(_) => client_metrics::altered(from, alterations)?,
    };
    check_bounds(image, &target, &after)?;
    Ok(difference(target, before, after))
}

fn check_bounds(
    image: &Image,
    target: &ConfigResource,
    after: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    if after.len() > OVERRIDES_MAX {
        let message = format!("A resource may have {OVERRIDES_MAX} overrides at most.");
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    let is_new = !matches!(target, ConfigResource::Topic(_)) && !image.configs.contains_key(target);
    if is_new && image.configs.len() >= RESOURCES_MAX {
        let message = format!("{RESOURCES_MAX} groups and subscriptions have configs already.");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    Ok(())
}

/// Keys that no table knows are kept as they are, for plug-ins as Kafka says, but the old API knows none; the others are
/// validated.
fn alter_broker(
    from: &BTreeMap<String, String>,
    alterations: &[Alteration],
    replaces: bool,
) -> Result<BTreeMap<String, String>, Refusal> {
    let (known, unknown): (Vec<_>, Vec<_>) =
        alterations.iter().cloned().partition(|a| config::broker_key(&a.name).is_some());
    if let Some(Alteration { name, .. }) = unknown.first().filter(|_| replaces) {
        return Err(InvalidConfig::UnknownBrokerConfig { name: name.clone() }.into());
    }
    let altered = BrokerValues::alter_dynamic(from, &known);
    let mut altered = altered.map_err(|e| Refusal::invalid_request(e.to_string()))?;
    for Alteration { name, op, value } in unknown {
        match value.filter(|_| op != AlterOp::Delete) {
            Some(value) => altered.insert(name, value),
            None => altered.remove(&name),
        };
    }
    Ok(altered)
}

/// The difference between two maps of overrides, as one record.
fn difference(
    resource: ConfigResource,
    before: &BTreeMap<String, String>,
    after: BTreeMap<String, String>,
) -> Option<MetadataRecord> {
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    let mut changes: Vec<ConfigChange> =
        removed.map(|key| ConfigChange { key: key.clone(), value: None }).collect();
    for (key, value) in after {
        if before.get(&key) != Some(&value) {
            let value = Some(value);
            changes.push(ConfigChange { key, value });
        }
    }
    (!changes.is_empty()).then_some(MetadataRecord::AlterConfig { resource, changes })
}

//! IncrementalAlterConfigs (key 44): set, delete, append, subtract (KIP-339).

use std::collections::BTreeMap;

use config::{AlterOp, Alteration, BrokerValues, GroupOverrides, TopicOverrides};
use protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::{Refusal, client_metrics, resource};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::metadata::{ConfigChange, ConfigResource, Image, MetadataRecord};
use crate::shard::Change;

/// Answers a request.
pub async fn handle(
    call: Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked = request.resources.clone();
    let alter = move |image: &Image| decide(image, &request);
    let responses = match call.shard.change_metadata(alter).await {
        Ok(responses) => responses,
        Err(error) => {
            let refused = asked.iter().map(|asked| {
                let refusal = Refusal::new(error.code(), error.to_string());
                answer(asked, Err(refusal))
            });
            refused.collect()
        }
    };
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

/// Which resources of a request can be changed, as records and answers.
pub(super) fn decide(
    image: &Image,
    request: &IncrementalAlterConfigsRequest,
) -> Change<Vec<AlterConfigsResourceResponse>> {
    let (mut records, mut responses) = (Vec::new(), Vec::new());
    for (at, asked) in request.resources.iter().enumerate() {
        let same = |other: &AlterConfigsResource| {
            other.resource_type == asked.resource_type && other.resource_name == asked.resource_name
        };
        if request.resources[..at].iter().any(same) {
            continue;
        }
        let outcome = match request.resources[at + 1..].iter().any(same) {
            true => Err(Refusal::invalid_request("Each resource must appear at most once.")),
            false => alter(image, asked),
        };
        responses.push(answer(
            asked,
            outcome.map(|record| {
                if !request.validate_only {
                    records.extend(record);
                }
            }),
        ));
    }
    Change { records, answer: responses }
}

fn answer(
    asked: &AlterConfigsResource,
    outcome: Result<(), Refusal>,
) -> AlterConfigsResourceResponse {
    let response = AlterConfigsResourceResponse::default()
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone());
    match outcome {
        Ok(()) => response.with_error_message(None),
        Err(refusal) => response
            .with_error_code(refusal.error.code())
            .with_error_message(refusal.wire_message()),
    }
}

/// The record that makes the change, or none if nothing changes.
fn alter(image: &Image, asked: &AlterConfigsResource) -> Result<Option<MetadataRecord>, Refusal> {
    let alteration = |config: &_| -> Result<Alteration, Refusal> {
        let config: &protocol::messages::incremental_alter_configs_request::AlterableConfig =
            config;
        Ok(Alteration {
            name: config.name.to_string(),
            op: AlterOp::from_wire(config.config_operation)?,
            value: config.value.as_ref().map(|value| value.to_string()),
        })
    };
    let alterations: Vec<Alteration> =
        asked.configs.iter().map(alteration).collect::<Result<_, _>>()?;
    if resource::is_missing_topic(image, asked.resource_type, &asked.resource_name) {
        TopicOverrides::default().altered(&alterations)?;
    }
    let target = resource::to_alter(image, asked.resource_type, &asked.resource_name)?;
    let none = BTreeMap::new();
    let stored = image.configs.get(&target).unwrap_or(&none);
    let (before, after) = match &target {
        ConfigResource::Topic(_) => {
            let topic = resource::topic(image, &asked.resource_name)?;
            let altered = topic.overrides.altered(&alterations)?;
            (topic.overrides.as_map(), altered.as_map().clone())
        }
        ConfigResource::Group(_) => {
            let altered = GroupOverrides::from_map(stored.clone())?.altered(&alterations)?;
            (stored, altered.as_map().clone())
        }
        ConfigResource::Broker(_) => (stored, alter_broker(stored, &alterations)?),
        ConfigResource::ClientMetrics(_) => {
            (stored, client_metrics::altered(stored, &alterations)?)
        }
    };
    Ok(change(target, before, after))
}

/// Keys that no table knows are kept as they are, for plug-ins as Kafka says; the others are validated.
pub(super) fn alter_broker(
    stored: &BTreeMap<String, String>,
    alterations: &[Alteration],
) -> Result<BTreeMap<String, String>, Refusal> {
    let (known, unknown): (Vec<_>, Vec<_>) =
        alterations.iter().cloned().partition(|a| config::broker_key(&a.name).is_some());
    let altered = BrokerValues::alter_dynamic(stored, &known);
    let mut altered = altered.map_err(|e| Refusal::invalid_request(e.to_string()))?;
    for Alteration { name, op, value } in unknown {
        match (op, value) {
            (AlterOp::Delete, _) => drop(altered.remove(&name)),
            (AlterOp::Set, Some(value)) => drop(altered.insert(name, value)),
            _ => {
                let message = format!("{name} cannot be altered in this way");
                return Err(Refusal::invalid_request(message));
            }
        }
    }
    Ok(altered)
}

/// The difference between two maps of overrides, as one record.
pub(super) fn change(
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

//! AlterConfigs (key 33), deprecated: what is given replaces all overrides of a resource.

use std::collections::BTreeMap;

use config::{AlterOp, Alteration, GroupOverrides, TopicOverrides};
use protocol::messages::alter_configs_request::AlterConfigsResource;
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::incremental_alter_configs::{alter_broker, change};
use super::{Refusal, client_metrics, resource};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::metadata::{ConfigResource, Image, MetadataRecord};
use crate::shard::Change;

/// Answers a request.
pub async fn handle(call: Call, request: AlterConfigsRequest) -> AlterConfigsResponse {
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
    AlterConfigsResponse::default().with_responses(responses)
}

fn decide(
    image: &Image,
    request: &AlterConfigsRequest,
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
            false => replace(image, asked),
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

fn replace(image: &Image, asked: &AlterConfigsResource) -> Result<Option<MetadataRecord>, Refusal> {
    if asked.configs.iter().any(|config| config.value.is_none()) {
        return Err(Refusal::invalid_request("Null value not supported."));
    }
    let value = |config: &protocol::messages::alter_configs_request::AlterableConfig| {
        (config.name.to_string(), config.value.as_deref().unwrap_or_default().to_owned())
    };
    let given: BTreeMap<String, String> = asked.configs.iter().map(value).collect();
    if resource::is_missing_topic(image, asked.resource_type, &asked.resource_name) {
        TopicOverrides::from_map(given.clone())?;
    }
    let target = resource::to_alter(image, asked.resource_type, &asked.resource_name)?;
    let none = BTreeMap::new();
    let stored = image.configs.get(&target).unwrap_or(&none);
    let (before, after) = match &target {
        ConfigResource::Topic(_) => {
            let topic = resource::topic(image, &asked.resource_name)?;
            let after = TopicOverrides::from_map(given)?;
            (topic.overrides.as_map(), after.as_map().clone())
        }
        ConfigResource::Group(_) => {
            let after = GroupOverrides::from_map(given)?;
            (stored, after.as_map().clone())
        }
        ConfigResource::Broker(_) => {
            let set = given.into_iter().map(|(name, value)| Alteration {
                name,
                op: AlterOp::Set,
                value: Some(value),
            });
            let set: Vec<Alteration> = set.collect();
            (stored, alter_broker(&none, &set)?)
        }
        ConfigResource::ClientMetrics(_) => {
            client_metrics::check(&given)?;
            (stored, given)
        }
    };
    Ok(change(target, before, after))
}

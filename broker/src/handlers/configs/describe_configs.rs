//! DescribeConfigs (key 32): values in force, where they come from, what they mean (KIP-133, KIP-226, KIP-569).

use config::{ConfigEntry, ConfigSource, GroupOverrides};
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use protocol::{ErrorCode, StrBytes};

use super::refusal::Refusal;
use super::{client_metrics, resource};
use crate::handlers::Call;
use crate::metadata::{ConfigResource, Image};

/// Answers a request.
pub async fn handle(call: Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = call.shard.image();
    let show =
        Show { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let types = check_types(&request);
    let results = request.resources.iter().map(|asked| {
        let entries = types.clone().and_then(|()| entries(&image, asked));
        show.resource(&image, asked, entries)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// A type that nobody knows spoils the whole request.
fn check_types(request: &DescribeConfigsRequest) -> Result<(), Refusal> {
    let mut types = request.resources.iter().map(|asked| asked.resource_type);
    match types.find(|kind| !resource::is_known(*kind)) {
        Some(kind) => Err(Refusal::invalid_request(format!("Unexpected resource type {kind}"))),
        None => Ok(()),
    }
}

fn entries(image: &Image, asked: &DescribeConfigsResource) -> Result<Vec<ConfigEntry>, Refusal> {
    let name: &str = &asked.resource_name;
    match asked.resource_type {
        resource::TOPIC => {
            let topic = resource::topic(image, name)?;
            Ok(topic.overrides.describe(image.defaults()))
        }
        resource::BROKER => match resource::broker(name)? {
            None => Ok(image.defaults().describe_cluster_default()),
            Some(id) if id == image.node => Ok(image.defaults().describe()),
            Some(id) => Err(Refusal::invalid_request(format!(
                "Unexpected broker id, expected {} or empty string, but received {}",
                image.node.0, id.0
            ))),
        },
        resource::GROUP if name.is_empty() => {
            Err(Refusal::invalid_request("Group name must not be empty"))
        }
        resource::GROUP => {
            let stored = image.configs.get(&ConfigResource::Group(name.to_owned()));
            let overrides = GroupOverrides::from_map(stored.cloned().unwrap_or_default())?;
            Ok(overrides.describe(image.defaults()))
        }
        resource::BROKER_LOGGER if name.is_empty() => {
            Err(Refusal::invalid_request("Broker id must not be empty"))
        }
        // loggers are Java classes in Kafka; here are none whose level a request could change
        resource::BROKER_LOGGER => match resource::broker(name)? {
            Some(id) if id == image.node => Ok(Vec::new()),
            _ => Err(Refusal::invalid_request(format!(
                "Unexpected broker id, expected {} but received {name}",
                image.node.0
            ))),
        },
        resource::CLIENT_METRICS if name.is_empty() => {
            Err(Refusal::invalid_request("Client metrics subscription name must not be empty"))
        }
        resource::CLIENT_METRICS => Ok(Vec::new()), // see `Show::client_metrics`
        other => Err(Refusal::invalid_request(format!("Unsupported resource type: {other}"))),
    }
}

struct Show {
    synonyms: bool,
    documentation: bool,
}

impl Show {
    fn resource(
        &self,
        image: &Image,
        asked: &DescribeConfigsResource,
        entries: Result<Vec<ConfigEntry>, Refusal>,
    ) -> DescribeConfigsResult {
        let result = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name.clone());
        match entries {
            Err(refusal) => result
                .with_error_code(refusal.error.code())
                .with_error_message(Some(StrBytes::from_string(refusal.message))),
            Ok(entries) => {
                let keys = asked.configuration_keys.as_deref();
                let wanted = |entry: &ConfigEntry| {
                    keys.is_none_or(|keys| keys.iter().any(|key| **key == *entry.name))
                };
                let configs = entries.into_iter().filter(wanted).map(|e| self.entry(e));
                let mut configs: Vec<_> = configs.collect();
                if asked.resource_type == resource::CLIENT_METRICS {
                    let rows = self.client_metrics(image, &asked.resource_name);
                    let wanted = |row: &DescribeConfigsResourceResult| {
                        keys.is_none_or(|keys| keys.contains(&row.name))
                    };
                    configs.extend(rows.into_iter().filter(wanted));
                }
                result
                    .with_error_code(ErrorCode::None.code())
                    .with_error_message(Some(StrBytes::from_static_str("")))
                    .with_configs(configs)
            }
        }
    }

    fn client_metrics(&self, image: &Image, name: &str) -> Vec<DescribeConfigsResourceResult> {
        let stored = image.configs.get(&ConfigResource::ClientMetrics(name.to_owned()));
        let row = |(key, default, config_type): (&'static str, &'static str, i8)| {
            let key = StrBytes::from_static_str(key);
            let row = DescribeConfigsResourceResult::default()
                .with_name(key.clone())
                .with_config_type(config_type)
                .with_documentation(None);
            let Some(value) = stored.and_then(|values| values.get(&*key)) else {
                return row
                    .with_value(Some(StrBytes::from_static_str(default)))
                    .with_config_source(ConfigSource::Default.wire());
            };
            let value = Some(StrBytes::from_string(value.clone()));
            let synonym = DescribeConfigsSynonym::default()
                .with_name(key)
                .with_value(value.clone())
                .with_source(client_metrics::SOURCE);
            row.with_value(value)
                .with_config_source(client_metrics::SOURCE)
                .with_synonyms(if self.synonyms { vec![synonym] } else { Vec::new() })
        };
        client_metrics::KEYS.into_iter().map(row).collect()
    }

    fn entry(&self, entry: ConfigEntry) -> DescribeConfigsResourceResult {
        let config_type = entry.type_wire();
        let synonym = |synonym: config::Synonym| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_string(synonym.name))
                .with_value(synonym.value.map(StrBytes::from_string))
                .with_source(synonym.source.wire())
        };
        let synonyms = match self.synonyms {
            true => entry.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        };
        let documentation = entry.documentation;
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_string(entry.name))
            .with_value(entry.value.map(StrBytes::from_string))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source.wire())
            .with_is_sensitive(entry.sensitive)
            .with_synonyms(synonyms)
            .with_config_type(config_type)
            .with_documentation(
                self.documentation.then(|| StrBytes::from_static_str(documentation)),
            )
    }
}

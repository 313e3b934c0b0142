//! `millrace topic create|list|describe|alter|delete`.

use crate::cluster::{self, How};
use crate::command::{Connect, Output};
use crate::output::{done, json, lines, list, table};
use anyhow::Result;
use clap::Subcommand;
use client::{NewTopic, Topic, TopicDescription};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a topic
    Create {
        topic: String,
        /// Number of partitions (default: the broker's num.partitions)
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Copies of each partition (default: the broker's default.replication.factor)
        #[arg(short, long, value_parser = clap::value_parser!(i16).range(1..))]
        replication: Option<i16>,
        /// A topic configuration; may be repeated
        #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = pair)]
        configs: Vec<(String, String)>,
        #[command(flatten)]
        connect: Connect,
    },
    /// List all topics
    List {
        /// Also those that the broker keeps for itself
        #[arg(long)]
        internal: bool,
        #[command(flatten)]
        connect: Connect,
    },
    /// Show the partitions, offsets and configuration of a topic
    Describe {
        topic: String,
        #[command(flatten)]
        connect: Connect,
    },
    /// Change how many copies each partition has
    Alter {
        topic: String,
        /// Copies of each partition
        #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
        replication: u16,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        connect: Connect,
    },
    /// Delete a topic with all its records
    Delete {
        topic: String,
        #[command(flatten)]
        connect: Connect,
    },
}

/// `key=value`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not key=value")),
    }
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Create { topic, partitions, replication, configs, connect } => {
            let new = NewTopic { name: topic.clone(), partitions, replication, configs };
            connect.client()?.create_topic(&new)?;
            done(connect.output, &format!("created topic {topic}"), &json!({"created": topic}))
        }
        Command::List { internal, connect } => {
            let mut topics = connect.client()?.topics()?;
            topics.retain(|topic| internal || !topic.internal);
            print_list(&topics, connect.output)
        }
        Command::Describe { topic, connect } => {
            print_description(&connect.client()?.describe_topic(&topic)?, connect.output)
        }
        Command::Alter { topic, replication, how, connect } => {
            let mut client = connect.client()?;
            client.describe_topic(&topic)?;
            cluster::refuse_if_moving(&mut client)?;
            let (nodes, assigned) = (client.live_nodes()?, client.assignments()?);
            let steps = crate::plan::replicate(&nodes, &assigned, &topic, replication.into());
            let steps = steps.map_err(cluster::sentence)?;
            if cluster::carry_out(&mut client, &steps, how, connect.output)? {
                let sentence = format!("each partition of {topic} has {replication} copies");
                let value = json!({ "altered": topic, "replication": replication });
                done(connect.output, &sentence, &value)?;
            }
            Ok(())
        }
        Command::Delete { topic, connect } => {
            connect.client()?.delete_topic(&topic)?;
            done(connect.output, &format!("deleted topic {topic}"), &json!({"deleted": topic}))
        }
    }
}

fn summary(topic: &Topic) -> Value {
    json!({
        "topic": topic.name,
        "id": topic.id.to_string(),
        "partitions": topic.partitions,
        "replication": topic.replication,
        "internal": topic.internal,
    })
}

fn print_list(topics: &[Topic], output: Output) -> Result<()> {
    if output == Output::Json {
        return json(&topics.iter().map(summary).collect());
    }
    let rows = topics.iter().map(|topic| {
        vec![topic.name.clone(), topic.partitions.to_string(), topic.replication.to_string()]
    });
    table(&["topic", "partitions", "replication"], rows)
}

fn print_description(description: &TopicDescription, output: Output) -> Result<()> {
    if output == Output::Json {
        let mut value = summary(&description.topic);
        value["partitions"] = description
            .partitions
            .iter()
            .map(|partition| {
                json!({
                    "partition": partition.index,
                    "leader": partition.leader,
                    "leader_epoch": partition.leader_epoch,
                    "replicas": partition.replicas,
                    "in_sync": partition.in_sync,
                    "start_offset": partition.start_offset,
                    "end_offset": partition.end_offset,
                })
            })
            .collect();
        let configs =
            description.configs.iter().map(|config| (config.name.clone(), json!(config.value)));
        value["configs"] = Value::Object(configs.collect());
        return json(&value);
    }
    let topic = &description.topic;
    let configs = description.configs.iter().map(|c| format!("  {} = {}", c.name, c.value));
    lines([format!("topic {}, id {}", topic.name, topic.id)].into_iter().chain(configs))?;
    let columns = ["partition", "leader", "epoch", "replicas", "in sync", "start", "end"];
    let rows = description.partitions.iter().map(|partition| {
        vec![
            partition.index.to_string(),
            partition.leader.to_string(),
            partition.leader_epoch.to_string(),
            list(&partition.replicas),
            list(&partition.in_sync),
            partition.start_offset.to_string(),
            partition.end_offset.to_string(),
        ]
    });
    table(&columns, rows)
}

#[cfg(test)]
mod tests {
    use super::pair;

    #[test]
    fn a_pair_has_a_key_and_may_have_an_empty_value_or_further_signs() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}

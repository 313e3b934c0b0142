//! `millrace group list|describe`.

use crate::command::{Connect, Output};
use crate::output::{json, lines, table};
use anyhow::Result;
use clap::Subcommand;
use client::{CommittedOffset, Group, GroupDescription};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all consumer groups
    List {
        #[command(flatten)]
        connect: Connect,
    },
    /// Show the members, committed offsets and lag of a group
    Describe {
        group: String,
        #[command(flatten)]
        connect: Connect,
    },
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::List { connect } => print_list(&connect.client()?.groups()?, connect.output),
        Command::Describe { group, connect } => {
            print_description(&connect.client()?.describe_group(&group)?, connect.output)
        }
    }
}

fn print_list(groups: &[Group], output: Output) -> Result<()> {
    if output == Output::Json {
        let values = groups.iter().map(|group| {
            json!({"group": group.id, "state": group.state, "protocol_type": group.protocol_type})
        });
        return json(&values.collect());
    }
    let rows = groups
        .iter()
        .map(|group| vec![group.id.clone(), group.state.clone(), group.protocol_type.clone()]);
    table(&["group", "state", "type"], rows)
}

fn number_or_dash(number: Option<i64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn print_description(group: &GroupDescription, output: Output) -> Result<()> {
    if output == Output::Json {
        return json(&as_json(group));
    }
    let (id, state, assignor) = (&group.id, &group.state, dash_if_empty(&group.protocol));
    lines([format!("group {id}, state {state}, assignor {assignor}")])?;
    if !group.members.is_empty() {
        lines([""])?;
        let rows = group.members.iter().map(|member| {
            let assigned = member.assigned.len().to_string();
            vec![member.id.clone(), member.client_id.clone(), member.host.clone(), assigned]
        });
        table(&["member", "client", "host", "partitions"], rows)?;
    }
    if !group.offsets.is_empty() {
        lines([""])?;
        let row = |offset: &CommittedOffset| {
            vec![
                offset.topic.clone(),
                offset.partition.to_string(),
                number_or_dash(offset.committed),
                number_or_dash(Some(offset.end_offset).filter(|end| *end >= 0)),
                number_or_dash(offset.lag()),
                dash_if_empty(offset.member.as_deref().unwrap_or_default()).to_owned(),
            ]
        };
        table(
            &["topic", "partition", "committed", "end", "lag", "member"],
            group.offsets.iter().map(row),
        )?;
    }
    Ok(())
}

fn dash_if_empty(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn as_json(group: &GroupDescription) -> serde_json::Value {
    let members = group.members.iter().map(|member| {
        let assigned = member
            .assigned
            .iter()
            .map(|(topic, partition)| json!({"topic": topic, "partition": partition}));
        json!({
            "member": member.id,
            "instance": member.instance_id,
            "client": member.client_id,
            "host": member.host,
            "assigned": assigned.collect::<Vec<_>>(),
        })
    });
    let offsets = group.offsets.iter().map(|offset| {
        json!({
            "topic": offset.topic,
            "partition": offset.partition,
            "committed": offset.committed,
            "end_offset": offset.end_offset,
            "lag": offset.lag(),
            "member": offset.member,
        })
    });
    json!({
        "group": group.id,
        "state": group.state,
        "protocol_type": group.protocol_type,
        "assignor": group.protocol,
        "members": members.collect::<Vec<_>>(),
        "offsets": offsets.collect::<Vec<_>>(),
    })
}

//! Apache Kafka's own command-line tools against a node, in the order in which a person would try them.
//!
//! Each check runs one tool with ordinary arguments and looks for what it has to print. They share one node and build
//! on each other's topics, so a failure names the tool, and what follows may fail because of it.

use crate::node::Node;
use crate::outcome::Report;
use crate::process::{Line, Process};
use crate::program::last_line;
use crate::run::Suites;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);
const PERF_RECORDS: &str = "20000";

pub struct Kit<'a> {
    pub suites: &'a Suites,
    pub bootstrap: String,
    /// Where the cluster keeps its data, if it is ours.
    pub data: Option<PathBuf>,
}

type Check = (&'static str, fn(&Kit<'_>) -> Result<()>);

const CHECKS: [Check; 21] = [
    ("broker-api-versions", api_versions),
    ("cluster cluster-id", cluster_id),
    ("topics --create", create),
    ("topics --list, --describe", describe),
    ("topics --alter --partitions", add_partitions),
    ("configs --alter, --describe", configs),
    ("console-producer", console_producer),
    ("console-consumer --from-beginning", console_consumer),
    ("console-consumer --group", console_group),
    ("consumer-groups --list, --describe", groups),
    ("groups --list", group_list),
    ("consumer-groups --reset-offsets", reset_offsets),
    ("consumer-groups --delete", delete_group),
    ("get-offsets", offsets),
    ("delete-records", delete_records),
    ("producer-perf-test", producer_perf),
    ("consumer-perf-test", consumer_perf),
    ("verifiable-producer", verifiable_producer),
    ("verifiable-consumer", verifiable_consumer),
    ("e2e-latency", end_to_end),
    ("topics --delete", delete),
];

pub fn run(suites: &Suites, report: &mut Report) -> Result<()> {
    let mut node: Node = suites.brokers.fresh()?;
    let kit = Kit { suites, bootstrap: node.bootstrap.clone(), data: node.data.clone() };
    for (name, check) in CHECKS {
        report.note(name, check(&kit));
        node.check_alive()?;
    }
    Ok(())
}

impl Kit<'_> {
    /// Runs a tool to its end; its output if it exits with 0.
    pub fn tool(&self, class: &str, args: &[&str]) -> Result<String> {
        self.fed(class, args, "")
    }

    /// Runs a tool that has to fail and say why.
    pub fn refused(&self, class: &str, args: &[&str], why: &str) -> Result<()> {
        let (status, told) = self.run(class, args, "")?;
        ensure!(!status.success(), "it was not refused: {}", last_line(&told));
        shows(&told, &[why])
    }

    fn fed(&self, class: &str, args: &[&str], input: &str) -> Result<String> {
        let (status, told) = self.run(class, args, input)?;
        ensure!(status.success(), "{status}: {}", last_line(&told));
        Ok(told)
    }

    /// How a tool ends, and all that it says.
    fn run(&self, class: &str, args: &[&str], input: &str) -> Result<(ExitStatus, String)> {
        let mut command: Command = self.suites.jars.java(class);
        if !NAMES_SERVER_ITSELF.contains(&class) {
            command.args(["--bootstrap-server", &self.bootstrap]);
        }
        let mut process = Process::start(command.args(args))?;
        // A tool that fails early does not read its input; its own words say why.
        let _ = process.write(input.as_bytes());
        process.end_input();
        let output = read(&process)?;
        let status = process.wait(PATIENCE)?;
        Ok((status, format!("{output}\n{}", process.errors())))
    }

    pub fn shows(&self, class: &str, args: &[&str], expected: &[&str]) -> Result<()> {
        shows(&self.tool(class, args)?, expected)
    }
}

fn read(process: &Process) -> Result<String> {
    let end = Instant::now() + PATIENCE;
    let mut output = String::new();
    loop {
        match process.line(Duration::from_millis(100)) {
            Line::Text(line) => output = output + &line + "\n",
            Line::Ended => return Ok(output),
            Line::NotYet if Instant::now() > end => {
                bail!("no end after {} s: {}", PATIENCE.as_secs(), last_line(&process.errors()))
            }
            Line::NotYet => {}
        }
    }
}

/// Every expected text stands in the output; blanks count as one.
pub fn shows(output: &str, expected: &[&str]) -> Result<()> {
    let flat = output.split_whitespace().collect::<Vec<_>>().join(" ");
    let missing = expected.iter().find(|text| !flat.contains(**text));
    match missing {
        None => Ok(()),
        Some(text) => bail!("`{text}` is not in: {}", &flat[..flat.floor_char_boundary(600)]),
    }
}

pub const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";
pub const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";
/// Tools that take the server elsewhere than first.
const NAMES_SERVER_ITSELF: [&str; 2] = [PERFORMANCE, CLUSTER];
pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
pub const CONFIGS: &str = "kafka.admin.ConfigCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";

fn api_versions(kit: &Kit<'_>) -> Result<()> {
    let class = "org.apache.kafka.tools.BrokerApiVersionsCommand";
    kit.shows(
        class,
        &[],
        &[
            "Produce(0): 0 to 13",
            "Fetch(1): 4 to",
            "JoinGroup(11): 0 to 9",
            "CreateTopics(19): 2 to 7",
        ],
    )
}

fn cluster_id(kit: &Kit<'_>) -> Result<()> {
    let args = ["cluster-id", "--bootstrap-server", &kit.bootstrap];
    kit.shows(CLUSTER, &args, &["Cluster ID:"])
}

fn create(kit: &Kit<'_>) -> Result<()> {
    let args =
        ["--create", "--topic", "tools", "--partitions", "3", "--config", "retention.ms=3600000"];
    kit.shows(TOPICS, &args, &["Created topic tools."])
}

fn describe(kit: &Kit<'_>) -> Result<()> {
    kit.shows(TOPICS, &["--list"], &["tools"])?;
    let replicas = format!("ReplicationFactor: {}", kit.suites.brokers.nodes);
    let expected = ["PartitionCount: 3", &replicas, "retention.ms=3600000", "Partition: 2 Leader:"];
    kit.shows(TOPICS, &["--describe", "--topic", "tools"], &expected)
}

fn add_partitions(kit: &Kit<'_>) -> Result<()> {
    kit.tool(TOPICS, &["--alter", "--topic", "tools", "--partitions", "4"])?;
    kit.shows(TOPICS, &["--describe", "--topic", "tools"], &["PartitionCount: 4"])
}

fn configs(kit: &Kit<'_>) -> Result<()> {
    let entity = ["--entity-type", "topics", "--entity-name", "tools"];
    let alter = [
        &["--alter", "--add-config", "segment.bytes=2097152,max.message.bytes=2000000"][..],
        &entity,
    ]
    .concat();
    kit.shows(CONFIGS, &alter, &["Completed updating config for topic tools."])?;
    let describe = [&["--describe"][..], &entity].concat();
    kit.shows(
        CONFIGS,
        &describe,
        &["segment.bytes=2097152", "max.message.bytes=2000000", "retention.ms=3600000"],
    )
}

fn console_producer(kit: &Kit<'_>) -> Result<()> {
    let lines: String = (0..50).map(|i| format!("key{i}:value{i}\n")).collect();
    let args = [
        "--topic",
        "tools",
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=:",
    ];
    kit.fed("org.apache.kafka.tools.ConsoleProducer", &args, &lines).map(drop)
}

fn fifty(output: &str) -> Result<()> {
    let mut found: Vec<&str> = output.lines().filter(|line| line.starts_with("value")).collect();
    found.sort_unstable();
    found.dedup();
    ensure!(found.len() == 50, "50 values were sent, {} came", found.len());
    Ok(())
}

fn console_consumer(kit: &Kit<'_>) -> Result<()> {
    let args =
        ["--topic", "tools", "--from-beginning", "--max-messages", "50", "--timeout-ms", "30000"];
    fifty(&kit.tool(CONSUMER, &args)?)
}

fn console_group(kit: &Kit<'_>) -> Result<()> {
    let args = [
        "--topic",
        "tools",
        "--from-beginning",
        "--group",
        "console",
        "--max-messages",
        "50",
        "--timeout-ms",
        "30000",
    ];
    fifty(&kit.tool(CONSUMER, &args)?)
}

fn groups(kit: &Kit<'_>) -> Result<()> {
    kit.shows(GROUPS, &["--list"], &["console"])?;
    kit.shows(GROUPS, &["--list", "--state"], &["console", "Empty"])?;
    let output = kit.tool(GROUPS, &["--describe", "--group", "console"])?;
    let rows = output.lines().filter(|line| line.starts_with("console") && line.contains("tools"));
    let lags: Vec<&str> = rows.filter_map(|row| row.split_whitespace().nth(5)).collect();
    ensure!(
        !lags.is_empty() && lags.iter().all(|lag| *lag == "0"),
        "lag is not 0 everywhere: {output}"
    );
    Ok(())
}

fn group_list(kit: &Kit<'_>) -> Result<()> {
    kit.shows("org.apache.kafka.tools.GroupsCommand", &["--list"], &["console Classic consumer"])
}

fn reset_offsets(kit: &Kit<'_>) -> Result<()> {
    let args =
        ["--reset-offsets", "--group", "console", "--topic", "tools", "--to-earliest", "--execute"];
    kit.shows(GROUPS, &args, &["console tools 0 0"])
}

fn delete_group(kit: &Kit<'_>) -> Result<()> {
    let expected = ["Deletion of requested consumer groups ('console') was successful."];
    kit.shows(GROUPS, &["--delete", "--group", "console"], &expected)
}

fn end_offsets(kit: &Kit<'_>, time: &str) -> Result<i64> {
    let output = kit.tool(OFFSETS, &["--topic", "tools", "--time", time])?;
    let ends = output
        .lines()
        .filter(|line| line.starts_with("tools:"))
        .map(|line| line.rsplit(':').next());
    ends.map(|end| {
        end.and_then(|end| end.parse::<i64>().ok()).context("an offset that is no number")
    })
    .sum()
}

fn offsets(kit: &Kit<'_>) -> Result<()> {
    ensure!(end_offsets(kit, "latest")? == 50, "the end offsets are not 50 together");
    ensure!(end_offsets(kit, "earliest")? == 0, "the log does not start at 0");
    Ok(())
}

fn delete_records(kit: &Kit<'_>) -> Result<()> {
    let file =
        std::env::temp_dir().join(format!("millrace-compat-delete-{}.json", std::process::id()));
    let partitions = (0..4)
        .map(|p| format!(r#"{{"topic":"tools","partition":{p},"offset":-1}}"#))
        .collect::<Vec<_>>();
    std::fs::write(&file, format!(r#"{{"partitions":[{}],"version":1}}"#, partitions.join(",")))?;
    let path = file.to_string_lossy().into_owned();
    let deleted = kit.shows(
        "org.apache.kafka.tools.DeleteRecordsCommand",
        &["--offset-json-file", &path],
        &["low_watermark"],
    );
    std::fs::remove_file(&file)?;
    deleted?;
    ensure!(end_offsets(kit, "earliest")? == 50, "the logs do not start at their ends");
    Ok(())
}

fn producer_perf(kit: &Kit<'_>) -> Result<()> {
    let server = format!("bootstrap.servers={}", kit.bootstrap);
    let args = [
        "--topic",
        "perf",
        "--num-records",
        PERF_RECORDS,
        "--record-size",
        "500",
        "--throughput",
        "-1",
    ];
    let args = [&args[..], &["--producer-props", &server]].concat();
    kit.shows(PERFORMANCE, &args, &["20000 records sent"])
}

fn consumer_perf(kit: &Kit<'_>) -> Result<()> {
    let args = ["--topic", "perf", "--num-records", PERF_RECORDS, "--timeout", "60000"];
    let output = kit.tool("org.apache.kafka.tools.ConsumerPerformance", &args)?;
    ensure!(output.contains("20000"), "not all records came: {}", last_line(&output));
    Ok(())
}

fn verifiable_producer(kit: &Kit<'_>) -> Result<()> {
    let args = ["--topic", "verifiable", "--max-messages", "500", "--throughput", "1000"];
    kit.shows(
        "org.apache.kafka.tools.VerifiableProducer",
        &args,
        &["\"sent\":500", "\"acked\":500"],
    )
}

/// It runs until it has verified as many, then leaves the group.
fn verifiable_consumer(kit: &Kit<'_>) -> Result<()> {
    let args = [
        "--topic",
        "verifiable",
        "--group-id",
        "verifiable",
        "--max-messages",
        "500",
        "--reset-policy",
        "earliest",
    ];
    let output = kit.tool("org.apache.kafka.tools.VerifiableConsumer", &args)?;
    shows(
        &output,
        &["partitions_assigned", "offsets_committed", "\"success\":true", "shutdown_complete"],
    )
}

fn end_to_end(kit: &Kit<'_>) -> Result<()> {
    let args = [
        "--topic",
        "latency",
        "--num-records",
        "200",
        "--producer-acks",
        "all",
        "--record-size",
        "100",
    ];
    kit.shows("org.apache.kafka.tools.EndToEndLatency", &args, &["Avg latency:", "Percentiles:"])
}

fn delete(kit: &Kit<'_>) -> Result<()> {
    kit.tool(TOPICS, &["--delete", "--topic", "tools"])?;
    let left = kit.tool(TOPICS, &["--list"])?;
    ensure!(!left.lines().any(|line| line.trim() == "tools"), "the topic is still listed");
    Ok(())
}

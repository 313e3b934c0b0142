//! Apache Kafka's tools that change a cluster, or look into it, with their ordinary options: replicas that move with and
//! without a throttle, elections, voters, configs of nodes.
//!
//! Part of the suite of `cluster_tools.rs`, on a topic of its own. What takes time is asked for until it is there; what
//! must not be over yet is held up by a throttle that lets next to nothing pass.

use crate::cluster_tools::{Check, eventually};
use crate::process::{Line, Process};
use crate::program::last_line;
use crate::tools::{CLUSTER, CONFIGS, Kit, PERFORMANCE, TOPICS, shows};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

const TOPIC: &str = "placed";
const PLACED: &str = "1:2:3,2:3:1,3:1:2";
const PATIENCE: Duration = Duration::from_secs(60);

const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const ELECT: &str = "org.apache.kafka.tools.LeaderElectionCommand";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const VERIFY: &str = "org.apache.kafka.tools.ReplicaVerificationTool";

pub const CHANGES: [Check; 13] = [
    ("topics --create --replica-assignment", create_placed),
    ("reassign-partitions --generate", generate),
    ("reassign-partitions --execute, --verify, --list", reassign),
    ("reassign-partitions --throttle, --cancel", throttle_and_cancel),
    ("reassign-partitions, refusals", refuse_to_reassign),
    ("leader-election", elect),
    ("metadata-quorum describe", describe_quorum),
    ("metadata-quorum remove-controller, add-controller", change_voters),
    ("features describe", describe_features),
    ("log-dirs --describe", describe_log_dirs),
    ("configs --entity-type brokers", configure_brokers),
    ("replica-verification", verify_replicas),
    ("cluster unregister, refused", refuse_to_unregister),
];

fn create_placed(kit: &Kit<'_>) -> Result<()> {
    let args = ["--create", "--topic", TOPIC, "--replica-assignment", PLACED];
    shows(&kit.tool(TOPICS, &args)?, &["Created topic placed."])?;
    is_placed(kit, &["1,2,3", "2,3,1", "3,1,2"])?;
    let unknown = ["--create", "--topic", "elsewhere", "--replica-assignment", "1:2:9"];
    kit.refused(TOPICS, &unknown, "includes broker 9, but no such broker is registered")
}

fn is_placed(kit: &Kit<'_>, replicas: &[&str]) -> Result<()> {
    let output = kit.tool(TOPICS, &["--describe", "--topic", TOPIC])?;
    let rows = output.lines().filter_map(|line| line.split("Replicas: ").nth(1));
    let found: Vec<&str> = rows.filter_map(|rest| rest.split_whitespace().next()).collect();
    ensure!(found == replicas, "the replicas are {found:?}, and should be {replicas:?}");
    Ok(())
}

/// A file with what the tool shall read; it goes with the cluster.
fn file(kit: &Kit<'_>, name: &str, content: &serde_json::Value) -> Result<String> {
    let data = kit.data.as_ref().context("a cluster that was there before has no folder")?;
    let path = data.join(name);
    std::fs::write(&path, content.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

fn wanted(kit: &Kit<'_>, lists: &[(i32, &[i32])]) -> Result<String> {
    let partition = |(partition, replicas): &(i32, &[i32])| json!({"topic": TOPIC, "partition": partition, "replicas": replicas});
    let partitions: Vec<_> = lists.iter().map(partition).collect();
    file(kit, "reassign.json", &json!({"version": 1, "partitions": partitions}))
}

fn generate(kit: &Kit<'_>) -> Result<()> {
    let topics = json!({"version": 1, "topics": [{"topic": TOPIC}]});
    let topics = file(kit, "topics.json", &topics)?;
    let args = ["--topics-to-move-json-file", &topics, "--broker-list", "1,2,3", "--generate"];
    let proposed = "Proposed partition reassignment configuration {\"version\":1,\"partitions\":[{\"topic\":\"placed\"";
    kit.shows(REASSIGN, &args, &["Current partition replica assignment", proposed])
}

fn reassign(kit: &Kit<'_>) -> Result<()> {
    let lists: [(i32, &[i32]); 3] = [(0, &[3, 2, 1]), (1, &[2, 3]), (2, &[3])];
    let file = wanted(kit, &lists)?;
    let execute = ["--reassignment-json-file", &file, "--execute"];
    let started = "Successfully started partition reassignments for placed-0,placed-1,placed-2";
    kit.shows(REASSIGN, &execute, &[started])?;
    let verify = ["--reassignment-json-file", &file, "--verify"];
    eventually("the reassignments to be completed", || {
        let output = kit.tool(REASSIGN, &verify)?;
        Ok((output.matches(" is completed.").count() == lists.len()).then_some(()))
    })?;
    kit.shows(REASSIGN, &["--list"], &["No partition reassignments found."])?;
    is_placed(kit, &["3,2,1", "2,3", "3"])
}

fn throttle_and_cancel(kit: &Kit<'_>) -> Result<()> {
    let server = format!("bootstrap.servers={}", kit.bootstrap);
    let load = ["--topic", TOPIC, "--num-records", "4000", "--record-size", "500"];
    let load = [&load[..], &["--throughput", "-1", "--producer-props", &server]].concat();
    kit.shows(PERFORMANCE, &load, &["4000 records sent"])?;
    let file = wanted(kit, &[(2, &[3, 1, 2])])?;
    let execute = ["--reassignment-json-file", &file, "--execute", "--throttle", "100"];
    let limit = "The inter-broker throttle limit was set to 100 B/s";
    kit.shows(REASSIGN, &execute, &[limit, "Successfully started partition reassignment"])?;
    kit.shows(REASSIGN, &["--list"], &["placed-2: replicas: 3,1,2. adding: 1,2."])?;
    let of_topic = ["--describe", "--entity-type", "topics", "--entity-name", TOPIC];
    kit.shows(CONFIGS, &of_topic, &["leader.replication.throttled.replicas=2:3"])?;
    let cancel = ["--reassignment-json-file", &file, "--cancel"];
    kit.shows(REASSIGN, &cancel, &["Successfully cancelled partition reassignment for: placed-2"])?;
    kit.shows(REASSIGN, &["--list"], &["No partition reassignments found."])?;
    is_placed(kit, &["3,2,1", "2,3", "3"])?;
    let left = kit.tool(CONFIGS, &of_topic)?;
    ensure!(!left.contains("throttled"), "the throttle is still there: {left}");
    let execute = ["--reassignment-json-file", &file, "--execute", "--throttle", "100000000"];
    kit.shows(REASSIGN, &execute, &["Successfully started partition reassignment"])?;
    let verify = ["--reassignment-json-file", &file, "--verify"];
    eventually("the reassignment to be completed", || {
        let output = kit.tool(REASSIGN, &verify)?;
        Ok(output.contains("Reassignment of partition placed-2 is completed.").then_some(()))
    })?;
    is_placed(kit, &["3,2,1", "2,3", "3,1,2"])
}

fn refuse_to_reassign(kit: &Kit<'_>) -> Result<()> {
    let refused = |lists: &[(i32, &[i32])], why: &str| {
        let file = wanted(kit, lists)?;
        kit.refused(REASSIGN, &["--reassignment-json-file", &file, "--execute"], why)
    };
    refused(&[(0, &[1, 2, 9])], "Unknown broker id 9")?;
    refused(&[(0, &[1, 1])], "Partition replica lists may not contain duplicate entries")?;
    refused(&[(7, &[1, 2])], "Unable to find partition: placed-7")
}

fn elect(kit: &Kit<'_>) -> Result<()> {
    let all = ["--election-type", "preferred", "--all-topic-partitions"];
    eventually("all preferred leaders to lead", || {
        let done = kit.tool(ELECT, &all)?;
        Ok((!done.contains("could not be elected")).then_some(()))
    })?;
    let one = ["--election-type", "unclean", "--topic", TOPIC, "--partition", "1"];
    kit.shows(ELECT, &one, &["Valid replica already elected for partitions placed-1"])?;
    let none = ["--election-type", "preferred", "--topic", "nowhere", "--partition", "1"];
    kit.refused(ELECT, &none, "No such topic as nowhere")
}

fn describe_quorum(kit: &Kit<'_>) -> Result<()> {
    let status = ["describe", "--status"];
    let expected = ["ClusterId:", "LeaderId:", "HighWatermark:", "CurrentObservers: []"];
    let output = kit.tool(QUORUM, &status)?;
    shows(&output, &expected)?;
    let voters = output.lines().find(|line| line.starts_with("CurrentVoters:"));
    let voters = voters.unwrap_or_default().matches("\"id\":").count();
    ensure!(voters == kit.suites.brokers.nodes, "{voters} voters: {output}");
    let output = kit.tool(QUORUM, &["describe", "--replication"])?;
    shows(&output, &["NodeId DirectoryId LogEndOffset Lag"])?;
    let count = |role: &str| output.lines().filter(|line| line.trim_end().ends_with(role)).count();
    let roles = (count("Leader"), count("Follower"));
    ensure!(roles == (1, kit.suites.brokers.nodes - 1), "leaders and followers: {roles:?}");
    Ok(())
}

/// The directory of a node, as the quorum tells it; nothing if it does not vote.
fn voter(kit: &Kit<'_>, id: &str) -> Result<Option<String>> {
    let output = kit.tool(QUORUM, &["describe", "--replication"])?;
    let rows = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows = rows.filter(|row| row.first() == Some(&id) && row.last() != Some(&"Observer"));
    Ok(rows.next().and_then(|row| row.get(1).map(|directory| (*directory).to_owned())))
}

fn change_voters(kit: &Kit<'_>) -> Result<()> {
    let directory = voter(kit, "3")?.context("node 3 does not vote")?;
    let remove = ["remove-controller", "--controller-id", "3", "--controller-directory-id"];
    kit.tool(QUORUM, &[&remove[..], &[&directory]].concat())?;
    eventually("node 3 to lose its vote", || Ok(voter(kit, "3")?.is_none().then_some(())))?;
    let data = kit.data.as_ref().context("a cluster that was there before has no folder")?;
    let properties = data.join("node-3/server.properties").to_string_lossy().into_owned();
    kit.tool(QUORUM, &["--command-config", &properties, "add-controller"])?;
    eventually("node 3 to vote again", || {
        Ok((voter(kit, "3")?.as_ref() == Some(&directory)).then_some(()))
    })
}

fn describe_features(kit: &Kit<'_>) -> Result<()> {
    kit.shows(FEATURES, &["describe"], &["Feature: metadata.version", "FinalizedVersionLevel: 4.3"])
}

fn describe_log_dirs(kit: &Kit<'_>) -> Result<()> {
    let of_topic = ["--describe", "--topic-list", TOPIC];
    let expected = ["from brokers 1,2,3", "\"partition\":\"placed-0\"", "\"error\":null"];
    kit.shows(LOG_DIRS, &of_topic, &expected)?;
    let unknown = ["--describe", "--broker-list", "1,9"];
    kit.refused(LOG_DIRS, &unknown, "The given brokers do not exist from --broker-list: 9")
}

fn configure_brokers(kit: &Kit<'_>) -> Result<()> {
    for (of, value) in
        [(&["--entity-default"][..], "2000001"), (&["--entity-name", "2"], "2000002")]
    {
        let of = [&["--entity-type", "brokers"][..], of].concat();
        let setting = format!("message.max.bytes={value}");
        kit.tool(CONFIGS, &[&of[..], &["--alter", "--add-config", &setting]].concat())?;
        kit.shows(CONFIGS, &[&of[..], &["--describe"]].concat(), &[&setting])?;
        kit.tool(
            CONFIGS,
            &[&of[..], &["--alter", "--delete-config", "message.max.bytes"]].concat(),
        )?;
        let left = kit.tool(CONFIGS, &[&of[..], &["--describe"]].concat())?;
        ensure!(!left.contains(&setting), "it is still there: {left}");
    }
    Ok(())
}

/// It never ends; its first report is enough.
fn verify_replicas(kit: &Kit<'_>) -> Result<()> {
    let mut command = kit.suites.jars.java(VERIFY);
    command.args(["--broker-list", &kit.bootstrap, "--topics-include", TOPIC]);
    let process = Process::start(command.args(["--report-interval-ms", "1000"]))?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match process.line(Duration::from_millis(100)) {
            Line::Text(line) if line.contains("max lag is 0 for partition placed") => return Ok(()),
            Line::Ended => bail!("it ended: {}", last_line(&process.errors())),
            Line::Text(_) | Line::NotYet => {}
        }
    }
    bail!("it told nothing in {} s: {}", PATIENCE.as_secs(), last_line(&process.errors()))
}

fn refuse_to_unregister(kit: &Kit<'_>) -> Result<()> {
    let args = ["unregister", "--id", "77", "--bootstrap-server", &kit.bootstrap];
    kit.refused(CLUSTER, &args, "Broker ID 77 is not currently registered")
}

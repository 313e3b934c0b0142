//! Apache Kafka from its published jars, combined brokers and controllers (KRaft).
//!
//! `KAFKA_LIBS` names a directory of jars; without it Maven fetches them once into the user's
//! cache by `benches/kafka/pom.xml`. `KAFKA_OPTS` replaces the JVM options: by default those of
//! Kafka's own start script with a fixed heap of 1 GiB, in a cluster of 512 MiB for each broker.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cluster::{Member, voters};

const VERSION: &str = "4.3.1";
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
const JVM: &str = "-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
                   -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent";
/// Threads fitted to one CPU; the defaults (3 and 8) switch more and serve less there.
const THREADS: &str = "num.network.threads=1\nnum.io.threads=2\n";

fn own_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka")
}

fn jvm_options(nodes: usize) -> String {
    let heap = if nodes == 1 { "-Xms1g -Xmx1g" } else { "-Xms512m -Xmx512m" };
    std::env::var("KAFKA_OPTS").unwrap_or_else(|_| format!("{JVM} {heap}"))
}

fn libs() -> PathBuf {
    if let Some(libs) = std::env::var_os("KAFKA_LIBS") {
        return PathBuf::from(libs);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join(format!("millrace-benches/kafka-{VERSION}"))
}

pub fn fetch() -> Result<PathBuf> {
    let libs = libs();
    let complete = libs.join(".complete");
    if complete.exists() || std::env::var_os("KAFKA_LIBS").is_some() {
        return Ok(libs);
    }
    std::fs::create_dir_all(&libs)?;
    eprintln!("fetching Apache Kafka {VERSION} with Maven (once)");
    let status = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(own_dir().join("pom.xml"))
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", libs.display()))
        .status()
        .context("Maven (mvn) is needed to fetch Apache Kafka")?;
    if !status.success() {
        bail!("Maven could not fetch Apache Kafka: {status}");
    }
    std::fs::write(complete, "")?;
    Ok(libs)
}

pub fn describe(nodes: usize) -> String {
    let java = Command::new("java").arg("-version").output();
    let java =
        java.map(|out| String::from_utf8_lossy(&out.stderr).lines().next().map(str::to_owned));
    let java = java.ok().flatten().unwrap_or_default();
    let threads = THREADS.replace('\n', " ");
    let options = jvm_options(nodes);
    format!("Apache Kafka {VERSION} (KRaft, {nodes} node(s)), {java}, {options}, {threads}")
}

/// A class of Kafka's with these JVM options.
pub fn java(main: &str, options: &str) -> Result<Command> {
    let mut command = Command::new("java");
    let log4j = own_dir().join("log4j2.properties");
    command
        .args(options.split_whitespace())
        .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
        .arg("-cp")
        .arg(fetch()?.join("*"))
        .arg(main);
    Ok(command)
}

pub fn format(member: &Member, members: &[Member]) -> Result<()> {
    let Member { id, dir, address, peer } = member;
    let data = dir.join("data");
    if data.join("meta.properties").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&data)?;
    let replicas = members.len();
    let properties = format!(
        "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://{address},CONTROLLER://{peer}\n\
         advertised.listeners=PLAINTEXT://{address}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={data}\noffsets.topic.replication.factor={replicas}\n\
         transaction.state.log.replication.factor={replicas}\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.min.isr=1\n{THREADS}",
        voters = voters(members),
        data = data.display()
    );
    std::fs::write(dir.join("server.properties"), properties)?;
    let output = java("kafka.tools.StorageTool", "-Xmx256m -XX:+UseSerialGC")?
        .args(["format", "-t", CLUSTER_ID, "-c"])
        .arg(dir.join("server.properties"))
        .output()
        .context("java is needed to run Apache Kafka")?;
    if !output.status.success() {
        bail!("Kafka's format failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

pub fn command(dir: &Path, cpus: &str, nodes: usize) -> Result<Command> {
    let java = java("kafka.Kafka", &jvm_options(nodes))?;
    let mut command = super::pinned(cpus);
    command.arg(java.get_program()).args(java.get_args());
    command.arg(dir.join("server.properties"));
    Ok(command)
}

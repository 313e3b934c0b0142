//! Apache Kafka from its published jars, one combined broker and controller (KRaft).
//!
//! `KAFKA_LIBS` names a directory of jars; without it Maven fetches them once into the user's
//! cache by `benches/kafka/pom.xml`. `KAFKA_OPTS` replaces the JVM options: by default those of
//! Kafka's own start script with a fixed heap of 1 GiB.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const VERSION: &str = "4.3.1";
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
const JVM: &str = "-server -Xms1g -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
                   -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent";
/// Threads fitted to one CPU; the defaults (3 and 8) switch more and serve less there.
const THREADS: &str = "num.network.threads=1\nnum.io.threads=2\n";

fn own_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka")
}

fn jvm_options() -> String {
    std::env::var("KAFKA_OPTS").unwrap_or_else(|_| JVM.to_owned())
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

pub fn describe() -> String {
    let java = Command::new("java").arg("-version").output();
    let java =
        java.map(|out| String::from_utf8_lossy(&out.stderr).lines().next().map(str::to_owned));
    let java = java.ok().flatten().unwrap_or_default();
    let threads = THREADS.replace('\n', " ");
    format!("Apache Kafka {VERSION} (KRaft, one node), {java}, {}, {threads}", jvm_options())
}

fn java(main: &str, options: &str) -> Result<Command> {
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

pub fn format(dir: &Path, address: SocketAddr) -> Result<()> {
    let data = dir.join("data");
    if data.join("meta.properties").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&data)?;
    let controller = SocketAddr::new(address.ip(), address.port() + 1);
    let properties = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
         listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{address}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\noffsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n{THREADS}",
        data.display()
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

pub fn command(dir: &Path, cpus: &str) -> Result<Command> {
    let java = java("kafka.Kafka", &jvm_options())?;
    let mut command = super::pinned(cpus);
    command.arg(java.get_program()).args(java.get_args());
    command.arg(dir.join("server.properties"));
    Ok(command)
}

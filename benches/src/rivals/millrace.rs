//! Millrace: the release binary, named by `MILLRACE_BIN` or found beside this one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::cluster::{Member, voters};

/// One shard, since a node gets one CPU. `MILLRACE_SET` adds lines, separated by semicolons.
const SETTINGS: &str = "millrace.shards=1\n";

pub fn binary() -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("millrace");
    let path = std::env::var_os("MILLRACE_BIN").map_or(beside, PathBuf::from);
    if !path.exists() {
        bail!("{} is missing; build it with cargo build --release", path.display());
    }
    Ok(path)
}

fn settings() -> String {
    let added = std::env::var("MILLRACE_SET").unwrap_or_default();
    format!("{SETTINGS}{}", added.replace(';', "\n"))
}

pub fn describe(nodes: usize) -> String {
    let version = binary().ok().and_then(|b| Command::new(b).arg("--version").output().ok());
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let version = version.filter(|v| !v.is_empty()).unwrap_or("millrace".to_owned());
    format!("{version}, {nodes} node(s), {}", settings().trim().replace('\n', " "))
}

pub fn format(member: &Member, members: &[Member]) -> Result<()> {
    let Member { id, dir, address, peer } = member;
    std::fs::create_dir_all(dir.join("data"))?;
    let replicas = members.len();
    let mut properties = format!(
        "process.roles=broker,controller\nnode.id={id}\nadvertised.listeners=PLAINTEXT://{address}\n\
         log.dirs={}\noffsets.topic.replication.factor={replicas}\n{}\n",
        dir.join("data").display(),
        settings()
    );
    properties.push_str(&match replicas {
        1 => format!("listeners=PLAINTEXT://{address}\n"),
        _ => format!(
            "listeners=PLAINTEXT://{address},CONTROLLER://{peer}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             controller.quorum.voters={}\n",
            voters(members)
        ),
    });
    std::fs::write(dir.join("server.properties"), properties)?;
    Ok(())
}

pub fn command(dir: &Path, cpus: &str) -> Result<Command> {
    let mut command = super::pinned(cpus);
    command.arg(binary()?).args(["start", "--config"]);
    command.arg(dir.join("server.properties"));
    Ok(command)
}

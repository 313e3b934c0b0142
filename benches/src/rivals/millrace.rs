//! Millrace: the release binary, named by `MILLRACE_BIN` or found beside this one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

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

pub fn describe() -> String {
    let version = binary().ok().and_then(|b| Command::new(b).arg("--version").output().ok());
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let settings = settings().trim().replace('\n', " ");
    format!("{}, {settings}", version.filter(|v| !v.is_empty()).unwrap_or("millrace".to_owned()))
}

pub fn format(dir: &Path, address: SocketAddr) -> Result<()> {
    std::fs::create_dir_all(dir.join("data"))?;
    let properties = format!(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://{address}\n\
         advertised.listeners=PLAINTEXT://{address}\nlog.dirs={}\n\
         offsets.topic.replication.factor=1\n{}\n",
        dir.join("data").display(),
        settings()
    );
    std::fs::write(dir.join("server.properties"), properties)?;
    Ok(())
}

pub fn command(dir: &Path, cpus: &str) -> Result<Command> {
    let mut command = super::pinned(cpus);
    command.arg(binary()?).args(["start", "--config"]);
    command.arg(dir.join("server.properties"));
    Ok(command)
}

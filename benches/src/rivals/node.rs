//! A broker process: started, awaited, stopped or killed, by its id only.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wire::Admin;

pub struct Node {
    child: Child,
    dir: PathBuf,
    pub address: SocketAddr,
}

const START_LIMIT: Duration = Duration::from_secs(180);
const LOG: &str = "node.log";
/// The last Kafka brokers of a cluster that stops wait minutes for a controller that has stopped already.
const STOP_LIMIT: Duration = Duration::from_secs(60);

impl Node {
    pub fn spawn(mut command: Command, dir: &Path, address: SocketAddr) -> Result<Node> {
        let log = File::options().create(true).append(true).open(dir.join(LOG))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Node { child, dir: dir.to_owned(), address })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the node answers.
    pub fn ready(&mut self) -> Result<Admin> {
        let admin = Admin::connect_when_ready(self.address, START_LIMIT);
        if let Ok(Some(status)) = self.child.try_wait() {
            bail!("ended while starting ({status}); {}", log_tail(&self.dir));
        }
        admin
    }

    /// Asks for a clean stop.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Takes the CPU away from it.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for the end after `ask_to_stop` at `asked`; a node that takes too long is killed.
    pub fn stopped(mut self, asked: Instant) -> Result<()> {
        while asked.elapsed() < STOP_LIMIT {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill()
    }

    /// kill -9.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // an error path: leave no broker behind
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// What the node of this directory said last, for the message of a failed run.
pub fn log_tail(dir: &Path) -> String {
    const LINES: usize = 12;
    let text = std::fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.len().saturating_sub(LINES);
    // the backtrace of a panic is long; its first lines say most
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    let start = panic.map_or(tail, |at| at.min(tail));
    let shown = &lines[start..(start + LINES).min(lines.len())];
    format!("the node's log says:\n{}", shown.join("\n"))
}

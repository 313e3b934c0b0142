//! A child process that is watched line by line and can be stopped politely or not at all politely.
//!
//! It leads a process group of its own, so that a crash takes everything that it has started. Dropping it kills it: no
//! test leaves a process behind.

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Of standard error the end is kept, for the reason of a failure.
const STDERR_KEPT_BYTES_MAX: usize = 64 * 1024;
const POLL: Duration = Duration::from_millis(20);

pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::start_logged(command, None)
    }

    /// As [`Self::start`]; all that it says on standard error also goes to `log`, as it comes.
    pub fn start_logged(command: &mut Command, mut log: Option<File>) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        running().insert(child.id());
        let (sender, lines) = channel();
        let stderr = Arc::new(Mutex::new(String::new()));
        let output = child.stdout.take().context("no standard output")?;
        let both = sender.clone();
        std::thread::spawn(move || read_lines(output, |line| both.send(line).is_ok()));
        let errors = child.stderr.take().context("no standard error")?;
        let kept = stderr.clone();
        std::thread::spawn(move || {
            read_lines(errors, |line| {
                // A log that cannot be written stops nothing.
                let _ = log.as_mut().map(|log| writeln!(log, "{line}"));
                let mut kept = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                kept.push_str(&line);
                kept.push('\n');
                if kept.len() > STDERR_KEPT_BYTES_MAX {
                    let from = kept.ceil_char_boundary(STDERR_KEPT_BYTES_MAX / 2);
                    kept.drain(..from);
                }
                true
            });
            drop(sender);
        });
        let input = child.stdin.take();
        Ok(Self { child, input, lines, stderr })
    }

    /// The next line of standard output, or nothing after `patience` or when there are no more.
    pub fn line(&self, patience: Duration) -> Line {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Line::Text(line),
            Err(RecvTimeoutError::Timeout) => Line::NotYet,
            Err(RecvTimeoutError::Disconnected) => Line::Ended,
        }
    }

    /// What standard error said, at most its end.
    pub fn errors(&self) -> String {
        let text = self.stderr.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        text.trim().to_owned()
    }

    /// Why it ended, in one line: a panic's, else the last.
    pub fn last_words(&self) -> String {
        let errors = self.errors();
        let mut lines =
            errors.lines().map(str::trim).skip_while(|line| !line.contains("panicked at"));
        match (lines.next(), lines.next()) {
            (Some(place), Some(message)) => format!("{place} {message}"),
            _ => errors.lines().last().unwrap_or("it said nothing").to_owned(),
        }
    }

    pub fn write(&mut self, text: &[u8]) -> Result<()> {
        let input = self.input.as_mut().context("standard input is closed")?;
        input.write_all(text).context("the process does not read its input")
    }

    pub fn end_input(&mut self) {
        self.input = None;
    }

    pub fn terminate(&self) {
        signal("TERM", self.child.id());
    }

    /// `kill -9` of the process and all that it started.
    pub fn crash(&mut self) {
        // An id that was waited for may belong to somebody else by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("KILL", self.child.id());
            let _ = self.child.wait();
        }
    }

    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        bail!("still running after {} s", patience.as_secs())
    }
}

pub enum Line {
    Text(String),
    NotYet,
    Ended,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.crash();
        running().remove(&self.child.id());
    }
}

/// To a whole process group. By the shell's own kill: it would be the only unsafe code here.
fn signal(signal: &str, group: u32) {
    let kill = format!("kill -s {signal} -- -{group}");
    let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
}

/// Groups that still run, for the case that a person stops us.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// From here on an interrupt takes the children with it, which have left our process group.
pub fn stop_children_when_interrupted() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch signals")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            running().iter().for_each(|group| signal("KILL", *group));
            std::process::exit(130);
        }
    });
    Ok(())
}

fn read_lines(from: impl Read, mut each: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut bytes) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
        bytes.clear();
        if !each(line) {
            return;
        }
    }
}

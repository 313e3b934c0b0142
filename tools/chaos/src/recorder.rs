//! Joins what all client programs print into one history, and counts along.

use crate::fault::Fault;
use crate::timeline::Timeline;
use anyhow::{Context, Result};
use checker::json::{self, Event, EventOp, EventType};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// A program numbers its operations from 0, up to this.
pub const OPS_PER_PROGRAM_MAX: u64 = 1 << 40;

struct State {
    file: BufWriter<File>,
    timeline: Timeline,
    programs: u64,
    unknown: u64,
    failed: u64,
}

pub struct Recorder {
    pub path: PathBuf,
    state: Mutex<State>,
}

/// Nanoseconds of the host's clock, as the client programs tell it.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What clients have been told so far.
pub struct Counts {
    pub acknowledged: u64,
    pub unknown: u64,
    pub failed: u64,
}

impl Recorder {
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let state = State {
            file: BufWriter::new(file),
            timeline: Timeline::new(now()),
            programs: 0,
            unknown: 0,
            failed: 0,
        };
        Ok(Self { path: path.to_path_buf(), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Where the operations of one more program begin.
    pub fn add_program(&self) -> u64 {
        let mut state = self.lock();
        state.programs += 1;
        state.programs * OPS_PER_PROGRAM_MAX
    }

    /// One line that a program printed.
    pub fn note(&self, first_op: u64, line: &str) -> Result<()> {
        let event: Event =
            serde_json::from_str(line).with_context(|| format!("not an event: {line}"))?;
        let event = Event { id: event.id + first_op, ..event };
        let mut state = self.lock();
        json::write(&mut state.file, &event)?;
        match (event.op, event.event_type) {
            (EventOp::Send, EventType::Ok) => {
                for (partition, ..) in &event.sends {
                    state.timeline.acknowledged(partition, event.time);
                }
            }
            (EventOp::Send, EventType::Info) => state.unknown += 1,
            (EventOp::Send, EventType::Fail) => state.failed += 1,
            (EventOp::Poll, EventType::Ok) => state.timeline.read(event.reads.len(), event.time),
            _ => {}
        }
        Ok(())
    }

    pub fn counts(&self) -> Counts {
        let state = self.lock();
        let acknowledged = state.timeline.total_acknowledged();
        Counts { acknowledged, unknown: state.unknown, failed: state.failed }
    }

    pub fn begin_slot(&self) {
        self.lock().timeline.begin_slot();
    }

    pub fn end_slot(&self, fault: &Fault, from: u64, to: u64, quiet: u64) -> Vec<String> {
        self.lock().timeline.end_slot(fault, from, to, now(), quiet)
    }

    /// Everything is in the file; the timeline.
    pub fn finish(&self) -> Result<Timeline> {
        let mut state = self.lock();
        state.file.flush()?;
        Ok(std::mem::take(&mut state.timeline))
    }
}

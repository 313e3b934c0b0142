//! The lines that a history is made of.

use serde_json::{Value, json};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds of the host's clock, which all programs of a run share.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// An operation that has begun.
#[derive(Clone, Copy)]
pub struct Op {
    id: u64,
    process: u64,
    op: &'static str,
}

/// Begins an operation; `more` are its fields.
pub fn begin(process: u64, op: &'static str, time: u64, more: &Value) -> Op {
    let op = Op { id: NEXT.fetch_add(1, Ordering::Relaxed), process, op };
    op.say("invoke", time, more);
    op
}

impl Op {
    pub fn end(self, outcome: &str, more: &Value) {
        self.say(outcome, now(), more);
    }

    fn say(self, event: &str, time: u64, more: &Value) {
        let mut line = json!({
            "id": self.id, "process": self.process, "time": time, "type": event, "op": self.op,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            line[name] = value.clone();
        }
        let text = format!("{line}\n");
        // Nobody listens any more: the run is over.
        if std::io::stdout().lock().write_all(text.as_bytes()).is_err() {
            std::process::exit(1);
        }
    }
}

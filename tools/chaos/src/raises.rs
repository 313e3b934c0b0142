//! When the librdkafka producer raised its epoch for a reason of its own, out of the log of its program.
//!
//! A request that fails inside the client (the metadata name its broker no longer, say) leaves a hole in front of those that
//! are out behind it: they are refused as out of order, rightly, and librdkafka raises its epoch and sends all of them again
//! under new sequences. Sequences are compared within an epoch (KIP-98, KIP-360), so no broker can know a record again that
//! it had stored before. Such a record may stand twice and is no anomaly; one after a refusal that the broker began is.

use crate::load::LIBRDKAFKA_PRODUCERS;
use anyhow::{Context, Result};
use checker::{Anomaly, History};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Nanoseconds of a tick of the log's times.
const TICK_NS: u64 = 1_000_000;
const LOG_SUFFIX: &str = "-librdkafka.log";
/// Behind this, an `ERRSEQ` line names the error that left the hole; librdkafka's own ones begin with `_`.
const CAUSE: &str = "caused by previous failed request (";
const RAISED: &str = "epoch bump";
const FOR_A_HOLE: &str = ": skipped sequence numbers";

/// Times of raises, ns of the host's clock, cut to milliseconds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Raises(Vec<u64>);

impl Raises {
    /// From all logs of librdkafka in the folder of a history. No log, no raises.
    pub fn beside(history: &Path) -> Result<Self> {
        let folder =
            history.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut raises = Self::default();
        for entry in
            folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?
        {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(LOG_SUFFIX) {
                let log =
                    File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
                raises.0.extend(Self::in_log(BufReader::new(log))?.0);
            }
        }
        Ok(raises)
    }

    fn in_log(log: impl BufRead) -> Result<Self> {
        let mut raises = Vec::new();
        let mut is_own = false;
        for line in log.split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if let Some((_, cause)) = line.split_once(CAUSE) {
                is_own = cause.starts_with('_');
            } else if line.contains(RAISED) && line.ends_with(FOR_A_HOLE) {
                raises.extend(time(&line).filter(|_| is_own));
            }
        }
        Ok(Self(raises))
    }

    /// Whether an anomaly is a record that its client may have written again by itself: the epoch was raised while it was out.
    pub fn explain(&self, anomaly: &Anomaly, history: &History) -> bool {
        let Anomaly::Duplicate { value, .. } = anomaly else { return false };
        let mut ops = history.ops().iter().filter(|op| LIBRDKAFKA_PRODUCERS.contains(&op.process));
        let sent = ops.find(|op| history.sends(op).iter().any(|send| send.value == *value));
        sent.is_some_and(|op| {
            let (from, to) = (op.invoked / TICK_NS * TICK_NS, op.completed);
            self.0.iter().any(|time| (from..=to).contains(time))
        })
    }
}

/// The time that a line begins with, `SECONDS.MILLISECONDS`.
fn time(line: &str) -> Option<u64> {
    let (seconds, millis) = line.split_once(' ')?.0.split_once('.')?;
    Some((seconds.parse::<u64>().ok()? * 1000 + millis.parse::<u64>().ok()?) * TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use checker::{OpKind, Outcome};

    fn hole(cause: &str) -> String {
        format!(
            "1795387563.120 ERRSEQ: [thrd:10.77.0.12:9092/2]: 10.77.0.12:9092/2: ProduceRequest for chaos [3] with 1 \
             message(s) failed due to skipped sequence numbers (PID{{Id:2,Epoch:0}}, base seq 40 > next seq 39) caused by \
             previous failed request ({cause}, actions Permanent, base seq 39..39, base msgid 40, 2ms ago): recovering and \
             retrying\n\
             1795387563.121 DRAIN: [thrd:10.77.0.12:9092/2]: Beginning partition drain in state Assigned for \
             PID{{Id:2,Epoch:0}} epoch bump for 2 partition(s) with in-flight requests: skipped sequence numbers\n"
        )
    }

    /// A record that stands at two offsets, sent by `process` between two times.
    fn twice(process: u32, from: u64, to: u64) -> (Anomaly, History) {
        let mut builder = History::builder();
        let partition = builder.partition("chaos-3");
        let op = builder.invoke(process, OpKind::Send, from);
        builder.send(op, partition, 7);
        builder.complete(op, Outcome::Ok, to);
        (Anomaly::Duplicate { partition, value: 7, offsets: vec![4, 9] }, builder.finish())
    }

    #[test]
    fn a_hole_that_the_client_made_itself_is_its_own() {
        let raises = Raises::in_log(hole("_DESTROY_BROKER").as_bytes()).unwrap();
        assert_eq!(raises, Raises(vec![1_795_387_563_121_000_000]));
        let raises = Raises::in_log(hole("UNKNOWN_PRODUCER_ID").as_bytes()).unwrap();
        assert_eq!(raises, Raises::default());
    }

    #[test]
    fn only_records_that_were_out_at_that_time_are_explained() {
        let raises = Raises(vec![5_000_000]);
        let is_explained = |process, from, to| {
            let (anomaly, history) = twice(process, from, to);
            raises.explain(&anomaly, &history)
        };
        let librdkafka = LIBRDKAFKA_PRODUCERS.start;
        assert!(is_explained(librdkafka, 4_000_000, 9_000_000));
        assert!(is_explained(librdkafka, 5_600_000, 9_000_000), "the log's times are cut");
        assert!(!is_explained(librdkafka, 6_000_000, 9_000_000));
        assert!(!is_explained(librdkafka, 1_000_000, 4_999_999));
        assert!(!is_explained(LIBRDKAFKA_PRODUCERS.end, 4_000_000, 9_000_000), "another client");
    }

    #[test]
    fn other_anomalies_are_never_explained() {
        let (anomaly, history) = twice(LIBRDKAFKA_PRODUCERS.start, 4_000_000, 9_000_000);
        let partition = anomaly.partition().unwrap();
        let lost = Anomaly::Vanished { partition, value: 7, offset: 4 };
        assert!(!Raises(vec![5_000_000]).explain(&lost, &history));
    }
}

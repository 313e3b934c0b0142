//! Sends what the `raft` crate logs (through `slog`) to `tracing`, one level lower: an election
//! is worth an `info` of the broker, not three of the consensus core.

use std::fmt;

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record, o};

struct TracingDrain;

impl Drain for TracingDrain {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let fields = Fields { record, values };
        match record.level() {
            Level::Critical | Level::Error => {
                tracing::error!(target: "raft", "{}{fields}", record.msg());
            }
            Level::Warning => tracing::warn!(target: "raft", "{}{fields}", record.msg()),
            Level::Info => tracing::debug!(target: "raft", "{}{fields}", record.msg()),
            Level::Debug | Level::Trace => {
                tracing::trace!(target: "raft", "{}{fields}", record.msg());
            }
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        match level {
            Level::Critical | Level::Error => {
                tracing::enabled!(target: "raft", tracing::Level::ERROR)
            }
            Level::Warning => tracing::enabled!(target: "raft", tracing::Level::WARN),
            Level::Info => tracing::enabled!(target: "raft", tracing::Level::DEBUG),
            Level::Debug | Level::Trace => {
                tracing::enabled!(target: "raft", tracing::Level::TRACE)
            }
        }
    }
}

/// ` key=value` for each field of a record; formatted only when the level is on.
struct Fields<'a> {
    record: &'a Record<'a>,
    values: &'a OwnedKVList,
}

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Writer<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl slog::Serializer for Writer<'_, '_> {
            fn emit_arguments(
                &mut self,
                key: slog::Key,
                value: &fmt::Arguments<'_>,
            ) -> slog::Result {
                write!(self.0, " {key}={value}").map_err(slog::Error::from)
            }
        }
        use slog::KV;
        let mut writer = Writer(f);
        self.values.serialize(self.record, &mut writer).map_err(|_| fmt::Error)?;
        self.record.kv().serialize(self.record, &mut writer).map_err(|_| fmt::Error)
    }
}

pub(crate) fn raft_logger() -> Logger {
    Logger::root(TracingDrain, o!())
}

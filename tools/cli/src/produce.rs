//! `millrace produce`: each line of standard input is a record.

use crate::command::{Connect, Output};
use crate::output::done;
use crate::topic::pair;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use client::{Codec, NewRecord};
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// What the default max.message.bytes takes, so that one long line fails with a sentence and not at the broker.
const LINE_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    topic: String,
    /// Split each line at the first of these into key and value
    #[arg(short, long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Write all records to this partition
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Compress batches
    #[arg(short, long, value_enum, default_value = "none")]
    codec: CodecName,
    /// A header for every record; may be repeated
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecName {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<CodecName> for Codec {
    fn from(name: CodecName) -> Self {
        match name {
            CodecName::None => Codec::None,
            CodecName::Gzip => Codec::Gzip,
            CodecName::Snappy => Codec::Snappy,
            CodecName::Lz4 => Codec::Lz4,
            CodecName::Zstd => Codec::Zstd,
        }
    }
}

pub fn run(args: Args) -> Result<()> {
    let typed = std::io::stdin().is_terminal();
    let progress = !typed && std::io::stderr().is_terminal();
    let mut client = args.connect.client()?;
    let mut writer = client.writer(&args.topic, args.partition, args.codec.into())?;
    if typed {
        eprintln!("one record per line; end with Ctrl-D");
    }
    let mut told = Instant::now();
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).context("cannot read standard input")? > 0 {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > LINE_BYTES_MAX {
            bail!(
                "a line of {} bytes is too long for a record; the limit is {LINE_BYTES_MAX}",
                line.len()
            );
        }
        writer.write(&record(&line, &args)?)?;
        line.clear();
        if typed {
            writer.flush()?;
        } else if progress && told.elapsed() > PROGRESS_EVERY {
            eprint!("\r{} records acknowledged", writer.written());
            told = Instant::now();
        }
    }
    let written = writer.flush()?;
    if progress {
        eprint!("\r");
    }
    match args.connect.output {
        Output::Table => eprintln!("{written} records written to {}", args.topic),
        Output::Json => done(Output::Json, "", &json!({"topic": args.topic, "written": written}))?,
    }
    Ok(())
}

fn record(line: &[u8], args: &Args) -> Result<NewRecord> {
    let (key, value) = match &args.key_separator {
        None => (None, line),
        Some(separator) => {
            let (key, value) = split(line, separator.as_bytes()).with_context(|| {
                format!("a line has no `{separator}`: {}", String::from_utf8_lossy(line))
            })?;
            (Some(key.to_vec()), value)
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(NewRecord {
        key,
        value: Some(value.to_vec()),
        headers: args
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect(),
        timestamp_ms: i64::try_from(now.as_millis())?,
    })
}

fn split<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line.windows(separator.len().max(1)).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        assert_eq!(split(b"a::b::c", b"::"), Some((&b"a"[..], &b"b::c"[..])));
        assert_eq!(split(b":", b":"), Some((&b""[..], &b""[..])));
        assert_eq!(split(b"abc", b":"), None);
        assert_eq!(split(b"abc", b""), None);
    }
}

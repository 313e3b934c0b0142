//! `millrace produce`: each line of standard input is a record.

use crate::command::{Connect, Output};
use crate::output::done;
use crate::topic::pair;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
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
    #[arg(short, long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
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
    let mut lines = 0u64;
    while input.read_until(b'\n', &mut line).context("cannot read standard input")? > 0 {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        lines += 1;
        match record(&line, &args) {
            Ok(record) => writer.write(&record)?,
            Err(reason) => {
                let written = writer.flush()?;
                bail!("line {lines} {reason}; {written} records before it are written");
            }
        }
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

/// The record of a line, or what is wrong with it.
fn record(line: &[u8], args: &Args) -> Result<NewRecord, String> {
    if line.len() > LINE_BYTES_MAX {
        let bytes = line.len();
        return Err(format!("of {bytes} bytes is too long, a record has {LINE_BYTES_MAX} at most"));
    }
    let (key, value) = match &args.key_separator {
        None => (None, line),
        Some(separator) => {
            let (key, value) =
                split(line, separator.as_bytes()).ok_or_else(|| format!("has no `{separator}`"))?;
            (Some(key.to_vec()), value)
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(NewRecord {
        key,
        value: Some(value.to_vec()),
        headers: args
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect(),
        timestamp_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
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
    fn a_line_that_is_no_record_says_why() {
        use clap::Parser;
        #[derive(Parser)]
        struct Program {
            #[command(flatten)]
            args: super::Args,
        }
        let args = Program::parse_from(["produce", "t", "-k", "::"]).args;
        assert_eq!(super::record(b"a:b", &args).unwrap_err(), "has no `::`");
        let long = vec![b'x'; super::LINE_BYTES_MAX + 1];
        assert!(super::record(&long, &args).unwrap_err().contains("1048577 bytes"));
        assert_eq!(super::record(b"a::b", &args).unwrap().key.as_deref(), Some(&b"a"[..]));
        assert!(Program::try_parse_from(["produce", "t", "-k", ""]).is_err());
    }

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        assert_eq!(split(b"a::b::c", b"::"), Some((&b"a"[..], &b"b::c"[..])));
        assert_eq!(split(b":", b":"), Some((&b""[..], &b""[..])));
        assert_eq!(split(b"abc", b":"), None);
        assert_eq!(split(b"abc", b""), None);
    }
}

//! `millrace consume`: records to standard output, as they come.

use crate::command::{Connect, Output};
use crate::place;
use anyhow::Result;
use client::{ReadRecord, Start};
use serde_json::{Value, json};
use std::io::Write;

#[derive(Debug, clap::Args)]
pub struct Args {
    topic: String,
    /// Where to start: beginning, end, an offset, or a UTC time like 2026-01-31T12:00:00Z
    #[arg(short, long, default_value = "beginning", value_parser = place::parse, value_name = "PLACE")]
    from: Start,
    /// Read this partition only
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// End after so many records
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// Wait for further records at the end of the topic, until Ctrl-C
    #[arg(short = 'F', long)]
    follow: bool,
    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: Args) -> Result<()> {
    let mut client = args.connect.client()?;
    let mut reader = client.reader(&args.topic, args.partition, args.from)?;
    // From the end there is nothing to see but what comes.
    let follow = args.follow || args.from == Start::End;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut out = std::io::stdout().lock();
    while left > 0 {
        // Known before reading, so that what is written meanwhile is read and nothing is waited for in vain.
        if !follow && reader.lag()? == 0 {
            break;
        }
        let mut records = reader.read()?;
        records.sort_by_key(|record| record.timestamp_ms);
        for record in records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            match args.connect.output {
                Output::Json => writeln!(out, "{}", as_json(record))?,
                Output::Table => writeln!(out, "{}", as_line(record))?,
            }
            left -= 1;
        }
        out.flush()?;
    }
    Ok(())
}

fn text(bytes: Option<&Vec<u8>>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Partition, offset, time, key, value, separated by tabs.
fn as_line(record: &ReadRecord) -> String {
    let time = place::show(record.timestamp_ms);
    let (key, value) = (text(record.key.as_ref()), text(record.value.as_ref()));
    format!("{}\t{}\t{time}\t{key}\t{value}", record.partition, record.offset)
}

/// Text where it is UTF-8, else a list of bytes; null is null.
fn bytes_as_json(bytes: Option<&Vec<u8>>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!(bytes),
        },
    }
}

fn as_json(record: &ReadRecord) -> Value {
    let headers =
        record.headers.iter().map(|(name, value)| json!([name, bytes_as_json(value.as_ref())]));
    json!({
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": bytes_as_json(record.key.as_ref()),
        "value": bytes_as_json(record.value.as_ref()),
        "headers": headers.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::{as_json, as_line};
    use client::ReadRecord;

    #[test]
    fn records_are_printed_with_their_place_and_null_is_told_from_text() {
        let record = ReadRecord {
            partition: 1,
            offset: 7,
            timestamp_ms: 0,
            key: None,
            value: Some(b"hello".to_vec()),
            headers: vec![("h".to_owned(), Some(vec![0xff]))],
        };
        assert_eq!(as_line(&record), "1\t7\t1970-01-01T00:00:00.000Z\t-\thello");
        let json = as_json(&record);
        assert!(json["key"].is_null());
        assert_eq!(
            (json["value"].as_str(), json["headers"][0][1][0].as_i64()),
            (Some("hello"), Some(255))
        );
    }
}

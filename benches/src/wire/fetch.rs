//! Fetch, version 12, without a session: one topic, any partitions.

use anyhow::Result;

use super::{Reader, Writer};

#[derive(Clone, Copy)]
pub struct FetchPosition {
    pub partition: i32,
    pub offset: i64,
}

pub struct Fetched<'a> {
    pub partition: i32,
    pub error: i16,
    pub records: &'a [u8],
}

pub fn encode_fetch(
    correlation: i32,
    topic: &str,
    positions: &[FetchPosition],
    partition_max_bytes: i32,
) -> Vec<u8> {
    let mut w = Writer::request(1, 12, correlation, true);
    w.i32(-1);
    w.i32(500);
    w.i32(1);
    w.i32(50 << 20);
    w.i8(0);
    w.i32(0);
    w.i32(-1);
    w.compact_len(1);
    w.compact_string(topic);
    w.compact_len(positions.len());
    for p in positions {
        w.i32(p.partition);
        w.i32(-1);
        w.i64(p.offset);
        w.i32(-1);
        w.i64(-1);
        w.i32(partition_max_bytes);
        w.tags();
    }
    w.tags();
    w.compact_len(0);
    w.compact_string("");
    w.tags();
    w.frame()
}

/// Calls `each` with every partition's answer; returns the error of the whole response.
pub fn parse_fetch<'a>(frame: &'a [u8], mut each: impl FnMut(Fetched<'a>)) -> Result<i16> {
    let (_, mut r) = Reader::response(frame, true)?;
    r.i32()?;
    let error = r.i16()?;
    r.i32()?;
    for _ in 0..r.compact_len()? {
        r.compact_bytes()?;
        for _ in 0..r.compact_len()? {
            let partition = r.i32()?;
            let error = r.i16()?;
            r.i64()?;
            r.i64()?;
            r.i64()?;
            for _ in 0..r.compact_len()? {
                r.i64()?;
                r.i64()?;
                r.tags()?;
            }
            r.i32()?;
            let records = r.compact_bytes()?;
            r.tags()?;
            each(Fetched { partition, error, records });
        }
        r.tags()?;
    }
    Ok(error)
}

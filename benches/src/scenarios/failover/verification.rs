//! Looks for every acknowledged record in the logs of the leaders of now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::writers::Acknowledged;
use crate::wire::{Admin, Connection, FetchPosition, encode_fetch, parse_fetch};

const LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const FETCH_BYTES: i32 = 1 << 20;

/// How many acknowledged records are not there.
pub fn count_lost(node: SocketAddr, topic: &str, acknowledged: &Acknowledged) -> Result<u64> {
    let mut lost = 0;
    let mut leaders: BTreeMap<SocketAddr, Vec<i32>> = BTreeMap::new();
    for (leader, led) in Admin::connect(node)?.leaders(topic)? {
        leaders.insert(leader, led.into_iter().filter(|p| acknowledged.contains_key(p)).collect());
    }
    let found: usize = leaders.values().map(Vec::len).sum();
    if found < acknowledged.len() {
        bail!("{found} of {} partitions have a leader", acknowledged.len());
    }
    for (leader, partitions) in leaders {
        for partition in partitions {
            let wanted: BTreeSet<u64> = acknowledged[&partition].iter().copied().collect();
            lost += missing(leader, topic, partition, wanted)?;
        }
    }
    Ok(lost)
}

/// Reads a partition from its start until all of `wanted` are found or the log ends.
fn missing(
    leader: SocketAddr,
    topic: &str,
    partition: i32,
    mut wanted: BTreeSet<u64>,
) -> Result<u64> {
    let mut connection = Connection::open(leader)?;
    let mut position = FetchPosition { partition, offset: 0 };
    let start = Instant::now();
    while !wanted.is_empty() {
        let before = position.offset;
        let end = fetch(&mut connection, topic, &mut position, &mut wanted)
            .with_context(|| format!("{topic}-{partition} at {leader}"))?;
        if position.offset == before && position.offset >= end {
            break;
        }
        if start.elapsed() > LIMIT {
            bail!("{topic}-{partition} cannot be read");
        }
    }
    Ok(wanted.len() as u64)
}

/// One fetch; returns the high watermark.
fn fetch(
    connection: &mut Connection,
    topic: &str,
    position: &mut FetchPosition,
    wanted: &mut BTreeSet<u64>,
) -> Result<i64> {
    let correlation = connection.correlation();
    connection.send(encode_fetch(correlation, topic, &[*position], FETCH_BYTES)?)?;
    let asked = Instant::now();
    loop {
        connection.flush()?;
        connection.receive()?;
        let mut received = connection.take_received();
        let mut end = None;
        if let Some(frame) = received.next_frame() {
            let mut records = None;
            parse_fetch(frame, |part| records = Some((part.high_watermark, part.records)))?;
            let (high_watermark, records) = records.unwrap_or_default();
            for batch in record::batches(&records) {
                let Ok(batch) = batch else { break };
                for read in batch.records()? {
                    let value = read.ok().and_then(|r| r.value?.first_chunk::<8>().copied());
                    value.map(|number| wanted.remove(&u64::from_be_bytes(number)));
                }
                position.offset = batch.header.next_offset();
            }
            end = Some(high_watermark);
        }
        connection.give_back(received);
        if let Some(end) = end {
            return Ok(end);
        }
        if asked.elapsed() > ANSWER_LIMIT {
            bail!("no answer to a fetch");
        }
    }
}

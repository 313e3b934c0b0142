//! Which scenarios there are, and which nodes they run on.

use anyhow::Result;

use super::{
    Settings, Stage, catch_up, cold_start, curve, failover, fan_out, ingest, many_partitions,
    many_producers, ping, rejoin, unbatched,
};
use crate::rivals::{Durability, Place, System};
use crate::sample::Sample;

/// Scenarios that share the running nodes of a block.
pub const SHARED: &[u8] = &[1, 2, 3, 4, 5, 6, 9, 12, 13];
/// Scenarios that start nodes of their own. The 14th and the 20th need several.
pub const OWN: &[u8] = &[10, 14, 15, 20];
const NODES_MIN_OF_SEVERAL: u16 = 3;

pub fn title(number: u8) -> &'static str {
    match number {
        1 => "trading ping: 1 partition, 256 B, linger 0, one producer and one consumer",
        2 => "trading fan-out: 8 partitions, 20 000 records of 200 B a second, 2 and 8 consumers",
        3 => "latency curve: 16 partitions, 1 KiB records, linger 1, rising rates",
        4 => "ingest: 1 KiB records in 1 MiB batches, 16 partitions, 4 producers",
        5 => "ingest: 100 B records in 64 KiB batches, 16 partitions, 4 producers",
        6 => "unbatched: one 100 B record per request, 64 connections x 5 in flight, 16 partitions",
        9 => "many producers: 50 MB/s from 4, 50 and 500 producers",
        10 => "many partitions: 1 KiB records at 2 000/s over all of them",
        12 => "catch-up: 1 and 4 readers of a backlog while 30 MB/s come in",
        13 => "fan-out: 40 MB/s in, 1 / 3 / 8 consumers of everything",
        14 => {
            "failover: a leader is killed, stopped or paused; partitions that cannot be written to"
        }
        15 => "cold start and the memory of an empty node",
        20 => "a replica catches up while 2 000 records of 1 KiB a second come in",
        _ => "unknown",
    }
}

/// Runs one shared scenario with one durability.
pub fn run_shared(number: u8, stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    match number {
        1 => ping::run(stage),
        2 => fan_out::run_trades(stage),
        3 => curve::run(stage),
        4 => ingest::run(stage, &ingest::BIG_BATCHES),
        5 => ingest::run(stage, &ingest::SMALL_RECORDS),
        6 => unbatched::run(stage),
        9 => many_producers::run(stage),
        12 => catch_up::run(stage),
        13 => fan_out::run(stage),
        _ => Ok(vec![]),
    }
}

/// Runs one scenario that starts its own nodes, for all durabilities that matter to it.
pub fn run_own(
    number: u8,
    system: System,
    durabilities: &[Durability],
    place: &Place,
    settings: &Settings,
) -> Result<Vec<Sample>> {
    match number {
        14 | 20 if place.nodes < NODES_MIN_OF_SEVERAL => Ok(vec![]),
        10 => many_partitions::run(system, durabilities, place, settings),
        14 => failover::run(system, durabilities, place, settings),
        15 => cold_start::run(system, place, settings),
        20 => rejoin::run(system, durabilities, place, settings),
        _ => Ok(vec![]),
    }
}

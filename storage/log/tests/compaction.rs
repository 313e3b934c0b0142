//! Compaction against a model, whole and interrupted at every step.

mod compacted;
mod scratch;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use compacted::{MAP_BYTES, NOW, open};
use proptest::prelude::*;
use record::{BatchBuilder, BatchView, Codec, Decompressor, Records};
use scratch::{Image, Scratch, put_image, take_image};
use storage::log::{Dirty, Log, LogError, LogState, ReadRequest};

/// Key and value of a record.
type Change = (u8, Option<u16>);
/// The same behind its offset.
type Read = (i64, u8, Option<u16>);

async fn append(log: &Log, changes: &[Change], codec: Codec) {
    let mut builder =
        BatchBuilder::new().base_offset(log.end_offset()).leader_epoch(0).codec(codec);
    for (key, value) in changes {
        let value = value.map(|value| value.to_string());
        let value = value.as_ref().map(|value| value.as_bytes());
        builder.push(NOW, Some(&[*key]), value, &[]).unwrap();
    }
    let bytes = Bytes::copy_from_slice(builder.finish().unwrap());
    log.append(&[bytes], &[]).await.unwrap();
}

/// All records of the log: offset, key, value.
async fn records(log: &Log) -> Vec<Read> {
    let mut found = Vec::new();
    let mut offset = log.log_start_offset();
    let mut decompressor = Decompressor::default();
    while offset < log.end_offset() {
        let request =
            ReadRequest { offset, bytes_max: 1000, min_one_batch: true, offset_end: i64::MAX };
        let read = log.read(request).await.unwrap();
        assert!(read.next_offset > offset);
        offset = read.next_offset;
        collect(&read.bytes, &mut decompressor, &mut found);
    }
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
    found
}

fn collect(bytes: &[u8], decompressor: &mut Decompressor, found: &mut Vec<Read>) {
    for batch in record::batches(bytes) {
        let batch: BatchView<'_> = batch.unwrap();
        let header = record::validate(batch.bytes()).unwrap();
        let codec = header.attributes.codec().unwrap();
        if header.records_count == 0 {
            continue;
        }
        let plain = decompressor.decompress(codec, batch.records_bytes()).unwrap();
        let mut records = Records::new(&header, plain);
        while let Some(record) = records.next() {
            let record = record.unwrap();
            let value =
                record.value.map(|value| std::str::from_utf8(value).unwrap().parse().unwrap());
            found.push((records.offset_of(&record), record.key.unwrap()[0], value));
        }
    }
}

/// What a reader of the whole log ends up with.
fn latest(records: &[Read]) -> BTreeMap<u8, u16> {
    let mut latest = BTreeMap::new();
    for (_, key, value) in records {
        match value {
            Some(value) => latest.insert(*key, *value),
            None => latest.remove(key),
        };
    }
    latest
}

async fn checkpoint(log: &Log) -> LogState {
    let state = log.sync().await.unwrap();
    log.mark_checkpointed(&state);
    state
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_latest_values_stay_and_old_ones_go(
        rounds in prop::collection::vec(
            prop::collection::vec(
                prop::collection::vec((0..12u8, prop::option::weighted(0.8, any::<u16>())), 1..6),
                1..30,
            ),
            1..4,
        ),
        map_bytes in prop_oneof![Just(MAP_BYTES), Just(200)],
    ) {
        runtime::block_on(async move {
            let scratch = Scratch::new();
            let dir = scratch.path().join("t-0");
            let mut log = open(&dir, LogState::new(0, NOW));
            let mut all = Vec::new();
            let mut now_ms = NOW;
            for round in rounds {
                for (at, changes) in round.iter().enumerate() {
                    let codec = Codec::ALL[at % Codec::ALL.len()];
                    append(&log, changes, codec).await;
                    all.extend(changes.iter().copied());
                }
                checkpoint(&log).await;
                let expected: Vec<(i64, u8, Option<u16>)> = all
                    .iter()
                    .enumerate()
                    .map(|(offset, (key, value))| (offset as i64, *key, *value))
                    .collect();
                let compacted = log.compact(now_ms, i64::MAX, map_bytes).await.unwrap();
                assert!(compacted.bytes_after <= compacted.bytes_before + 61);
                let found = records(&log).await;
                assert_eq!(latest(&found), latest(&expected));
                assert!(found.iter().all(|record| expected.contains(record)));
                assert_eq!(log.end_offset(), all.len() as i64);
                let state = checkpoint(&log).await;
                log = open(&dir, state);
                assert_eq!(records(&log).await, found);
                now_ms += 2000;
            }
        });
    }
}

/// Polls `compact` a number of times and then lets it go, as a crash would.
async fn compact_until(log: &Log, polls: usize) -> bool {
    let mut compact = Box::pin(log.compact(NOW, i64::MAX, MAP_BYTES));
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        compact.as_mut().poll(context).map(|done| {
            done.unwrap();
            true
        })
    })
    .await
}

#[test]
fn a_compaction_that_is_interrupted_anywhere_loses_nothing() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let mut finished = false;
        let mut polls = 1;
        while !finished {
            let dir = scratch.path().join(format!("t-{polls}"));
            let log = open(&dir, LogState::new(0, NOW));
            for at in 0..60u16 {
                append(&log, &[((at % 7) as u8, Some(at)), (100, Some(at))], Codec::None).await;
            }
            let state = checkpoint(&log).await;
            let before = latest(&records(&log).await);
            finished = compact_until(&log, polls).await;
            // What was handed to the kernel runs to its end.
            runtime::fs::sync_dir(&dir).await.unwrap();
            drop(log);
            let log = open(&dir, state);
            assert_eq!(latest(&records(&log).await), before, "after {polls} polls");
            append(&log, &[(1, Some(9999))], Codec::None).await;
            checkpoint(&log).await;
            log.compact(NOW, i64::MAX, MAP_BYTES).await.unwrap();
            let mut after = before;
            after.insert(1, 9999);
            assert_eq!(latest(&records(&log).await), after, "after {polls} polls");
            assert_eq!(log.end_offset(), 121);
            polls += 1;
        }
        assert!(polls > 20, "only {polls} steps");
    });
}

/// A log whose first compaction was interrupted when it was committed: its state, its files, all that could be read, and
/// the name of the segment that waits to be swapped in.
async fn committed_compaction(scratch: &Scratch) -> (LogState, Image, Vec<Read>, String) {
    for polls in 1.. {
        let dir = scratch.path().join(format!("t-{polls}"));
        let log = open(&dir, LogState::new(0, NOW));
        // every second record stays, so that two segments and more fit into one
        for at in 0..60u16 {
            let key = if at % 2 == 0 { at as u8 } else { 100 };
            append(&log, &[(key, Some(at))], Codec::None).await;
        }
        checkpoint(&log).await;
        log.compact(NOW, i64::MAX, MAP_BYTES).await.unwrap();
        for at in 60..80u16 {
            append(&log, &[(at as u8 % 4, Some(at))], Codec::None).await;
        }
        let state = checkpoint(&log).await;
        let all = records(&log).await;
        assert!(!compact_until(&log, polls).await, "a compaction without a swap");
        runtime::fs::sync_dir(&dir).await.unwrap();
        let image = take_image(&dir).await;
        if let Some(name) = image.keys().find(|name| name.ends_with(".log.swap")) {
            let name = name.clone();
            return (state, image, all, name);
        }
    }
    unreachable!("polls never end")
}

/// Where each batch of these begins.
fn batch_starts(bytes: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let starts = record::batches(bytes).map(|batch| {
        at += batch.unwrap().bytes().len();
        at
    });
    let mut starts: Vec<usize> = std::iter::once(0).chain(starts).collect();
    starts.pop();
    starts
}

#[test]
fn a_committed_compaction_that_was_damaged_costs_what_it_lost_and_nothing_else() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let (state, image, all, name) = committed_compaction(&scratch).await;
        let starts = batch_starts(&image[&name]);
        let (second, last) = (starts[1], *starts.last().unwrap());
        assert!(starts.len() > 2, "{starts:?}");
        type Damage = Box<dyn Fn(&mut Vec<u8>)>;
        let damages: [(&str, Damage); 6] = [
            ("a length", Box::new(move |bytes| bytes[second + 9] ^= 0x40)),
            ("the last length", Box::new(move |bytes| bytes[last + 9] ^= 0x40)),
            ("an offset, far away", Box::new(move |bytes| bytes[second] ^= 0x40)),
            ("an offset, back", Box::new(move |bytes| bytes[last..last + 8].fill(0))),
            ("cut between batches", Box::new(move |bytes| bytes.truncate(last))),
            ("cut to nothing", Box::new(|bytes| bytes.clear())),
        ];
        for (number, (what, damage)) in damages.iter().enumerate() {
            let dir = scratch.path().join(format!("damaged-{number}"));
            let mut image = image.clone();
            damage(image.get_mut(&name).unwrap());
            put_image(&dir, &image).await;
            let log = open(&dir, state);
            log.append(&[], &[]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(log.end_offset(), 80, "{what}");
            let next = checkpoint(&log).await;
            for again in 0..2 {
                let (read, lost) = readable(&log).await;
                assert!(lost, "{what}: a reader is told, look {again}");
                assert!(read.iter().all(|record| all.contains(record)), "{what}");
                let active = all.iter().filter(|(at, ..)| *at >= state.active.base_offset);
                assert!(active.clone().count() > 0);
                assert!(active.clone().all(|record| read.contains(record)), "{what}");
                log.close().await.unwrap();
                let log = open(&dir, next);
                log.append(&[], &[]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            let log = open(&dir, next);
            append(&log, &[(1, Some(9999))], Codec::None).await;
            checkpoint(&log).await;
            assert!(readable(&log).await.0.contains(&(80, 1, Some(9999))), "{what}");
        }
    });
}

/// All records that can be read, and whether a reader is told somewhere that something is lost.
async fn readable(log: &Log) -> (Vec<Read>, bool) {
    let (mut found, mut lost) = (Vec::new(), false);
    let mut offset = log.log_start_offset();
    while offset < log.end_offset() {
        let request =
            ReadRequest { offset, bytes_max: 1, min_one_batch: true, offset_end: i64::MAX };
        match log.read(request).await {
            Ok(read) => {
                let mut decompressor = Decompressor::default();
                collect(&read.bytes, &mut decompressor, &mut found);
                offset = read.next_offset;
            }
            Err(LogError::Corrupt { .. }) => {
                lost = true;
                offset += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    found.sort_unstable();
    found.dedup();
    (found, lost)
}

#[test]
fn a_log_does_not_hibernate_while_it_is_compacted() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        for polls in 1.. {
            let log = open(&scratch.path().join(format!("t-{polls}")), LogState::new(0, NOW));
            for at in 0..60u16 {
                append(&log, &[((at % 7) as u8, Some(at)), (100, Some(at))], Codec::None).await;
            }
            checkpoint(&log).await;
            let before = latest(&records(&log).await);
            let compacted = log.clone();
            let mut compact =
                Box::pin(async move { compacted.compact(NOW, i64::MAX, MAP_BYTES).await.unwrap() });
            let mut left = polls;
            let finished = std::future::poll_fn(|context| {
                if left == 0 {
                    return std::task::Poll::Ready(false);
                }
                left -= 1;
                compact.as_mut().poll(context).map(|_| true)
            });
            if finished.await {
                assert!(polls > 20, "only {polls} steps");
                return;
            }
            let rest = runtime::task::spawn(runtime::task::Class::Background, compact);
            log.hibernate().await.unwrap();
            assert_eq!(latest(&records(&log).await), before, "after {polls} polls");
            rest.await;
            assert_eq!(latest(&records(&log).await), before, "after {polls} polls");
        }
    });
}

#[test]
fn segments_that_became_small_are_merged_and_then_nothing_changes() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("t-0");
        let log = open(&dir, LogState::new(0, NOW));
        for at in 0..200u16 {
            append(&log, &[((at % 3) as u8, Some(at))], Codec::None).await;
        }
        checkpoint(&log).await;
        let Dirty { bytes: dirty, total, .. } = log.dirty(NOW).await.unwrap();
        assert_eq!(dirty, total);
        let first = log.compact(NOW, i64::MAX, MAP_BYTES).await.unwrap();
        assert!(first.bytes_after < first.bytes_before / 4, "{first:?}");
        assert_eq!(log.dirty(NOW).await.unwrap().bytes, 0);
        let before = records(&log).await;
        let second = log.compact(NOW, i64::MAX, MAP_BYTES).await.unwrap();
        assert!(second.segments_after < second.segments_before / 2, "{second:?}");
        // Merged segments lose the headers at their ends and may fit together again.
        for _ in 0..5 {
            let again = log.compact(NOW, i64::MAX, MAP_BYTES).await.unwrap();
            assert_eq!(records(&log).await, before);
            if again.segments_before == 0 {
                return;
            }
        }
        panic!("compaction never comes to rest");
    });
}

#[test]
fn nothing_at_or_behind_the_stable_offset_is_touched() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let log = open(&scratch.path().join("t-0"), LogState::new(0, NOW));
        for at in 0..100u16 {
            append(&log, &[(1, Some(at))], Codec::None).await;
        }
        checkpoint(&log).await;
        log.compact(NOW, 50, MAP_BYTES).await.unwrap();
        let found = records(&log).await;
        assert!(found.iter().filter(|(offset, ..)| *offset >= 50).count() == 50);
        assert!(found.iter().filter(|(offset, ..)| *offset < 50).count() < 20);
    });
}

#[test]
fn what_is_younger_than_the_lag_is_not_touched_and_what_is_older_than_the_other_is_due() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let log = open(&scratch.path().join("t-0"), LogState::new(0, NOW));
        for value in 0..100 {
            append(&log, &[(1, Some(value))], Codec::None).await;
        }
        let state = checkpoint(&log).await;
        log.mark_checkpointed(&state);
        let mut config = (*log.config()).clone();
        config.min_compaction_lag_ms = 500;
        config.max_compaction_lag_ms = 2_000;
        log.set_config(Rc::new(config));
        let before = records(&log).await;
        assert_eq!(log.dirty(NOW + 400).await.unwrap().bytes, 0);
        log.compact(NOW + 400, i64::MAX, MAP_BYTES).await.unwrap();
        assert_eq!(records(&log).await, before);
        let dirty = log.dirty(NOW + 600).await.unwrap();
        assert!(dirty.bytes > 0 && !dirty.overdue);
        assert!(log.dirty(NOW + 2_001).await.unwrap().overdue);
        log.compact(NOW + 600, i64::MAX, MAP_BYTES).await.unwrap();
        let after = records(&log).await;
        assert!(after.len() < before.len());
        assert_eq!(latest(&after), latest(&before));
    });
}

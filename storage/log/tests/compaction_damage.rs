//! Compaction of a log of which something was lost: what is damaged stays as it is, what is behind it is compacted.

mod compacted;
mod scratch;

use bytes::Bytes;
use compacted::{KEPT_MS, MAP_BYTES, NOW, open};
use record::{BatchBuilder, BatchHeader, Codec, EndTxnMarker, ProducerFields};
use scratch::{Image, Scratch, put_image, take_image};
use storage::log::{AbortedTransaction, Log, LogError, LogState, ReadRequest};

fn record(key: &str, value: Option<&str>, producer: Option<i64>) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(Codec::None);
    if let Some(producer_id) = producer {
        let producer = ProducerFields { producer_id, producer_epoch: 0, base_sequence: 0 };
        builder = builder.producer(producer).transactional(true);
    }
    builder.push(NOW, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    builder.finish().unwrap().to_vec()
}

/// Appends one batch of one record.
async fn append(log: &Log, mut batch: Vec<u8>, aborted: &[AbortedTransaction]) {
    record::stamp(&mut batch, log.end_offset(), 0);
    log.append(&[Bytes::from(batch)], aborted).await.unwrap();
}

async fn checkpoint(log: &Log) -> LogState {
    let state = log.sync().await.unwrap();
    log.mark_checkpointed(&state);
    state
}

/// The bytes of the segments that begin before `offset`, by name.
fn before(image: &Image, offset: i64) -> Image {
    let is_before = |name: &str| {
        let base = name.strip_suffix(".log").and_then(|base| base.parse::<i64>().ok());
        base.is_some_and(|base| base < offset)
    };
    image.iter().filter(|(name, _)| is_before(name)).map(|(n, b)| (n.clone(), b.clone())).collect()
}

/// Where the closed segments begin.
fn bases(image: &Image) -> Vec<i64> {
    image.keys().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect()
}

/// First offsets of the batches with records from `offset` on.
async fn batches(log: &Log, mut offset: i64) -> Vec<BatchHeader> {
    let mut found = Vec::new();
    while offset < log.end_offset() {
        let request =
            ReadRequest { offset, bytes_max: 1, min_one_batch: true, offset_end: i64::MAX };
        let read = log.read(request).await.unwrap();
        let headers = record::batches(&read.bytes).map(|batch| batch.unwrap().header);
        found.extend(headers.filter(|header| header.records_count > 0));
        offset = read.next_offset;
    }
    found
}

#[test]
fn a_damaged_segment_and_those_before_it_stay_and_what_is_behind_is_compacted() {
    runtime::block_on(async {
        type Damage = fn(&mut Vec<u8>);
        let damages: [(&str, Damage); 3] = [
            ("a length", |bytes| bytes[9] ^= 0x40),
            ("a bit of a value", |bytes| *bytes.last_mut().unwrap() ^= 0x01),
            ("cut within a batch", |bytes| bytes.truncate(bytes.len() - 10)),
        ];
        for (what, damage) in damages {
            let scratch = Scratch::new();
            let dir = scratch.path().join("t-0");
            let log = open(&dir, LogState::new(0, NOW));
            append(&log, record("deleted later", Some("v"), None), &[]).await;
            for at in 1..80 {
                append(&log, record(["a", "b", "c"][at % 3], Some("v"), None), &[]).await;
            }
            append(&log, record("deleted later", None, None), &[]).await;
            for at in 81..100 {
                append(&log, record(["a", "b", "c"][at % 3], Some("v"), None), &[]).await;
            }
            let state = checkpoint(&log).await;
            drop(log);
            let mut image = take_image(&dir).await;
            let (damaged, behind) = (bases(&image)[2], bases(&image)[3]);
            damage(image.get_mut(&format!("{damaged:020}.log")).unwrap());
            put_image(&dir, &image).await;

            let log = open(&dir, state);
            for round in 0..4 {
                let now_ms = NOW + round * 10 * KEPT_MS;
                let compacted = log.compact(now_ms, i64::MAX, MAP_BYTES).await;
                let compacted = compacted.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(round > 0 || compacted.bytes_after < compacted.bytes_before, "{what}");
                let now = take_image(&dir).await;
                assert_eq!(before(&now, behind), before(&image, behind), "{what}: untouched");
            }
            let left = batches(&log, behind).await;
            let closed = left.iter().filter(|header| header.base_offset < state.active.base_offset);
            assert!(closed.clone().count() <= 4, "{what}: the newest of each key: {left:?}");
            assert!(closed.clone().any(|header| header.base_offset == 80), "{what}: the tombstone");

            log.delete_before(behind);
            append(&log, record("a", Some("v"), None), &[]).await;
            log.compact(NOW + 100 * KEPT_MS, i64::MAX, MAP_BYTES).await.unwrap();
            let left = batches(&log, behind).await;
            assert!(left.iter().all(|header| header.base_offset != 80), "{what}: it is over");
        }
    });
}

#[test]
fn aborted_records_never_win_because_the_list_of_aborts_was_damaged() {
    runtime::block_on(async {
        // cut at the end of an entry, cut within one, gone, and with an entry that cannot be read
        for damage in 0..4 {
            let scratch = Scratch::new();
            let dir = scratch.path().join("t-0");
            let log = open(&dir, LogState::new(0, NOW));
            append(&log, record("a", Some("kept"), None), &[]).await;
            append(&log, record("b", Some("kept"), None), &[]).await;
            for producer_id in 1..3 {
                let first_offset = log.end_offset();
                append(&log, record("a", Some("aborted"), Some(producer_id)), &[]).await;
                let aborted = AbortedTransaction {
                    producer_id,
                    first_offset,
                    last_offset: first_offset + 1,
                    last_stable_offset: first_offset + 2,
                };
                let abort = EndTxnMarker { commit: false, coordinator_epoch: 0 };
                append(&log, abort.batch(producer_id, 0, NOW).unwrap(), &[aborted]).await;
            }
            // of a producer that wrote nothing: a marker alone
            let abort = EndTxnMarker { commit: false, coordinator_epoch: 0 };
            append(&log, abort.batch(9, 0, NOW).unwrap(), &[]).await;
            for _ in 0..30 {
                append(&log, record("b", Some("new"), None), &[]).await;
            }
            let state = checkpoint(&log).await;
            drop(log);
            let mut image = take_image(&dir).await;
            let list = format!("{:020}.txnindex", 0);
            match damage {
                0 => image.get_mut(&list).unwrap().truncate(34),
                1 => image.get_mut(&list).unwrap().truncate(40),
                2 => drop(image.remove(&list)),
                _ => image.get_mut(&list).unwrap()[0] = 0xff,
            }
            put_image(&dir, &image).await;

            let log = open(&dir, state);
            for _ in 0..2 {
                let compacted = log.compact(NOW, i64::MAX, MAP_BYTES).await;
                compacted.unwrap_or_else(|error| panic!("damage {damage}: {error}"));
            }
            let left = batches(&log, 0).await;
            assert!(left.iter().any(|header| header.base_offset == 0), "damage {damage}: {left:?}");
            assert!(left.len() < 30, "damage {damage}: what is behind is compacted: {left:?}");
        }
    });
}

#[test]
fn a_marker_of_a_producer_that_wrote_nothing_is_no_damage() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let log = open(&scratch.path().join("t-0"), LogState::new(0, NOW));
        let abort = EndTxnMarker { commit: false, coordinator_epoch: 0 };
        append(&log, abort.batch(9, 0, NOW).unwrap(), &[]).await;
        for _ in 0..60 {
            append(&log, record("a", Some("v"), None), &[]).await;
        }
        let state = checkpoint(&log).await;
        let compacted = log.compact(NOW, i64::MAX, MAP_BYTES).await.unwrap();
        assert!(compacted.bytes_after < compacted.bytes_before / 4, "{compacted:?} of {state:?}");
        let lost = log.aborted_transactions(0, 1).await;
        assert!(!matches!(lost, Err(LogError::Corrupt { .. })), "{lost:?}");
    });
}

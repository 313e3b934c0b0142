//! Partition logs against a model: appends, rolls, reads, deletions, crashes at a checkpoint.

mod model;
mod scratch;

use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use model::{Model, NOW, batch, check, everything, open, small, store};
use proptest::prelude::*;
use record::{BatchBuilder, Codec, ProducerFields};
use scratch::Scratch;
use storage::log::{
    AbortedTransaction, Log, LogConfig, LogError, LogState, LogStore, ReadRequest, Retained,
};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(Vec<i64>, usize, bool)>),
    DeleteBefore(u8),
    Retain,
    Sync,
    Hibernate,
    /// Back to the last sync; what was appended since is appended again.
    Crash,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = (prop::collection::vec(0..100i64, 1..6), 0..200usize, any::<bool>());
    prop::collection::vec(
        prop_oneof![
            6 => prop::collection::vec(batch, 1..8).prop_map(Step::Append),
            1 => any::<u8>().prop_map(Step::DeleteBefore),
            1 => Just(Step::Retain),
            2 => Just(Step::Sync),
            1 => Just(Step::Hibernate),
            2 => Just(Step::Crash),
            1 => Just(Step::Close),
        ],
        1..25,
    )
}

struct Run {
    store: Rc<LogStore>,
    dir: PathBuf,
    log: Rc<Log>,
    model: Model,
    synced: LogState,
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Append(batches) => {
                let mut bytes = Vec::new();
                for (timestamps, size, compressed) in batches {
                    let codec = if compressed { Codec::Lz4 } else { Codec::None };
                    bytes.push(self.model.append(&timestamps, size, codec));
                }
                let appended = self.log.append(&bytes, &[]).await.unwrap();
                assert_eq!((appended.batches, appended.skipped), (bytes.len(), 0));
            }
            Step::DeleteBefore(share) => {
                let model = &mut self.model;
                let span = model.end_offset - model.log_start_offset;
                model.log_start_offset += span * i64::from(share) / 256;
                self.log.delete_before(model.log_start_offset);
            }
            Step::Retain => {
                self.log.retain(NOW).await.unwrap();
            }
            Step::Sync => {
                self.synced = self.log.sync().await.unwrap();
                self.log.mark_checkpointed(&self.synced);
            }
            Step::Hibernate => self.log.hibernate().await.unwrap(),
            Step::Crash => {
                self.log = open(&self.store, &self.dir, small(), self.synced);
                self.log.delete_before(self.model.log_start_offset);
                let all: Vec<Bytes> =
                    self.model.batches.iter().map(|batch| batch.bytes.clone()).collect();
                // Replay from anywhere before the checkpoint.
                self.log.append(&all, &[]).await.unwrap();
            }
            Step::Close => {
                self.synced = self.log.close().await.unwrap();
                self.log = open(&self.store, &self.dir, small(), self.synced);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_holds_what_a_list_of_batches_would(steps in steps()) {
        runtime::block_on(async move {
            let scratch = Scratch::new();
            let dir = scratch.path().join("topic-0");
            let store = store();
            let synced = LogState::new(0, NOW);
            let log = open(&store, &dir, small(), synced);
            let mut run = Run { store, dir, log, model: Model::default(), synced };
            for step in steps {
                run.step(step).await;
                assert!(run.store.open_files() <= 5);
            }
            check(&run.log, &run.model).await;
        });
    }
}

/// What goes once a checkpoint knows it.
async fn retain_with_a_checkpoint(log: &Rc<Log>, now_ms: i64) -> Retained {
    let first = log.retain(now_ms).await.unwrap();
    assert_eq!((first.deleted_segments, first.waits_for_checkpoint), (0, true));
    log.mark_checkpointed(&log.sync().await.unwrap());
    log.retain(now_ms).await.unwrap()
}

#[test]
fn reads_stop_at_the_bytes_and_at_the_offset_given() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let log = open(&store(), &scratch.path().join("t-0"), small(), LogState::new(0, NOW));
        let mut model = Model::default();
        let batches: Vec<Bytes> =
            (0..4).map(|at| model.append(&[at, at], 100, Codec::None)).collect();
        log.append(&batches, &[]).await.unwrap();
        let size = batches[0].len();
        let read = async |bytes_max, min_one_batch, offset_end| {
            let request = ReadRequest { offset: 1, bytes_max, min_one_batch, offset_end };
            let read = log.read(request).await.unwrap();
            (read.bytes.len() / size, read.next_offset)
        };
        assert_eq!(read(size * 3 - 1, false, i64::MAX).await, (2, 4));
        assert_eq!(read(size * 3, false, i64::MAX).await, (3, 6));
        assert_eq!(read(1, true, i64::MAX).await, (1, 2));
        assert_eq!(read(1, false, i64::MAX).await, (0, 1));
        assert_eq!(read(1 << 20, true, 4).await, (2, 4));
        assert_eq!(read(1 << 20, true, 0).await, (0, 1));
    });
}

#[test]
fn batches_that_do_not_follow_are_refused() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let log = open(&store(), &scratch.path().join("t-0"), small(), LogState::new(0, NOW));
        let gap = log.append(&[batch(3, &[1], 10, Codec::None)], &[]).await;
        assert!(matches!(gap, Err(LogError::Gap { expected: 0, found: 3 })));
        log.append(&[batch(0, &[1, 2, 3], 10, Codec::None)], &[]).await.unwrap();
        let overlap = log.append(&[batch(2, &[1, 2], 10, Codec::None)], &[]).await;
        assert!(matches!(overlap, Err(LogError::Gap { expected: 3, found: 2 })));
        let known = log.append(&[batch(0, &[1, 2, 3], 10, Codec::None)], &[]).await.unwrap();
        assert_eq!((known.batches, known.skipped), (0, 1));
        let garbage = log.append(&[Bytes::from_static(&[7; 100])], &[]).await;
        assert!(matches!(garbage, Err(LogError::BadBatch { .. })));
    });
}

#[test]
fn a_segment_is_closed_by_the_time_between_its_batches() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let config = LogConfig { segment_ms: 50, ..small() };
        let log = open(&store(), &scratch.path().join("t-0"), config, LogState::new(0, NOW));
        let appended = log
            .append(
                &[
                    batch(0, &[1000], 10, Codec::None),
                    batch(1, &[1050], 10, Codec::None),
                    batch(2, &[1051], 10, Codec::None),
                ],
                &[],
            )
            .await
            .unwrap();
        assert_eq!(appended.rolled, 1);
        assert_eq!(log.sync().await.unwrap().active.base_offset, 2);
    });
}

#[test]
fn retention_by_time_and_size_deletes_from_the_oldest_and_keeps_the_end() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let store = store();
        let dir = scratch.path().join("t-0");
        let log = open(&store, &dir, small(), LogState::new(0, NOW));
        let mut model = Model::default();
        for at in 0..40 {
            let bytes = model.append(&[NOW - 1000 + at], 400, Codec::None);
            log.append(&[bytes], &[]).await.unwrap();
        }
        let before = log.bytes();
        log.mark_checkpointed(&log.sync().await.unwrap());
        let kept_all = log.retain(NOW).await.unwrap();
        assert_eq!(kept_all.deleted_segments, 0);

        log.set_config(Rc::new(LogConfig { retention_bytes: 8000, ..small() }));
        let by_size = retain_with_a_checkpoint(&log, NOW).await;
        assert!(by_size.deleted_segments > 0);
        assert_eq!(log.bytes(), before - by_size.deleted_bytes);
        assert!(log.bytes() >= 8000 && log.bytes() < 8000 + 3000, "{}", log.bytes());
        assert_eq!(by_size.log_start_offset, log.log_start_offset());

        log.set_config(Rc::new(LogConfig { retention_ms: 970, ..small() }));
        let by_time = retain_with_a_checkpoint(&log, NOW).await;
        assert!(by_time.deleted_segments > 0);
        assert!(log.log_start_offset() <= 30, "{}", log.log_start_offset());
        assert!(log.read(everything(log.log_start_offset())).await.is_ok());

        let held = log.bytes();
        let none = log.retain(NOW + 10_000_000).await.unwrap();
        assert_eq!((none.deleted_segments, none.waits_for_checkpoint), (0, true));
        assert_eq!(log.bytes(), held, "a segment is gone that the checkpoint has");
        let all = retain_with_a_checkpoint(&log, NOW + 10_000_000).await;
        assert!(all.deleted_segments > 1);
        assert_eq!((log.log_start_offset(), log.end_offset(), log.bytes()), (40, 40, 0));
        let state = log.sync().await.unwrap();
        let reopened = open(&store, &dir, small(), state);
        let bytes = model.append(&[NOW], 10, Codec::None);
        reopened.append(std::slice::from_ref(&bytes), &[]).await.unwrap();
        assert_eq!(reopened.read(everything(40)).await.unwrap().bytes, bytes);
    });
}

#[test]
fn what_retention_takes_can_be_read_until_a_checkpoint_knows_that_it_goes() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let (store, dir) = (store(), scratch.path().join("t-0"));
        let log = open(&store, &dir, small(), LogState::new(0, NOW));
        let mut model = Model::default();
        for at in 0..40 {
            log.append(&[model.append(&[at], 400, Codec::None)], &[]).await.unwrap();
        }
        let before = log.sync().await.unwrap();
        log.mark_checkpointed(&before);
        log.set_config(Rc::new(LogConfig { retention_bytes: 8000, ..small() }));
        let waiting = log.retain(NOW).await.unwrap();
        assert!(waiting.waits_for_checkpoint);
        assert_eq!((waiting.log_start_offset, log.log_start_offset()), (0, 0));
        check(&log, &model).await;
        let crashed = open(&store, &dir, small(), before);
        check(&crashed, &model).await;

        let after = log.sync().await.unwrap();
        assert!(after.log_start_offset > 0);
        assert_eq!(log.log_start_offset(), 0);
        log.mark_checkpointed(&after);
        assert_eq!(log.log_start_offset(), after.log_start_offset);
        let gone = log.retain(NOW).await.unwrap();
        assert!(gone.deleted_segments > 0 && !gone.waits_for_checkpoint);
        let crashed = open(&store, &dir, small(), after);
        assert_eq!(crashed.log_start_offset(), after.log_start_offset);
        model.log_start_offset = after.log_start_offset;
        check(&crashed, &model).await;
    });
}

#[test]
fn deleted_files_are_removed_in_the_background() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let store = store();
        let dir = scratch.path().join("t-0");
        let log = open(&store, &dir, small(), LogState::new(0, NOW));
        let mut model = Model::default();
        for at in 0..20 {
            let bytes = model.append(&[at], 400, Codec::None);
            log.append(&[bytes], &[]).await.unwrap();
        }
        store.delete_all(std::slice::from_ref(&log)).await.unwrap();
        assert!(matches!(log.append(&[], &[]).await, Err(LogError::Deleted { .. })));
        assert!(!runtime::fs::exists(&dir).await.unwrap());
        for _ in 0..1000 {
            if runtime::fs::read_dir(scratch.path()).await.unwrap().is_empty() {
                return;
            }
            runtime::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{:?} is still there", runtime::fs::read_dir(scratch.path()).await.unwrap());
    });
}

#[test]
fn aborted_transactions_are_found_across_segments_and_restarts() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let store = store();
        let dir = scratch.path().join("t-0");
        let log = open(&store, &dir, small(), LogState::new(0, NOW));
        let mut model = Model::default();
        let mut expected = Vec::new();
        for at in 0..20i64 {
            let bytes = model.append(&[at, at], 300, Codec::None);
            let aborted = AbortedTransaction {
                producer_id: at,
                first_offset: at * 2,
                last_offset: at * 2 + 1,
                last_stable_offset: at * 2 + 2,
            };
            expected.push(aborted);
            log.append(&[bytes], &[aborted]).await.unwrap();
        }
        assert_eq!(log.aborted_transactions(0, 40).await.unwrap(), expected);
        assert_eq!(log.aborted_transactions(9, 20).await.unwrap(), expected[4..10]);
        let state = log.sync().await.unwrap();
        let log = open(&store, &dir, small(), state);
        assert_eq!(log.aborted_transactions(30, 40).await.unwrap(), expected[15..]);
    });
}

#[test]
fn leader_epochs_survive_a_restart_and_follow_deletions() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let store = store();
        let dir = scratch.path().join("t-0");
        let log = open(&store, &dir, small(), LogState::new(0, NOW));
        for (offset, epoch) in [(0, 3), (1, 3), (2, 5), (3, 8)] {
            let mut bytes = batch(offset, &[1], 10, Codec::None).to_vec();
            record::stamp(&mut bytes, offset, epoch);
            log.append(&[bytes.into()], &[]).await.unwrap();
        }
        let state = log.sync().await.unwrap();
        assert_eq!(state.latest_epoch, 8);
        let log = open(&store, &dir, small(), state);
        let epochs = log.leader_epochs().await.unwrap();
        assert_eq!(epochs.end_offset_for(3, 4), (3, 2));
        assert_eq!(epochs.end_offset_for(8, 4), (8, 4));
        log.delete_before(3);
        let starts: Vec<i64> = log
            .leader_epochs()
            .await
            .unwrap()
            .entries()
            .iter()
            .map(|entry| entry.start_offset)
            .collect();
        assert_eq!(starts, [3]);
    });
}

#[test]
fn producer_snapshots_are_the_same_with_and_without_a_restart() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let mut snapshots = Vec::new();
        for restart in [false, true] {
            let store = store();
            let dir = scratch.path().join(format!("t-{}", u8::from(restart)));
            let mut log = open(&store, &dir, small(), LogState::new(0, NOW));
            for at in 0..30i64 {
                let producer = ProducerFields {
                    producer_id: at % 3,
                    producer_epoch: 1,
                    base_sequence: (at / 3) as i32,
                };
                let mut builder =
                    BatchBuilder::new().base_offset(at).leader_epoch(1).producer(producer);
                builder.push(1 << 50, None, Some(&[1; 400]), &[]).unwrap();
                let bytes = Bytes::copy_from_slice(builder.finish().unwrap());
                log.append(&[bytes], &[]).await.unwrap();
                if restart && at % 4 == 0 {
                    let state = log.sync().await.unwrap();
                    log = open(&store, &dir, small(), state);
                }
            }
            log.sync().await.unwrap();
            let mut files = scratch::take_image(&dir).await;
            files.retain(|name, _| name.ends_with(".snapshot"));
            assert!(files.len() > 3);
            snapshots.push(files);
        }
        assert_eq!(snapshots[0], snapshots[1]);
    });
}

#[test]
fn the_largest_timestamp_is_found_with_its_first_record() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let log = open(&store(), &scratch.path().join("t-0"), small(), LogState::new(0, NOW));
        assert_eq!(log.offset_of_max_timestamp().await.unwrap(), None);
        let mut model = Model::default();
        for timestamps in [[5, 90, 90], [7, 8, 9], [90, 90, 90], [1, 2, 3]] {
            let bytes = model.append(&timestamps, 700, Codec::Zstd);
            log.append(&[bytes], &[]).await.unwrap();
        }
        let hit = log.offset_of_max_timestamp().await.unwrap().unwrap();
        assert_eq!((hit.timestamp, hit.offset, hit.leader_epoch), (90, 1, 1));
    });
}

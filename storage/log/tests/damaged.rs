//! Files that hold less, or something else, than the checkpoint vouches for: the log goes on, and says what is lost.

mod model;
mod scratch;

use std::path::PathBuf;
use std::rc::Rc;

use model::{Model, NOW, check, everything, open, read_from, small, store};
use record::Codec;
use scratch::{Image, Scratch, put_image, take_image};
use storage::log::{AbortedTransaction, Log, LogError, LogState, LogStore, ReadRequest};

const FIRST: &str = "00000000000000000000";

#[test]
fn lost_indexes_are_rebuilt_as_they_were() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let store = store();
        let dir = scratch.path().join("t-0");
        let log = open(&store, &dir, small(), LogState::new(0, NOW));
        let mut model = Model::default();
        for at in 0..5 {
            let bytes = model.append(&[at * 20], 400, Codec::None);
            log.append(&[bytes], &[]).await.unwrap();
        }
        let state = log.sync().await.unwrap();
        let before = take_image(&dir).await;
        let mut image = before.clone();
        assert!(!image.remove("00000000000000000000.index").unwrap().is_empty());
        image.get_mut("00000000000000000000.timeindex").unwrap().truncate(12);
        put_image(&dir, &image).await;
        let log = open(&store, &dir, small(), state);
        log.append(&[], &[]).await.unwrap();
        check(&log, &model).await;
        assert_eq!(log.sync().await.unwrap(), state);
        assert_eq!(take_image(&dir).await, before);
    });
}

/// A log of six batches of one record in one segment, and what it left at a checkpoint.
struct Left {
    scratch: Scratch,
    store: Rc<LogStore>,
    model: Model,
    state: LogState,
    image: Image,
}

impl Left {
    async fn behind() -> Left {
        let scratch = Scratch::new();
        let store = store();
        let log = open(&store, &scratch.path().join("t-0"), small(), LogState::new(0, NOW));
        let mut model = Model::default();
        for at in 0..6 {
            log.append(&[model.append(&[at], 200, Codec::None)], &[]).await.unwrap();
        }
        let state = log.sync().await.unwrap();
        let image = take_image(&log.dir()).await;
        Left { scratch, store, model, state, image }
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path().join("t-0")
    }

    fn file(&mut self, suffix: &str) -> &mut Vec<u8> {
        self.image.get_mut(&format!("{FIRST}{suffix}")).expect("it is there")
    }

    /// The log after the image has taken the place of its directory.
    async fn opened(&self) -> Rc<Log> {
        put_image(&self.dir(), &self.image).await;
        open(&self.store, &self.dir(), small(), self.state)
    }

    /// Appends until segments have been rolled, syncs, and reads from `offset` on.
    async fn goes_on(&mut self, log: &Log, offset: i64) {
        for at in 6..30 {
            log.append(&[self.model.append(&[at], 200, Codec::None)], &[]).await.unwrap();
        }
        assert_eq!(read_from(log, offset, 700).await, self.model.from(offset));
        let state = log.sync().await.unwrap();
        assert!(state.active.base_offset > 0, "a segment was rolled: {state:?}");
        log.close().await.unwrap();
        let log = open(&self.store, &self.dir(), small(), state);
        assert_eq!(read_from(&log, offset, 700).await, self.model.from(offset));
    }
}

#[test]
fn a_segment_that_became_shorter_goes_on_at_its_end_and_says_what_is_lost() {
    runtime::block_on(async {
        // cut at the end of a batch, within one, and to nothing
        for batches in [5, 3, 0] {
            for beyond in [0, 1, 100] {
                let mut left = Left::behind().await;
                let size = left.state.active.log_bytes as usize / 6;
                left.file(".log").truncate(batches * size + beyond);
                let log = left.opened().await;
                log.append(&[], &[]).await.expect("the log goes on");
                for whole in 0..batches as i64 {
                    let request = ReadRequest { bytes_max: 1, ..everything(whole) };
                    let read = log.read(request).await.expect("it is there");
                    assert_eq!(read.bytes, left.model.batches[whole as usize].bytes);
                }
                // of the batch that was cut the header may be there, for the reader's checksum to refuse
                for offset in batches as i64 + i64::from(beyond == 100)..6 {
                    let lost = log.read(everything(offset)).await;
                    assert!(matches!(lost, Err(LogError::Corrupt { .. })), "{lost:?}");
                }
                left.goes_on(&log, 6).await;
            }
        }
    });
}

#[test]
fn a_partition_directory_that_is_gone_begins_anew_behind_what_it_held() {
    runtime::block_on(async {
        let mut left = Left::behind().await;
        left.image.clear();
        let dir = left.dir();
        runtime::fs::remove_dir_all(&dir).await.unwrap();
        let log = open(&left.store, &dir, small(), left.state);
        log.append(&[], &[]).await.expect("the log goes on");
        let lost = log.read(everything(0)).await;
        assert!(matches!(lost, Err(LogError::Corrupt { .. })), "{lost:?}");
        left.goes_on(&log, 6).await;
    });
}

#[test]
fn a_damaged_batch_does_not_stop_a_segment_from_being_closed() {
    runtime::block_on(async {
        let mut left = Left::behind().await;
        let size = left.state.active.log_bytes as usize / 6;
        // the length of the third batch
        left.file(".log")[2 * size + 9] ^= 0x40;
        let log = left.opened().await;
        left.goes_on(&log, 6).await;
        let lost = log.read(everything(2)).await;
        assert!(
            matches!(lost, Err(LogError::Corrupt { position, .. }) if position == 2 * size as u64)
        );
    });
}

#[test]
fn indexes_of_a_damaged_segment_are_rebuilt_as_far_as_it_can_be_read() {
    runtime::block_on(async {
        let mut left = Left::behind().await;
        let size = left.state.active.log_bytes as usize / 6;
        left.file(".log")[4 * size + 9] ^= 0x40;
        left.file(".index").clear();
        left.file(".timeindex").clear();
        let log = left.opened().await;
        log.append(&[], &[]).await.expect("the log goes on");
        let first = log.read(everything(3)).await.expect("what is before the damage is read");
        assert!(left.model.from(3).starts_with(&first.bytes));
        left.goes_on(&log, 6).await;
    });
}

#[test]
fn leader_epochs_that_cannot_be_read_are_begun_anew() {
    runtime::block_on(async {
        let mut left = Left::behind().await;
        left.image.insert("leader-epoch-checkpoint".to_owned(), b"0\nfour\n".to_vec());
        let log = left.opened().await;
        assert!(log.leader_epochs().await.expect("a list").entries().is_empty());
        left.goes_on(&log, 0).await;
        check(&log, &left.model).await;
        assert_eq!(take_image(&left.dir()).await["leader-epoch-checkpoint"], b"0\n0\n");
    });
}

fn aborted(at: i64) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: at,
        first_offset: at,
        last_offset: at,
        last_stable_offset: at + 1,
    }
}

#[test]
fn a_list_of_aborted_transactions_that_became_shorter_says_so_and_the_log_goes_on() {
    runtime::block_on(async {
        // cut at the end of an entry, within one, to nothing, and away
        for left_bytes in [Some(34), Some(50), Some(0), None] {
            let scratch = Scratch::new();
            let (store, dir) = (store(), scratch.path().join("t-0"));
            let log = open(&store, &dir, small(), LogState::new(0, NOW));
            let mut model = Model::default();
            let mut transactions = Vec::new();
            for at in 0..12 {
                transactions.push(aborted(at));
                let batch = model.append(&[at], 200, Codec::None);
                log.append(&[batch], &[aborted(at)]).await.unwrap();
            }
            let state = log.sync().await.unwrap();
            let base = state.active.base_offset;
            assert!(
                (1..=10).contains(&base),
                "two entries or more in the second segment: {state:?}"
            );
            let mut image = take_image(&dir).await;
            let name = format!("{base:020}.txnindex");
            match left_bytes {
                Some(bytes) => image.get_mut(&name).expect("it is there").truncate(bytes),
                None => drop(image.remove(&name)),
            }
            put_image(&dir, &image).await;

            let log = open(&store, &dir, small(), state);
            log.append(&[], &[]).await.expect("the log goes on");
            let before = log.aborted_transactions(0, base).await.unwrap();
            assert_eq!(before, transactions[..base as usize]);
            let lost = log.aborted_transactions(base, 12).await;
            assert!(matches!(lost, Err(LogError::Corrupt { .. })), "{lost:?}");
            check(&log, &model).await;

            let batch = model.append(&[12], 200, Codec::None);
            log.append(&[batch], &[aborted(12)]).await.unwrap();
            let state = log.sync().await.expect("a checkpoint");
            assert_eq!(state.active.base_offset, 12, "in a segment of its own");
            log.close().await.unwrap();
            let log = open(&store, &dir, small(), state);
            check(&log, &model).await;
            assert_eq!(log.aborted_transactions(12, 13).await.unwrap(), [aborted(12)]);
            let lost = log.aborted_transactions(base, 13).await;
            assert!(matches!(lost, Err(LogError::Corrupt { .. })), "{lost:?}");
        }
    });
}

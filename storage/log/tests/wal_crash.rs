//! The WAL against a model, with crashes that leave any subset of the sectors of the last write.

mod scratch;

use std::path::Path;
use std::rc::Rc;

use proptest::prelude::*;
use runtime::fs::WriteBackend;
use scratch::{Image, Scratch, put_image, take_image};
use storage::wal::{
    FrameBuilder, FrameTag, ReplayPoint, Wal, WalError, WalOptions, WalPosition, WalReader,
};

const SECTOR: usize = 512;

fn options() -> WalOptions {
    WalOptions {
        backend: WriteBackend::IoUring,
        file_bytes: 96 << 10,
        first_file_bytes: 32 << 10,
        spare_files_max: 2,
    }
}

fn payload(number: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number as usize * 31 + at * 7) as u8).collect()
}

fn seal(wal: &Wal, number: u64, len: usize) -> WalPosition {
    let mut builder = FrameBuilder::new(0);
    builder.append(&payload(number, len));
    let tag = FrameTag { owner: number, kind: 3, major: number * 2, minor: number * 3 };
    let sealed = wal.seal(builder, tag).expect("frame is sealed");
    assert_eq!(sealed.payload, payload(number, len));
    assert_eq!(sealed.frame.len() % storage::wal::FRAME_ALIGNMENT, 0);
    sealed.position
}

/// Reads the stream; checks that tags and payloads belong together; returns (number, length).
async fn read_all(
    dir: &Path,
    from: ReplayPoint,
) -> Result<(Vec<(u64, usize)>, WalReader), WalError> {
    let mut reader = WalReader::open(dir, from, WriteBackend::IoUring).await?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().await? {
        let number = frame.tag.owner;
        assert_eq!(
            frame.tag,
            FrameTag { owner: number, kind: 3, major: number * 2, minor: number * 3 }
        );
        assert_eq!(frame.payload, payload(number, frame.payload.len()));
        frames.push((number, frame.payload.len()));
    }
    Ok((frames, reader))
}

/// What the disk holds if of everything that changed between two images only some sectors arrived.
fn torn(before: &Image, after: &Image, mut arrives: impl FnMut(usize) -> bool) -> Image {
    let mut image = after.clone();
    let mut changed = 0;
    for (name, bytes) in &mut image {
        let Some(old) = before.get(name) else {
            continue;
        };
        for (new, old) in bytes.chunks_mut(SECTOR).zip(old.chunks(SECTOR)) {
            if new != old {
                if !arrives(changed) {
                    new.copy_from_slice(old);
                }
                changed += 1;
            }
        }
    }
    image
}

#[test]
fn every_sector_of_the_last_write_may_be_torn() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("wal");
        let wal = Wal::create(&dir, options()).await.unwrap();
        for number in 1..=4 {
            seal(&wal, number, 700 * number as usize);
            wal.write_queued().await.unwrap();
        }
        wal.settle().await.unwrap();
        let before = take_image(&dir).await;
        seal(&wal, 5, 3000);
        seal(&wal, 6, 6000);
        seal(&wal, 7, 100);
        wal.write_queued().await.unwrap();
        let after = take_image(&dir).await;
        drop(wal);
        let mut sectors = 0;
        torn(&before, &after, |_| {
            sectors += 1;
            true
        });
        let crashed = scratch.path().join("crashed");
        for lost in 0..sectors {
            for keep_rest in [true, false] {
                let image =
                    torn(&before, &after, |at| if keep_rest { at != lost } else { at < lost });
                put_image(&crashed, &image).await;
                let (frames, _) = read_all(&crashed, ReplayPoint::START).await.unwrap();
                let numbers: Vec<u64> = frames.iter().map(|(number, _)| *number).collect();
                assert!(numbers.len() >= 4, "sector {lost} took durable frames: {numbers:?}");
                assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
                assert!(numbers.len() < 7, "sector {lost} is missing but nothing was noticed");
            }
        }
    });
}

#[test]
fn a_replay_from_where_a_torn_write_left_whole_frames_does_not_take_them_for_its_own() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("wal");
        let wal = Wal::create(&dir, options()).await.unwrap();
        seal(&wal, 1, 100);
        wal.write_queued().await.unwrap();
        wal.settle().await.unwrap();
        let before = take_image(&dir).await;
        for number in 2..=4 {
            seal(&wal, number, 3000);
        }
        wal.write_queued().await.unwrap();
        let after = take_image(&dir).await;
        drop(wal);
        // Of three frames the first one did not arrive.
        let crashed = scratch.path().join("crashed");
        put_image(&crashed, &torn(&before, &after, |at| at != 0)).await;
        let (frames, reader) = read_all(&crashed, ReplayPoint::START).await.unwrap();
        assert_eq!(frames, [(1, 100)]);
        let wal = Wal::start(reader, options()).await.unwrap();
        seal(&wal, 5, 3000);
        let end = wal.write_queued().await.unwrap();
        let point = wal.replay_point(end);
        wal.settle().await.unwrap();
        drop(wal);
        let (frames, _) = read_all(&crashed, ReplayPoint::START).await.unwrap();
        assert_eq!(frames, [(1, 100), (5, 3000)]);
        let (dead, _) = read_all(&crashed, ReplayPoint { epoch_min: 0, ..point }).await.unwrap();
        assert_eq!(dead, [(3, 3000), (4, 3000)], "whole frames lie behind the end");
        let (frames, reader) = read_all(&crashed, point).await.unwrap();
        assert!(frames.is_empty(), "{frames:?}");
        assert_eq!(reader.position(), end);
    });
}

#[test]
fn a_flipped_bit_before_the_last_write_is_refused_with_file_and_position() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("wal");
        let wal = Wal::create(&dir, options()).await.unwrap();
        let mut positions = Vec::new();
        for number in 1..=12 {
            positions.push(seal(&wal, number, 5000));
            wal.write_queued().await.unwrap();
        }
        wal.settle().await.unwrap();
        drop(wal);
        let image = take_image(&dir).await;
        let damaged_dir = scratch.path().join("damaged");
        for position in &positions[..positions.len() - 1] {
            for within in [0, 8, 16, 40, 64, 80, 128, 4096, 5000] {
                let mut damaged = image.clone();
                let name = format!("{:020}.wal", position.file);
                let at = position.offset as usize + within;
                damaged.get_mut(&name).unwrap()[at] ^= 0x10;
                put_image(&damaged_dir, &damaged).await;
                match read_all(&damaged_dir, ReplayPoint::START).await {
                    Err(WalError::Corrupt { file, offset, expected_sequence, .. }) => {
                        assert_eq!(expected_sequence, position.sequence);
                        assert_eq!(offset, position.offset);
                        assert_eq!(file, damaged_dir.join(&name));
                    }
                    other => panic!("{position} byte {within}: {:?}", other.map(|(f, _)| f)),
                }
            }
        }
    });
}

#[test]
fn a_write_that_went_to_the_place_of_another_is_noticed() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("wal");
        let wal = Wal::create(&dir, options()).await.unwrap();
        for number in 1..=5 {
            seal(&wal, number, 1000);
            wal.write_queued().await.unwrap();
        }
        wal.settle().await.unwrap();
        drop(wal);
        let mut image = take_image(&dir).await;
        let file = image.get_mut("00000000000000000001.wal").unwrap();
        file.copy_within(3 * 4096..4 * 4096, 4096);
        let damaged = scratch.path().join("damaged");
        put_image(&damaged, &image).await;
        let error = read_all(&damaged, ReplayPoint::START).await.err().expect("is refused");
        assert!(
            matches!(error, WalError::Corrupt { offset: 4096, expected_sequence: 2, .. }),
            "{error}"
        );
    });
}

#[test]
fn a_file_that_a_checkpoint_needs_is_missed() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("wal");
        let wal = Wal::create(&dir, options()).await.unwrap();
        for number in 1..=20 {
            seal(&wal, number, 9000);
            wal.write_queued().await.unwrap();
        }
        let end = wal.durable_end();
        assert!(end.file > 2);
        wal.settle().await.unwrap();
        drop(wal);
        let mut image = take_image(&dir).await;
        image.remove("00000000000000000002.wal");
        let damaged = scratch.path().join("damaged");
        put_image(&damaged, &image).await;
        let position = WalPosition { sequence: 4, file: 2, offset: 0 };
        let from = ReplayPoint { position, epoch_min: 0 };
        let missing = read_all(&damaged, from).await.err().expect("is refused");
        assert!(matches!(missing, WalError::MissingFile { .. }), "{missing}");
        let hole = read_all(&damaged, ReplayPoint::START).await.err().expect("is refused");
        assert!(matches!(hole, WalError::Corrupt { .. }), "{hole}");
    });
}

#[test]
fn a_frame_larger_than_a_file_is_refused_and_the_stream_goes_on() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let wal = Wal::create(&scratch.path().join("wal"), options()).await.unwrap();
        let mut builder = FrameBuilder::new(0);
        builder.append(&vec![1; 96 << 10]);
        let refused = wal.seal(builder, FrameTag::default());
        assert!(matches!(refused, Err(WalError::FrameTooLarge { .. })));
        seal(&wal, 1, (96 << 10) - 128);
        seal(&wal, 2, 10);
        let end = wal.write_queued().await.unwrap();
        assert_eq!(end.sequence, 3);
        drop(wal);
        let (frames, _) = read_all(&scratch.path().join("wal"), ReplayPoint::START).await.unwrap();
        assert_eq!(frames, [(1, (96 << 10) - 128), (2, 10)]);
    });
}

#[test]
fn an_abandoned_write_closes_the_stream() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let wal = Wal::create(&scratch.path().join("wal"), options()).await.unwrap();
        seal(&wal, 1, 10);
        {
            let mut write = Box::pin(wal.write_queued());
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            assert!(write.as_mut().poll(&mut context).is_pending());
        }
        assert!(matches!(wal.write_queued().await, Err(WalError::Failed { .. })));
        assert!(wal.seal(FrameBuilder::new(0), FrameTag::default()).is_err());
    });
}

#[derive(Clone, Debug)]
enum Step {
    Seal(usize),
    Write,
    ReleaseAll,
    Restart,
    /// Seals frames, writes them, and crashes with the sectors for which the bits say so.
    Crash {
        lens: Vec<usize>,
        sectors: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![4 => 0..5000usize, 1 => 5000..40_000usize];
    prop::collection::vec(
        prop_oneof![
            6 => len.clone().prop_map(Step::Seal),
            5 => Just(Step::Write),
            1 => Just(Step::ReleaseAll),
            1 => Just(Step::Restart),
            2 => (prop::collection::vec(len, 1..4), any::<u64>())
                .prop_map(|(lens, sectors)| Step::Crash { lens, sectors }),
        ],
        1..40,
    )
}

/// The stream as it should be, next to the stream.
struct Model {
    dir: std::path::PathBuf,
    wal: Option<Rc<Wal>>,
    next_number: u64,
    /// Durable frames that were not released.
    durable: Vec<(u64, usize)>,
    queued: Vec<(u64, usize)>,
    from: ReplayPoint,
}

impl Model {
    async fn new(dir: &Path) -> Model {
        let wal = Some(Wal::create(dir, options()).await.unwrap());
        Model {
            dir: dir.to_path_buf(),
            wal,
            next_number: 1,
            durable: Vec::new(),
            queued: Vec::new(),
            from: ReplayPoint::START,
        }
    }

    fn wal(&self) -> &Rc<Wal> {
        self.wal.as_ref().expect("is open")
    }

    fn seal(&mut self, len: usize) {
        seal(self.wal(), self.next_number, len);
        self.queued.push((self.next_number, len));
        self.next_number += 1;
    }

    async fn write(&mut self) {
        let end = self.wal().write_queued().await.unwrap();
        self.durable.append(&mut self.queued);
        assert_eq!(end.sequence, self.from.position.sequence + self.durable.len() as u64);
    }

    async fn close(&mut self) {
        if let Some(wal) = self.wal.take() {
            wal.settle().await.unwrap();
        }
    }

    /// Reopens; `pending` may or may not have become durable, in order.
    async fn reopen(&mut self, pending: Vec<(u64, usize)>) {
        self.close().await;
        let (frames, reader) = read_all(&self.dir, self.from).await.unwrap();
        let mut expected = self.durable.clone();
        assert!(frames.len() >= expected.len(), "durable frames are lost");
        expected.extend(pending.iter().take(frames.len() - expected.len()));
        assert_eq!(frames, expected);
        self.durable = frames;
        self.queued.clear();
        self.wal = Some(Wal::start(reader, options()).await.unwrap());
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Seal(len) => self.seal(len),
            Step::Write => self.write().await,
            Step::ReleaseAll => {
                self.from = self.wal().replay_point(self.wal().durable_end());
                self.wal().release_before(self.from.position);
                self.durable.clear();
            }
            Step::Restart => self.reopen(Vec::new()).await,
            Step::Crash { lens, sectors } => {
                self.write().await;
                self.wal().settle().await.unwrap();
                let before = take_image(&self.dir).await;
                let durable = self.durable.len();
                for len in lens {
                    self.seal(len);
                }
                let file = self.wal().durable_end().file;
                self.write().await;
                let pending = self.durable.split_off(durable);
                if self.wal().durable_end().file != file {
                    // Several writes in order: the earlier ones were durable before the last.
                    self.durable.extend(pending);
                    return self.reopen(Vec::new()).await;
                }
                self.close().await;
                let after = take_image(&self.dir).await;
                let image = torn(&before, &after, |at| sectors >> (at % 64) & 1 == 1);
                put_image(&self.dir, &image).await;
                self.reopen(pending).await;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_the_stream_holds_what_was_durable_and_nothing_stale(steps in steps()) {
        runtime::block_on(async move {
            let scratch = Scratch::new();
            let mut model = Model::new(&scratch.path().join("wal")).await;
            for step in steps {
                model.step(step).await;
            }
            model.write().await;
            model.reopen(Vec::new()).await;
        });
    }
}

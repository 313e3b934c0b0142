//! Many logs made durable by one sync of the file system.

mod scratch;

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use record::{BatchBuilder, ProducerFields};
use scratch::{Scratch, take_image};
use storage::log::{Leave, Log, LogConfig, LogState, LogStore, LogStoreOptions};

const TOPIC: [u8; 16] = *b"0123456789abcdef";
const NOW: i64 = 1_800_000_000_000;
const LOGS: i64 = 3;

fn batch(offset: i64, epoch: i32) -> Bytes {
    let producer =
        ProducerFields { producer_id: 7, producer_epoch: 0, base_sequence: offset as i32 };
    let mut builder = BatchBuilder::new().base_offset(offset).leader_epoch(epoch);
    builder = builder.producer(producer);
    builder.push(NOW + offset, Some(b"key"), Some(&[offset as u8; 300]), &[]).expect("it fits");
    Bytes::copy_from_slice(builder.finish().expect("a batch"))
}

async fn store(data_dir: &Path, together_from: usize) -> Rc<LogStore> {
    let store = LogStore::new(LogStoreOptions {
        open_files_max: 7,
        together_from,
        ..LogStoreOptions::default()
    });
    store.open_file_system(data_dir).await.expect("it opens");
    store
}

fn open(store: &Rc<LogStore>, data_dir: &Path, states: &[LogState]) -> Vec<Rc<Log>> {
    let config = Rc::new(LogConfig {
        segment_bytes: 1_500,
        index_interval_bytes: 500,
        retention_ms: -1,
        ..LogConfig::default()
    });
    let log = |(at, state): (usize, &LogState)| {
        Log::open(store, data_dir.join(format!("t-{at}")), TOPIC, config.clone(), *state)
    };
    states.iter().enumerate().map(log).collect()
}

fn nothing() -> Vec<LogState> {
    (0..LOGS).map(|_| LogState::new(0, NOW)).collect()
}

/// Appends what each log lacks up to its end at this stage; one of the logs is empty in the first.
async fn append(logs: &[Rc<Log>], stage: i64) {
    for (at, log) in logs.iter().enumerate() {
        for offset in log.end_offset()..stage * 5 * at as i64 {
            log.append(&[batch(offset, (offset / 5) as i32)], &[]).await.expect("it is written");
        }
    }
}

async fn sync(store: &LogStore, logs: &[Rc<Log>], leave: Leave) -> Vec<LogState> {
    let states = store.sync_all(logs, leave).await.expect("it is durable");
    states.into_iter().map(|state| state.expect("none is deleted")).collect()
}

#[test]
fn logs_that_are_synced_together_are_as_each_by_its_own_sync() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let mut found = Vec::new();
        for (name, together_from) in [("one-by-one", usize::MAX), ("together", 1)] {
            let dir = scratch.path().join(name);
            runtime::fs::create_dir_all(&dir).await.expect("it is made");
            let store = store(&dir, together_from).await;
            let logs = open(&store, &dir, &nothing());
            store.make_dirs(&logs).await.expect("they are made");
            append(&logs, 1).await;
            let mut ends = Vec::new();
            for leave in [Leave::Open, Leave::Closed] {
                append(&logs, 2).await;
                let states = sync(&store, &logs, leave).await;
                assert!(logs.iter().all(|log| !log.is_dirty()));
                ends.extend(states.iter().map(|state| (state.end_offset, state.closed_bytes)));
            }
            assert_eq!(store.open_files(), 0);
            let mut images = Vec::new();
            for log in &logs[1..] {
                images.push(take_image(&log.dir()).await);
            }
            assert!(images[1].contains_key("leader-epoch-checkpoint"));
            found.push((ends, images));
        }
        assert_eq!(found[0], found[1]);
    });
}

#[test]
fn a_deleted_log_has_no_state_and_does_not_disturb_the_others() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        runtime::fs::create_dir_all(&scratch.path()).await.expect("it is made");
        let store = store(&scratch.path(), 1).await;
        let logs = open(&store, &scratch.path(), &nothing());
        store.make_dirs(&logs).await.expect("they are made");
        append(&logs, 1).await;
        store.delete_all(&logs[1..2]).await.expect("it goes");
        let states = store.sync_all(&logs, Leave::Open).await.expect("the others are durable");
        let ends: Vec<_> = states.iter().map(|state| state.map(|s| s.end_offset)).collect();
        assert_eq!(ends, [Some(0), None, Some(10)]);
    });
}

/// What only a disk shows that loses what was not synced.
#[cfg(simulation)]
mod on_a_faulty_disk {
    use std::cell::{Cell, RefCell};
    use std::io::ErrorKind;

    use runtime::shards::Context;
    use runtime::sim::{Crash, DiskFaults, DiskOperation, FaultRule, World};
    use storage::log::{DirOwner, LogError, ReadRequest, owner_of_dir};

    use super::*;

    const DATA: &str = "/data";

    /// Stages of a life that write, sync and keep the states, as a checkpoint would.
    async fn live(kept: Rc<RefCell<Vec<LogState>>>) {
        runtime::fs::create_dir_all(DATA).await.expect("it is made");
        runtime::fs::sync_dir("/").await.expect("it is durable");
        let store = store(Path::new(DATA), 1).await;
        let logs = open(&store, Path::new(DATA), &nothing());
        for stage in 1..4 {
            store.make_dirs(&logs).await.expect("they are made");
            append(&logs, stage).await;
            let leave = if stage == 3 { Leave::Closed } else { Leave::Open };
            let states = sync(&store, &logs, leave).await;
            kept.replace(states);
        }
    }

    /// The next life has what the states say, and takes what is replayed.
    async fn live_again(states: Vec<LogState>) {
        let data = Path::new(DATA);
        let store = store(data, 1).await;
        let logs = open(&store, data, &states);
        for (log, state) in logs.iter().zip(&states) {
            if state.end_offset > 0 {
                let owner = owner_of_dir(&log.dir()).await.expect("it can be read");
                assert_eq!(owner, DirOwner::Topic(TOPIC));
            }
            check(log).await;
        }
        store.make_dirs(&logs).await.expect("they are made");
        append(&logs, 4).await;
        for log in &logs {
            check(log).await;
        }
        sync(&store, &logs, Leave::Open).await;
    }

    async fn check(log: &Log) {
        let mut offset = 0;
        while offset < log.end_offset() {
            let request =
                ReadRequest { offset, bytes_max: 1, min_one_batch: true, offset_end: i64::MAX };
            let read = log.read(request).await.expect("it is there");
            assert_eq!(read.bytes, batch(offset, (offset / 5) as i32));
            offset += 1;
        }
        if log.end_offset() > 0 {
            let epochs = log.leader_epochs().await.expect("they can be read");
            let starts = epochs.entries().iter().map(|entry| entry.start_offset);
            assert!(starts.eq((0..log.end_offset()).step_by(5)), "{epochs:?}");
        }
    }

    /// A life that a power cut ends at this operation of the disk, and the next one. Returns how many
    /// operations the first one had.
    fn live_twice(seed: u64, end: u64) -> u64 {
        let world = World::with_seed(seed);
        let faults = DiskFaults { ordered_metadata: seed == 0, ..DiskFaults::default() };
        let node = world.add_node("a", faults);
        let kept = Rc::new(RefCell::new(nothing()));
        let keep = Rc::clone(&kept);
        node.crash_at_disk_operation(end, Crash::PowerCut);
        node.start(1, move |_: Context<()>| live(Rc::clone(&keep)));
        let operations = Rc::new(Cell::new(0));
        let (inside, count) = (node.clone(), Rc::clone(&operations));
        world.run(async move {
            inside.ended().await;
            inside.power_cut();
            inside.with_disk(|disk| disk.forget_rules());
            count.set(inside.with_disk(|disk| disk.operations()));
            let states = kept.borrow().clone();
            inside.start(1, move |_: Context<()>| live_again(states.clone()));
            inside.ended().await;
        });
        operations.get()
    }

    #[test]
    fn what_a_checkpoint_says_is_there_after_a_power_cut_at_any_point() {
        // the directory of the data is durable then
        const FIRST: u64 = 3;
        for seed in 0..4 {
            let last = live_twice(seed, u64::MAX);
            assert!(last > 100, "{last}");
            for end in FIRST..=last {
                live_twice(seed, end);
            }
        }
    }

    #[test]
    fn a_sync_of_the_file_system_that_failed_is_the_last_one() {
        for file in ["*.log", "*.timeindex", "/data"] {
            let world = World::with_seed(1);
            let node = world.add_node("a", DiskFaults::default());
            let told = Rc::new(Cell::new(0));
            let tell = Rc::clone(&told);
            let inside = node.clone();
            node.start(1, move |_: Context<()>| {
                let (tell, node) = (Rc::clone(&tell), inside.clone());
                async move {
                    let data = Path::new(DATA);
                    runtime::fs::create_dir_all(DATA).await.expect("it is made");
                    let store = store(data, 1).await;
                    let logs = open(&store, data, &nothing());
                    store.make_dirs(&logs).await.expect("they are made");
                    append(&logs, 1).await;
                    let (operation, error) = (DiskOperation::Sync, ErrorKind::Other);
                    let rule = FaultRule { path: file.to_owned(), operation, error, times: 1 };
                    node.with_disk(|disk| disk.fail(rule));
                    for leave in [Leave::Open, Leave::Open, Leave::Closed] {
                        let failed = store.sync_all(&logs, leave).await;
                        assert!(matches!(failed, Err(LogError::Failed { .. })), "{failed:?}");
                        tell.set(tell.get() + 1);
                    }
                }
            });
            let inside = node.clone();
            world.run(async move { inside.ended().await });
            assert_eq!(told.get(), 3);
        }
    }
}

//! What the simulated world promises.
#![cfg(simulation)]

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use runtime::fs::{self, AlignedBuf, DirectFile, File, OpenOptions, WriteBackend};
use runtime::net::TcpStream;
use runtime::shards::{Context, ShardId};
use runtime::sim::{Crash, DiskFaults, DiskOperation, FaultRule, World, WorldOptions};
use runtime::task::{Class, spawn, yield_now};
use runtime::time::{Instant, sleep, wall_clock_ms};

#[path = "support/echo.rs"]
mod echo;
use echo::{address, echo_shard, ping};

/// A busy run: files, sockets, mailboxes, a crash and a restart.
fn busy_run(seed: u64) -> (u64, u64, u64) {
    let mut options = WorldOptions::new(seed);
    options.network.loss = 0.01;
    let world = World::new(options);
    let node = world.add_node("a", DiskFaults::default());
    let main = |cx: Context<u64>| async move {
        let path = format!("/data/{}", cx.id);
        fs::create_dir_all("/data").await.unwrap();
        let file = File::open(&path, &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        for i in 0..20u64 {
            file.write_all_at(i * 8, Bytes::copy_from_slice(&i.to_le_bytes())).await.unwrap();
            file.sync_data().await.unwrap();
        }
        echo_shard(cx).await;
    };
    node.start(3, main);
    let (inside, w) = (node.clone(), world.clone());
    world.run(async move {
        sleep(Duration::from_millis(200)).await;
        for _ in 0..5 {
            let stream = TcpStream::connect(address(&inside)).await.unwrap();
            ping(&stream, 10_000).await.unwrap();
        }
        inside.power_cut();
        inside.ended().await;
        inside.start(2, main);
        sleep(Duration::from_millis(w.random_below(300))).await;
        inside.kill();
        inside.ended().await;
    });
    (world.trace_hash(), world.steps(), world.now().as_nanos())
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    let runs: Vec<_> = (0..20).map(busy_run).collect();
    for (seed, run) in runs.iter().enumerate() {
        assert_eq!(*run, busy_run(seed as u64), "seed {seed}");
    }
    let distinct: std::collections::BTreeSet<_> = runs.iter().map(|r| r.0).collect();
    assert_eq!(distinct.len(), runs.len(), "other seeds give other runs");
}

#[test]
fn a_paused_node_runs_nothing_and_afterwards_all_that_became_due() {
    let world = World::with_seed(1);
    let node = world.add_node("a", DiskFaults::default());
    let ticks = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&ticks);
    node.start(1, move |_: Context<u64>| {
        let ticks = Rc::clone(&seen);
        async move {
            let timers = [1, 2, 3].map(|second| {
                let ticks = Rc::clone(&ticks);
                spawn(Class::Latency, async move {
                    sleep(Duration::from_secs(second)).await;
                    ticks.borrow_mut().push((second, Instant::now()));
                })
            });
            for timer in timers {
                timer.await;
            }
        }
    });
    world.run(async move {
        let begin = Instant::now();
        sleep(Duration::from_millis(1_500)).await;
        node.pause();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(ticks.borrow().len(), 1, "it has no CPU");
        node.resume();
        node.ended().await;
        let mut ticks = ticks.take();
        ticks.sort_by_key(|tick| tick.0);
        let late: Vec<u64> = ticks.iter().map(|(_, at)| (*at - begin).as_secs()).collect();
        assert_eq!(late, [1, 11, 11]);

        node.start(1, |_: Context<u64>| std::future::pending());
        node.pause();
        node.kill();
        node.ended().await;
        node.start(1, |_: Context<u64>| async {});
        node.ended().await;
    });
}

#[test]
fn virtual_hours_pass_at_once() {
    let world = World::with_seed(1);
    world.run(async { sleep(Duration::from_secs(365 * 24 * 3600)).await });
    assert!(world.now().as_nanos() > 365 * 24 * 3600 * 1_000_000_000);
    assert!(world.steps() < 100);
}

/// The order in which six tasks of one spawner come to `wait` and to go on behind it.
fn orders_of_tasks(seed: u64) -> (Vec<usize>, Vec<usize>) {
    let world = World::with_seed(seed);
    world.run(async {
        let begun = Rc::new(RefCell::new(Vec::new()));
        let ended = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..6)
            .map(|i| {
                let (begun, ended) = (Rc::clone(&begun), Rc::clone(&ended));
                spawn(Class::Latency, async move {
                    begun.borrow_mut().push(i);
                    yield_now().await;
                    ended.borrow_mut().push(i);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        (begun.take(), ended.take())
    })
}

#[test]
fn runnable_tasks_run_in_different_orders() {
    let orders: std::collections::BTreeSet<_> = (0..30).map(|s| orders_of_tasks(s).1).collect();
    assert!(orders.len() > 10);
}

#[test]
fn tasks_begin_in_the_order_in_which_they_were_spawned() {
    for seed in 0..30 {
        assert_eq!(orders_of_tasks(seed).0, [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_stop_request_ends_the_node_in_order() {
    let world = World::with_seed(3);
    let node = world.add_node("a", DiskFaults::default());
    node.start(4, echo_shard);
    let inside = node.clone();
    world.run(async move {
        sleep(Duration::from_millis(10)).await;
        inside.stop();
        inside.ended().await;
    });
    assert!(!node.is_running());
}

#[test]
fn a_stop_request_ends_a_process_at_once_that_does_not_wait_for_it() {
    let world = World::with_seed(3);
    let node = world.add_node("a", DiskFaults::default());
    node.start(2, |_: Context<()>| std::future::pending());
    let inside = node.clone();
    world.run(async move {
        sleep(Duration::from_millis(10)).await;
        inside.stop();
        inside.ended().await;
    });
    assert!(!node.is_running());
}

#[test]
fn mailboxes_keep_the_order_of_each_pair() {
    for seed in 0..20 {
        let world = World::with_seed(seed);
        let node = world.add_node("a", DiskFaults::default());
        node.start(3, |cx: Context<u32>| async move {
            for n in 0..100 {
                for to in 0..cx.count {
                    cx.mailbox.send(ShardId(to as u16), n);
                }
                runtime::task::yield_if_needed().await;
            }
            let mut next = [0; 3];
            while next != [100; 3] {
                let (from, n) = cx.mailbox.recv().await;
                assert_eq!(n, next[from.index()]);
                next[from.index()] += 1;
            }
        });
        world.run(async move { node.ended().await });
    }
}

#[test]
fn what_was_synced_survives_a_power_cut_and_the_rest_may_not() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..60 {
        let world = World::with_seed(seed);
        let node = world.add_node("a", DiskFaults::default());
        let synced = Rc::new(Cell::new(0u64));
        let progress = Rc::clone(&synced);
        node.start(1, move |_: Context<()>| {
            let synced = Rc::clone(&progress);
            async move {
                let file = File::open("/log", &OpenOptions::READ_WRITE_CREATE).await.unwrap();
                fs::sync_dir("/").await.unwrap();
                for i in 0.. {
                    let block = Bytes::from(vec![i as u8 + 1; 700]);
                    file.write_all_at(i * 700, block).await.unwrap();
                    if i % 3 == 2 {
                        file.sync_data().await.unwrap();
                        synced.set(i + 1);
                    }
                }
            }
        });
        let inside = node.clone();
        let w = world.clone();
        world.run(async move {
            sleep(Duration::from_micros(3000 + w.random_below(20_000))).await;
            inside.power_cut();
            inside.ended().await;
        });
        let content = node.with_disk(|disk| disk.read("/log")).unwrap_or_default();
        let synced = synced.get() as usize * 700;
        for (at, &byte) in content.iter().take(synced).enumerate() {
            assert_eq!(byte, (at / 700) as u8 + 1, "seed {seed} byte {at}");
        }
        assert!(content.len() >= synced, "seed {seed}");
        for (at, &byte) in content.iter().enumerate().skip(synced) {
            let whole = byte == (at / 700) as u8 + 1;
            kept += u64::from(whole);
            lost += u64::from(!whole);
        }
    }
    assert!(kept > 0 && lost > 0, "kept {kept}, lost {lost}");
}

#[test]
fn a_durable_write_survives_every_power_cut_after_it() {
    for seed in 0..60 {
        let world = World::with_seed(seed);
        let node = world.add_node("a", DiskFaults::default());
        let done = Rc::new(Cell::new(0u64));
        let progress = Rc::clone(&done);
        node.start(1, move |_: Context<()>| {
            let done = Rc::clone(&progress);
            async move {
                let wal = DirectFile::open("/wal", 1 << 16, WriteBackend::IoUring).await.unwrap();
                for i in 0..16 {
                    let mut frame = AlignedBuf::zeroed(4096);
                    frame.fill(i as u8 + 1);
                    wal.write_durable(i * 4096, vec![frame.freeze()]).await.unwrap();
                    done.set(i + 1);
                }
                std::future::pending::<()>().await;
            }
        });
        let (inside, w) = (node.clone(), world.clone());
        world.run(async move {
            sleep(Duration::from_micros(2000 + w.random_below(15_000))).await;
            inside.power_cut();
            inside.ended().await;
        });
        let content = node.with_disk(|disk| disk.read("/wal")).unwrap_or_default();
        for i in 0..done.get() as usize {
            assert!(content[i * 4096..][..4096].iter().all(|&b| b == i as u8 + 1));
        }
    }
}

/// Does `f` to a fresh disk and cuts the power; what files are left.
fn after_cut<Fut: Future<Output = ()> + 'static>(
    seed: u64,
    faults: DiskFaults,
    f: impl Fn() -> Fut + Clone + 'static,
) -> Vec<String> {
    let world = World::with_seed(seed);
    let node = world.add_node("a", faults);
    node.start(1, move |_: Context<()>| f());
    let inside = node.clone();
    world.run(async move {
        inside.ended().await;
        inside.power_cut();
        sleep(Duration::from_millis(1)).await;
    });
    let files = node.with_disk(|disk| disk.files("*"));
    files.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_name_that_no_directory_sync_covered_may_be_lost() {
    let made = || async {
        let file = File::open("/new", &OpenOptions::REPLACE).await.unwrap();
        file.write_all_at(0, Bytes::from_static(b"x")).await.unwrap();
        file.sync_data().await.unwrap();
    };
    let outcomes: Vec<_> =
        (0..40).map(|seed| after_cut(seed, DiskFaults::default(), made)).collect();
    assert!(outcomes.iter().any(Vec::is_empty) && outcomes.iter().any(|files| !files.is_empty()));
    let ordered = DiskFaults { ordered_metadata: true, ..DiskFaults::default() };
    assert!((0..40).all(|seed| after_cut(seed, ordered.clone(), made) == ["/new"]));
}

#[test]
fn an_atomic_write_leaves_the_old_or_the_new_content() {
    for crash_at in 1..30 {
        for seed in 0..4 {
            let world = World::with_seed(seed);
            let node = world.add_node("a", DiskFaults::default());
            node.with_disk(|disk| disk.put("/d/f", b"old").unwrap());
            node.crash_at_disk_operation(crash_at, Crash::PowerCut);
            let done = Rc::new(Cell::new(false));
            let seen = Rc::clone(&done);
            node.start(1, move |_: Context<()>| {
                let done = Rc::clone(&seen);
                async move {
                    fs::write_atomic("/d/f", b"newer").await.unwrap();
                    done.set(true);
                }
            });
            let inside = node.clone();
            world.run(async move {
                inside.ended().await;
                inside.power_cut();
                sleep(Duration::from_millis(1)).await;
            });
            let content = node.with_disk(|disk| disk.read("/d/f")).expect("never missing");
            assert!(content == b"newer" || (content == b"old" && !done.get()));
        }
    }
}

#[test]
fn a_kill_keeps_what_was_written() {
    let world = World::with_seed(8);
    let node = world.add_node("a", DiskFaults::default());
    node.start(1, |_: Context<()>| async {
        let file = File::open("/f", &OpenOptions::REPLACE).await.unwrap();
        file.write_all_at(0, Bytes::from_static(b"not synced")).await.unwrap();
        std::future::pending::<()>().await;
    });
    let inside = node.clone();
    world.run(async move {
        sleep(Duration::from_millis(5)).await;
        inside.kill();
        inside.ended().await;
    });
    assert_eq!(node.with_disk(|disk| disk.read("/f")).unwrap(), b"not synced");
}

#[test]
fn a_rule_is_about_the_name_that_an_open_file_has_now() {
    let world = World::with_seed(9);
    let node = world.add_node("a", DiskFaults::default());
    node.with_disk(|disk| {
        disk.fail(FaultRule {
            path: "*.log".to_owned(),
            operation: DiskOperation::Sync,
            error: ErrorKind::Other,
            times: 1,
        });
    });
    node.start(1, |_: Context<()>| async {
        let file = File::open("/new.tmp", &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        file.sync_data().await.unwrap();
        fs::rename("/new.tmp", "/a.log").await.unwrap();
        assert!(file.sync_data().await.is_err());
    });
    let inside = node.clone();
    world.run(async move { inside.ended().await });
    assert_eq!(node.with_disk(|disk| disk.rules()), 0);
}

#[test]
fn injected_disk_faults_hit_their_paths_and_a_failed_sync_is_never_made_good() {
    let world = World::with_seed(9);
    let node = world.add_node(
        "a",
        DiskFaults { keep_unsynced_sector: 0.0, tear_sector: 0.0, ..DiskFaults::default() },
    );
    node.with_disk(|disk| {
        disk.fail(FaultRule {
            path: "*.log".to_owned(),
            operation: DiskOperation::Sync,
            error: ErrorKind::Other,
            times: 1,
        });
    });
    node.start(1, |_: Context<()>| async {
        let other = File::open("/a.index", &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        other.sync_data().await.unwrap();
        let file = File::open("/a.log", &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        fs::sync_dir("/").await.unwrap();
        file.write_all_at(0, Bytes::from_static(b"gone")).await.unwrap();
        assert!(file.sync_data().await.is_err());
        assert_eq!(file.read_at(0, 4).await.unwrap(), "gone");
        file.write_all_at(4096, Bytes::from_static(b"kept")).await.unwrap();
        file.sync_data().await.unwrap();
    });
    let inside = node.clone();
    world.run(async move {
        inside.ended().await;
        inside.power_cut();
        sleep(Duration::from_millis(1)).await;
    });
    let content = node.with_disk(|disk| disk.read("/a.log")).unwrap();
    assert_eq!(content[..4], [0; 4], "the page was marked clean and never written");
    assert_eq!(content[4096..], *b"kept");
}

#[test]
fn a_full_disk_and_flipped_bits_are_seen() {
    let world = World::with_seed(10);
    let node = world.add_node("a", DiskFaults { capacity: 10_000, ..DiskFaults::default() });
    node.start(1, |_: Context<()>| async {
        let file = File::open("/f", &OpenOptions::READ_WRITE_CREATE).await.unwrap();
        file.write_all_at(0, Bytes::from(vec![0; 9000])).await.unwrap();
        let full = file.write_all_at(9000, Bytes::from(vec![0; 2000])).await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        file.write_all_at(100, Bytes::from(vec![1; 2000])).await.unwrap();
        assert_eq!(fs::disk_space("/").await.unwrap().available, 1000);
    });
    let inside = node.clone();
    world.run(async move { inside.ended().await });
    assert!(node.with_disk(|disk| disk.flip_bit("/f", 5000, 3)));
    assert_eq!(node.with_disk(|disk| disk.read("/f")).unwrap()[5000], 8);
}

#[test]
fn a_fail_stop_ends_the_node_and_not_the_run() {
    let world = World::with_seed(11);
    let node = world.add_node("a", DiskFaults::default());
    node.start(2, |cx: Context<()>| async move {
        if cx.id == ShardId(1) {
            runtime::shards::fail_stop("a sync failed");
        }
        std::future::pending::<()>().await;
    });
    let inside = node.clone();
    world.run(async move { inside.ended().await });
}

#[test]
fn clocks_of_nodes_differ_as_told() {
    let world = World::with_seed(15);
    let node = world.add_node("late", DiskFaults::default());
    node.set_clock(-5_000, 100);
    let seen = Rc::new(Cell::new((0, 0)));
    let told = Rc::clone(&seen);
    node.start(1, move |_: Context<()>| {
        let told = Rc::clone(&told);
        async move {
            let first = wall_clock_ms();
            sleep(Duration::from_secs(100_000)).await;
            told.set((first, wall_clock_ms()));
        }
    });
    let inside = node.clone();
    let driver = world.run(async move {
        let first = wall_clock_ms();
        inside.ended().await;
        first
    });
    let (first, last) = seen.get();
    assert!((driver - first - 5_000).abs() < 10);
    assert!((last - first - 100_010_000).abs() < 10, "gains 100 ppm: {}", last - first);
}

#[test]
#[should_panic(expected = "waits for something that never comes")]
fn a_deadlock_is_found() {
    World::with_seed(16).run(std::future::pending::<()>());
}

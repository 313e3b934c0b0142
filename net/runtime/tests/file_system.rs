//! What a sync of a whole simulated file system promises.
#![cfg(simulation)]

use std::time::Duration;

use bytes::Bytes;
use runtime::fs::{self, File, FileSystem, OpenOptions};
use runtime::shards::Context;
use runtime::sim::{DiskFaults, NodeHandle, World};
use runtime::task::{Class, spawn, yield_now};
use runtime::time::sleep;

/// Does `f` to a fresh disk and cuts the power; the node lives with its world.
fn after_cut<Fut: Future<Output = ()> + 'static>(
    seed: u64,
    f: impl Fn() -> Fut + Clone + 'static,
) -> (World, NodeHandle) {
    let world = World::with_seed(seed);
    let node = world.add_node("a", DiskFaults::default());
    node.start(1, move |_: Context<()>| f());
    let inside = node.clone();
    world.run(async move {
        inside.ended().await;
        inside.power_cut();
        sleep(Duration::from_millis(1)).await;
    });
    (world, node)
}

fn files_of((_world, node): &(World, NodeHandle)) -> Vec<String> {
    let files = node.with_disk(|disk| disk.files("*"));
    files.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_sync_of_the_file_system_covers_every_file_and_name_before_it() {
    let made = || async {
        let disk = FileSystem::open("/").await.unwrap().expect("it can be synced as a whole");
        fs::create_dir_all("/d/e").await.unwrap();
        let files: Vec<_> = ["/d/a", "/d/e/b"].into_iter().collect();
        for path in &files {
            write(path, b"synced").await;
        }
        fs::rename("/d/a", "/d/c").await.unwrap();
        disk.sync().await.unwrap();
    };
    for seed in 0..20 {
        assert_eq!(files_of(&after_cut(seed, made)), ["/d/c", "/d/e/b"]);
    }
}

#[test]
fn a_sync_of_the_file_system_covers_nothing_that_comes_after_it_began() {
    let made = || async {
        let disk = FileSystem::open("/").await.unwrap().expect("it can be synced as a whole");
        write("/before", b"synced").await;
        let late = spawn(Class::Latency, async {
            yield_now().await;
            write("/late", b"not synced").await;
        });
        disk.sync().await.unwrap();
        late.await;
    };
    let outcomes: Vec<_> = (0..40).map(|seed| files_of(&after_cut(seed, made))).collect();
    assert!(outcomes.iter().all(|files| files.contains(&"/before".to_owned())));
    assert!(outcomes.iter().any(|files| files.len() == 1), "{outcomes:?}");
}

#[test]
fn a_sync_that_ends_behind_a_later_one_takes_nothing_back() {
    for seed in 0..60 {
        let (_world, node) = after_cut(seed, || async {
            let disk = FileSystem::open("/").await.unwrap().expect("it can be synced as a whole");
            // more to sync, so that it takes longer
            for path in ["/0", "/1", "/2", "/f"] {
                write(path, b"old").await;
            }
            let slow = spawn(Class::Latency, async move { disk.sync().await.unwrap() });
            sleep(Duration::from_micros(10)).await;
            write("/f", b"newer").await;
            let file = File::open("/f", &OpenOptions::READ_WRITE_CREATE).await.unwrap();
            file.sync_data().await.unwrap();
            fs::sync_dir("/").await.unwrap();
            slow.await;
        });
        assert_eq!(node.with_disk(|disk| disk.read("/f")).unwrap(), b"newer");
    }
}

async fn write(path: &str, bytes: &'static [u8]) {
    let file = File::open(path, &OpenOptions::REPLACE).await.unwrap();
    file.write_all_at(0, Bytes::from_static(bytes)).await.unwrap();
}

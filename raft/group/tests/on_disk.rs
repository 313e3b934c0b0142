//! The same shard on the real WAL, with each of its durable writers: write, stop in the middle,
//! read back, go on.

mod node;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use node::{Heard, ME, Recorder};
use raft_group::*;
use runtime::fs::WriteBackend;
use runtime::task;
use storage::wal::{ReplayPoint, Wal, WalOptions, WalPosition, WalReader};

struct Running {
    shard: Rc<RaftShard>,
    wal: Rc<Wal>,
    heard: Rc<RefCell<Heard>>,
    run: task::Task<()>,
}

fn wal_options(backend: WriteBackend) -> WalOptions {
    WalOptions { backend, file_bytes: 1 << 20, first_file_bytes: 64 << 10, spare_files_max: 1 }
}

/// No life of these tests ends in a torn write.
fn replay_point(position: WalPosition) -> ReplayPoint {
    ReplayPoint { position, epoch_min: 0 }
}

async fn start(
    dir: &Path,
    stream: u16,
    backend: WriteBackend,
    checkpoint: Option<&ShardCheckpoint>,
) -> Running {
    let from = checkpoint.map_or(WalPosition::START, |checkpoint| checkpoint.release_before);
    let groups = checkpoint.iter().flat_map(|checkpoint| checkpoint.groups.clone());
    let mut replay = StreamReplay::new(stream, groups);
    let mut reader = WalReader::open(dir, replay_point(from), backend).await.unwrap();
    while let Some(frame) = reader.next().await.unwrap() {
        replay.frame(frame.tag, frame.position, frame.payload).unwrap();
    }
    let recovered = replay.finish().unwrap();
    let wal = Wal::start(reader, wal_options(backend)).await.unwrap();
    let running = run(stream, wal);
    for group in recovered {
        running.shard.add_group(group).unwrap();
    }
    running
}

fn run(stream: u16, wal: Rc<Wal>) -> Running {
    let shard = RaftShard::new(RaftOptions::new(ME, stream), Rc::clone(&wal));
    let recorder = Recorder::default();
    let heard = Rc::clone(&recorder.0);
    let task = {
        let shard = Rc::clone(&shard);
        task::spawn(task::Class::Latency, async move {
            shard.run(recorder, NoPeers).await.unwrap();
        })
    };
    Running { shard, wal, heard, run: task }
}

fn payload(group: u64, n: usize) -> Vec<u8> {
    let mut payload = format!("{group}/{n} ").into_bytes();
    payload.resize(payload.len() + n * 37 % 9000, b'.');
    payload
}

fn inline(heard: &Heard, group: RaftGroupId) -> Vec<Vec<u8>> {
    let all = heard.applied.iter();
    let own = all.filter(|e| e.raft_group == group && e.kind == EntryKind::Inline);
    own.map(|e| e.payload.to_vec()).collect()
}

fn life_on_disk(backend: WriteBackend) {
    let dir = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = (0..2).map(|n| dir.path().join(format!("wal-{n}"))).collect();
    runtime::block_on(async move {
        let groups = [RaftGroupId(1), RaftGroupId(2)];
        let mut written = BTreeMap::<RaftGroupId, Vec<Vec<u8>>>::new();
        let mut checkpoint: Option<ShardCheckpoint> = None;
        let mut kept = BTreeMap::<RaftGroupId, usize>::new();
        for life in 0..4 {
            let node = start(&dirs[0], 0, backend, checkpoint.as_ref()).await;
            for group in groups {
                if life == 0 {
                    node.shard.create_group(group, Membership::of_voters([ME])).unwrap();
                }
                node.shard.ready(group).await.unwrap();
                let found = inline(&node.heard.borrow(), group);
                let expected = written.entry(group).or_default();
                assert_eq!(found[..], expected[kept.get(&group).copied().unwrap_or(0)..]);
            }
            for n in 0..150 {
                let group = groups[n % 2];
                let bytes = payload(group.0, life * 1000 + n);
                loop {
                    let room = match node.shard.open_window(group, Durability::Disk) {
                        Ok(mut window) => window.append(&bytes).is_ok(),
                        Err(ProposeError::Backlog { .. }) => false,
                        Err(error) => panic!("{error}"),
                    };
                    if room {
                        break;
                    }
                    node.shard.window_closed().await;
                }
                written.get_mut(&group).unwrap().push(bytes);
                if n % 3 == 0 {
                    node.shard.window_closed().await;
                    node.shard.settled().await.unwrap();
                    task::yield_now().await;
                }
            }
            node.shard.stop();
            node.run.await;
            // What shared an entry is one payload now.
            for group in groups {
                let from = kept.get(&group).copied().unwrap_or(0);
                let found = inline(&node.heard.borrow(), group);
                let list = written.get_mut(&group).unwrap();
                assert_eq!(found.concat(), list[from..].concat());
                list.truncate(from);
                list.extend(found);
            }
            if life == 1 {
                let statuses = node.shard.statuses();
                let all = statuses.iter().map(|s| (s.raft_group, s.delivered)).collect();
                let taken = node.shard.checkpoint(&all).unwrap();
                node.shard.checkpointed(&taken);
                node.wal.release_before(taken.release_before);
                assert_eq!(node.shard.stats().log_bytes, 0);
                kept = written.iter().map(|(group, list)| (*group, list.len())).collect();
                checkpoint = Some(taken);
            }
        }

        // Another stream takes over.
        let old = start(&dirs[0], 0, backend, checkpoint.as_ref()).await;
        drop(old);
        let groups_state = checkpoint.iter().flat_map(|checkpoint| checkpoint.groups.clone());
        let mut replay = StreamReplay::new(0, groups_state);
        let from = checkpoint.as_ref().unwrap().release_before;
        let mut reader = WalReader::open(&dirs[0], replay_point(from), backend).await.unwrap();
        while let Some(frame) = reader.next().await.unwrap() {
            replay.frame(frame.tag, frame.position, frame.payload).unwrap();
        }
        let node = run(1, Wal::create(&dirs[1], wal_options(backend)).await.unwrap());
        for group in newest_of(replay.finish().unwrap()).groups {
            node.shard.add_group(group).unwrap();
        }
        node.shard.settled().await.unwrap();
        node.shard.stop();
        node.run.await;
        let node = start(&dirs[1], 1, backend, None).await;
        for group in groups {
            node.shard.ready(group).await.unwrap();
            let found = inline(&node.heard.borrow(), group);
            assert_eq!(found[..], written[&group][kept[&group]..]);
        }
        node.shard.stop();
        node.run.await;
    });
}

#[test]
fn a_shard_lives_through_restarts_on_io_uring() {
    life_on_disk(WriteBackend::IoUring);
}

#[test]
fn a_shard_lives_through_restarts_on_a_commit_thread() {
    life_on_disk(WriteBackend::CommitThread);
}

#[test]
fn memory_entries_are_accepted_before_the_disk_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wal");
    runtime::block_on(async move {
        let node = start(&path, 0, WriteBackend::IoUring, None).await;
        let group = RaftGroupId(1);
        node.shard.create_group(group, Membership::of_voters([ME])).unwrap();
        node.shard.ready(group).await.unwrap();
        for n in 0..50 {
            {
                let mut window = node.shard.open_window(group, Durability::Memory).unwrap();
                window.append(&payload(1, n)).unwrap();
            }
            task::yield_now().await;
        }
        node.shard.stop();
        node.run.await;
        let heard = node.heard.borrow();
        let accepted: Vec<_> = heard.accepted.iter().map(|a| a.ticket).collect();
        let committed: Vec<_> = heard.applied.iter().filter_map(|e| e.ticket).collect();
        assert!(!accepted.is_empty());
        assert_eq!(accepted, committed);
        for ticket in accepted {
            let at = |text: String| heard.lines.iter().position(|line| line.starts_with(&text));
            let place = format!("{} {}/{}", ticket.raft_group, ticket.term, ticket.index);
            assert!(at(format!("accepted {place}")) < at(format!("apply {place} ")));
        }
    });
}

//! Groups move from one WAL stream to another at a restart; a crash may come at any moment of it.

mod node;

use node::*;
use raft_group::*;

fn on_stream(stream: u16) -> RaftOptions {
    RaftOptions::new(ME, stream)
}

fn all(streams: &[(u16, &MemoryWal)]) -> NewestGroups {
    newest_of(
        streams.iter().flat_map(|(stream, wal)| replay(*stream, wal, Vec::new(), None).unwrap()),
    )
}

#[test]
fn a_group_moves_with_all_its_entries() {
    let mut old = Node::ready();
    for payload in ["a", "b"] {
        old.append(payload);
        old.finish();
    }
    let old = old.wal.crash(0);
    let mut new = Node::with(on_stream(1), MemoryWal::in_steps());
    for group in all(&[(0, &old)]).groups {
        new.shard.add_group(group).unwrap();
    }
    let shard = std::rc::Rc::clone(&new.shard);
    let mut settled = std::pin::pin!(shard.settled());
    assert!(poll_while_woken(settled.as_mut()).is_none());
    new.finish();
    assert!(matches!(poll_while_woken(settled.as_mut()), Some(Ok(()))));
    assert_eq!(new.applied_text(), ["a", "b"]);
    new.append("c");
    new.finish();

    // Only the new stream is left.
    let wal = new.wal.crash(0);
    let mut again = Node::restart(on_stream(1), wal);
    again.finish();
    assert_eq!(again.applied_text(), ["a", "b", "c"]);
}

#[test]
fn a_move_that_was_cut_short_leaves_the_old_stream_in_charge() {
    let mut old = Node::ready();
    for payload in ["a", "b", "c"] {
        old.append(payload);
        old.finish();
    }
    let old_wal = old.wal.crash(0);
    let mut new = Node::with(on_stream(1), MemoryWal::in_steps());
    for group in all(&[(0, &old_wal)]).groups {
        new.shard.add_group(group).unwrap();
    }
    new.run();
    let frames = new.wal.undurable();
    for torn in 0..=frames {
        let new_wal = new.wal.crash(torn);
        let found = all(&[(0, &old_wal), (1, &new_wal)]);
        assert_eq!(found.groups.len(), 1);
        // Origin, empty, a, b, c: then the new copy is whole, and as good as the old one.
        let from_new = found.groups[0].stream == 1;
        assert!(torn >= 5 || !from_new, "{torn} frames");
        assert_eq!(found.left_over.len(), usize::from(torn >= 5), "{torn} frames");
        let mut retried = Node::with(on_stream(1), new_wal);
        for group in found.groups {
            retried.shard.add_group(group).unwrap();
        }
        retried.finish();
        assert_eq!(retried.applied_text(), ["a", "b", "c"]);
        let mut alone = Node::restart(on_stream(1), retried.wal.crash(0));
        alone.finish();
        assert_eq!(alone.applied_text(), ["a", "b", "c"], "after {torn} frames and another try");
    }
}

#[test]
fn many_streams_become_two_and_two_become_many() {
    let mut wals = Vec::new();
    for stream in 0..4u16 {
        let mut node = Node::with(on_stream(stream), MemoryWal::in_steps());
        for n in 0..3 {
            let group = RaftGroupId(u64::from(stream) * 10 + n);
            node.shard.create_group(group, Membership::of_voters([ME])).unwrap();
            node.finish();
            node.append_to(group, &format!("{group}"), Durability::Disk);
            node.finish();
        }
        wals.push((stream, node.wal.crash(0)));
    }
    for shards in [2, 1, 4, 3] {
        let refs: Vec<_> = wals.iter().map(|(stream, wal)| (*stream, wal)).collect();
        let found = all(&refs);
        assert_eq!(found.groups.len(), 12);
        assert_eq!(found.left_over, []);
        let mut nodes: Vec<_> = (0..shards)
            .map(|stream| {
                let wal = wals.iter().find(|(s, _)| *s == stream).map(|(_, wal)| wal.crash(0));
                Node::with(on_stream(stream), wal.unwrap_or_else(MemoryWal::in_steps))
            })
            .collect();
        let mut moved = Vec::new();
        for group in found.groups {
            let target = (group.raft_group.0 % u64::from(shards)) as usize;
            if usize::from(group.stream) != target {
                moved.push((group.stream, group.raft_group));
            }
            nodes[target].shard.add_group(group).unwrap();
        }
        for node in &mut nodes {
            node.finish();
            for text in node.applied_text() {
                assert!(node.shard.status(RaftGroupId(text.parse().unwrap())).is_some());
            }
        }
        for (stream, group) in moved {
            if let Some(node) = nodes.get_mut(usize::from(stream)) {
                node.shard.forget_copy(group).unwrap();
                node.finish();
                assert_eq!(node.shard.stats().queued_frames, 0);
            }
        }
        assert_eq!(nodes.iter().map(|node| node.applied_text().len()).sum::<usize>(), 12);
        wals = nodes.iter().enumerate().map(|(s, node)| (s as u16, node.wal.crash(0))).collect();
    }
}

#[test]
fn random_moves_and_crashes_lose_nothing() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut wals = [MemoryWal::in_steps(), MemoryWal::in_steps()];
        let mut written = Vec::new();
        let mut created = false;
        for life in 0..12 {
            let found = all(&[(0, &wals[0]), (1, &wals[1])]);
            let home = random.below(2);
            let [first, second] = wals;
            let mut nodes = [Node::with(on_stream(0), first), Node::with(on_stream(1), second)];
            if !created {
                nodes[home].shard.create_group(GROUP, Membership::of_voters([ME])).unwrap();
                nodes[home].finish();
                created = true;
            }
            let mut left_over = found.left_over;
            for group in found.groups {
                if usize::from(group.stream) != home {
                    left_over.push((group.stream, GROUP));
                }
                nodes[home].shard.add_group(group).unwrap();
            }
            if random.below(4) > 0 {
                nodes[home].finish();
                for (stream, group) in left_over {
                    if usize::from(stream) != home {
                        nodes[usize::from(stream)].shard.forget_copy(group).unwrap();
                    }
                }
                nodes[1 - home].run();
                for n in 0..random.below(4) {
                    nodes[home].append(&format!("{life}.{n}"));
                    nodes[home].run();
                    if nodes[home].wal.is_writing() && random.below(2) == 0 {
                        nodes[home].write();
                    }
                }
                let applied = nodes[home].applied_text().concat();
                let expected: String = written.concat();
                assert!(applied.starts_with(&expected), "seed {seed}: {applied} / {expected}");
                written = nodes[home].applied_text();
            } else {
                nodes[home].run();
            }
            wals = nodes.map(|node| {
                let torn = random.below(node.wal.undurable() + 1);
                node.wal.crash(torn)
            });
        }
    }
}

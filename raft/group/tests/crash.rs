//! A node is stopped at any moment, with any part of what was not durable on its disk: whatever was
//! applied before is applied again, the same, and in order.

mod node;

use std::collections::BTreeMap;

use node::*;
use raft_group::*;

const GROUPS: [RaftGroupId; 3] = [RaftGroupId(7), RaftGroupId(8), RaftGroupId(900)];

/// What must never change any more, and how far the running node has got.
#[derive(Default)]
struct Model {
    committed: BTreeMap<(RaftGroupId, RaftIndex), (Term, EntryKind, Vec<u8>)>,
    created: Vec<RaftGroupId>,
    checkpoint: Option<ShardCheckpoint>,
    applied: BTreeMap<RaftGroupId, RaftIndex>,
    seen: usize,
    terms: BTreeMap<RaftGroupId, Term>,
}

impl Model {
    fn log_start(&self, group: RaftGroupId) -> RaftIndex {
        let checkpoint = self.checkpoint.iter().flat_map(|checkpoint| &checkpoint.groups);
        let mut found = checkpoint.filter(|found| found.raft_group == group);
        found.next().map_or(RaftIndex(1), |found| found.start.index)
    }

    /// Takes in what the node applied since the last call.
    fn observe(&mut self, node: &Node) {
        let heard = node.heard.borrow();
        for entry in &heard.applied[self.seen..] {
            let group = entry.raft_group;
            let start = self.log_start(group);
            let last = self.applied.get(&group).copied().unwrap_or(start);
            assert_eq!(entry.index, last.next(), "entries come in order without gaps");
            self.applied.insert(group, entry.index);
            let value = (entry.term, entry.kind, entry.payload.to_vec());
            let kept = self.committed.entry((group, entry.index)).or_insert(value.clone());
            assert_eq!(*kept, value, "an applied entry changed");
        }
        self.seen = heard.applied.len();
    }

    fn restart(&mut self, wal: MemoryWal) -> Node {
        let (groups, from) = match &self.checkpoint {
            None => (Vec::new(), None),
            Some(checkpoint) => {
                let bytes = checkpoint.groups.iter().map(GroupCheckpoint::encode);
                let groups = bytes.map(|bytes| GroupCheckpoint::decode(&bytes).unwrap());
                (groups.collect(), Some(checkpoint.release_before))
            }
        };
        let recovered = replay(0, &wal, groups, from).unwrap();
        let node = Node::with(RaftOptions::new(ME, 0), wal);
        for group in recovered {
            let id = group.raft_group;
            if let Some(term) = self.terms.get(&id) {
                assert!(group.hard_state.term >= *term, "a durable term went back");
            }
            node.shard.add_group(group).unwrap();
        }
        self.applied.clear();
        self.seen = 0;
        node
    }

    /// After everything is written, all that was ever applied is applied again.
    fn check_all_applied(&self) {
        for (group, index) in self.committed.keys() {
            if *index > self.log_start(*group) {
                let applied = self.applied.get(group).copied().unwrap_or_default();
                assert!(*index <= applied, "group {group} lost entry {index}, has {applied}");
            }
        }
    }
}

fn random_life(seed: u64) {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut node = Node::new();
    let mut crashes = 0;
    for step in 0..400 {
        let group = GROUPS[random.below(GROUPS.len())];
        match random.below(24) {
            0 => {
                if node.shard.create_group(group, Membership::of_voters([ME])).is_ok() {
                    model.created.push(group);
                }
            }
            1..=8 => {
                let durability = match random.below(3) {
                    0 => Durability::Memory,
                    _ => Durability::Disk,
                };
                if let Ok(mut window) = node.shard.open_window(group, durability) {
                    let piece = format!("{step};").repeat(random.below(200) + 1);
                    let range = window.append(piece.as_bytes()).unwrap();
                    window.bytes_mut(range)[0] = b'#';
                }
            }
            9 => {
                let _ = node.shard.propose(group, EntryKind::Control, &[step as u8]);
                if let Some(applied) = model.applied.get(&group) {
                    node.shard.release_payloads(group, RaftIndex(applied.0 - applied.0 / 4));
                }
            }
            10..=15 => node.run(),
            16..=20 => {
                if node.wal.is_writing() {
                    node.write();
                }
            }
            21 => {
                // Destaged is some of what was applied; the checkpoint file is written at once.
                let mut destaged = BTreeMap::new();
                for (group, applied) in &model.applied {
                    let start = model.log_start(*group).0;
                    let index = start + random.next() % (applied.0 - start + 1);
                    destaged.insert(*group, RaftIndex(index));
                }
                let checkpoint = node.shard.checkpoint(&destaged).unwrap();
                node.shard.checkpointed(&checkpoint);
                model.checkpoint = Some(checkpoint);
            }
            22 => {
                for status in node.shard.statuses() {
                    if status.leadership.leadership == Leadership::Ready {
                        model.terms.insert(status.raft_group, status.term);
                    }
                }
            }
            _ => {
                let torn = random.below(node.wal.undurable() + 1);
                node = model.restart(node.wal.crash(torn));
                crashes += 1;
            }
        }
        model.observe(&node);
    }
    assert!(crashes > 3);
    node = model.restart(node.wal.crash(0));
    node.finish();
    model.observe(&node);
    model.check_all_applied();
    for status in node.shard.statuses() {
        assert_eq!(status.leadership.leadership, Leadership::Ready);
        assert_eq!(status.last_index, status.delivered);
    }
}

#[test]
fn what_was_applied_survives_any_crash() {
    for seed in 0..300 {
        let run = std::panic::catch_unwind(|| random_life(seed));
        assert!(run.is_ok(), "random_life({seed}) fails");
    }
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let frames = |seed| {
        let mut random = Random::new(seed);
        let mut node = Node::ready();
        for _ in 0..50 {
            node.append(&random.next().to_string());
            if random.below(2) == 0 {
                node.run();
            }
            if node.wal.is_writing() && random.below(2) == 0 {
                node.write();
            }
        }
        node.finish();
        node.wal.frames().iter().map(|f| (f.tag, f.payload.clone())).collect::<Vec<_>>()
    };
    assert_eq!(frames(3), frames(3));
}

#[test]
fn every_prefix_of_the_frames_is_a_state_to_restart_from() {
    let mut node = Node::ready();
    for payload in ["a", "b", "c", "d"] {
        node.append_to(GROUP, payload, Durability::Memory);
        node.run();
    }
    let undurable = node.wal.undurable();
    assert_eq!(undurable, 4);
    for torn in 0..=undurable {
        let mut restarted = Node::restart(RaftOptions::new(ME, 0), node.wal.crash(torn));
        restarted.finish();
        assert_eq!(restarted.applied_text(), ["a", "b", "c", "d"][..torn]);
    }
}

#[test]
fn in_every_crash_the_hard_state_knows_the_terms_of_the_entries() {
    let mut node = Node::ready();
    for _ in 0..5 {
        node.append("x");
        node.finish();
        node = Node::restart(RaftOptions::new(ME, 0), node.wal.crash(0));
        for torn in 0..=node.wal.undurable() {
            replay(0, &node.wal.crash(torn), Vec::new(), None).unwrap();
        }
        node.finish();
    }
    let frames = node.wal.frames();
    let mut term = 0;
    for frame in frames {
        match FrameKind::from_byte(frame.tag.kind).unwrap() {
            FrameKind::HardState => term = frame.tag.major,
            FrameKind::Entry(_) => assert!(frame.tag.major <= term),
            _ => {}
        }
    }
}

#[test]
fn a_checkpoint_lets_memory_and_frames_go() {
    let mut node = Node::ready();
    for _ in 0..10 {
        node.append(&"x".repeat(1000));
        node.finish();
    }
    assert_eq!(node.shard.stats().log_bytes, 11 * 4096);
    let destaged = BTreeMap::from([(GROUP, RaftIndex(9))]);
    let checkpoint = node.shard.checkpoint(&destaged).unwrap();
    let ahead = BTreeMap::from([(GROUP, RaftIndex(99))]);
    assert!(matches!(
        node.shard.checkpoint(&ahead),
        Err(GroupError::NotApplied { asked: RaftIndex(99), applied: RaftIndex(12), .. })
    ));
    node.shard.checkpointed(&checkpoint);
    assert_eq!(node.shard.stats().log_bytes, 3 * 4096);
    assert!(node.shard.entry(GROUP, RaftIndex(9)).is_none());
    assert_eq!(node.shard.entry(GROUP, RaftIndex(10)).unwrap().len(), 1000);
    let kept = node.wal.frames().into_iter().filter(|f| f.position >= checkpoint.release_before);
    assert_eq!(kept.count(), 3);

    let (groups, from) = (checkpoint.groups.clone(), Some(checkpoint.release_before));
    let wal = node.wal.crash(0);
    let recovered = replay(0, &wal, groups, from).unwrap();
    let mut restarted = Node::with(RaftOptions::new(ME, 0), wal);
    for group in recovered {
        restarted.shard.add_group(group).unwrap();
    }
    restarted.finish();
    assert_eq!(restarted.applied_text().len(), 3);
    let status = restarted.shard.status(GROUP).unwrap();
    assert_eq!((status.log_start, status.term), (RaftIndex(9), Term(3)));

    let everything = BTreeMap::from([(GROUP, status.delivered)]);
    let checkpoint = restarted.shard.checkpoint(&everything).unwrap();
    assert_eq!(checkpoint.release_before, FrameLog::durable_end(&*restarted.wal));
}

#[test]
fn frames_that_make_no_sense_are_named() {
    let mut node = Node::ready();
    node.append("a");
    node.finish();
    node.append("b");
    node.finish();
    let frames = node.wal.frames();
    let feed = |keep: &dyn Fn(usize, &mut MemoryFrame) -> bool| {
        let mut replay = StreamReplay::new(0, Vec::new());
        for (at, frame) in frames.iter().enumerate() {
            let mut frame = frame.clone();
            if keep(at, &mut frame) {
                replay.frame(frame.tag, frame.position, frame.payload)?;
            }
        }
        replay.finish().map(|_| ())
    };
    assert_eq!(feed(&|_, _| true), Ok(()));
    // Frames: origin, hard state, empty, a, b.
    assert!(matches!(feed(&|at, _| at != 3), Err(RecoveryError::Gap { .. })));
    assert!(matches!(feed(&|at, _| at != 0), Err(RecoveryError::Orphan { .. })));
    assert!(matches!(feed(&|at, _| at != 1), Err(RecoveryError::TermAhead { .. })));
    let other_kind = feed(&|_, frame| {
        frame.tag.kind = 200;
        true
    });
    assert!(matches!(other_kind, Err(RecoveryError::UnknownKind { kind: 200, .. })));
    let term_back = feed(&|at, frame| {
        frame.tag.major -= u64::from(at == 4);
        true
    });
    assert!(matches!(term_back, Err(RecoveryError::TermWentBack { .. })));
    let cut = feed(&|at, frame| {
        if at == 1 {
            frame.payload.truncate(3);
        }
        true
    });
    assert!(matches!(cut, Err(RecoveryError::BadState { source: StateError::Short, .. })));
}

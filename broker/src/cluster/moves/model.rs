//! Seeded runs: the states of a move against a model of two groups, four nodes and any order of events: produce, elections, metadata
//! that reach nodes late, drivers that act on what they found out long ago, seals that are broken, moves that are
//! cancelled.
//!
//! A group's log is modelled as committed when it is written; who leads is what matters here. What must hold:
//! everything that was ever acknowledged precedes the first batch that the new group takes, the old group takes nothing
//! after that, and leader epochs never go back.

use std::sync::Arc;

use config::NodeConfig;

use super::steps::{self, End, Seen, Step};
use crate::ids::{NodeId, PartitionId, RaftGroupId, TopicId};
use crate::metadata::{
    BrokerRecord, Image, LedGroup, MetadataRecord, Move, PartitionRecord, Placer,
};

const TOPIC: TopicId = TopicId([7; 16]);
const ID: PartitionId = PartitionId { topic: TOPIC, index: 0 };
const OLD: RaftGroupId = RaftGroupId(1);
const NEW: RaftGroupId = RaftGroupId(3);
/// Voters of the two groups; node 2 is in both.
const VOTERS: [[i32; 2]; 2] = [[1, 2], [2, 3]];
const NODES: usize = 3;

/// What stands in a group's log.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    /// A replica holds here until its image has this index.
    Bar(u64),
    /// A batch of the partition, with its leader epoch.
    Batch(i32),
}

#[derive(Clone, Debug)]
struct Group {
    log: Vec<Entry>,
    leader: usize,
    term: u64,
}

impl Group {
    /// Whether a node whose image has `index` gets past all bars.
    fn passes(&self, index: u64) -> bool {
        self.log.iter().all(|entry| !matches!(entry, Entry::Bar(bar) if *bar > index))
    }
}

struct World {
    /// The metadata after each entry.
    metadata: Vec<Image>,
    /// How many of them each node knows.
    known: [usize; NODES],
    groups: [Group; 2],
    /// Batches of the partition on each node.
    has: [usize; NODES],
    /// All that were acknowledged, with their epochs.
    acknowledged: Vec<i32>,
    /// What drivers have decided and not committed yet.
    decided: Vec<(Move, Step)>,
}

fn node(index: usize) -> NodeId {
    NodeId(index as i32 + 1)
}

impl World {
    fn new() -> World {
        let (config, _) =
            NodeConfig::from_properties("node.id=1\nlog.dirs=/x").expect("a good file");
        let mut image = Image::empty("c", NodeId(1), 2, Arc::new(config.values));
        let mut records: Vec<MetadataRecord> = (0..NODES).map(register).collect();
        for (group, voters) in [OLD, NEW].into_iter().zip(VOTERS) {
            let voters = voters.into_iter().map(NodeId).collect();
            records.push(MetadataRecord::CreateRaftGroup { group, voters });
        }
        records.push(MetadataRecord::CreateTopic {
            topic: TOPIC,
            name: "t".to_owned(),
            partitions: vec![PartitionRecord { group: OLD, epoch_base: -1 }],
            configs: Vec::new(),
        });
        image.index = 1;
        records.iter().for_each(|record| image.apply(record).expect("it fits"));
        let group = |leader| Group { log: Vec::new(), leader, term: 1 };
        World {
            metadata: vec![image],
            known: [1; NODES],
            groups: [group(0), group(2)],
            has: [0; NODES],
            acknowledged: Vec::new(),
            decided: Vec::new(),
        }
    }

    fn newest(&self) -> &Image {
        self.metadata.last().expect("there is one")
    }

    /// What a node knows, with who leads as it stands now.
    fn image(&self, at: usize) -> Image {
        self.told(&self.metadata[self.known[at] - 1])
    }

    fn told(&self, image: &Image) -> Image {
        let mut image = image.clone();
        for (id, group) in [OLD, NEW].into_iter().zip(&self.groups) {
            let leader = Some(node(group.leader));
            image.note_leader(LedGroup { group: id.0, leader, term: group.term, isr: None });
        }
        image
    }

    fn commit(&mut self, records: Vec<MetadataRecord>) {
        if records.is_empty() {
            return;
        }
        let mut image = self.newest().clone();
        image.index += 1;
        records.iter().for_each(|record| image.apply(record).expect("it was checked"));
        self.metadata.push(image);
    }

    /// The leader of the group that a node believes in takes a batch, if it does.
    fn produce(&mut self, at: usize) {
        let image = self.image(at);
        let which = usize::from(image.group_of(ID) == Some(NEW));
        let group = &self.groups[which];
        if group.leader != at || image.is_sealed(ID) || !group.passes(image.index) {
            return;
        }
        let epoch = image.placement_by_id(ID).expect("it is placed").leader_epoch;
        assert!(self.acknowledged.last().is_none_or(|last| *last <= epoch), "epochs went back");
        if which == 1 {
            self.groups[1].log.push(Entry::Bar(image.index));
        } else {
            let moved = self.groups[1].log.iter().any(|entry| matches!(entry, Entry::Batch(_)));
            assert!(!moved, "both groups take batches");
        }
        // a leader has everything of its group; all that came before must be among it
        let from_old = self.batches(0);
        let has = if which == 1 { self.has[at] + self.batches(1) } else { from_old };
        assert_eq!(has, self.acknowledged.len(), "an acknowledged batch is not here");
        self.groups[which].log.push(Entry::Batch(epoch));
        self.acknowledged.push(epoch);
    }

    fn batches(&self, group: usize) -> usize {
        self.groups[group].log.iter().filter(|entry| matches!(entry, Entry::Batch(_))).count()
    }

    /// Another voter leads a group.
    fn elect(&mut self, which: usize, voter: usize) {
        self.groups[which].leader = VOTERS[which][voter] as usize - 1;
        self.groups[which].term += 1;
    }

    /// Somebody drives the move on what the newest metadata say, and commits later.
    fn drive(&mut self, seal_is_old: bool) {
        let image = self.told(self.newest());
        let Some(moving) = image.move_of(ID).copied() else { return };
        let complete = moving.sealed.and_then(|_| self.complete(&moving));
        let seen = Seen { near: true, complete, is_overdue: seal_is_old };
        let step = steps::next(&image, ID, &moving, &seen);
        if step != Step::Wait {
            self.decided.push((moving, step));
        }
    }

    /// The end of the sealed partition, after every replica of the new group got there.
    fn complete(&mut self, moving: &Move) -> Option<End> {
        let leader = self.groups[0].leader;
        let image = self.image(leader);
        let is_sealed_so = |image: &Image| image.move_of(ID) == Some(moving);
        if !is_sealed_so(&image) || !self.groups[0].passes(image.index) {
            return None;
        }
        self.groups[0].log.push(Entry::Bar(image.index));
        let leader_epoch = image.placement_by_id(ID)?.leader_epoch;
        let offset = self.batches(0);
        for voter in VOTERS[1] {
            let at = voter as usize - 1;
            if !is_sealed_so(&self.image(at)) {
                return None;
            }
            self.has[at] = offset;
        }
        Some(End { offset: offset as i64, leader_epoch })
    }

    fn carry_out(&mut self, which: usize) {
        if self.decided.is_empty() {
            return;
        }
        let (moving, step) = self.decided.remove(which % self.decided.len());
        let image = self.told(self.newest());
        self.commit(steps::records(&image, &mut Placer::new(&image), ID, &moving, step));
    }

    fn ask(&mut self, cancel: bool) {
        let (topic, index) = (TOPIC, 0);
        let image = self.newest();
        let record = match (image.move_of(ID), image.group_of(ID)) {
            (Some(_), _) if cancel => MetadataRecord::CancelMove { topic, index },
            (None, Some(OLD)) if !cancel => {
                MetadataRecord::BeginMove { topic, index, to: NEW, id: 0 }
            }
            _ => return,
        };
        self.commit(vec![record]);
    }

    fn event(&mut self, choice: u32) {
        let (kind, detail) = (choice % 16, (choice / 16) as usize);
        match kind {
            0..4 => self.produce(detail % NODES),
            4..8 => {
                let at = detail % NODES;
                self.known[at] = (self.known[at] + 1).min(self.metadata.len());
            }
            8..11 => self.drive(detail.is_multiple_of(5)),
            11..13 => self.carry_out(detail),
            13 if self.groups[0].term + self.groups[1].term < 12 => {
                self.elect(detail % 2, detail / 2 % 2);
            }
            14 => self.ask(false),
            15 => self.ask(detail.is_multiple_of(2)),
            _ => {}
        }
    }

    /// Everything reaches everybody, and nobody interferes any more.
    fn settle(&mut self) {
        self.ask(false);
        for _ in 0..8 {
            self.known = [self.metadata.len(); NODES];
            self.drive(false);
            while !self.decided.is_empty() {
                self.carry_out(0);
            }
        }
        self.known = [self.metadata.len(); NODES];
    }
}

fn register(at: usize) -> MetadataRecord {
    MetadataRecord::RegisterBroker(BrokerRecord {
        node: node(at),
        rack: None,
        endpoints: Vec::new(),
        directory: TopicId([at as u8 + 1; 16]),
        peer: ("h".to_owned(), 1),
        shards: 2,
        epoch: 1,
        fenced: false,
    })
}

/// xorshift64*, so that a seed names a run.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// Whether the run went through a broken seal, and through a move that was cancelled.
fn run(seed: u64) -> (bool, bool) {
    let mut choices = Choices(seed.wrapping_mul(2) + 1);
    let mut world = World::new();
    for _ in 0..choices.next() % 200 {
        world.event(choices.next());
    }
    world.settle();
    assert_eq!(world.newest().group_of(ID), Some(NEW), "seed {seed}: the move does not end");
    let before = world.acknowledged.len();
    (0..NODES).for_each(|at| world.produce(at));
    assert_eq!(world.acknowledged.len(), before + 1, "seed {seed}: one node and no other serves");
    let moves = || world.metadata.windows(2).map(|two| (two[0].move_of(ID), two[1].move_of(ID)));
    let unsealed = moves().any(|(one, two)| {
        one.is_some_and(|one| one.sealed.is_some()) && two.is_some_and(|two| two.sealed.is_none())
    });
    let first = world.metadata.iter().filter(|image| image.move_of(ID).is_some());
    let begun: std::collections::BTreeSet<u64> =
        first.filter_map(|image| Some(image.move_of(ID)?.id)).collect();
    (unsealed, begun.len() > 1)
}

#[test]
fn whatever_happens_in_between_nothing_acknowledged_is_lost() {
    let runs: Vec<(bool, bool)> = (0..4_000).map(run).collect();
    assert!(runs.iter().any(|(unsealed, _)| *unsealed), "no run broke a seal");
    assert!(runs.iter().any(|(_, cancelled)| *cancelled), "no run cancelled a move");
}

/// Node 2, which has the partition and keeps it, comes back with another number of shards.
#[test]
fn a_move_goes_on_to_another_group_where_a_node_came_back_with_other_shards() {
    let mut world = World::new();
    world.ask(false);
    let first = world.newest().move_of(ID).copied().expect("it has begun");
    let MetadataRecord::RegisterBroker(broker) = register(1) else { unreachable!() };
    let broker = BrokerRecord { shards: 4, epoch: 2, ..broker };
    // a third group of other voters, so that the next number is none that fits
    let voters = vec![NodeId(1)];
    world.commit(vec![
        MetadataRecord::RegisterBroker(broker),
        MetadataRecord::CreateRaftGroup { group: RaftGroupId(4), voters },
    ]);
    let image = world.told(world.newest());
    assert!(!image.fits(OLD, NEW), "one shard of four hosts group 1, another one group 3");
    let seen = Seen { near: true, complete: None, is_overdue: false };
    let step = steps::next(&image, ID, &first, &seen);
    world.commit(steps::records(&image, &mut Placer::new(&image), ID, &first, step));
    let image = world.newest();
    let second = image.move_of(ID).expect("it still moves");
    assert_ne!(second.id, first.id, "what was found out for the first one is not used");
    assert!(image.fits(OLD, second.to), "{second:?}");
    assert_eq!(image.voters(second.to), image.voters(NEW));
    let late = steps::records(image, &mut Placer::new(image), ID, &first, step);
    assert_eq!(late, [], "whoever decided the same comes too late");
}

//! Which Raft group carries a new partition.
//!
//! A replica list is a group's list of voters, the preferred leader first. In a cluster of one the groups are there from
//! the start. In a larger one they come into being with the first partition that needs them: for `r` replicas each live
//! node leads the list that begins with it and goes on around the ring of nodes, in which racks take turns; it gets as many
//! groups of that list as it has shards. So a node leads about as many groups as it has shards, whatever the number of
//! topics. Registered nodes that are fenced come last, never first, and only if live ones are too few; the live ones must be
//! a majority, without which the group could do nothing. A list that an administrator dictates gets a group of its own if none has exactly these voters in this order.
//!
//! Least loaded first, ties by id: leaders, and with them shards and cores, fill evenly whatever the order in which
//! topics come and go. Load is the number of partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft_group::{EpochBase, Term};

use super::image::Image;
use super::record::{MetadataRecord, PartitionRecord};
use crate::ids::{METADATA_GROUP, NodeId, RaftGroupId};

/// Places partitions of one change; counts what it placed. Leader epochs start at 0.
pub struct Placer<'a> {
    image: &'a Image,
    load: BTreeMap<RaftGroupId, usize>,
    voters: BTreeMap<RaftGroupId, Arc<[NodeId]>>,
    created: Vec<MetadataRecord>,
    /// Numbers of replicas whose lists all have their groups.
    prepared: Vec<usize>,
}

impl<'a> Placer<'a> {
    /// Counts the partitions of every data group: once per change, in the time that takes.
    pub fn new(image: &'a Image) -> Placer<'a> {
        let groups = image.groups.iter().filter(|(id, _)| **id != METADATA_GROUP);
        let voters: BTreeMap<_, _> = groups.map(|(id, g)| (*id, g.voters.clone())).collect();
        let mut load: BTreeMap<_, _> = voters.keys().map(|id| (*id, 0)).collect();
        let partitions = image.topics().flat_map(|topic| topic.partitions.iter());
        let coming = image.moves.values().map(|moving| moving.to);
        for group in partitions.map(|partition| partition.group).chain(coming) {
            *load.entry(group).or_default() += 1;
        }
        Placer { image, load, voters, created: Vec::new(), prepared: Vec::new() }
    }

    /// A partition with this many replicas; none if there are not as many nodes.
    pub fn place(&mut self, replicas: usize) -> Option<PartitionRecord> {
        if !self.prepared.contains(&replicas) {
            self.prepared.push(replicas);
            self.prepare(replicas);
        }
        let image = self.image;
        let live = image.live_nodes().count().min(replicas);
        self.place_where(|voters| {
            let fenced = voters.iter().filter(|node| image.is_fenced(**node)).count();
            let leads = voters.first().is_some_and(|first| !image.is_fenced(*first));
            voters.len() == replicas && leads && fenced == replicas - live
        })
    }

    /// A partition on exactly these nodes, the first of which is preferred to lead; none if it cannot be.
    pub fn place_on(&mut self, nodes: &[NodeId]) -> Option<PartitionRecord> {
        if nodes.is_empty() {
            return None;
        }
        let is_there = self.voters.values().any(|voters| **voters == *nodes);
        if !is_there && nodes.iter().all(|node| self.is_linked(*node)) {
            self.create(nodes.to_vec());
        }
        self.place_where(|voters| voters == nodes)
    }

    /// The group with exactly these voters that a partition can go to from the group `from`: on every node that is in both,
    /// one shard hosts both. None if it cannot be.
    pub fn place_move(&mut self, from: RaftGroupId, nodes: &[NodeId]) -> Option<RaftGroupId> {
        let image = self.image;
        let both = nodes.iter().filter(|node| image.voters(from).contains(node));
        // Groups whose numbers differ by a multiple of all these nodes' shards are hosted alike.
        let step = both.map(|node| image.shards_of(*node) as u64).fold(1, lcm);
        let fits = |id: &RaftGroupId| id.0 % step == from.0 % step;
        let there = |voters: &BTreeMap<_, Arc<[NodeId]>>, id: &RaftGroupId| {
            fits(id) && voters.get(id).is_some_and(|voters| **voters == *nodes)
        };
        if !self.voters.keys().any(|id| there(&self.voters, id)) {
            if nodes.is_empty() || !nodes.iter().all(|node| self.is_linked(*node)) {
                return None;
            }
            let last = self.voters.keys().next_back().map_or(0, |id| id.0);
            let next = (last + 1..).map(RaftGroupId).find(fits)?;
            self.create_as(next, nodes.to_vec());
        }
        let voters = &self.voters;
        let candidates = self.load.iter_mut().filter(|(id, _)| there(voters, id));
        let (group, load) = candidates.min_by_key(|(id, load)| (**load, **id))?;
        *load += 1;
        Some(*group)
    }

    /// The groups that come into being with the partitions placed so far; they go before them.
    pub fn take_created(&mut self) -> Vec<MetadataRecord> {
        std::mem::take(&mut self.created)
    }

    /// Nodes of a cluster of one are not linked: their groups are there.
    fn is_linked(&self, node: NodeId) -> bool {
        self.image.nodes.get(&node).is_some_and(|node| node.link.is_some())
    }

    /// Gives every live node its groups of `replicas` voters, the last of them fenced if there are too few others.
    fn prepare(&mut self, replicas: usize) {
        let (ring, fenced) = (ring(self.image, false), ring(self.image, true));
        let live = replicas.min(ring.len());
        if 2 * live <= replicas || replicas > ring.len() + fenced.len() {
            return;
        }
        let from = |ring: &[(NodeId, u16)], first: usize, count: usize| -> Vec<NodeId> {
            (first..first + count).map(|i| ring[i % ring.len()].0).collect()
        };
        for (first, (_, shards)) in ring.iter().enumerate() {
            let mut list = from(&ring, first, live);
            list.extend(from(&fenced, first, replicas - live));
            let there = self.voters.values().filter(|voters| ***voters == *list).count();
            for _ in there..usize::from(*shards) {
                self.create(list.clone());
            }
        }
    }

    fn create(&mut self, voters: Vec<NodeId>) {
        let last = self.voters.keys().next_back().map_or(0, |id| id.0);
        self.create_as(RaftGroupId(last + 1), voters);
    }

    fn create_as(&mut self, group: RaftGroupId, voters: Vec<NodeId>) {
        self.voters.insert(group, voters.clone().into());
        self.load.insert(group, 0);
        self.created.push(MetadataRecord::CreateRaftGroup { group, voters });
    }

    fn place_where(&mut self, which: impl Fn(&[NodeId]) -> bool) -> Option<PartitionRecord> {
        let voters = &self.voters;
        let fits = |id: &RaftGroupId| voters.get(id).is_some_and(|voters| which(voters));
        let candidates = self.load.iter_mut().filter(|(id, _)| fits(id));
        let (group, load) = candidates.min_by_key(|(id, load)| (**load, **id))?;
        *load += 1;
        let term = self.image.groups.get(group).map_or(0, |group| group.term);
        Some(PartitionRecord { group: *group, epoch_base: EpochBase::create(Term(term)).0 })
    }
}

fn lcm(one: u64, other: u64) -> u64 {
    let (mut a, mut b) = (one, other);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    one / a * other
}

/// Nodes of a cluster, the fenced ones or the others, with their shards, racks taking turns.
fn ring(image: &Image, fenced: bool) -> Vec<(NodeId, u16)> {
    let mut racks: BTreeMap<Option<&str>, Vec<(NodeId, u16)>> = BTreeMap::new();
    for (id, node) in image.nodes.iter().filter(|(_, node)| node.fenced == fenced) {
        if let Some(link) = &node.link {
            racks.entry(node.rack.as_deref()).or_default().push((*id, link.shards));
        }
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| racks.values().filter_map(move |r| r.get(turn)));
    turns.copied().collect()
}

/// Places `count` partitions of one topic of the broker itself, on as many of `replicas` nodes as can be. The groups that
/// this takes are created before.
///
/// # Panics
/// If the node has no data group: it creates them, or others join, before it serves.
pub fn place_partitions(
    image: &Image,
    count: usize,
    replicas: usize,
) -> (Vec<MetadataRecord>, Vec<PartitionRecord>) {
    let most = replicas.clamp(1, image.nodes.len().max(1));
    let mut placer = Placer::new(image);
    let mut place = |_| {
        let placed = (1..=most).rev().find_map(|replicas| placer.place(replicas));
        let placed = placed.or_else(|| placer.place_where(|voters| !voters.is_empty()));
        placed.expect("a node that serves has a data group")
    };
    let partitions = (0..count).map(&mut place).collect();
    (placer.take_created(), partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;
    use crate::metadata::BrokerRecord;
    use config::NodeConfig;

    fn cluster(racks: &[Option<&str>], shards: u16) -> Image {
        let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").unwrap();
        let mut image = Image::empty("c", NodeId(1), shards.into(), Arc::new(config.values));
        for (i, rack) in racks.iter().enumerate() {
            let record = BrokerRecord {
                node: NodeId(i as i32 + 1),
                rack: rack.map(str::to_owned),
                endpoints: Vec::new(),
                directory: TopicId([i as u8 + 1; 16]),
                peer: ("h".to_owned(), 1),
                shards,
                epoch: 1,
                fenced: false,
            };
            image.apply(&MetadataRecord::RegisterBroker(record)).unwrap();
        }
        image
    }

    fn ids(nodes: &[i32]) -> Vec<NodeId> {
        nodes.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn every_node_leads_as_many_groups_as_it_has_shards() {
        let image = cluster(&[None; 3], 2);
        let mut placer = Placer::new(&image);
        let placed: Vec<_> = (0..12).map(|_| placer.place(3).unwrap()).collect();
        let mut led: BTreeMap<NodeId, usize> = BTreeMap::new();
        for record in placer.take_created() {
            let MetadataRecord::CreateRaftGroup { voters, .. } = record else { panic!() };
            assert_eq!(voters.len(), 3);
            *led.entry(voters[0]).or_default() += 1;
        }
        assert_eq!(led.into_values().collect::<Vec<_>>(), [2, 2, 2]);
        let mut load: BTreeMap<RaftGroupId, usize> = BTreeMap::new();
        placed.iter().for_each(|record| *load.entry(record.group).or_default() += 1);
        assert!(load.values().all(|count| *count == 2), "{load:?}");
    }

    #[test]
    fn replicas_lie_in_different_racks() {
        let image = cluster(&[Some("a"), Some("a"), Some("b"), Some("b")], 1);
        let mut placer = Placer::new(&image);
        placer.place(2).unwrap();
        for record in placer.take_created() {
            let MetadataRecord::CreateRaftGroup { voters, .. } = record else { panic!() };
            let racks: Vec<_> = voters.iter().map(|n| image.nodes[n].rack.clone()).collect();
            assert_ne!(racks[0], racks[1], "{voters:?}");
        }
    }

    fn created(placer: &mut Placer<'_>) -> Vec<Vec<i32>> {
        let voters = |record: MetadataRecord| match record {
            MetadataRecord::CreateRaftGroup { voters, .. } => {
                voters.into_iter().map(|node| node.0).collect()
            }
            other => panic!("{other:?}"),
        };
        placer.take_created().into_iter().map(voters).collect()
    }

    #[test]
    fn fenced_nodes_come_last_and_only_if_live_ones_are_too_few() {
        let mut image = cluster(&[None; 3], 1);
        image.apply(&MetadataRecord::Fence { node: NodeId(2) }).unwrap();
        let mut placer = Placer::new(&image);
        assert!(placer.place(2).is_some());
        assert_eq!(created(&mut placer), [[1, 3], [3, 1]]);
        assert!(placer.place(3).is_some());
        assert_eq!(created(&mut placer), [[1, 3, 2], [3, 1, 2]]);
        assert!(placer.place(4).is_none());
    }

    #[test]
    fn live_nodes_must_be_a_majority_of_the_replicas() {
        let mut image = cluster(&[None; 3], 1);
        for node in [2, 3] {
            image.apply(&MetadataRecord::Fence { node: NodeId(node) }).unwrap();
        }
        let mut placer = Placer::new(&image);
        assert!(placer.place(3).is_none());
        assert!(placer.place(2).is_none());
        assert!(placer.place(1).is_some());
    }

    #[test]
    fn every_node_gets_its_groups_once_a_fenced_one_is_back() {
        let mut image = cluster(&[None; 3], 1);
        image.apply(&MetadataRecord::Fence { node: NodeId(2) }).unwrap();
        let mut placer = Placer::new(&image);
        placer.place(3).unwrap();
        placer.take_created().iter().for_each(|record| image.apply(record).unwrap());
        image.apply(&MetadataRecord::Unfence { node: NodeId(2) }).unwrap();
        let mut placer = Placer::new(&image);
        placer.place(3).unwrap();
        assert_eq!(created(&mut placer), [[1, 2, 3], [2, 3, 1]], "and the third is there");
    }

    #[test]
    fn a_move_goes_to_a_group_that_the_same_shard_hosts_on_nodes_of_both() {
        let mut image = cluster(&[None; 4], 3);
        let from = Placer::new(&image).place_on(&ids(&[1, 2])).map(|p| p.group).unwrap();
        let voters = ids(&[1, 2]);
        image.apply(&MetadataRecord::CreateRaftGroup { group: from, voters }).unwrap();
        let mut placer = Placer::new(&image);
        let to = placer.place_move(from, &ids(&[2, 3])).unwrap();
        let again = placer.place_move(from, &ids(&[2, 3])).unwrap();
        assert_eq!(to, again);
        let created = placer.take_created();
        assert_eq!(created.len(), 1);
        created.iter().for_each(|record| image.apply(record).unwrap());
        assert!(image.fits(from, to));
        assert_ne!(from, to);
        let mut placer = Placer::new(&image);
        assert!(placer.place_move(from, &ids(&[2, 9])).is_none());
        let elsewhere = placer.place_move(from, &ids(&[3, 4])).unwrap();
        assert!(image.fits(from, elsewhere), "no node is in both");
    }

    #[test]
    fn a_dictated_list_keeps_its_order_and_is_made_once() {
        let image = cluster(&[None; 3], 1);
        let mut placer = Placer::new(&image);
        let first = placer.place_on(&ids(&[3, 1])).unwrap();
        let again = placer.place_on(&ids(&[3, 1])).unwrap();
        let other = placer.place_on(&ids(&[1, 3])).unwrap();
        assert_eq!(first.group, again.group);
        assert_ne!(first.group, other.group);
        assert!(placer.place_on(&ids(&[1, 9])).is_none());
        assert_eq!(placer.take_created().len(), 2);
    }
}

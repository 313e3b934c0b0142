//! Raft groups in the image, and who leads them: the part that is told, not logged.
//!
//! A leader whose connection to this node broke is in doubt until somebody tells who leads. Clients that lost it too ask at
//! once; an answer that names it would send them to a dead node and make them wait before they ask again, so answers wait
//! for a moment instead ([`DOUBT_MAX`]).

use std::sync::Arc;
use std::time::Duration;

use runtime::shards::ShardId;
use runtime::time::Instant;
use serde::{Deserialize, Serialize};

use super::image::{Image, hosting_shard};
use crate::ids::{NodeId, RaftGroupId};

/// A Raft group as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftGroupView {
    /// Voters in replica order.
    pub voters: Arc<[NodeId]>,
    /// Who leads, if known.
    pub leader: Option<NodeId>,
    /// Term of that leader; 0 before the first election.
    pub term: u64,
    /// Voters that have what is committed, as its leader says; absent if all have.
    pub isr: Option<Arc<[NodeId]>>,
    /// The shard that hosts the group on this node (node-local).
    pub shard: ShardId,
}

/// What the leader of a group tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedGroup {
    /// Number of the group.
    pub group: u64,
    /// Who leads; absent if that is being decided.
    pub leader: Option<NodeId>,
    /// In which term.
    pub term: u64,
    /// Voters that have what is committed; absent if all have.
    pub isr: Option<Vec<NodeId>>,
}

impl RaftGroupView {
    /// The voters that are heard of, if that is not all of them: what a new leader can say of who is in sync.
    pub fn unfenced(&self, image: &Image) -> Option<Vec<NodeId>> {
        let live: Vec<NodeId> =
            self.voters.iter().copied().filter(|node| !image.is_fenced(*node)).collect();
        (live.len() < self.voters.len()).then_some(live)
    }

    /// Voters that have what is committed.
    pub fn in_sync(&self) -> &Arc<[NodeId]> {
        self.isr.as_ref().unwrap_or(&self.voters)
    }
}

/// How long answers wait for another leader: elections that follow a broken connection take half of it.
pub const DOUBT_MAX: Duration = Duration::from_millis(300);

impl Image {
    /// The connection to a shard of another node broke: what is led there is in doubt from now on. Returns whether that is
    /// news; it is so once until the leader, or another one, tells that it leads.
    pub fn doubt(&mut self, node: NodeId, shard: ShardId, now: Instant) -> bool {
        let shards = self.nodes.get(&node).and_then(|node| node.link.as_ref());
        let Some(shards) = shards.map(|link| usize::from(link.shards)) else { return false };
        let before = self.doubted.len();
        for (id, group) in &self.groups {
            if group.leader == Some(node) && hosting_shard(*id, shards) == shard {
                self.doubted.entry(*id).or_insert(now);
            }
        }
        self.doubted.len() > before
    }

    /// How long an answer waits because leaders are in doubt.
    pub fn doubt_left(&self, now: Instant) -> Option<Duration> {
        let ends = self.doubted.values().map(|since| *since + DOUBT_MAX);
        ends.max().map(|end| end.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Takes in who leads a group, unless something newer is known; returns whether that is news.
    ///
    /// A term has one leader (Raft thesis, section 3.4): who is known to lead in a term is not replaced in it.
    pub fn note_leader(&mut self, told: LedGroup) -> bool {
        let Some(group) = self.groups.get_mut(&RaftGroupId(told.group)) else {
            return false;
        };
        let isr: Option<Arc<[NodeId]>> = told.isr.map(Arc::from);
        let has_other = group.leader.is_some() && told.leader != group.leader;
        let is_old = told.term < group.term || told.term == group.term && has_other;
        let was_doubted = !is_old && self.doubted.remove(&RaftGroupId(told.group)).is_some();
        if is_old || (group.leader, group.term, &group.isr) == (told.leader, told.term, &isr) {
            return was_doubted;
        }
        group.leader = told.leader;
        group.term = told.term;
        group.isr = isr;
        true
    }
}

#[cfg(test)]
mod tests {
    use config::NodeConfig;

    use super::*;
    use crate::ids::TopicId;
    use crate::metadata::{BrokerRecord, MetadataRecord};

    /// Node 2 with two shards leads groups 1 (on its shard 0) and 2 (on its shard 1).
    fn image() -> Image {
        let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").unwrap();
        let mut image = Image::empty("c", NodeId(1), 1, Arc::new(config.values));
        let record = BrokerRecord {
            node: NodeId(2),
            rack: None,
            endpoints: Vec::new(),
            directory: TopicId([2; 16]),
            peer: ("h".to_owned(), 1),
            shards: 2,
            epoch: 1,
            fenced: false,
        };
        image.apply(&MetadataRecord::RegisterBroker(record)).unwrap();
        for group in [1, 2] {
            let voters = vec![NodeId(1), NodeId(2)];
            let group = RaftGroupId(group);
            image.apply(&MetadataRecord::CreateRaftGroup { group, voters }).unwrap();
            assert!(image.note_leader(told(group.0, 2, 1)));
        }
        image
    }

    fn told(group: u64, leader: i32, term: u64) -> LedGroup {
        LedGroup { group, leader: Some(NodeId(leader)), term, isr: None }
    }

    #[test]
    fn a_term_keeps_its_leader_whoever_else_claims_it() {
        let mut image = image();
        assert!(image.note_leader(told(1, 1, 2)));
        assert!(!image.note_leader(told(1, 2, 2)), "a deposed leader with the term of the next");
        assert_eq!(image.groups[&RaftGroupId(1)].leader, Some(NodeId(1)));
        assert!(image.note_leader(told(1, 2, 3)));
    }

    #[test]
    fn what_is_led_over_a_broken_connection_is_in_doubt_until_somebody_leads() {
        runtime::block_on(async {
            let (mut image, now) = (image(), Instant::now());
            assert!(!image.doubt(NodeId(3), ShardId(0), now), "a node that leads nothing");
            assert!(image.doubt(NodeId(2), ShardId(1), now));
            assert_eq!(image.doubt_left(now), Some(DOUBT_MAX));
            assert!(!image.note_leader(told(1, 2, 1)), "the other group is not concerned");
            assert!(!image.note_leader(LedGroup { leader: None, ..told(2, 2, 1) }));
            assert!(image.doubt_left(now).is_some());
            assert!(image.note_leader(told(2, 1, 2)));
            assert_eq!(image.doubt_left(now), None);
        });
    }

    #[test]
    fn a_leader_that_tells_again_is_beyond_doubt_and_one_doubt_is_not_prolonged() {
        runtime::block_on(async {
            let (mut image, now) = (image(), Instant::now());
            assert!(image.doubt(NodeId(2), ShardId(0), now));
            let later = now + DOUBT_MAX;
            assert!(!image.doubt(NodeId(2), ShardId(0), later));
            assert_eq!(image.doubt_left(later), None);
            assert!(image.note_leader(told(1, 2, 1)), "whoever waits shall look again");
            assert!(image.doubt(NodeId(2), ShardId(0), later));
            assert!(image.doubt_left(later).is_some());
        });
    }
}

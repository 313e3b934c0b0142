//! Which replica a consumer better reads from (KIP-392): one in its own rack.
//!
//! Decided where the request came in, from the image. Source: Kafka's `ReplicaManager.findPreferredReadReplica` and
//! `RackAwareReplicaSelector`: the leader if it is in the client's rack, else a replica there that is in sync; if there is
//! none, the leader. Of several, the one with the largest id, as Kafka has it for replicas that are equally far.

use crate::ids::NodeId;
use crate::metadata::{Image, Topic};

/// What a consumer says of itself.
pub struct Reader<'a> {
    /// `client.rack`; empty if it has none.
    pub rack: &'a str,
    /// The listener that it came by.
    pub listener: &'a str,
}

/// The replica in the reader's rack that it better reads from, if this node leads the partition and is elsewhere.
pub fn preferred_replica(
    image: &Image,
    topic: &Topic,
    index: i32,
    reader: &Reader<'_>,
) -> Option<NodeId> {
    let placement = image.placement(topic, index)?;
    if reader.rack.is_empty() || placement.leader != Some(image.node) {
        return None;
    }
    let is_there = |node: &NodeId| {
        let node = image.nodes.get(node).filter(|node| !node.fenced);
        node.is_some_and(|node| {
            node.rack.as_deref() == Some(reader.rack) && node.endpoint(reader.listener).is_some()
        })
    };
    if is_there(&image.node) {
        return None;
    }
    placement.in_sync.iter().copied().filter(is_there).max()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::NodeConfig;

    use super::*;
    use crate::ids::{RaftGroupId, TopicId};
    use crate::metadata::{BrokerRecord, LedGroup, MetadataRecord, PartitionRecord};

    /// Nodes 1, 2, ... in these racks; one topic on all of them, led by node 1, which this is.
    fn image(racks: &[&str]) -> Image {
        let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").unwrap();
        let mut image = Image::empty("c", NodeId(1), 1, Arc::new(config.values));
        for (id, rack) in (1..).zip(racks) {
            let endpoint =
                ("PLAINTEXT".to_owned(), "PLAINTEXT".to_owned(), "h".to_owned(), id as u16);
            let record = BrokerRecord {
                node: NodeId(id),
                rack: Some((*rack).to_owned()).filter(|rack| !rack.is_empty()),
                endpoints: vec![endpoint],
                directory: TopicId([id as u8; 16]),
                peer: ("h".to_owned(), 1),
                shards: 1,
                epoch: 1,
                fenced: false,
            };
            image.apply(&MetadataRecord::RegisterBroker(record)).unwrap();
        }
        let group = RaftGroupId(1);
        let voters = (1..=racks.len() as i32).map(NodeId).collect();
        image.apply(&MetadataRecord::CreateRaftGroup { group, voters }).unwrap();
        let create = MetadataRecord::CreateTopic {
            topic: TopicId([9; 16]),
            name: "t".to_owned(),
            partitions: vec![PartitionRecord { group, epoch_base: 0 }],
            configs: Vec::new(),
        };
        image.apply(&create).unwrap();
        lead(&mut image, 1, 1, None);
        image
    }

    fn lead(image: &mut Image, node: i32, term: u64, isr: Option<&[i32]>) {
        let isr = isr.map(|ids| ids.iter().copied().map(NodeId).collect());
        image.note_leader(LedGroup { group: 1, leader: Some(NodeId(node)), term, isr });
    }

    fn prefers(image: &Image, rack: &str) -> Option<i32> {
        let topic = image.topic("t").unwrap();
        let reader = Reader { rack, listener: "PLAINTEXT" };
        preferred_replica(image, topic, 0, &reader).map(|node| node.0)
    }

    #[test]
    fn a_reader_is_sent_to_the_replica_in_its_rack() {
        let image = image(&["a", "b", "c"]);
        assert_eq!(prefers(&image, "b"), Some(2));
        assert_eq!(prefers(&image, "c"), Some(3));
        assert_eq!(prefers(&image, "a"), None, "the leader is there");
        assert_eq!(prefers(&image, "d"), None, "nobody is there");
        assert_eq!(prefers(&image, ""), None, "it has no rack");
    }

    #[test]
    fn who_is_fenced_or_not_in_sync_is_not_preferred() {
        let mut image = image(&["a", "b", "b"]);
        assert_eq!(prefers(&image, "b"), Some(3));
        image.apply(&MetadataRecord::Fence { node: NodeId(3) }).unwrap();
        assert_eq!(prefers(&image, "b"), Some(2));
        lead(&mut image, 1, 1, Some(&[1]));
        assert_eq!(prefers(&image, "b"), None);
    }

    #[test]
    fn only_the_leader_sends_readers_elsewhere() {
        let mut image = image(&["a", "b", "c"]);
        lead(&mut image, 2, 2, None);
        assert_eq!(prefers(&image, "c"), None);
    }

    #[test]
    fn a_leader_without_a_rack_sends_readers_to_theirs() {
        let image = image(&["", "b"]);
        assert_eq!(prefers(&image, "b"), Some(2));
        assert_eq!(prefers(&image, ""), None);
    }
}

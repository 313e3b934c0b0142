//! Decisions about reassignments, without a node. The codes are Kafka's.

use std::sync::Arc;

use config::NodeConfig;
use protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ListPartitionReassignmentsRequest, TopicName,
};
use protocol::{ErrorCode, StrBytes};

use super::{alter_reassignments, list_reassignments};
use crate::ids::{NodeId, PartitionId, TopicId};
use crate::metadata::{BrokerRecord, Image, MetadataRecord, Placer};

const TOPIC: TopicId = TopicId([7; 16]);

/// Four nodes of two shards; topic `t` with three partitions on 1 and 2.
fn image() -> Image {
    let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").expect("a good file");
    let mut image = Image::empty("c", NodeId(1), 2, Arc::new(config.values));
    for node in 1..=4 {
        let record = BrokerRecord {
            node: NodeId(node),
            rack: None,
            endpoints: Vec::new(),
            directory: TopicId([node as u8; 16]),
            peer: ("h".to_owned(), 1),
            shards: 2,
            epoch: 1,
            fenced: false,
        };
        apply(&mut image, vec![MetadataRecord::RegisterBroker(record)]);
    }
    let mut placer = Placer::new(&image);
    let nodes = [NodeId(1), NodeId(2)];
    let placed = (0..3).map(|_| placer.place_on(&nodes).expect("both are there")).collect();
    let mut records = placer.take_created();
    records.push(MetadataRecord::CreateTopic {
        topic: TOPIC,
        name: "t".to_owned(),
        partitions: placed,
        configs: Vec::new(),
    });
    apply(&mut image, records);
    image
}

fn apply(image: &mut Image, records: Vec<MetadataRecord>) {
    image.index += 1;
    for record in records {
        image.apply(&record).expect("a record that fits");
    }
}

type Asked<'a> = (i32, Option<&'a [i32]>);

/// The codes of the answers, after what was decided took effect.
fn alter(image: &mut Image, topic: &str, allow: bool, asked: &[Asked<'_>]) -> Vec<ErrorCode> {
    let partitions = asked.iter().map(|(index, replicas)| {
        let replicas = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
        ReassignablePartition::default().with_partition_index(*index).with_replicas(replicas)
    });
    let topic = ReassignableTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions.collect());
    let request = AlterPartitionReassignmentsRequest::default()
        .with_allow_replication_factor_change(allow)
        .with_topics(vec![topic]);
    let change = alter_reassignments::decide(image, &request);
    apply(image, change.records);
    let answered = change.answer.responses.iter().flat_map(|topic| &topic.partitions);
    answered.map(|p| ErrorCode::from_code(p.error_code).expect("Kafka's")).collect()
}

/// Index, replicas, adding, removing.
type Listed = (i32, Vec<i32>, Vec<i32>, Vec<i32>);

fn listed(image: &Image, asked: Option<&[i32]>) -> Vec<Listed> {
    let topics = asked.map(|indexes| {
        let name = TopicName(StrBytes::from_static_str("t"));
        let topic = ListPartitionReassignmentsTopics::default().with_name(name);
        vec![topic.with_partition_indexes(indexes.to_vec())]
    });
    let request = ListPartitionReassignmentsRequest::default().with_topics(topics);
    let answer = list_reassignments::list(image, &request);
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let all = answer.topics.iter().flat_map(|topic| &topic.partitions);
    all.map(|p| {
        let (adding, removing) = (ids(&p.adding_replicas), ids(&p.removing_replicas));
        (p.partition_index, ids(&p.replicas), adding, removing)
    })
    .collect()
}

#[test]
fn a_move_is_listed_until_it_is_cancelled() {
    use ErrorCode::{NoReassignmentInProgress, None as Done};
    let mut image = image();
    assert_eq!(alter(&mut image, "t", true, &[(0, Some(&[3, 1])), (2, Some(&[4]))]), [Done, Done]);
    let first = (0, vec![3, 1, 2], vec![3], vec![2]);
    let second = (2, vec![4, 1, 2], vec![4], vec![1, 2]);
    assert_eq!(listed(&image, None), [first.clone(), second]);
    assert_eq!(listed(&image, Some(&[0, 1, 9])), [first]);
    let id = PartitionId { topic: TOPIC, index: 0 };
    let moving = *image.move_of(id).expect("it moves");
    assert!(image.fits(image.group_of(id).expect("placed"), moving.to));
    let codes = alter(&mut image, "t", true, &[(0, None), (1, None), (2, None)]);
    assert_eq!(codes, [Done, NoReassignmentInProgress, Done]);
    assert_eq!(listed(&image, None), []);
    assert_eq!(image.moves.len(), 0);
}

#[test]
fn another_target_takes_the_place_of_the_first_and_the_own_list_ends_a_move() {
    use ErrorCode::None as Done;
    let mut image = image();
    let id = PartitionId { topic: TOPIC, index: 1 };
    assert_eq!(alter(&mut image, "t", true, &[(1, Some(&[3, 4]))]), [Done]);
    let first = *image.move_of(id).expect("it moves");
    assert_eq!(alter(&mut image, "t", true, &[(1, Some(&[3, 4]))]), [Done]);
    assert_eq!(image.move_of(id), Some(&first), "the same again changes nothing");
    assert_eq!(alter(&mut image, "t", true, &[(1, Some(&[4, 3]))]), [Done]);
    let second = *image.move_of(id).expect("it moves");
    assert!(second.id > first.id && second.to != first.to);
    assert_eq!(alter(&mut image, "t", true, &[(1, Some(&[1, 2]))]), [Done]);
    assert_eq!(image.move_of(id), None);
    // one request, twice the same partition: the last word counts
    assert_eq!(alter(&mut image, "t", true, &[(1, Some(&[3])), (1, Some(&[4]))]), [Done, Done]);
    assert_eq!(listed(&image, None), [(1, vec![4, 1, 2], vec![4], vec![1, 2])]);
}

#[test]
fn another_order_alone_is_carried_out_and_not_listed() {
    let mut image = image();
    let codes = alter(&mut image, "t", false, &[(0, Some(&[2, 1]))]);
    assert_eq!(codes, [ErrorCode::None]);
    assert_eq!((image.moves.len(), listed(&image, None)), (1, vec![]));
    let codes = alter(&mut image, "t", true, &[(0, None)]);
    assert_eq!(codes, [ErrorCode::NoReassignmentInProgress]);
}

#[test]
fn what_cannot_be_is_refused_with_kafkas_codes() {
    use ErrorCode::{
        InvalidReplicaAssignment, InvalidReplicationFactor, None as Done, UnknownTopicOrPartition,
    };
    let mut image = image();
    let codes = alter(
        &mut image,
        "t",
        true,
        &[
            (0, Some(&[])),
            (0, Some(&[1, 1])),
            (0, Some(&[1, 9])),
            (0, Some(&[-1])),
            (7, Some(&[1])),
        ],
    );
    let wrong = InvalidReplicaAssignment;
    assert_eq!(codes, [wrong, wrong, wrong, wrong, UnknownTopicOrPartition]);
    assert_eq!(alter(&mut image, "nope", true, &[(0, None)]), [UnknownTopicOrPartition]);
    let codes = alter(&mut image, "t", false, &[(0, Some(&[3])), (0, Some(&[3, 4]))]);
    assert_eq!(codes, [InvalidReplicationFactor, Done]);
    // while it moves, the factor is that of the target
    assert_eq!(alter(&mut image, "t", true, &[(0, Some(&[1, 2, 3]))]), [Done]);
    let codes = alter(&mut image, "t", false, &[(0, Some(&[3, 4])), (0, Some(&[2, 3, 4]))]);
    assert_eq!(codes, [InvalidReplicationFactor, Done]);
}

#[test]
fn a_snapshot_of_the_metadata_has_the_moves_and_a_deleted_topic_none() {
    let mut image = image();
    alter(&mut image, "t", true, &[(0, Some(&[3, 1])), (2, Some(&[4]))]);
    apply(&mut image, vec![MetadataRecord::SealMove { topic: TOPIC, index: 2, at: 0 }]);
    let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").expect("a good file");
    let mut copy = Image::empty("c", NodeId(1), 2, Arc::new(config.values));
    copy.index = 99;
    image.to_records().iter().for_each(|record| copy.apply(record).expect("it fits"));
    assert_eq!(copy.moves, image.moves);
    apply(&mut image, vec![MetadataRecord::DeleteTopic { topic: TOPIC }]);
    assert!(image.moves.is_empty());
}

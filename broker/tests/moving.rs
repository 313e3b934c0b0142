//! Three nodes as processes, and partitions that move between them: nothing that is acknowledged is lost, and groups keep
//! what they committed.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use client::{Assigned, Client, Codec, NewRecord, NewTopic, Start};
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    DeleteRecordsRequest, FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest,
    TopicName,
};
use protocol::{ErrorCode, StrBytes};

mod node;
use node::cluster::Cluster;
use node::eventually;
use node::numbers::{read_numbers, write_number};
use node::requests::{BROKER, TOPIC, alter};

/// The last version of OffsetCommit and OffsetFetch that names topics.
const BY_NAME_MAX: i16 = 9;

/// Acknowledged records by number; those that were sent more than once may be there more than once.
#[derive(Default)]
struct Written {
    numbers: BTreeSet<u32>,
    again: BTreeSet<u32>,
}

impl Written {
    fn write(&mut self, cluster: &Cluster, topic: &str, numbers: Range<u32>) {
        for number in numbers {
            let attempts = write_number(&cluster.bootstrap(), topic, number);
            self.numbers.insert(number);
            if attempts > 1 {
                self.again.insert(number);
            }
        }
    }

    fn assert_read(&self, cluster: &Cluster, topic: &str) {
        let seen = read_numbers(&cluster.bootstrap(), topic);
        let lost: Vec<_> = self.numbers.iter().filter(|n| !seen.contains_key(n)).collect();
        assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
        let is_twice =
            |(number, times): &(&u32, &usize)| **times > 1 && !self.again.contains(number);
        let twice: Vec<_> = seen.iter().filter(is_twice).collect();
        assert!(twice.is_empty(), "acknowledged once and there twice: {twice:?}");
    }
}

fn place(cluster: &Cluster, topic: &str, lists: &[&[i32]]) {
    let wanted: Vec<Assigned> = (0..)
        .zip(lists)
        .map(|(partition, replicas)| Assigned {
            topic: topic.to_owned(),
            partition,
            replicas: replicas.to_vec(),
        })
        .collect();
    eventually("the reassignment is taken", || cluster.client().reassign(&wanted).ok());
}

fn wait_placed(cluster: &Cluster, topic: &str, lists: &[&[i32]]) {
    eventually("all partitions are where they shall be", || {
        let mut client = Client::connect(&cluster.bootstrap()).ok()?;
        let there: Vec<Vec<i32>> =
            client.describe_topic(topic).ok()?.partitions.into_iter().map(|p| p.replicas).collect();
        (there == lists && client.reassignments().ok()?.is_empty()).then_some(())
    });
}

#[test]
fn partitions_go_from_node_to_node_and_back_and_nothing_is_lost() {
    let cluster = Cluster::start();
    cluster.create_with("t", 3, 1);
    let mut written = Written::default();
    written.write(&cluster, "t", 0..30);
    let rounds: [[&[i32]; 3]; 5] = [
        [&[1], &[2], &[3]],
        [&[2], &[3, 1], &[1, 2, 3]],
        [&[3, 2], &[1], &[2, 1]],
        [&[2, 3], &[1, 3, 2], &[3]],
        [&[1], &[2], &[3]],
    ];
    let mut epochs = vec![0; 3];
    for (round, lists) in (1..).zip(rounds) {
        place(&cluster, "t", &lists);
        written.write(&cluster, "t", 30 * round..30 * (round + 1));
        wait_placed(&cluster, "t", &lists);
        let described = cluster.client().describe_topic("t").expect("it is described");
        for (partition, before) in described.partitions.iter().zip(&mut epochs) {
            assert!(partition.leader_epoch >= *before, "{partition:?} was in epoch {before}");
            *before = partition.leader_epoch;
        }
        written.assert_read(&cluster, "t");
    }
}

#[test]
fn a_move_goes_on_after_the_death_of_each_node_and_what_it_carried_survives_all() {
    let mut cluster = Cluster::start();
    cluster.create_with("t", 3, 2);
    let mut written = Written::default();
    written.write(&cluster, "t", 0..30);
    let rounds: [[&[i32]; 3]; 3] =
        [[&[2, 3], &[3, 1], &[1, 2]], [&[3, 1], &[1, 2], &[2, 3]], [&[1, 2, 3]; 3]];
    for (round, lists) in (1..).zip(rounds) {
        place(&cluster, "t", &lists);
        let victim = round as usize % node::cluster::NODES;
        cluster.kill(victim);
        cluster.restart(victim);
        written.write(&cluster, "t", 30 * round..30 * (round + 1));
        wait_placed(&cluster, "t", &lists);
    }
    (0..node::cluster::NODES).for_each(|index| cluster.kill(index));
    let spawned: Vec<_> =
        (0..node::cluster::NODES).map(|index| cluster.spawn(index, &cluster.home(index))).collect();
    cluster.running =
        spawned.into_iter().map(|child| Some(node::cluster::wait_ready(child))).collect();
    written.write(&cluster, "t", 200..210);
    written.assert_read(&cluster, "t");
}

#[test]
fn a_move_to_a_node_that_is_away_waits_is_shown_and_can_be_cancelled() {
    let mut cluster = one_partition_on_node_1();
    let mut written = Written::default();
    written.write(&cluster, "t", 0..10);
    cluster.kill(2);
    place(&cluster, "t", &[&[3]]);
    written.write(&cluster, "t", 10..20);
    let shown = eventually("it is shown", || cluster.client().reassignments().ok()?.pop());
    assert_eq!((shown.adding, shown.removing), (vec![3], vec![1]));
    let replicas = &cluster.client().describe_topic("t").expect("described").partitions[0].replicas;
    assert_eq!(*replicas, [3, 1]);
    let of = [("t".to_owned(), 0)];
    cluster.client().cancel_reassignment(&of).expect("it is cancelled");
    let none = cluster.client().cancel_reassignment(&of).expect_err("nothing is in progress");
    assert_eq!(none.code(), Some(ErrorCode::NoReassignmentInProgress));
    wait_placed(&cluster, "t", &[&[1]]);
    written.write(&cluster, "t", 20..30);
    cluster.restart(2);
    place(&cluster, "t", &[&[3]]);
    wait_placed(&cluster, "t", &[&[3]]);
    written.assert_read(&cluster, "t");
}

/// Directories of a partition on a node, also those that are being removed.
fn dirs_of(cluster: &Cluster, index: usize, partition: &str) -> Vec<String> {
    let listed = std::fs::read_dir(cluster.home(index).join("data")).expect("a directory");
    let names = listed.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(partition)).collect()
}

#[test]
fn files_of_a_partition_that_moved_while_its_node_was_away_go_and_it_can_come_back() {
    let mut cluster = Cluster::start();
    cluster.create_with("t", 1, 3);
    let mut written = Written::default();
    written.write(&cluster, "t", 0..20);
    cluster.wait_in_sync("t");
    cluster.stop(2);
    assert_eq!(dirs_of(&cluster, 2, "t-0"), ["t-0"]);
    place(&cluster, "t", &[&[1, 2]]);
    wait_placed(&cluster, "t", &[&[1, 2]]);
    cluster.restart(2);
    eventually("they are gone", || dirs_of(&cluster, 2, "t-0").is_empty().then_some(()));
    written.write(&cluster, "t", 20..40);
    place(&cluster, "t", &[&[3]]);
    wait_placed(&cluster, "t", &[&[3]]);
    cluster.kill(2);
    cluster.restart(2);
    written.assert_read(&cluster, "t");
}

#[test]
fn files_of_a_deleted_topic_go_where_a_new_one_of_that_name_has_no_replica() {
    let mut cluster = Cluster::start();
    cluster.create_with("t", 1, 3);
    Written::default().write(&cluster, "t", 0..20);
    cluster.wait_in_sync("t");
    cluster.stop(2);
    eventually("it is deleted", || cluster.client().delete_topic("t").ok());
    eventually("another one is there", || {
        let new = NewTopic {
            name: "t".to_owned(),
            partitions: Some(1),
            replication: Some(1),
            configs: Vec::new(),
        };
        cluster.client().create_topic(&new).ok()
    });
    let replicas = &cluster.client().describe_topic("t").expect("described").partitions[0].replicas;
    assert_ne!(*replicas, [3], "who is away gets none");
    cluster.restart(2);
    eventually("they are gone", || dirs_of(&cluster, 2, "t-0").is_empty().then_some(()));
}

#[test]
fn a_move_goes_on_when_a_node_that_keeps_the_partition_comes_back_with_other_shards() {
    let on = |nodes: &'static [i32]| [nodes; 3];
    let mut cluster = Cluster::start();
    cluster.create_with("t", 3, 1);
    place(&cluster, "t", &on(&[1, 2]));
    wait_placed(&cluster, "t", &on(&[1, 2]));
    let mut written = Written::default();
    written.write(&cluster, "t", 0..60);
    throttle(&cluster, Some("1"));
    place(&cluster, "t", &on(&[2, 3]));
    cluster.settings = |index| format!("millrace.shards={}\n", if index == 1 { 3 } else { 2 });
    cluster.kill(1);
    cluster.restart(1);
    written.write(&cluster, "t", 60..90);
    assert_eq!(cluster.client().reassignments().expect("they are told").len(), 3);
    throttle(&cluster, None);
    wait_placed(&cluster, "t", &on(&[2, 3]));
    place(&cluster, "t", &on(&[2]));
    wait_placed(&cluster, "t", &on(&[2]));
    written.assert_read(&cluster, "t");
}

/// What `kafka-reassign-partitions --throttle` sets, or takes back.
fn throttle(cluster: &Cluster, rate: Option<&str>) {
    let mut connection = cluster.connect(0);
    let replicas = rate.map(|_| "*");
    for side in ["leader", "follower"] {
        let name = format!("{side}.replication.throttled.replicas");
        assert_eq!(alter(&mut connection, TOPIC, "t", &name, replicas), ErrorCode::None, "{name}");
        let name = format!("{side}.replication.throttled.rate");
        for broker in ["1", "2", "3"] {
            let altered = alter(&mut connection, BROKER, broker, &name, rate);
            assert_eq!(altered, ErrorCode::None, "{name}");
        }
    }
}

/// A cluster with the topic `t`, whose one partition has its only replica on node 1.
fn one_partition_on_node_1() -> Cluster {
    let cluster = Cluster::start();
    cluster.create_with("t", 1, 1);
    place(&cluster, "t", &[&[1]]);
    wait_placed(&cluster, "t", &[&[1]]);
    cluster
}

#[test]
fn a_throttled_move_stays_on_its_way_until_the_throttle_is_lifted() {
    let cluster = one_partition_on_node_1();
    let mut written = Written::default();
    written.write(&cluster, "t", 0..50);
    throttle(&cluster, Some("1"));
    place(&cluster, "t", &[&[3]]);
    // at one byte per second all this takes an hour
    written.write(&cluster, "t", 50..100);
    let shown = cluster.client().reassignments().expect("they are told").pop();
    assert_eq!(shown.map(|it| (it.adding, it.removing)), Some((vec![3], vec![1])));
    throttle(&cluster, None);
    wait_placed(&cluster, "t", &[&[3]]);
    written.assert_read(&cluster, "t");
}

#[test]
fn a_throttled_move_ends_although_each_piece_is_small() {
    let cluster = one_partition_on_node_1();
    let mut written = Written::default();
    written.write(&cluster, "t", 0..100);
    // some of these bytes a second, of several times as many
    throttle(&cluster, Some("2000"));
    place(&cluster, "t", &[&[3]]);
    wait_placed(&cluster, "t", &[&[3]]);
    written.assert_read(&cluster, "t");
}

fn delete_before(cluster: &Cluster, topic: &str, offset: i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let of_topic = DeleteRecordsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(vec![partition]);
    let request =
        DeleteRecordsRequest::default().with_timeout_ms(10_000).with_topics(vec![of_topic]);
    eventually("records are deleted", || {
        let answer = cluster.connect(cluster.leader(topic, 0)).call(&request).ok()?;
        (answer.topics[0].partitions[0].error_code == 0).then_some(())
    });
}

#[test]
fn a_copy_begins_where_the_log_begins_and_is_whole_after_a_crash() {
    let mut cluster = one_partition_on_node_1();
    let mut written = Written::default();
    written.write(&cluster, "t", 0..40);
    delete_before(&cluster, "t", 25);
    written.write(&cluster, "t", 40..50);
    for round in 0..2 {
        place(&cluster, "t", &[&[3 - round]]);
        wait_placed(&cluster, "t", &[&[3 - round]]);
        let index = 2 - round as usize;
        cluster.kill(index);
        cluster.restart(index);
        let partition = eventually("it is led again", || {
            let described = cluster.client().describe_topic("t").ok()?;
            described.partitions.into_iter().next().filter(|p| p.end_offset >= 50)
        });
        assert_eq!(partition.start_offset, 25);
    }
    let seen = read_numbers(&cluster.bootstrap(), "t");
    let left = written.numbers.iter().filter(|number| seen.contains_key(number)).count();
    assert!((20..=25).contains(&left), "{left} records behind the start");
    assert!((40..50).all(|number| seen.contains_key(&number)), "{seen:?}");
}

/// Writes these numbers as one batch.
fn write_batch(cluster: &Cluster, topic: &str, numbers: Range<u32>) {
    let mut client = cluster.client();
    let mut writer = client.writer(topic, None, Codec::None).expect("it is there");
    for number in numbers {
        let value = Some(number.to_string().into_bytes());
        writer.write(&NewRecord { value, ..Default::default() }).expect("it is taken");
    }
    writer.flush().expect("it is acknowledged");
}

#[test]
fn a_log_that_begins_within_a_batch_goes_to_another_node() {
    let cluster = one_partition_on_node_1();
    write_batch(&cluster, "t", 0..10);
    write_batch(&cluster, "t", 10..20);
    delete_before(&cluster, "t", 15);
    place(&cluster, "t", &[&[2]]);
    wait_placed(&cluster, "t", &[&[2]]);
    let seen = eventually("it is led there", || {
        let described = cluster.client().describe_topic("t").ok()?;
        let partition = described.partitions.into_iter().next()?;
        (partition.end_offset >= 20).then_some(partition.start_offset)
    });
    assert_eq!(seen, 15);
    let values = eventually("everything is read", || {
        let mut client = Client::connect(&cluster.bootstrap()).ok()?;
        let mut reader = client.reader("t", None, Start::Beginning).ok()?;
        let mut values = Vec::new();
        while reader.lag().ok()? > 0 {
            values.extend(reader.read().ok()?.into_iter().filter_map(|record| record.value));
        }
        Some(values)
    });
    let wanted: Vec<Vec<u8>> = (15..20).map(|n: u32| n.to_string().into_bytes()).collect();
    assert_eq!(values, wanted);
}

/// Keys with the rounds in which they were written, in the order of the log.
fn read_rounds(cluster: &Cluster, topic: &str) -> Option<Vec<(Vec<u8>, u8)>> {
    let mut client = Client::connect(&cluster.bootstrap()).ok()?;
    let mut reader = client.reader(topic, None, Start::Beginning).ok()?;
    let mut seen = Vec::new();
    while reader.lag().ok()? > 0 {
        for record in reader.read().ok()? {
            seen.push((record.key?, *record.value?.first()?));
        }
    }
    Some(seen)
}

#[test]
fn what_compaction_left_of_a_log_is_copied_with_its_gaps() {
    const KEYS: u32 = 500;
    let often = |_| "log.cleaner.backoff.ms=20\nmillrace.tail.cache.bytes=1048576\n".to_owned();
    let mut cluster = Cluster::start_with(often);
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let new = NewTopic {
        name: "t".to_owned(),
        partitions: Some(1),
        replication: Some(1),
        configs: configs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
    };
    cluster.client().create_topic(&new).expect("the topic is created");
    place(&cluster, "t", &[&[1]]);
    wait_placed(&cluster, "t", &[&[1]]);
    for round in 0..4 {
        let mut client = cluster.client();
        let mut writer = client.writer("t", None, Codec::None).expect("it is there");
        for key in 0..KEYS {
            let (key, value) = (key.to_string().into_bytes(), vec![round; 3_000]);
            let record = NewRecord { key: Some(key), value: Some(value), ..Default::default() };
            writer.write(&record).expect("it is taken");
        }
        writer.flush().expect("it is acknowledged");
    }
    // what is in memory still is read from there
    eventually("old values go", || {
        (read_rounds(&cluster, "t")?.len() < 3 * KEYS as usize).then_some(())
    });
    for node in [2, 3] {
        place(&cluster, "t", &[&[node]]);
        wait_placed(&cluster, "t", &[&[node]]);
        cluster.kill(node as usize - 1);
        cluster.restart(node as usize - 1);
        let seen = eventually("everything is read", || read_rounds(&cluster, "t"));
        let newest: BTreeMap<Vec<u8>, u8> = seen.into_iter().collect();
        assert_eq!(newest.len(), KEYS as usize);
        assert!(newest.values().all(|round| *round == 3), "an older value is the last");
    }
}

/// It comes into being when the first coordinator is looked for.
fn make_offsets_topic(cluster: &Cluster) {
    eventually("a coordinator", || {
        let request = FindCoordinatorRequest::default()
            .with_key_type(0)
            .with_coordinator_keys(vec![StrBytes::from_static_str("g0")]);
        let answer = cluster.connect(0).call(&request).ok()?;
        (answer.coordinators.first()?.error_code == 0).then_some(())
    });
}

/// Commits an offset, as a consumer without a group's membership does.
fn commit(cluster: &Cluster, group: &str, offset: i64) {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(StrBytes::from_static_str("")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    eventually("the offset is committed", || {
        let to_all = (0..node::cluster::NODES).filter(|index| cluster.running[*index].is_some());
        to_all.into_iter().find_map(|index| {
            let answer = cluster.connect(index).call_up_to(&request, BY_NAME_MAX).ok()?;
            (answer.topics[0].partitions[0].error_code == 0).then_some(())
        })
    });
}

fn committed(cluster: &Cluster, group: &str) -> i64 {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]);
    eventually("the offset is told", || {
        (0..node::cluster::NODES).find_map(|index| {
            let answer = cluster.connect(index).call_up_to(&request, BY_NAME_MAX).ok()?;
            let group = answer.groups.first().filter(|group| group.error_code == 0)?;
            Some(group.topics.first()?.partitions.first()?.committed_offset)
        })
    })
}

#[test]
fn groups_keep_what_they_committed_when_the_offsets_topic_moves() {
    let cluster = Cluster::start();
    cluster.create_with("t", 1, 3);
    let groups: Vec<String> = (0..6).map(|number| format!("g{number}")).collect();
    make_offsets_topic(&cluster);
    groups.iter().for_each(|group| commit(&cluster, group, 5));
    let rounds: [[&[i32]; 3]; 3] = [[&[1], &[2], &[3]], [&[2], &[3], &[1]], [&[3, 1], &[1], &[2]]];
    for (round, lists) in (6..).zip(rounds) {
        place(&cluster, "__consumer_offsets", &lists);
        wait_placed(&cluster, "__consumer_offsets", &lists);
        for group in &groups {
            assert_eq!(committed(&cluster, group), round - 1, "{group}");
            commit(&cluster, group, round);
        }
    }
}

//! Bytes that Apache Kafka 4.3.1 wrote to its `__consumer_offsets`, read and written again.

use coordinator::record::{GroupValue, OffsetValue, RecordKey};
use coordinator::*;
use std::sync::Arc;

mod world;
use world::World;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

const OFFSET_KEY: &str = "0001 0006676f6c64656e 00027431 00000000";
const OFFSET_WITH_TOPIC_ID: &str = "0004 0000000000000007 00000000 056d657461 000001a1fd15e485
    01 00 10 c87970c29e7741b694fbcbdc104f32c9";
const OFFSET_WITHOUT_METADATA: &str =
    "0004 0000000000000005 ffffffff 01 000001a1fd166944 01 00 10 06ed3af58f3c43e2bb96ef9769204464";
const OFFSET_WITH_RETENTION: &str =
    "0001 000000000000002a 00046b657074 000001a1fd17a512 000001a1fd192bb2";
const GROUP_KEY: &str = "0002 0006676f6c64656e";
const GROUP_NEW: &str = "0003 0000 00000000 ffff ffff 000001a1fd15e418 00000000";
const GROUP_STABLE: &str = "0003 0008636f6e73756d6572 00000001 000572616e6765
    00286369642d64636233633336362d303237372d343363352d613264382d633630356139333665363239
    000001a1fd15e43a 00000001
    00286369642d64636233633336362d303237372d343363352d613264382d633630356139333665363239
    ffff 0003636964 000a2f3132372e302e302e31 000493e0 0000afc8
    0000000e 0000000000010002743100000000
    00000016 00000000000100027431000000010000000000000000";
const GROUP_STATIC: &str = "0003 0008636f6e73756d6572 00000001 000572616e6765
    002769312d63313331313038362d393437612d346637662d613763612d396535326362643332663739
    000001a1fd16629b 00000001
    002769312d63313331313038362d393437612d346637662d613763612d396535326362643332663739
    00026931 000464696666 000a2f3132372e302e302e31 00004e20 00007530
    0000001e 000100000001000e643265733763756e633435342d74ffffffff00000000 00000002 4131";
const GROUP_EMPTIED: &str =
    "0003 0008636f6e73756d6572 00000002 ffff ffff 000001a1fd15e494 00000000";

fn committed(group: &str, topic: &str, commit: OffsetValue, now_ms: i64) -> Record {
    let mut coordinator = GroupCoordinator::new(Arc::default());
    let clock = Clock { monotonic_ms: 0, wall_ms: now_ms };
    coordinator.finish_load(clock);
    let request = Request::OffsetCommit(OffsetCommitRequest {
        group_id: group.into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_time_ms: commit.expire_timestamp_ms.map(|at| at - now_ms),
        names_missing_group: true,
        topics: vec![OffsetCommitTopic {
            name: topic.into(),
            topic_id: commit.topic_id,
            partitions: vec![OffsetCommitPartition {
                partition: 0,
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata,
            }],
        }],
    });
    let mut effects = coordinator.handle(Event::Request(RequestToken(1), request), clock);
    effects.appends.remove(0).records.remove(0)
}

#[test]
fn offset_commits_are_written_as_kafka_writes_them() {
    for bytes in [OFFSET_WITH_TOPIC_ID, OFFSET_WITHOUT_METADATA, OFFSET_WITH_RETENTION] {
        let value = OffsetValue::read(&hex(bytes)).unwrap();
        let now_ms = value.commit_timestamp_ms;
        let record = committed("golden", "t1", value, now_ms);
        assert_eq!(record.key, hex(OFFSET_KEY));
        assert_eq!(record.value.as_deref(), Some(&*hex(bytes)));
    }
}

#[test]
fn offset_commits_are_read_with_every_field() {
    let value = OffsetValue::read(&hex(OFFSET_WITH_TOPIC_ID)).unwrap();
    assert_eq!((value.offset, value.leader_epoch), (7, 0));
    assert_eq!(value.metadata.as_deref(), Some("meta"));
    assert_eq!(value.topic_id.to_vec(), hex("c87970c29e7741b694fbcbdc104f32c9"));
    let value = OffsetValue::read(&hex(OFFSET_WITH_RETENTION)).unwrap();
    assert_eq!(value.expire_timestamp_ms, Some(value.commit_timestamp_ms + 100_000));
}

#[test]
fn older_versions_of_offset_values_are_read() {
    let cases = [
        ("0000 0000000000000009 00016d 0000000000000064", -1, None),
        ("0001 0000000000000009 00016d 0000000000000064 ffffffffffffffff", -1, None),
        ("0001 0000000000000009 00016d 0000000000000064 00000000000000c8", -1, Some(200)),
        ("0002 0000000000000009 00016d 0000000000000064", -1, None),
        ("0003 0000000000000009 00000004 00016d 0000000000000064", 4, None),
        ("0004 0000000000000009 00000004 026d 0000000000000064 00", 4, None),
    ];
    for (bytes, leader_epoch, expire_timestamp_ms) in cases {
        let expected = CommittedOffset {
            offset: 9,
            leader_epoch,
            metadata: Some("m".into()),
            commit_timestamp_ms: 100,
            expire_timestamp_ms,
            topic_id: [0; 16],
        };
        assert_eq!(OffsetValue::read(&hex(bytes)).as_ref(), Ok(&expected), "{bytes}");
    }
    assert!(OffsetValue::read(&hex("0005 00")).is_err());
}

#[test]
fn older_versions_of_group_values_are_read() {
    let member = "00016d 0001 63 0001 68";
    let cases = [
        (format!("0000 0001 70 00000005 0001 72 00016d 00000001 {member} 000003e8 00000000 00000000"), -1),
        (
            format!("0001 0001 70 00000005 0001 72 00016d 00000001 {member} 000007d0 000003e8 00000000 00000000"),
            2000,
        ),
        (
            "0004 02 70 00000005 02 72 02 6d 0000000000000001 02 02 6d 00 02 63 02 68 000007d0 000003e8 01 01 00 00"
                .to_string(),
            2000,
        ),
    ];
    for (bytes, rebalance_timeout_ms) in cases {
        let value = GroupValue::read(&hex(&bytes)).unwrap();
        assert_eq!((value.generation, value.protocol_name.as_deref()), (5, Some("r")), "{bytes}");
        assert_eq!(value.members[0].rebalance_timeout_ms, rebalance_timeout_ms, "{bytes}");
        assert_eq!(value.members[0].session_timeout_ms, 1000, "{bytes}");
    }
}

#[test]
fn a_group_is_stored_as_kafka_stores_it_and_loads_from_kafkas_bytes() {
    for (bytes, instance_id) in [(GROUP_STABLE, None), (GROUP_STATIC, Some("i1"))] {
        let value = GroupValue::read(&hex(bytes)).unwrap();
        let theirs = &value.members[0];
        assert_eq!(theirs.instance_id.as_deref(), instance_id);
        // the same member joins and syncs here, at the same moment
        let mut world =
            World::new(Settings { initial_rebalance_delay_ms: 0, ..Settings::default() });
        world.now_ms = value.state_timestamp_ms - world::EPOCH_MS;
        let mut join = world::join("golden", &theirs.client_id, "", "".into());
        let prefix = instance_id.unwrap_or(&theirs.client_id);
        join.uuid = theirs.member_id[prefix.len() + 1..].into();
        join.instance_id = theirs.instance_id.clone();
        join.requires_known_member_id = false;
        join.session_timeout_ms = theirs.session_timeout_ms;
        join.rebalance_timeout_ms = theirs.rebalance_timeout_ms;
        join.protocols =
            vec![Protocol { name: "range".into(), metadata: theirs.subscription.clone() }];
        world.request(Request::JoinGroup(join));
        world.wait(0);
        world.request(Request::SyncGroup(SyncGroupRequest {
            group_id: "golden".into(),
            generation: 1,
            member_id: theirs.member_id.clone(),
            instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments: vec![(theirs.member_id.clone(), theirs.assignment.clone())],
        }));
        let stored = world.log.last().unwrap();
        assert_eq!(stored.key, hex(GROUP_KEY));
        assert_eq!(stored.value.as_deref(), Some(&*hex(bytes)));

        let mut loaded = GroupCoordinator::new(Arc::default());
        loaded.replay(&hex(GROUP_KEY), Some(&hex(GROUP_NEW))).unwrap();
        loaded.replay(&hex(GROUP_KEY), Some(&hex(bytes))).unwrap();
        assert_eq!((loaded.stats().groups_stable, loaded.stats().members), (1, 1));
        loaded.replay(&hex(GROUP_KEY), Some(&hex(GROUP_EMPTIED))).unwrap();
        assert_eq!((loaded.stats().groups_empty, loaded.stats().members), (1, 0));
        loaded.replay(&hex(GROUP_KEY), None).unwrap();
        assert_eq!(loaded.stats(), Stats::default());
    }
}

#[test]
fn cut_or_foreign_records_are_errors_or_skipped_and_never_panic() {
    let values = [OFFSET_WITH_TOPIC_ID, OFFSET_WITH_RETENTION, GROUP_STABLE, GROUP_STATIC];
    for bytes in values {
        let bytes = hex(bytes);
        for cut in 0..bytes.len() {
            let _ = OffsetValue::read(&bytes[..cut]);
            assert!(GroupValue::read(&bytes[..cut]).is_err() || bytes[1] == 4, "cut at {cut}");
        }
    }
    for cut in 0..hex(OFFSET_KEY).len() {
        assert!(RecordKey::read(&hex(OFFSET_KEY)[..cut]).is_err(), "cut at {cut}");
    }
    let mut coordinator = GroupCoordinator::new(Arc::default());
    assert_eq!(coordinator.replay(&hex("0003 0001 67"), None), Ok(false));
}

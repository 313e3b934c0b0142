//! The own readers and writers of Produce and Fetch beside `kafka-protocol`, at every version.

use bytes::{Bytes, BytesMut};
use protocol::fetch::*;
use protocol::messages::fetch_request::{
    FetchPartition as P, FetchTopic as T, ForgottenTopic as F,
};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::*;
use protocol::produce::*;
use protocol::{
    ApiRequest, ErrorCode, RequestHeader, StrBytes, Uuid, decode_response, encode_request,
};

const TOPIC: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1111_2222_3333_4444);
const OTHER: Uuid = Uuid::from_u128(77);

fn name(version: i16, ids_from: i16, name: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(if version >= ids_from { "" } else { name }))
}

fn header(api_key: i16, api_version: i16) -> RequestHeader {
    let client_id = Some(StrBytes::from_static_str("me"));
    RequestHeader { api_key, api_version, correlation_id: 41, client_id }
}

fn id(version: i16, ids_from: i16, id: Uuid) -> Uuid {
    if version >= ids_from { id } else { Uuid::nil() }
}

fn produce_request(v: i16) -> ProduceRequest {
    let partition = |index, records: Option<&'static [u8]>| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(records.map(Bytes::from_static))
    };
    let topic = |n, i, partitions| {
        TopicProduceData::default()
            .with_name(name(v, 13, n))
            .with_topic_id(id(v, 13, i))
            .with_partition_data(partitions)
    };
    ProduceRequest::default()
        .with_transactional_id(Some(StrBytes::from_static_str("tx").into()))
        .with_acks(-1)
        .with_timeout_ms(1500)
        .with_topic_data(vec![
            topic("one", TOPIC, vec![partition(3, Some(b"records")), partition(4, None)]),
            topic("two", OTHER, vec![partition(0, Some(b""))]),
        ])
}

#[test]
fn a_produce_request_is_read_as_kafka_protocol_wrote_it() {
    for v in 3..=13 {
        let mut body = BytesMut::new();
        produce_request(v).encode_body(&mut body, v).unwrap();
        let body = body.freeze();
        let view = ProduceRequestView::parse(body.clone(), v).unwrap();
        assert_eq!((view.acks, view.timeout_ms, view.transactional_id()), (-1, 1500, Some("tx")));
        assert_eq!((view.topic_count(), view.partition_count()), (2, 3));
        let mut seen = Vec::new();
        for t in view.topics() {
            for p in t.partitions() {
                seen.push((t.name, t.topic_id, p.index, p.records));
            }
        }
        let one = if v >= 13 { "" } else { "one" };
        let two = if v >= 13 { "" } else { "two" };
        assert_eq!(
            seen,
            [
                (one, id(v, 13, TOPIC), 3, Some(Bytes::from_static(b"records"))),
                (one, id(v, 13, TOPIC), 4, None),
                (two, id(v, 13, OTHER), 0, Some(Bytes::new())),
            ]
        );
        let records = seen[0].3.as_ref().unwrap();
        assert!(body.as_ptr_range().contains(&records.as_ptr()), "records were copied");
        for len in 0..body.len() {
            assert!(ProduceRequestView::parse(body.slice(..len), v).is_err(), "{v} {len}");
        }
    }
}

#[test]
fn a_produce_request_that_a_tool_writes_is_what_kafka_protocol_writes() {
    for v in 3..=13 {
        let mut request = produce_request(v);
        request.topic_data[0].partition_data[1].records = Some(Bytes::from_static(b"more"));
        let part = |topic, topic_id, index, records: &'static [u8]| ProducePart {
            topic,
            topic_id,
            index,
            records: Bytes::from_static(records),
        };
        let parts = [
            part("one", TOPIC, 3, b"records"),
            part("one", TOPIC, 4, b"more"),
            part("two", OTHER, 0, b""),
        ];
        let ours = encode_produce_request(&header(0, v), Some("tx"), -1, 1500, &parts).concat();
        assert_eq!(ours, encode_request(&header(0, v), &request).unwrap(), "version {v}");
    }
}

#[test]
fn a_produce_response_reads_back_with_every_field_of_its_version() {
    let errors = [RecordErrorEntry { batch_index: 2, message: Some("bad".into()) }];
    for v in 3..=13 {
        let mut w = ProduceResponseWriter::new(v, 41, 2);
        w.topic("one", TOPIC, 2);
        w.partition(&PartitionOutcome {
            log_append_time_ms: 99,
            ..PartitionOutcome::success(3, 1000, 7)
        });
        w.partition(&PartitionOutcome {
            record_errors: &errors,
            error_message: Some("refused"),
            current_leader: Some(CurrentLeader { leader_id: 5, leader_epoch: 6 }),
            ..PartitionOutcome::failure(4, ErrorCode::InvalidRecord)
        });
        w.topic("two", OTHER, 0);
        let endpoints = [
            NodeEndpoint { node_id: 5, host: "host", port: 9092, rack: None },
            NodeEndpoint { node_id: 6, host: &"h".repeat(200), port: 9093, rack: Some("r") },
        ];
        let frame = w.finish(12, &endpoints);
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());

        let mut results = Vec::new();
        let read = read_produce_response(&frame[4..], v, |r| results.push(r)).unwrap();
        assert_eq!((read, results.len()), ((41, 12), 2));
        assert_eq!((results[0].base_offset, results[1].error_code), (1000, 87));

        let (correlation, r): (i32, ProduceResponse) =
            decode_response(frame.slice(4..), v).unwrap();
        assert_eq!((correlation, r.throttle_time_ms, r.responses.len()), (41, 12, 2));
        assert_eq!(r.responses[0].name, name(v, 13, "one"));
        assert_eq!(r.responses[0].topic_id, id(v, 13, TOPIC));
        let [good, bad] = &r.responses[0].partition_responses[..] else { panic!() };
        assert_eq!((good.index, good.error_code, good.base_offset), (3, 0, 1000));
        assert_eq!(
            (good.log_append_time_ms, good.log_start_offset),
            (99, if v >= 5 { 7 } else { -1 })
        );
        assert_eq!((bad.error_code, bad.base_offset), (87, -1));
        assert_eq!(bad.record_errors.len(), usize::from(v >= 8));
        assert_eq!(bad.error_message.as_deref(), (v >= 8).then_some("refused"));
        let leader = (bad.current_leader.leader_id.0, bad.current_leader.leader_epoch);
        assert_eq!(leader, if v >= 10 { (5, 6) } else { (-1, -1) });
        assert_eq!(r.node_endpoints.len(), if v >= 10 { 2 } else { 0 });
        if let Some(e) = r.node_endpoints.get(1) {
            assert_eq!((e.node_id.0, e.port, e.rack.as_deref()), (6, 9093, Some("r")));
        }
    }
}

fn fetch_request(v: i16) -> FetchRequest {
    let partition = P::default()
        .with_partition(3)
        .with_current_leader_epoch(if v >= 9 { 8 } else { -1 })
        .with_fetch_offset(900)
        .with_last_fetched_epoch(if v >= 12 { 7 } else { -1 })
        .with_log_start_offset(if v >= 5 { 5 } else { -1 })
        .with_partition_max_bytes(4096);
    let mut r = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(1)
        .with_topics(vec![
            T::default()
                .with_topic(name(v, 13, "one"))
                .with_topic_id(id(v, 13, TOPIC))
                .with_partitions(vec![partition.clone(), partition.with_partition(4)]),
            T::default().with_topic(name(v, 13, "two")).with_topic_id(id(v, 13, OTHER)),
        ]);
    if v >= 7 {
        r = r.with_session_id(11).with_session_epoch(12).with_forgotten_topics_data(vec![
            F::default()
                .with_topic(name(v, 13, "old"))
                .with_topic_id(id(v, 13, OTHER))
                .with_partitions(vec![1, 2]),
        ]);
    }
    if v >= 11 {
        r = r.with_rack_id(StrBytes::from_static_str("rack"));
    }
    if v >= 15 {
        r.replica_state.replica_id = BrokerId(9);
        r.replica_state.replica_epoch = 10;
    } else {
        r.replica_id = BrokerId(9);
    }
    r
}

#[test]
fn a_fetch_request_is_read_as_kafka_protocol_wrote_it() {
    for v in 4..=18 {
        let mut body = BytesMut::new();
        fetch_request(v).encode_body(&mut body, v).unwrap();
        let body = body.freeze();
        let view = FetchRequestView::parse(body.clone(), v).unwrap();
        assert_eq!((view.replica_id, view.replica_epoch), (9, if v >= 15 { 10 } else { -1 }));
        assert_eq!((view.max_wait_ms, view.min_bytes, view.max_bytes), (500, 1, 1 << 20));
        assert_eq!(view.isolation_level, 1);
        let session = if v >= 7 { (11, 12) } else { (0, -1) };
        assert_eq!((view.session_id, view.session_epoch), session);
        assert_eq!(view.rack_id(), if v >= 11 { "rack" } else { "" });
        assert_eq!((view.topic_count(), view.partition_count()), (2, 2));
        let topics: Vec<_> = view.topics().collect();
        assert_eq!(topics[0].topic_id, id(v, 13, TOPIC));
        assert_eq!(topics[1].name, if v >= 13 { "" } else { "two" });
        let partitions: Vec<FetchPartition> = topics[0].partitions().collect();
        assert_eq!(
            partitions[1],
            FetchPartition {
                partition: 4,
                current_leader_epoch: if v >= 9 { 8 } else { -1 },
                fetch_offset: 900,
                last_fetched_epoch: if v >= 12 { 7 } else { -1 },
                log_start_offset: if v >= 5 { 5 } else { -1 },
                partition_max_bytes: 4096,
            }
        );
        let forgotten: Vec<(&str, Vec<i32>)> =
            view.forgotten_topics().map(|t| (t.name, t.partitions().collect())).collect();
        match v {
            ..7 => assert!(forgotten.is_empty()),
            7..13 => assert_eq!(forgotten, [("old", vec![1, 2])]),
            13.. => assert_eq!(forgotten, [("", vec![1, 2])]),
        }
        for len in 0..body.len() {
            assert!(FetchRequestView::parse(body.slice(..len), v).is_err(), "{v} {len}");
        }
    }
}

#[test]
fn a_fetch_response_reads_back_with_every_field_of_its_version_and_records_are_not_copied() {
    let (a, b) = (Bytes::from_static(b"first batch"), Bytes::from_static(b"second"));
    let aborted = [AbortedTransaction { producer_id: 1, first_offset: 2 }];
    for v in 4..=18 {
        let mut w = FetchResponseWriter::new(v, 41, 3, ErrorCode::None, 55, 2);
        w.topic("one", TOPIC, 2);
        let records = [a.clone(), b.clone()];
        w.partition(&PartitionData {
            high_watermark: 100,
            last_stable_offset: 90,
            log_start_offset: 10,
            aborted_transactions: Some(&aborted),
            preferred_read_replica: 4,
            records: &records,
            ..PartitionData::failure(3, ErrorCode::None)
        });
        w.partition(&PartitionData {
            diverging_epoch: Some(DivergingEpoch { epoch: 4, end_offset: 44 }),
            current_leader: Some(CurrentLeader { leader_id: 5, leader_epoch: 6 }),
            snapshot_id: Some(SnapshotId { end_offset: 66, epoch: 7 }),
            ..PartitionData::failure(4, ErrorCode::NotLeaderOrFollower)
        });
        w.topic("two", OTHER, 0);
        let endpoints = [NodeEndpoint { node_id: 5, host: "host", port: 9092, rack: None }];
        let len = w.len();
        let pieces = w.finish(&endpoints);
        assert!(pieces.iter().any(|p| p.as_ptr() == a.as_ptr()), "records were copied");
        let frame = Bytes::from(pieces.concat());
        assert!(frame.len() >= len && frame[..4] == (frame.len() as u32 - 4).to_be_bytes());

        let mut results = Vec::new();
        let read = read_fetch_response(&frame.slice(4..), v, |r| results.push(r)).unwrap();
        assert_eq!(read, (41, 0, if v >= 7 { 55 } else { 0 }));
        assert_eq!(
            (&results[0].records[..], results[1].error_code),
            (&b"first batchsecond"[..], 6)
        );

        let (_, r): (i32, FetchResponse) = decode_response(frame.slice(4..), v).unwrap();
        assert_eq!((r.throttle_time_ms, r.session_id), (3, if v >= 7 { 55 } else { 0 }));
        assert_eq!(r.responses[0].topic_id, id(v, 13, TOPIC));
        let [good, bad] = &r.responses[0].partitions[..] else { panic!() };
        assert_eq!(good.records.as_deref(), Some(&b"first batchsecond"[..]));
        assert_eq!((good.high_watermark, good.last_stable_offset), (100, 90));
        assert_eq!(good.log_start_offset, if v >= 5 { 10 } else { -1 });
        assert_eq!(good.aborted_transactions.as_ref().unwrap()[0].first_offset, 2);
        assert_eq!(good.preferred_read_replica.0, if v >= 11 { 4 } else { -1 });
        assert_eq!((bad.error_code, bad.high_watermark), (6, -1));
        assert_eq!(bad.records.as_deref(), Some(&b""[..]));
        assert!(bad.aborted_transactions.as_ref().is_none_or(|a| a.is_empty()));
        let tagged = v >= 12;
        assert_eq!(bad.diverging_epoch.end_offset, if tagged { 44 } else { -1 });
        assert_eq!(bad.current_leader.leader_epoch, if tagged { 6 } else { -1 });
        assert_eq!(bad.snapshot_id.epoch, if tagged { 7 } else { -1 });
        assert_eq!(r.node_endpoints.len(), usize::from(v >= 16));
    }
}

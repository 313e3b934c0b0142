//! Declared sizes: no body of N bytes makes decoding reserve more than 8 N + 64 KiB. An allocator
//! that counts is the judge; each class of bomb has its name.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::fetch::FetchRequestView;
use protocol::messages::*;
use protocol::produce::ProduceRequestView;
use protocol::{ApiRequest, RequestHeader, SUPPORTED, decode_request, guard};

/// The most bytes that were reserved at once during `f`.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let mut out = None;
    let counted = allocation_counter::measure(|| out = Some(f()));
    (out.unwrap(), counted.bytes_max as usize)
}

#[test]
fn the_judge_counts_what_is_held_at_once() {
    let (_, bytes) = peak(|| (0..3).map(|_| vec![0u8; 5000].len()).sum::<usize>());
    assert_eq!(bytes, 5000);
}

/// Errors carry a short reason, which is allocated too.
const REASON_BYTES: usize = 1024;

fn refused<T: ApiRequest>(body: &'static [u8], version: i16) {
    let (result, bytes) = peak(|| decode_request::<T>(Bytes::from_static(body), version).is_err());
    assert!(result, "accepted");
    assert!(bytes <= REASON_BYTES, "{bytes} bytes were reserved for {} bytes", body.len());
}

#[test]
fn a_metadata_request_of_five_bytes_declaring_millions_of_topics_is_refused_without_reserving() {
    refused::<MetadataRequest>(&[0x00, 0x7f, 0xff, 0xff, 0xff], 0);
    refused::<MetadataRequest>(&[0x7f, 0xff, 0xff, 0xff, 0x00], 1);
    refused::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xff, 0x07], 9);
}

#[test]
fn a_string_that_declares_more_than_is_there_is_refused_without_reserving() {
    refused::<FindCoordinatorRequest>(&[0x7f, 0xff, b'a'], 0);
    refused::<FindCoordinatorRequest>(&[0xff, 0xff, 0xff, 0xff, 0x07], 3);
    refused::<HeartbeatRequest>(&[0x80, 0x80, 0x02, b'a'], 4);
}

#[test]
fn bytes_that_declare_more_than_is_there_are_refused_without_reserving() {
    let sync = b"\0\x01g\0\0\0\x01\0\x01m\0\0\0\x01\0\x01m\x7f\xff\xff\xff";
    refused::<SyncGroupRequest>(sync, 0);
}

#[test]
fn tagged_fields_that_declare_more_than_is_there_are_refused_without_reserving() {
    refused::<ListGroupsRequest>(&[0xff, 0xff, 0xff, 0xff, 0x0f], 3);
    refused::<ListGroupsRequest>(&[0x01, 0x05, 0xff, 0xff, 0xff, 0xff, 0x0f], 3);
}

#[test]
fn nested_arrays_that_each_declare_much_are_refused_without_reserving() {
    let commit = b"\0\x01g\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01t\x00\xff\xff\xff";
    refused::<OffsetCommitRequest>(commit, 2);
}

#[test]
fn a_record_count_or_a_record_size_in_produce_reserves_nothing() {
    let body: &[u8] = b"\xff\xff\xff\xff\0\0\0\x01\x7f\xff\xff\xff\0\x01t\0\0\0\x01\0\0\0\0";
    let (result, bytes) = peak(|| ProduceRequestView::parse(Bytes::from_static(body), 3).is_err());
    assert!(result && bytes == 0, "{bytes}");
    let body: &[u8] =
        b"\xff\xff\xff\xff\0\0\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\x7f\xff\xff\xff";
    let (result, bytes) = peak(|| ProduceRequestView::parse(Bytes::from_static(body), 3).is_err());
    assert!(result && bytes == 0, "{bytes}");
}

#[test]
fn a_fetch_request_declaring_millions_of_partitions_reserves_nothing() {
    let mut body = vec![0; 4 * 4 + 1];
    body.extend(b"\0\0\0\x01\0\x01t\x7f\xff\xff\xff");
    let body = Bytes::from(body);
    let (result, bytes) = peak(|| FetchRequestView::parse(body, 4).is_err());
    assert!(result && bytes == 0, "{bytes}");
}

#[test]
fn a_header_declaring_a_long_client_id_or_many_tags_reserves_nothing() {
    let heads: [&[u8]; 2] =
        [b"\0\x03\0\x01\0\0\0\x01\x7f\xffabc", b"\0\x03\0\x0c\0\0\0\x01\0\0\xff\xff\xff\xff\x0f"];
    for head in heads {
        let mut frame = Bytes::from_static(head);
        let (result, bytes) = peak(|| RequestHeader::parse(&mut frame).is_err());
        assert!(result && bytes == 0, "{bytes}");
    }
}

#[test]
fn a_true_count_of_tiny_elements_that_would_cost_many_times_its_bytes_is_refused() {
    // 100 000 empty group ids: two bytes each on the wire, 32 in memory.
    let mut body = 100_000u32.to_be_bytes().to_vec();
    body.resize(4 + 200_000, 0);
    let body = Bytes::from(body);
    let (result, bytes) = peak(|| decode_request::<DescribeGroupsRequest>(body, 0).is_err());
    assert!(result && bytes <= REASON_BYTES, "{bytes}");
}

#[test]
fn a_small_request_of_tiny_elements_is_served() {
    let mut body = 500u32.to_be_bytes().to_vec();
    body.resize(4 + 1000, 0);
    let request: DescribeGroupsRequest = decode_request(body.into(), 0).unwrap();
    assert_eq!(request.groups.len(), 500);
}

/// The largest number of elements, up to 40 000, that is not refused, stays within the bound.
fn saturate(api: ApiKey, version: i16, build: impl Fn(usize) -> Vec<u8>) {
    let accepted = |n: usize| guard::check(api as i16, version, build(n).into()).is_ok();
    let (mut low, mut high) = (0, 40_001);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if accepted(middle) { low = middle } else { high = middle }
    }
    assert!(low > 100, "{api:?} {version}: no more than {low} elements");
    bounded(api, version, &build(low)).unwrap_or_else(|e| panic!("{low} elements: {e}"));
}

/// `n` times `element` behind their count, between `head` and `tail`.
fn many(flexible: bool, head: &[u8], n: usize, element: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut body = head.to_vec();
    if flexible {
        use protocol::wire::WriteWire;
        body.put_uvarint(n as u32 + 1);
    } else {
        body.extend((n as u32).to_be_bytes());
    }
    (0..n).for_each(|_| body.extend(element));
    body.extend(tail);
    body
}

#[test]
fn the_largest_requests_that_pass_stay_within_the_bound() {
    let id = [7u8; 16];
    let with_id = |rest: &[u8]| [&id[..], rest].concat();
    saturate(ApiKey::Metadata, 1, |n| many(false, b"", n, b"\0\x03abc", b""));
    saturate(ApiKey::Metadata, 1, |n| many(false, b"", n, b"\0\x0cabcdefghijkl", b""));
    saturate(ApiKey::Metadata, 12, |n| many(true, b"", n, &with_id(&[0, 0]), &[0, 0, 0]));
    saturate(ApiKey::DescribeGroups, 0, |n| many(false, b"", n, b"\0\x02ab", b""));
    saturate(ApiKey::DeleteTopics, 5, |n| many(true, b"", n, b"\x03ab", b"\0\0\0\0\0"));
    saturate(ApiKey::DeleteTopics, 6, |n| {
        many(true, b"", n, &[&[0][..], &id, &[0]].concat(), b"\0\0\0\0\0")
    });
    saturate(ApiKey::FindCoordinator, 6, |n| many(true, b"\0", n, b"\x02a", b"\0"));
    let head = [&b"\0\x01g"[..], &[0; 4], &[0; 2], &[0; 8], &[0, 0, 0, 1], &[0, 1, b't']].concat();
    saturate(ApiKey::OffsetCommit, 2, |n| many(false, &head, n, &[0; 14], b""));
    let head = [&[2, b'g'][..], &[0; 4], &[1], &[0], &[2], &id].concat();
    saturate(ApiKey::OffsetCommit, 10, |n| many(true, &head, n, &[0; 18], &[0, 0]));
    let head = [&[2, b'g'][..], &[0; 4], &[1], &[0]].concat();
    saturate(ApiKey::OffsetCommit, 10, |n| many(true, &head, n, &with_id(&[1, 0]), &[0]));
    let head = [&[2][..], &[2, b'g'], &[0], &[0; 4]].concat();
    saturate(ApiKey::OffsetFetch, 10, |n| many(true, &head, n, &with_id(&[1, 0]), &[0, 0, 0]));
    saturate(ApiKey::OffsetFetch, 8, |n| many(true, b"", n, &[2, b'g', 1, 0], &[0, 0]));
    let partition = [&[0; 4][..], &[0; 8]].concat();
    let head = [&[0; 4][..], &[0, 0, 0, 1], &[0, 1, b't']].concat();
    saturate(ApiKey::ListOffsets, 1, |n| many(false, &head, n, &partition, b""));
    let topic = [&[2, b't'][..], &[0; 4], &[0; 2], &[1], &[1], &[0]].concat();
    saturate(ApiKey::CreateTopics, 7, |n| many(true, b"", n, &topic, &[0, 0, 0, 0, 0, 0]));
}

#[test]
fn the_largest_requests_that_are_written_anew_stay_within_the_bound() {
    // Unknown tagged fields in every element, names that are not UTF-8.
    saturate(ApiKey::Metadata, 9, |n| {
        many(true, b"", n, b"\x0dabcdefghijkl\x01\x7f\x02xy", &[0, 0, 0, 0])
    });
    saturate(ApiKey::Metadata, 1, |n| many(false, b"", n, b"\0\x0c\xff\xff\xff\xffefghijkl", b""));
    saturate(ApiKey::Metadata, 1, |n| {
        many(false, b"", n, &[&[1, 0][..], &[0xff; 256]].concat(), b"")
    });
}

/// Decodes `body` as a request of this API, whatever comes of it.
fn decode_any(api: ApiKey, version: i16, body: Bytes) {
    macro_rules! any {
        ($($api:ident: $request:ident;)*) => {
            match api {
                $(ApiKey::$api => drop(decode_request::<$request>(body, version)),)*
                ApiKey::Produce => {
                    if let Ok(view) = ProduceRequestView::parse(body, version) {
                        let seen: usize = view.topics().map(|t| t.partitions().count()).sum();
                        assert_eq!(seen, view.partition_count());
                    }
                }
                ApiKey::Fetch => {
                    if let Ok(view) = FetchRequestView::parse(body, version) {
                        let seen: usize = view.topics().map(|t| t.partitions().count()).sum();
                        assert_eq!(seen, view.partition_count());
                        let _ = view.forgotten_topics().map(|t| t.partitions().count()).sum::<usize>();
                    }
                }
                other => panic!("{other:?}"),
            }
        };
    }
    any! {
        ListOffsets: ListOffsetsRequest;
        Metadata: MetadataRequest;
        OffsetCommit: OffsetCommitRequest;
        OffsetFetch: OffsetFetchRequest;
        FindCoordinator: FindCoordinatorRequest;
        JoinGroup: JoinGroupRequest;
        Heartbeat: HeartbeatRequest;
        LeaveGroup: LeaveGroupRequest;
        SyncGroup: SyncGroupRequest;
        DescribeGroups: DescribeGroupsRequest;
        ListGroups: ListGroupsRequest;
        ApiVersions: ApiVersionsRequest;
        CreateTopics: CreateTopicsRequest;
        DeleteTopics: DeleteTopicsRequest;
        DeleteRecords: DeleteRecordsRequest;
        InitProducerId: InitProducerIdRequest;
        OffsetForLeaderEpoch: OffsetForLeaderEpochRequest;
        DescribeConfigs: DescribeConfigsRequest;
        AlterConfigs: AlterConfigsRequest;
        CreatePartitions: CreatePartitionsRequest;
        DeleteGroups: DeleteGroupsRequest;
        IncrementalAlterConfigs: IncrementalAlterConfigsRequest;
        DescribeLogDirs: DescribeLogDirsRequest;
        AlterPartitionReassignments: AlterPartitionReassignmentsRequest;
        ListPartitionReassignments: ListPartitionReassignmentsRequest;
        OffsetDelete: OffsetDeleteRequest;
        ElectLeaders: ElectLeadersRequest;
        DescribeQuorum: DescribeQuorumRequest;
        UpdateFeatures: UpdateFeaturesRequest;
        UnregisterBroker: UnregisterBrokerRequest;
        AddRaftVoter: AddRaftVoterRequest;
        RemoveRaftVoter: RemoveRaftVoterRequest;
        DescribeCluster: DescribeClusterRequest;
        DescribeProducers: DescribeProducersRequest;
        DescribeTopicPartitions: DescribeTopicPartitionsRequest;
    }
}

fn bounded(api: ApiKey, version: i16, body: &[u8]) -> Result<(), TestCaseError> {
    let shared = Bytes::copy_from_slice(body);
    let ((), bytes) = peak(|| decode_any(api, version, shared));
    let limit = body.len() * guard::RESERVED_PER_BYTE_MAX + guard::RESERVED_BASE_MAX;
    prop_assert!(bytes <= limit, "{api:?} {version}: {bytes} bytes for {}", body.len());
    Ok(())
}

/// Kafka's own request bodies, to be bent.
fn golden() -> Vec<(ApiKey, i16, Vec<u8>)> {
    include_str!("data/golden.tsv")
        .lines()
        .filter_map(|line| {
            let f: Vec<&str> = line.split('\t').collect();
            let hex = if f[3] == "-" { "" } else { f[3] };
            let bytes = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            let api = ApiKey::try_from(f[0].parse::<i16>().unwrap()).unwrap();
            (f[2] == "request").then_some((api, f[1].parse().unwrap(), bytes))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) })]

    #[test]
    fn random_bytes_never_panic_and_never_reserve_more_than_allowed(
        body in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..300),
    ) {
        for range in SUPPORTED {
            for version in range.min..=range.max {
                bounded(range.api, version, &body)?;
            }
        }
    }

    #[test]
    fn bent_bodies_of_kafka_never_panic_and_never_reserve_more_than_allowed(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        repeat in 1usize..3,
    ) {
        for (api, version, body) in golden() {
            let mut body = body.repeat(repeat);
            for (at, byte) in &edits {
                if !body.is_empty() {
                    let at = at.index(body.len());
                    body[at] = *byte;
                }
            }
            bounded(api, version, &body)?;
        }
    }
}

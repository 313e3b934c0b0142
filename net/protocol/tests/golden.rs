//! Bodies that Apache Kafka 4.3.1's own serialisers wrote, for every served API, version and
//! direction (`data/golden.tsv`: API key, version, direction, bytes; two samples each), read and
//! written again by this crate.

use bytes::{Bytes, BytesMut};
use protocol::messages::*;
use protocol::{ApiRequest, ApiResponse, SUPPORTED, guard};

fn golden() -> Vec<(i16, i16, bool, Bytes)> {
    include_str!("data/golden.tsv")
        .lines()
        .map(|line| {
            let f: Vec<&str> = line.split('\t').collect();
            let hex = if f[3] == "-" { "" } else { f[3] };
            let bytes = (0..hex.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
                .collect::<Vec<u8>>();
            (f[0].parse().unwrap(), f[1].parse().unwrap(), f[2] == "request", bytes.into())
        })
        .collect()
}

fn request<T: ApiRequest>(body: &Bytes, version: i16) -> Result<BytesMut, String> {
    let decoded: T = protocol::decode_request(body.clone(), version).map_err(|e| e.to_string())?;
    let mut out = BytesMut::new();
    decoded.encode_body(&mut out, version).map_err(|e| e.to_string())?;
    Ok(out)
}

fn response<T: ApiResponse>(body: &Bytes, version: i16) -> Result<BytesMut, String> {
    let decoded = T::decode_body(body.clone(), version).map_err(|e| e.to_string())?;
    let mut out = BytesMut::new();
    decoded.encode_body(&mut out, version).map_err(|e| e.to_string())?;
    assert_eq!(decoded.encoded_len(version).unwrap(), out.len());
    Ok(out)
}

macro_rules! again {
    ($key:expr, $is_request:expr, $body:expr, $version:expr, $($api:ident: $req:ident, $resp:ident;)*) => {
        match ApiKey::try_from($key).unwrap() {
            $(ApiKey::$api if $is_request => request::<$req>($body, $version),
            ApiKey::$api => response::<$resp>($body, $version),)*
            other => panic!("{other:?}"),
        }
    };
}

#[test]
fn what_kafka_wrote_is_read_and_written_again_byte_for_byte() {
    let mut wrong = Vec::new();
    for (key, version, is_request, body) in golden() {
        let got = again!(key, is_request, &body, version,
            Produce: ProduceRequest, ProduceResponse;
            Fetch: FetchRequest, FetchResponse;
            ListOffsets: ListOffsetsRequest, ListOffsetsResponse;
            Metadata: MetadataRequest, MetadataResponse;
            OffsetCommit: OffsetCommitRequest, OffsetCommitResponse;
            OffsetFetch: OffsetFetchRequest, OffsetFetchResponse;
            FindCoordinator: FindCoordinatorRequest, FindCoordinatorResponse;
            JoinGroup: JoinGroupRequest, JoinGroupResponse;
            Heartbeat: HeartbeatRequest, HeartbeatResponse;
            LeaveGroup: LeaveGroupRequest, LeaveGroupResponse;
            SyncGroup: SyncGroupRequest, SyncGroupResponse;
            DescribeGroups: DescribeGroupsRequest, DescribeGroupsResponse;
            ListGroups: ListGroupsRequest, ListGroupsResponse;
            ApiVersions: ApiVersionsRequest, ApiVersionsResponse;
            CreateTopics: CreateTopicsRequest, CreateTopicsResponse;
            DeleteTopics: DeleteTopicsRequest, DeleteTopicsResponse;
            DeleteRecords: DeleteRecordsRequest, DeleteRecordsResponse;
            InitProducerId: InitProducerIdRequest, InitProducerIdResponse;
            OffsetForLeaderEpoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
            DescribeConfigs: DescribeConfigsRequest, DescribeConfigsResponse;
            AlterConfigs: AlterConfigsRequest, AlterConfigsResponse;
            CreatePartitions: CreatePartitionsRequest, CreatePartitionsResponse;
            DeleteGroups: DeleteGroupsRequest, DeleteGroupsResponse;
            IncrementalAlterConfigs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
            DescribeLogDirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
            AlterPartitionReassignments: AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
            ListPartitionReassignments: ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
            OffsetDelete: OffsetDeleteRequest, OffsetDeleteResponse;
            ElectLeaders: ElectLeadersRequest, ElectLeadersResponse;
            DescribeQuorum: DescribeQuorumRequest, DescribeQuorumResponse;
            UpdateFeatures: UpdateFeaturesRequest, UpdateFeaturesResponse;
            UnregisterBroker: UnregisterBrokerRequest, UnregisterBrokerResponse;
            AddRaftVoter: AddRaftVoterRequest, AddRaftVoterResponse;
            RemoveRaftVoter: RemoveRaftVoterRequest, RemoveRaftVoterResponse;
            DescribeCluster: DescribeClusterRequest, DescribeClusterResponse;
            DescribeProducers: DescribeProducersRequest, DescribeProducersResponse;
            DescribeTopicPartitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
        );
        let direction = if is_request { "request" } else { "response" };
        match got {
            Ok(out) if out == body => {}
            Ok(out) => wrong.push(format!(
                "{:?} {version} {direction}:\n  kafka {body:02x?}\n  ours  {out:02x?}",
                ApiKey::try_from(key).unwrap()
            )),
            Err(e) => wrong.push(format!("{key} {version} {direction}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_samples_cover_every_served_version_in_both_directions() {
    let golden = golden();
    for range in SUPPORTED {
        for version in range.min..=range.max {
            for is_request in [true, false] {
                let found = golden
                    .iter()
                    .any(|g| (g.0, g.1, g.2) == (range.api as i16, version, is_request));
                assert!(found, "{:?} {version} {is_request}", range.api);
            }
        }
    }
}

#[test]
fn the_guard_passes_what_kafka_wrote_as_it_is_and_refuses_each_of_its_cuts() {
    for (key, version, is_request, body) in golden() {
        if !is_request {
            continue;
        }
        let passed = guard::check(key, version, body.clone()).unwrap();
        assert_eq!(passed.as_ptr(), body.as_ptr(), "{key} {version} was copied");
        for len in 0..body.len() {
            assert!(
                guard::check(key, version, body.slice(..len)).is_err(),
                "{key} {version} {len}"
            );
        }
    }
}

#[test]
fn unknown_tagged_fields_are_taken_out_and_the_rest_stays() {
    for (key, version, is_request, body) in golden() {
        let flexible = protocol::api::is_flexible(key, version);
        // The last byte of a flexible body without known tags at its end is their count.
        if !is_request || !flexible || body.last() != Some(&0) {
            continue;
        }
        let mut tagged = body[..body.len() - 1].to_vec();
        tagged.extend([2, 0x7e, 3, b'x', b'y', b'z', 0x7f, 0]);
        let plain = guard::check(key, version, tagged.into()).unwrap();
        assert_eq!(plain, body, "{key} {version}");
    }
}

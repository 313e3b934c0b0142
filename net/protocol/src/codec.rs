//! Bodies in both directions, on top of `kafka-protocol` and its gaps.
//!
//! [`decode_request`] is the only way from a client's bytes to a `kafka-protocol` struct: the guard
//! comes first. Encoding gives whole frames. Versions that `kafka-protocol` 0.18 lacks are filled
//! in here: ListOffsets 11 (the same bytes as 10), DescribeLogDirs 5 ([`crate::log_dirs`]),
//! OffsetCommit and OffsetFetch requests 10 ([`crate::offset_requests`]), AddRaftVoter 1
//! ([`crate::raft_voter_request`]; its answer has the bytes of 0).

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::api;
use crate::guard::{self, GuardError};
use crate::header::RequestHeader;
use crate::log_dirs;
use crate::offset_requests;
use crate::raft_voter_request;
use crate::wire::WireError;

/// A request body that is refused; the connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{api:?} version {version} does not parse: {reason}")]
    Malformed { api: ApiKey, version: i16, reason: String },
}

/// A body that cannot be written in this version: a fault of the caller.
#[derive(Debug, thiserror::Error)]
#[error("{api:?} version {version} cannot be encoded: {reason}")]
pub struct EncodeError {
    pub api: ApiKey,
    pub version: i16,
    pub reason: String,
}

/// A request body of `kafka-protocol`.
pub trait ApiRequest: Sized {
    const API: ApiKey;
    type Response: ApiResponse;

    /// Decodes a body that passed the guard.
    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError>;
    fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError>;
}

/// A response body of `kafka-protocol`.
pub trait ApiResponse: Sized {
    const API: ApiKey;

    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError>;
    fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError>;
    /// Bytes that `encode_body` will append.
    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError>;
}

/// The version under which `kafka-protocol` knows the same bytes.
fn library_version(api: ApiKey, version: i16) -> i16 {
    match (api, version) {
        (ApiKey::ListOffsets, 11) => 10,
        (ApiKey::DescribeLogDirs, 5) => 4,
        (ApiKey::AddRaftVoter, 1) => 0,
        _ => version,
    }
}

fn malformed(api: ApiKey, version: i16, reason: impl ToString) -> DecodeError {
    DecodeError::Malformed { api, version, reason: reason.to_string() }
}

fn decode_with_library<T: Decodable>(
    api: ApiKey,
    mut body: Bytes,
    version: i16,
) -> Result<T, DecodeError> {
    T::decode(&mut body, library_version(api, version)).map_err(|e| malformed(api, version, e))
}

fn encode_with_library<T: Encodable>(
    api: ApiKey,
    value: &T,
    out: &mut BytesMut,
    version: i16,
) -> Result<(), EncodeError> {
    value.encode(out, library_version(api, version)).map_err(|e| EncodeError {
        api,
        version,
        reason: e.to_string(),
    })
}

macro_rules! response {
    ($api:ident, $response:ident) => {
        impl ApiResponse for $response {
            const API: ApiKey = ApiKey::$api;

            fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
                decode_with_library(Self::API, body, version)
            }

            fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
                encode_with_library(Self::API, self, out, version)
            }

            fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
                self.compute_size(library_version(Self::API, version)).map_err(|e| EncodeError {
                    api: Self::API,
                    version,
                    reason: e.to_string(),
                })
            }
        }
    };
}

macro_rules! messages {
    ($($api:ident, $request:ident, $response:ident;)*) => {$(
        impl ApiRequest for $request {
            const API: ApiKey = ApiKey::$api;
            type Response = $response;

            fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
                decode_with_library(Self::API, body, version)
            }

            fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
                encode_with_library(Self::API, self, out, version)
            }
        }

        response!($api, $response);
    )*};
}

messages! {
    Produce, ProduceRequest, ProduceResponse;
    Fetch, FetchRequest, FetchResponse;
    ListOffsets, ListOffsetsRequest, ListOffsetsResponse;
    Metadata, MetadataRequest, MetadataResponse;
    FindCoordinator, FindCoordinatorRequest, FindCoordinatorResponse;
    JoinGroup, JoinGroupRequest, JoinGroupResponse;
    Heartbeat, HeartbeatRequest, HeartbeatResponse;
    LeaveGroup, LeaveGroupRequest, LeaveGroupResponse;
    SyncGroup, SyncGroupRequest, SyncGroupResponse;
    DescribeGroups, DescribeGroupsRequest, DescribeGroupsResponse;
    ListGroups, ListGroupsRequest, ListGroupsResponse;
    ApiVersions, ApiVersionsRequest, ApiVersionsResponse;
    CreateTopics, CreateTopicsRequest, CreateTopicsResponse;
    DeleteTopics, DeleteTopicsRequest, DeleteTopicsResponse;
    DeleteRecords, DeleteRecordsRequest, DeleteRecordsResponse;
    InitProducerId, InitProducerIdRequest, InitProducerIdResponse;
    OffsetForLeaderEpoch, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    DescribeConfigs, DescribeConfigsRequest, DescribeConfigsResponse;
    CreatePartitions, CreatePartitionsRequest, CreatePartitionsResponse;
    DeleteGroups, DeleteGroupsRequest, DeleteGroupsResponse;
    AlterConfigs, AlterConfigsRequest, AlterConfigsResponse;
    IncrementalAlterConfigs, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
    AlterPartitionReassignments, AlterPartitionReassignmentsRequest,
        AlterPartitionReassignmentsResponse;
    ListPartitionReassignments, ListPartitionReassignmentsRequest,
        ListPartitionReassignmentsResponse;
    OffsetDelete, OffsetDeleteRequest, OffsetDeleteResponse;
    ElectLeaders, ElectLeadersRequest, ElectLeadersResponse;
    DescribeQuorum, DescribeQuorumRequest, DescribeQuorumResponse;
    UpdateFeatures, UpdateFeaturesRequest, UpdateFeaturesResponse;
    UnregisterBroker, UnregisterBrokerRequest, UnregisterBrokerResponse;
    RemoveRaftVoter, RemoveRaftVoterRequest, RemoveRaftVoterResponse;
    DescribeCluster, DescribeClusterRequest, DescribeClusterResponse;
    DescribeProducers, DescribeProducersRequest, DescribeProducersResponse;
    DescribeTopicPartitions, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
}

impl ApiRequest for DescribeLogDirsRequest {
    const API: ApiKey = ApiKey::DescribeLogDirs;
    type Response = DescribeLogDirsResponse;

    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        decode_with_library(Self::API, body, version)
    }

    fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
        encode_with_library(Self::API, self, out, version)
    }
}

impl ApiResponse for DescribeLogDirsResponse {
    const API: ApiKey = ApiKey::DescribeLogDirs;

    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        if version < log_dirs::CORDONED_FROM {
            return decode_with_library(Self::API, body, version);
        }
        Ok(log_dirs::decode(&body)?)
    }

    fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
        if version < log_dirs::CORDONED_FROM {
            return encode_with_library(Self::API, self, out, version);
        }
        log_dirs::encode(self, out);
        Ok(())
    }

    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
        let size = self.compute_size(library_version(Self::API, version));
        let size =
            size.map_err(|e| EncodeError { api: Self::API, version, reason: e.to_string() })?;
        let flags = if version < log_dirs::CORDONED_FROM { 0 } else { self.results.len() };
        Ok(size + flags)
    }
}

response!(AddRaftVoter, AddRaftVoterResponse);
response!(OffsetCommit, OffsetCommitResponse);
response!(OffsetFetch, OffsetFetchResponse);

impl ApiRequest for OffsetCommitRequest {
    const API: ApiKey = ApiKey::OffsetCommit;
    type Response = OffsetCommitResponse;

    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        if version < offset_requests::TOPIC_IDS_FROM {
            return decode_with_library(Self::API, body, version);
        }
        Ok(offset_requests::decode_commit(&body)?)
    }

    fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
        if version < offset_requests::TOPIC_IDS_FROM {
            return encode_with_library(Self::API, self, out, version);
        }
        offset_requests::encode_commit(self, out);
        Ok(())
    }
}

impl ApiRequest for OffsetFetchRequest {
    const API: ApiKey = ApiKey::OffsetFetch;
    type Response = OffsetFetchResponse;

    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        if version < offset_requests::TOPIC_IDS_FROM {
            return decode_with_library(Self::API, body, version);
        }
        Ok(offset_requests::decode_fetch(&body)?)
    }

    fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
        if version < offset_requests::TOPIC_IDS_FROM {
            return encode_with_library(Self::API, self, out, version);
        }
        offset_requests::encode_fetch(self, out);
        Ok(())
    }
}

impl ApiRequest for AddRaftVoterRequest {
    const API: ApiKey = ApiKey::AddRaftVoter;
    type Response = AddRaftVoterResponse;

    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        if version < raft_voter_request::ACK_FROM {
            return decode_with_library(Self::API, body, version);
        }
        Ok(raft_voter_request::decode(&body)?)
    }

    fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
        if version < raft_voter_request::ACK_FROM {
            return encode_with_library(Self::API, self, out, version);
        }
        raft_voter_request::encode(self, out);
        Ok(())
    }
}

/// Decodes a request body after the guard has passed it. Strings and bytes share `body`'s memory.
/// Trailing bytes are ignored, as Kafka does.
///
/// Errors: `Guard` for bytes that are not such a request or would cost too much memory.
pub fn decode_request<T: ApiRequest>(body: Bytes, version: i16) -> Result<T, DecodeError> {
    let body = guard::check(T::API as i16, version, body)?;
    T::decode_body(body, version)
}

/// The answer to `header` as a whole frame, in the version of the request.
pub fn encode_response<T: ApiResponse>(
    header: &RequestHeader,
    body: &T,
) -> Result<Bytes, EncodeError> {
    encode_response_as(header, header.api_version, body)
}

/// The same, with the body in another version than the request's (ApiVersions falls back to 0).
pub(crate) fn encode_response_as<T: ApiResponse>(
    header: &RequestHeader,
    version: i16,
    body: &T,
) -> Result<Bytes, EncodeError> {
    debug_assert_eq!(header.api_key, T::API as i16);
    let mut out = BytesMut::with_capacity(4 + 4 + 1 + body.encoded_len(version)?);
    put_response_header(&mut out, header.api_key, version, header.correlation_id);
    body.encode_body(&mut out, version)?;
    Ok(close_frame(out))
}

/// Room for the length, and the response header.
pub(crate) fn put_response_header(
    out: &mut impl BufMut,
    api_key: i16,
    version: i16,
    correlation_id: i32,
) {
    out.put_i32(0);
    out.put_i32(correlation_id);
    if api::response_header_version(api_key, version) >= 1 {
        out.put_u8(0);
    }
}

fn close_frame(mut out: BytesMut) -> Bytes {
    let len = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.freeze()
}

/// A request as a whole frame, for clients. `header.api_key` must be that of `T`.
pub fn encode_request<T: ApiRequest>(
    header: &RequestHeader,
    body: &T,
) -> Result<Bytes, EncodeError> {
    debug_assert_eq!(header.api_key, T::API as i16);
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    header.encode(&mut out);
    body.encode_body(&mut out, header.api_version)?;
    Ok(close_frame(out))
}

/// Decodes an answer (behind its length field) from a broker that is trusted with memory; returns
/// the correlation id and the body.
pub fn decode_response<T: ApiResponse>(
    mut frame: Bytes,
    version: i16,
) -> Result<(i32, T), DecodeError> {
    let mut r = crate::wire::Reader::new(&frame);
    let correlation_id = r.i32()?;
    if api::response_header_version(T::API as i16, version) >= 1 {
        r.skip_tagged_fields()?;
    }
    let at = r.position();
    let _ = frame.split_to(at);
    Ok((correlation_id, T::decode_body(frame, version)?))
}

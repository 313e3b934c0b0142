//! From a request's header to the handler that answers it.

use std::rc::Rc;

use bytes::Bytes;
use protocol::{ApiKey, ApiRequest, RequestHeader, decode_request, encode_response};
use runtime::time::Instant;
use server::{ConnectionInfo, Pipelining, Reply, Request, Service};

use super::{
    api_versions, configs, delete_records, describe_cluster, describe_log_dirs, describe_producers,
    describe_quorum, describe_topic_partitions, elect_leaders, fetch, groups, init_producer_id,
    list_offsets, metadata, offset_for_leader_epoch, produce, raft_voters, topics,
    unregister_broker, update_features,
};
use crate::shard::Shard;

/// One request being answered: what a handler may know besides the request itself.
#[derive(Clone)]
pub struct Call {
    /// The shard that accepted the connection.
    pub shard: Rc<Shard>,
    /// The connection it came on.
    pub connection: Rc<ConnectionInfo>,
    /// Its header; the version is one that this node serves.
    pub header: RequestHeader,
    /// When its last byte was read.
    pub received: Instant,
}

impl Call {
    /// Version of the request.
    pub fn version(&self) -> i16 {
        self.header.api_version
    }
}

/// Answers Kafka requests on one shard.
pub struct KafkaService {
    shard: Rc<Shard>,
}

impl KafkaService {
    /// For the connections of `shard`.
    pub fn new(shard: Rc<Shard>) -> Rc<KafkaService> {
        Rc::new(KafkaService { shard })
    }
}

impl Service for KafkaService {
    fn pipelining(&self, api_key: i16) -> Pipelining {
        match ApiKey::try_from(api_key) {
            Ok(ApiKey::Produce) => Pipelining::Overlap,
            _ => Pipelining::Barrier,
        }
    }

    async fn call(self: Rc<Self>, connection: Rc<ConnectionInfo>, request: Request) -> Reply {
        let Request { header, body, received } = request;
        self.shard.metrics.requests.add(1);
        if !protocol::is_served(header.api_key, header.api_version) {
            return refuse(&header);
        }
        let Ok(api) = ApiKey::try_from(header.api_key) else {
            return refuse(&header);
        };
        let call = Call { shard: self.shard.clone(), connection, header, received };
        match api {
            ApiKey::Produce => produce::handle(call, body).await,
            ApiKey::Fetch => Box::pin(fetch::handle(call, body)).await,
            ApiKey::ListOffsets => answer(call, body, list_offsets::handle).await,
            ApiKey::OffsetForLeaderEpoch => {
                answer(call, body, offset_for_leader_epoch::handle).await
            }
            ApiKey::FindCoordinator => answer(call, body, groups::find_coordinator::handle).await,
            ApiKey::JoinGroup => answer(call, body, groups::join_group::handle).await,
            ApiKey::SyncGroup => answer(call, body, groups::sync_group::handle).await,
            ApiKey::Heartbeat => answer(call, body, groups::heartbeat::handle).await,
            ApiKey::LeaveGroup => answer(call, body, groups::leave_group::handle).await,
            ApiKey::OffsetCommit => answer(call, body, groups::offset_commit::handle).await,
            ApiKey::OffsetFetch => answer(call, body, groups::offset_fetch::handle).await,
            ApiKey::OffsetDelete => answer(call, body, groups::offset_delete::handle).await,
            ApiKey::ListGroups => answer(call, body, groups::list_groups::handle).await,
            ApiKey::DescribeGroups => answer(call, body, groups::describe_groups::handle).await,
            ApiKey::DeleteGroups => answer(call, body, groups::delete_groups::handle).await,
            ApiKey::DeleteRecords => answer(call, body, delete_records::handle).await,
            ApiKey::ApiVersions => answer(call, body, api_versions::handle).await,
            ApiKey::Metadata => answer(call, body, metadata::handle).await,
            ApiKey::DescribeCluster => answer(call, body, describe_cluster::handle).await,
            ApiKey::DescribeQuorum => answer(call, body, describe_quorum::handle).await,
            ApiKey::ElectLeaders => answer(call, body, elect_leaders::handle).await,
            ApiKey::UnregisterBroker => answer(call, body, unregister_broker::handle).await,
            ApiKey::UpdateFeatures => answer(call, body, update_features::handle).await,
            ApiKey::AddRaftVoter => answer(call, body, raft_voters::add).await,
            ApiKey::RemoveRaftVoter => answer(call, body, raft_voters::remove).await,
            ApiKey::DescribeProducers => answer(call, body, describe_producers::handle).await,
            ApiKey::DescribeTopicPartitions => {
                answer(call, body, describe_topic_partitions::handle).await
            }
            ApiKey::CreateTopics => answer(call, body, topics::create_topics::handle).await,
            ApiKey::DeleteTopics => answer(call, body, topics::delete_topics::handle).await,
            ApiKey::CreatePartitions => answer(call, body, topics::create_partitions::handle).await,
            ApiKey::DescribeLogDirs => answer(call, body, describe_log_dirs::handle).await,
            ApiKey::AlterPartitionReassignments => {
                answer(call, body, topics::alter_reassignments::handle).await
            }
            ApiKey::ListPartitionReassignments => {
                answer(call, body, topics::list_reassignments::handle).await
            }
            ApiKey::DescribeConfigs => answer(call, body, configs::describe_configs::handle).await,
            ApiKey::IncrementalAlterConfigs => {
                answer(call, body, configs::alter_configs::change).await
            }
            ApiKey::AlterConfigs => answer(call, body, configs::alter_configs::replace).await,
            ApiKey::InitProducerId => answer(call, body, init_producer_id::handle).await,
            _ => refuse(&call.header),
        }
    }
}

/// An API or version that is not served: Kafka closes the connection, except for ApiVersions.
fn refuse(header: &RequestHeader) -> Reply {
    if header.api_key == ApiKey::ApiVersions as i16
        && let Ok(frame) = protocol::api_versions::unsupported_version(header)
    {
        return Reply::frame(frame);
    }
    Reply::close(format!("API {} version {} is not served", header.api_key, header.api_version))
}

/// Decodes, handles, encodes. The handler's future is boxed: these APIs are rare or small next to their work.
async fn answer<R, F, Fut>(call: Call, body: Bytes, handle: F) -> Reply
where
    R: ApiRequest,
    F: FnOnce(Call, R) -> Fut,
    Fut: Future<Output = R::Response>,
{
    let header = call.header.clone();
    let request = match decode_request::<R>(body, header.api_version) {
        Ok(request) => request,
        Err(e) => return Reply::close(e.to_string()),
    };
    let response = Box::pin(handle(call, request)).await;
    match encode_response(&header, &response) {
        Ok(frame) => Reply::frame(frame),
        Err(e) => {
            tracing::error!("an answer cannot be encoded: {e}");
            Reply::close(e.to_string())
        }
    }
}

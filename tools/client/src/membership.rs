//! Who belongs to the cluster, who votes on its metadata, and letting a node go.

use crate::client::{Client, name};
use crate::error::ClientError;
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::describe_quorum_response::{PartitionData as Quorum, ReplicaState};
use protocol::messages::{
    AddRaftVoterRequest, BrokerId, DescribeClusterRequest, DescribeQuorumRequest,
    RemoveRaftVoterRequest, UnregisterBrokerRequest,
};
use protocol::{ErrorCode, Uuid};

const METADATA_TOPIC: &str = "__cluster_metadata";
const BROKERS: i8 = 1;
const TIMEOUT_MS: i32 = 20_000;

/// A node that is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    pub id: i32,
    /// It is heard of.
    pub alive: bool,
}

/// A node that votes on metadata, or could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    pub id: i32,
    /// Its directory; zero if it is not registered.
    pub directory: Uuid,
}

impl Client {
    /// Every node that is registered, alive or not, by id.
    pub fn registered_nodes(&mut self) -> Result<Vec<Registered>, ClientError> {
        let request = DescribeClusterRequest::default()
            .with_endpoint_type(BROKERS)
            .with_include_fenced_brokers(true);
        let answer = self.any().call(&request)?;
        let message = answer.error_message.as_ref().map(ToString::to_string);
        let what = || "describe the cluster".to_owned();
        ClientError::check(what, answer.error_code, message.as_deref())?;
        let node = |id, fenced: bool| Registered { id, alive: !fenced };
        let mut nodes: Vec<Registered> = answer
            .brokers
            .iter()
            .map(|broker| node(broker.broker_id.0, broker.is_fenced))
            .collect();
        nodes.sort_by_key(|node| node.id);
        Ok(nodes)
    }

    /// Who votes on metadata, by id.
    pub fn voters(&mut self) -> Result<Vec<Voter>, ClientError> {
        self.replicas_of_metadata(|quorum| &quorum.current_voters)
    }

    /// Who follows the metadata without a vote, by id.
    pub fn observers(&mut self) -> Result<Vec<Voter>, ClientError> {
        self.replicas_of_metadata(|quorum| &quorum.observers)
    }

    fn replicas_of_metadata(
        &mut self,
        which: impl Fn(&Quorum) -> &Vec<ReplicaState>,
    ) -> Result<Vec<Voter>, ClientError> {
        let partition = PartitionData::default().with_partition_index(0);
        let topic = TopicData::default()
            .with_topic_name(name(METADATA_TOPIC))
            .with_partitions(vec![partition]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        let answer = self.any().call(&request)?;
        let what = || "describe the voters".to_owned();
        ClientError::check(what, answer.error_code, answer.error_message.as_deref())?;
        let mut replicas = Vec::new();
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            ClientError::check(what, partition.error_code, partition.error_message.as_deref())?;
            replicas.extend(which(partition).iter().map(|replica| Voter {
                id: replica.replica_id.0,
                directory: replica.replica_directory_id,
            }));
        }
        replicas.sort_by_key(|replica| replica.id);
        Ok(replicas)
    }

    /// Gives a node a vote on metadata; one that has it is fine.
    pub fn add_voter(&mut self, voter: Voter) -> Result<(), ClientError> {
        let request = AddRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_timeout_ms(TIMEOUT_MS)
            .with_voter_id(voter.id)
            .with_voter_directory_id(voter.directory);
        let answer = self.any().call(&request)?;
        let what = || format!("give node {} a vote", voter.id);
        let done = ClientError::check(what, answer.error_code, answer.error_message.as_deref());
        unless(done, ErrorCode::DuplicateVoter)
    }

    /// Takes a node's vote on metadata; one that has none any more is fine.
    pub fn remove_voter(&mut self, voter: Voter) -> Result<(), ClientError> {
        let request = RemoveRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_voter_id(voter.id)
            .with_voter_directory_id(voter.directory);
        let answer = self.any().call(&request)?;
        let what = || format!("take the vote of node {}", voter.id);
        let done = ClientError::check(what, answer.error_code, answer.error_message.as_deref());
        unless(done, ErrorCode::VoterNotFound)
    }

    /// Has the cluster forget a node that is not alive; one that is not registered any more is fine.
    pub fn unregister(&mut self, node: i32) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(node));
        let answer = self.any().call(&request)?;
        let what = || format!("forget node {node}");
        let done = ClientError::check(what, answer.error_code, answer.error_message.as_deref());
        unless(done, ErrorCode::BrokerIdNotRegistered)
    }
}

fn unless(done: Result<(), ClientError>, fine: ErrorCode) -> Result<(), ClientError> {
    match done {
        Err(error) if error.code() == Some(fine) => Ok(()),
        done => done,
    }
}

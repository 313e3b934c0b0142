//! A client that adds and removes voters of the metadata group, one at a time, whoever leads it.
//!
//! A change that was not answered may still be carried out, much later; what must hold is what the rules of Raft say at
//! every step, and that somebody leads after healing.

use super::Cluster;
use super::client::Client;
use crate::shared::topic_name;
use crate::wire::Lost;
use protocol::ErrorCode;
use protocol::messages::describe_quorum_request::{PartitionData as AskedPartition, TopicData};
use protocol::messages::describe_quorum_response::PartitionData;
use protocol::messages::{AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest};
use runtime::time::sleep;
use std::rc::Rc;
use std::time::Duration;

/// Adds a node that listens, or removes one that votes.
pub async fn change_voters(cluster: Rc<Cluster>) {
    let mut client = Client::new(&cluster);
    while !cluster.quiet.get() {
        sleep(Duration::from_millis(cluster.below(4_000))).await;
        let node = cluster.below(cluster.nodes.len() as u64) as usize;
        let Ok(quorum) = describe(&mut client, node).await else { continue };
        let adds = cluster.below(2) == 0;
        let those = if adds { &quorum.observers } else { &quorum.current_voters };
        if those.is_empty() || (!adds && those.len() == 1) {
            continue;
        }
        let chosen = &those[cluster.below(those.len() as u64) as usize];
        let (id, directory) = (chosen.replica_id.0, chosen.replica_directory_id);
        if directory.is_nil() {
            continue; // it joins and is not registered yet
        }
        let code = match adds {
            true => {
                let request = AddRaftVoterRequest::default()
                    .with_cluster_id(None)
                    .with_timeout_ms(2_000)
                    .with_voter_id(id)
                    .with_voter_directory_id(directory);
                client.ask_any(&request).await.error_code
            }
            false => {
                let request = RemoveRaftVoterRequest::default()
                    .with_cluster_id(None)
                    .with_voter_id(id)
                    .with_voter_directory_id(directory);
                client.ask_any(&request).await.error_code
            }
        };
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) if adds => cluster.mark("a voter was added"),
            Some(ErrorCode::None) if id == quorum.leader_id.0 => {
                cluster.mark("the leader of the voters was removed from them");
            }
            Some(ErrorCode::None) => cluster.mark("a voter was removed"),
            Some(ErrorCode::DuplicateVoter) if adds => {}
            Some(ErrorCode::VoterNotFound) if !adds => {}
            Some(ErrorCode::InvalidRequest) if !adds => {
                cluster.mark("a voter without whom no majority answers was not removed");
            }
            Some(error) if error.is_retriable() => {}
            error => {
                let what = if adds { "added" } else { "removed" };
                return cluster.violation(format!("voter {id} was to be {what}: {error:?}"));
            }
        }
    }
}

/// Who votes, as any node hears it from their leader.
pub async fn describe(client: &mut Client, node: usize) -> Result<PartitionData, Lost> {
    let topic = TopicData::default()
        .with_topic_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![AskedPartition::default()]);
    let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
    let mut answer = client.ask(node, &request).await?;
    let partition = answer.topics.pop().and_then(|mut topic| topic.partitions.pop());
    partition.filter(|told| told.error_code == 0).ok_or(Lost)
}

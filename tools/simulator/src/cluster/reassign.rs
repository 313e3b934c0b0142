//! A client that has partitions change their replicas while others write to them, and takes some of it back.
//!
//! A move may be held up by a node that is away, and cancelled by one that comes back with another number of shards: what
//! is asked for need not come to be. No record may be lost on the way, and after healing every move must come to an end.

use super::client::Client;
use super::{At, Cluster};
use crate::shared::topic_name;
use protocol::ErrorCode;
use protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ListPartitionReassignmentsRequest,
};
use runtime::time::sleep;
use std::rc::Rc;
use std::time::Duration;

/// Asks for other replicas of any partition, also of topics that come and go.
pub async fn reassign(cluster: Rc<Cluster>) {
    let mut client = Client::new(&cluster);
    while !cluster.quiet.get() {
        sleep(Duration::from_millis(cluster.below(3_000))).await;
        let at = match cluster.below(5) {
            0 => (format!("churn{}", cluster.below(4)), 0),
            _ => cluster.any_partition(),
        };
        let list = (cluster.below(5) > 0).then(|| draw(&cluster));
        let takes_back = list.is_none();
        match ask(&mut client, &at, list).await {
            Some(ErrorCode::None) if takes_back => cluster.mark("a reassignment was taken back"),
            Some(ErrorCode::None) => cluster.mark("a reassignment began"),
            Some(ErrorCode::NoReassignmentInProgress) if takes_back => {}
            // The topic is gone, or not all nodes are there yet; or so says a controller that does not know yet that
            // another one leads.
            Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::InvalidReplicaAssignment) => {
                cluster.mark("a reassignment was refused");
            }
            Some(error) if error.is_retriable() => {}
            error => return cluster.violation(format!("moving {at:?} was answered {error:?}")),
        }
    }
}

/// One to three nodes in any order.
fn draw(cluster: &Cluster) -> Vec<BrokerId> {
    let mut nodes: Vec<BrokerId> = (1..=cluster.nodes.len() as i32).map(BrokerId).collect();
    let count = [1, 2, 3, 3, 3][cluster.below(5) as usize];
    let drawn = (0..count).map(|_| nodes.remove(cluster.below(nodes.len() as u64) as usize));
    drawn.collect()
}

async fn ask(client: &mut Client, at: &At, list: Option<Vec<BrokerId>>) -> Option<ErrorCode> {
    let part = ReassignablePartition::default().with_partition_index(at.1).with_replicas(list);
    let topic =
        ReassignableTopic::default().with_name(topic_name(&at.0)).with_partitions(vec![part]);
    let request = AlterPartitionReassignmentsRequest::default()
        .with_timeout_ms(10_000)
        .with_allow_replication_factor_change(true)
        .with_topics(vec![topic]);
    let answer = client.ask_any(&request).await;
    let of_partition = answer.responses.first().map(|topic| topic.partitions[0].error_code);
    ErrorCode::from_code(match answer.error_code {
        0 => of_partition.unwrap_or(0),
        whole => whole,
    })
}

/// A partition that is still on its way, as a node sees it; nothing too if the node does not answer.
pub async fn on_its_way(client: &mut Client, node: usize) -> Option<String> {
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    let answer = client.ask(node, &request).await.ok()?;
    let topic = answer.topics.first()?;
    let at = topic.partitions.first()?;
    let (name, index) = (&topic.name, at.partition_index);
    let (adding, removing) = (&at.adding_replicas, &at.removing_replicas);
    Some(format!("{name:?}-{index} goes to {adding:?} from {removing:?}"))
}

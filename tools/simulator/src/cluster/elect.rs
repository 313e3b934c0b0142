//! A client that has preferred replicas lead again, or asks for leaders where there are none.

use super::Cluster;
use super::client::Client;
use crate::shared::topic_name;
use protocol::ErrorCode;
use protocol::messages::ElectLeadersRequest;
use protocol::messages::elect_leaders_request::TopicPartitions;
use runtime::time::sleep;
use std::rc::Rc;
use std::time::Duration;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Asks for elections of one partition or all of them.
pub async fn elect(cluster: Rc<Cluster>) {
    let mut client = Client::new(&cluster);
    while !cluster.quiet.get() {
        sleep(Duration::from_millis(cluster.below(4_000))).await;
        let count = cluster.partitions.borrow().len() as u64;
        let nth = cluster.below(2 * count) as usize;
        let asked = cluster.partitions.borrow().get(nth).map(|(name, index)| {
            let topic = TopicPartitions::default().with_topic(topic_name(name));
            vec![topic.with_partitions(vec![*index])]
        });
        let kind = if cluster.below(4) == 0 { UNCLEAN } else { PREFERRED };
        let request = ElectLeadersRequest::default()
            .with_election_type(kind)
            .with_topic_partitions(asked)
            .with_timeout_ms(2_000);
        let answer = client.ask_any(&request).await;
        let topics = answer.replica_election_results.into_iter();
        let codes = topics.flat_map(|topic| topic.partition_result).map(|told| told.error_code);
        for code in codes {
            match ErrorCode::from_code(code) {
                Some(ErrorCode::None) => cluster.mark("a leader was elected that was asked for"),
                Some(ErrorCode::ElectionNotNeeded) => {}
                Some(ErrorCode::PreferredLeaderNotAvailable) => {
                    cluster.mark("a preferred leader was not available");
                }
                Some(ErrorCode::EligibleLeadersNotAvailable) => {
                    cluster.mark("nobody could be elected");
                }
                // so says a node that has not heard of the topic yet
                Some(ErrorCode::UnknownTopicOrPartition) => {}
                error => return cluster.violation(format!("an election was answered {error:?}")),
            }
        }
        if answer.error_code != 0 {
            return cluster.violation(format!("an election was answered {}", answer.error_code));
        }
    }
}

//! A client of several nodes: it finds the leader of a partition by asking any node, and asks again when it is another.
//!
//! As Kafka's clients do, it does not go back to a leader of an older epoch that a node with old metadata names.

use super::plan::{CLIENT_PORT, Topic};
use super::{At, Cluster};
use crate::shared::{RETRY_PAUSE, topic_name};
use crate::wire::{Connection, Lost};
use protocol::ErrorCode;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::{
    CreateTopicsRequest, InitProducerIdRequest, MetadataRequest, MetadataResponse,
};
use runtime::time::{sleep, timeout};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A client asks another node when one does not answer for so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connections to all nodes, and who leads what.
pub struct Client {
    pub cluster: Rc<Cluster>,
    connections: BTreeMap<usize, Connection>,
    leaders: BTreeMap<At, usize>,
    /// The newest leader epoch that was heard of.
    pub epochs: BTreeMap<At, i32>,
    /// Questions without an answer, or with one that leaves it open: what they ask for may still be done, much later.
    pub unanswered: u64,
}

impl Client {
    pub fn new(cluster: &Rc<Cluster>) -> Client {
        Client {
            cluster: cluster.clone(),
            connections: BTreeMap::new(),
            leaders: BTreeMap::new(),
            epochs: BTreeMap::new(),
            unanswered: 0,
        }
    }

    pub async fn connection(&mut self, node: usize) -> Result<&mut Connection, Lost> {
        if !self.connections.contains_key(&node) {
            let address = SocketAddr::new(self.cluster.nodes[node].ip(), CLIENT_PORT);
            let opened = timeout(PATIENCE, Connection::open(address)).await.map_err(|_| Lost)?;
            self.connections.insert(node, opened?);
        }
        self.connections.get_mut(&node).ok_or(Lost)
    }

    /// The connection broke, or nobody knows what comes next on it.
    pub fn hang_up(&mut self, node: usize) {
        self.connections.remove(&node);
    }

    /// Asks a node; a connection that broke is forgotten.
    pub async fn ask<R: protocol::ApiRequest>(
        &mut self,
        node: usize,
        request: &R,
    ) -> Result<R::Response, Lost> {
        let connection = self.connection(node).await?;
        let answer = timeout(PATIENCE, connection.call(request)).await.unwrap_or(Err(Lost));
        if answer.is_err() {
            self.unanswered += 1;
            self.hang_up(node);
        }
        answer
    }

    /// Asks one node after another until one answers.
    pub async fn ask_any<R: protocol::ApiRequest>(&mut self, request: &R) -> R::Response {
        loop {
            let node = self.cluster.below(self.cluster.nodes.len() as u64) as usize;
            match self.ask(node, request).await {
                Ok(answer) => return answer,
                Err(Lost) => sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// Asks any node, again and again, until it is done; the error if it is refused for good.
    pub async fn until<R: protocol::ApiRequest>(
        &mut self,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, Option<ErrorCode>> {
        loop {
            let answer = self.ask_any(request).await;
            match ErrorCode::from_code(code(&answer)) {
                Some(ErrorCode::None) => return Ok(answer),
                Some(error) if error.is_retriable() => {
                    self.unanswered += 1;
                    sleep(RETRY_PAUSE).await;
                }
                error => return Err(error),
            }
        }
    }

    pub async fn create_topic(&mut self, name: &str, topic: Topic) -> Result<(), String> {
        let segment = CreatableTopicConfig::default()
            .with_name(crate::shared::text("internal.segment.bytes"))
            .with_value(Some(crate::shared::text(&self.cluster.plan.segment_bytes.to_string())));
        let asked = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication)
            .with_configs(vec![segment]);
        let request =
            CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(10_000);
        loop {
            match self.until(&request, |answer| answer.topics[0].error_code).await {
                Ok(_) => break,
                // By an earlier attempt; or so says a controller that does not know yet that another one leads.
                Err(Some(ErrorCode::TopicAlreadyExists)) => return Ok(()),
                // not all nodes are there
                Err(Some(ErrorCode::InvalidReplicationFactor)) => sleep(RETRY_PAUSE).await,
                Err(error) => return Err(format!("topic {name} was not created: {error:?}")),
            }
        }
        self.cluster.expected.borrow_mut().insert(name.to_owned(), true);
        Ok(())
    }

    /// What any node knows of all topics.
    pub async fn metadata(&mut self) -> MetadataResponse {
        self.ask_any(&MetadataRequest::default().with_topics(None)).await
    }

    /// The next question about a leader is asked anew.
    pub fn forget_leaders(&mut self) {
        self.leaders.clear();
    }

    /// Who leads a partition.
    pub async fn leader(&mut self, at: &At) -> usize {
        loop {
            if let Some(leader) = self.leaders.get(at) {
                return *leader;
            }
            let answer = self.metadata().await;
            self.learn(answer);
            if !self.leaders.contains_key(at) {
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    fn learn(&mut self, answer: MetadataResponse) {
        for topic in answer.topics {
            let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
            for partition in topic.partitions {
                let at = (name.clone(), partition.partition_index);
                let known = self.epochs.entry(at.clone()).or_insert(-1);
                if let Ok(leader) = usize::try_from(partition.leader_id.0 - 1)
                    && partition.leader_epoch >= *known
                {
                    *known = partition.leader_epoch;
                    self.leaders.insert(at, leader);
                }
            }
        }
    }

    pub async fn producer_id(&mut self) -> i64 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
            .with_transaction_timeout_ms(60_000);
        loop {
            let answer = self.ask_any(&request).await;
            if answer.error_code == 0 {
                return answer.producer_id.0;
            }
            sleep(RETRY_PAUSE).await;
        }
    }
}

//! A client of several nodes: it finds the leader of a partition by asking any node, and asks again when it is another.

use crate::cluster::{At, CLIENT_PORT, Cluster, NODES};
use crate::producer::send_once;
use crate::shared::{RETRY_PAUSE, topic_name};
use crate::wire::{Connection, Lost};
use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::{CreateTopicsRequest, InitProducerIdRequest, MetadataRequest};
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
    pub leaders: BTreeMap<At, usize>,
}

impl Client {
    pub fn new(cluster: &Rc<Cluster>) -> Client {
        let cluster = cluster.clone();
        Client { cluster, connections: BTreeMap::new(), leaders: BTreeMap::new() }
    }

    async fn connection(&mut self, node: usize) -> Result<&mut Connection, Lost> {
        if !self.connections.contains_key(&node) {
            let address = SocketAddr::new(self.cluster.nodes[node].ip(), CLIENT_PORT);
            let opened = timeout(PATIENCE, Connection::open(address)).await.map_err(|_| Lost)?;
            self.connections.insert(node, opened?);
        }
        self.connections.get_mut(&node).ok_or(Lost)
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
            self.connections.remove(&node);
        }
        answer
    }

    /// Asks one node after another until one answers.
    async fn ask_any<R: protocol::ApiRequest>(&mut self, request: &R) -> R::Response {
        loop {
            let node = self.cluster.below(NODES as u64) as usize;
            match self.ask(node, request).await {
                Ok(answer) => return answer,
                Err(Lost) => sleep(RETRY_PAUSE).await,
            }
        }
    }

    pub async fn create_topic(&mut self) -> Result<(), String> {
        let topic = CreatableTopic::default()
            .with_name(topic_name("t"))
            .with_num_partitions(self.cluster.partitions.len() as i32)
            .with_replication_factor(NODES as i16);
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        loop {
            let answer = self.ask_any(&request).await;
            match ErrorCode::from_code(answer.topics[0].error_code) {
                Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => return Ok(()),
                // not all nodes are there yet
                Some(ErrorCode::InvalidReplicationFactor) => sleep(RETRY_PAUSE).await,
                Some(error) if error.is_retriable() => sleep(RETRY_PAUSE).await,
                error => return Err(format!("the topic was not created: {error:?}")),
            }
        }
    }

    pub async fn leader(&mut self, at: &At) -> usize {
        loop {
            if let Some(leader) = self.leaders.get(at) {
                return *leader;
            }
            let answer = self.ask_any(&MetadataRequest::default().with_topics(None)).await;
            for topic in answer.topics {
                let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
                for partition in topic.partitions {
                    if let Ok(leader) = usize::try_from(partition.leader_id.0 - 1) {
                        self.leaders.insert((name.clone(), partition.partition_index), leader);
                    }
                }
            }
            if !self.leaders.contains_key(at) {
                sleep(RETRY_PAUSE).await;
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

    /// Sends a batch until it is acknowledged; nothing if it is refused for good.
    pub async fn send(&mut self, at: &At, records: &Bytes) -> Option<i64> {
        loop {
            let leader = self.leader(at).await;
            let sent = match self.connection(leader).await {
                Ok(connection) => {
                    timeout(PATIENCE, send_once(connection, at, records.clone())).await
                }
                Err(Lost) => Ok(Err(Lost)),
            };
            match sent {
                Ok(Ok((0, base))) if base >= 0 => return Some(base),
                Ok(Ok((code, base))) => {
                    let error = ErrorCode::from_code(code);
                    if !error.is_some_and(|e| e != ErrorCode::None && e.is_retriable()) {
                        let what =
                            format!("produce to {at:?} was answered {error:?}, offset {base}");
                        self.cluster.violations.borrow_mut().push(what);
                        return None;
                    }
                    self.cluster.mark("produce answered with a retriable error");
                }
                Ok(Err(Lost)) | Err(_) => {
                    self.connections.remove(&leader);
                    self.cluster.mark("produce repeated on a new connection");
                }
            }
            self.leaders.clear();
            sleep(RETRY_PAUSE).await;
        }
    }
}

//! The nodes of a cluster, found through any of them.

use crate::connection::Connection;
use crate::error::ClientError;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A topic that was just created, or a coordinator that is loading, is there soon.
const RETRY_PATIENCE: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const GROUP_KEY: i8 = 0;

pub struct Client {
    bootstrap: Connection,
    /// By address. The bootstrap connection is apart: it was given by the caller, nodes advertise themselves.
    nodes: BTreeMap<String, Connection>,
    /// Node id to address, from the last metadata.
    addresses: BTreeMap<i32, String>,
}

impl Client {
    /// Connects to the first of the comma-separated addresses that answers.
    pub fn connect(bootstrap: &str) -> Result<Self, ClientError> {
        let mut last = ClientError::Address { address: bootstrap.to_owned() };
        for address in bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            match Connection::open(address) {
                Ok(bootstrap) => {
                    return Ok(Self {
                        bootstrap,
                        nodes: BTreeMap::new(),
                        addresses: BTreeMap::new(),
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Any node.
    pub(crate) fn any(&mut self) -> &mut Connection {
        &mut self.bootstrap
    }

    pub(crate) fn node(&mut self, id: i32) -> Result<&mut Connection, ClientError> {
        match self.addresses.get(&id).cloned() {
            Some(address) => self.at(address),
            None => Ok(&mut self.bootstrap),
        }
    }

    fn at(&mut self, address: String) -> Result<&mut Connection, ClientError> {
        if address == self.bootstrap.address() {
            return Ok(&mut self.bootstrap);
        }
        if !self.nodes.contains_key(&address) {
            self.nodes.insert(address.clone(), Connection::open(&address)?);
        }
        Ok(self.nodes.entry(address).or_insert_with(|| unreachable!("inserted above")))
    }

    /// Metadata of all topics (`None`) or of one, which is not created by asking.
    pub(crate) fn metadata(
        &mut self,
        topic: Option<&str>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let topics =
            topic.map(|topic| vec![MetadataRequestTopic::default().with_name(Some(name(topic)))]);
        let request =
            MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(create);
        let answer = self.any().call(&request)?;
        let nodes = answer
            .brokers
            .iter()
            .map(|node| (node.node_id.0, format!("{}:{}", node.host, node.port)));
        self.addresses = nodes.collect();
        Ok(answer)
    }

    /// Metadata of one topic with a leader for every partition, or why not. With `create` the broker may create it.
    pub(crate) fn topic(
        &mut self,
        topic: &str,
        create: bool,
    ) -> Result<MetadataResponseTopic, ClientError> {
        let found = retry(|| {
            let answer = self.metadata(Some(topic), create)?;
            let found = answer.topics.into_iter().next();
            let found = found.ok_or_else(|| ClientError::NoTopic { topic: topic.to_owned() })?;
            if let Some(partition) =
                found.partitions.iter().find(|partition| partition.leader_id.0 < 0)
            {
                let partition = partition.partition_index;
                return Err(ClientError::NoLeader { topic: topic.to_owned(), partition });
            }
            // Only a topic that is being created is worth waiting for.
            if found.error_code == ErrorCode::UnknownTopicOrPartition.code() && !create {
                return Err(ClientError::NoTopic { topic: topic.to_owned() });
            }
            ClientError::check(|| format!("look up topic {topic}"), found.error_code, None)?;
            Ok(found)
        });
        match found {
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                Err(ClientError::NoTopic { topic: topic.to_owned() })
            }
            other => other,
        }
    }

    /// The node that coordinates a group.
    pub(crate) fn coordinator(&mut self, group: &str) -> Result<&mut Connection, ClientError> {
        let key = StrBytes::from_string(group.to_owned());
        let request = FindCoordinatorRequest::default().with_key_type(GROUP_KEY);
        let address = retry(|| {
            let what = || format!("find the coordinator of group {group}");
            let connection = self.any();
            let batched =
                connection.version_up_to(protocol::ApiKey::FindCoordinator, i16::MAX)? >= 4;
            let request = match batched {
                true => request.clone().with_coordinator_keys(vec![key.clone()]),
                false => request.clone().with_key(key.clone()),
            };
            let answer = connection.call(&request)?;
            match answer.coordinators.into_iter().next() {
                Some(found) => {
                    ClientError::check(what, found.error_code, found.error_message.as_deref())?;
                    Ok(format!("{}:{}", found.host, found.port))
                }
                None => {
                    ClientError::check(what, answer.error_code, answer.error_message.as_deref())?;
                    Ok(format!("{}:{}", answer.host, answer.port))
                }
            }
        })?;
        self.at(address)
    }
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Again while the broker says that it may work soon.
pub(crate) fn retry<T>(
    mut attempt: impl FnMut() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let end = Instant::now() + RETRY_PATIENCE;
    loop {
        match attempt() {
            Err(error) if may_pass(&error) && Instant::now() < end => {
                std::thread::sleep(RETRY_PAUSE)
            }
            result => return result,
        }
    }
}

fn may_pass(error: &ClientError) -> bool {
    let retriable = error.code().is_some_and(ErrorCode::is_retriable);
    retriable || matches!(error, ClientError::NoLeader { .. })
}

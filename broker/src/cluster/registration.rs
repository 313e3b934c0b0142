//! A node says who and where it is, and learns what it missed.
//!
//! Before anything else of it is served: it finds the leader of the metadata group, is added to those who are told of
//! changes if it does not vote, and registers. Once its registration is applied here, it knows all metadata that were
//! there before. A node id belongs to the directory that used it first: another directory is refused.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rpc::{CallError, PeerId, Refusal};
use runtime::time::{Instant, sleep};

use super::messages::{JOIN, Join, Known, WHO_LEADS, decode_call, encode};
use crate::ids::{METADATA_GROUP, NodeId};
use crate::metadata::{BrokerRecord, Image, MetadataRecord};
use crate::node::BootError;
use crate::shard::{Change, METADATA_SHARD, Shard, replica_of};

/// Between attempts to find the cluster.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Between lines that say what is waited for.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How long a question to another node may take.
const QUESTION_MAX: Duration = Duration::from_secs(2);

/// Why another node does not talk to this one, as a sentence.
enum Turned {
    /// One of the two belongs to another cluster.
    Foreign(String),
    /// This node cannot be part of the cluster.
    Away(String),
}

impl Turned {
    fn into_sentence(self) -> String {
        match self {
            Turned::Foreign(sentence) | Turned::Away(sentence) => sentence,
        }
    }
}

impl Shard {
    /// Becomes a node of the cluster; returns when it is registered and all earlier metadata are applied here.
    pub(crate) async fn join_cluster(
        self: &Rc<Self>,
        endpoints: Vec<(String, String, String, u16)>,
    ) -> Result<(), BootError> {
        let record = self.broker_record(endpoints);
        let mut said = Instant::now();
        loop {
            if self.metadata_leader().is_none() {
                self.look_for_leader().await?;
            } else {
                let record = record.clone();
                let register = move |image: &Image| decide(image, record);
                match self.change_metadata(register).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(refused)) => return Err(BootError::Metadata(refused)),
                    Err(error) => tracing::debug!(%error, "not registered yet"),
                }
            }
            if said.elapsed() >= SAY_AGAIN {
                said = Instant::now();
                tracing::warn!("waiting for a majority of controller.quorum.voters");
            }
            sleep(RETRY_AFTER).await;
        }
    }

    fn broker_record(&self, endpoints: Vec<(String, String, String, u16)>) -> BrokerRecord {
        let config = &self.node.config;
        let identity = self.node.identity.get().expect("the data directory is open");
        BrokerRecord {
            node: self.node.node_id(),
            rack: config.rack.clone(),
            endpoints,
            directory: identity.directory,
            peer: self.peer_address(),
            shards: self.count as u16,
            epoch: 0,
            fenced: false,
        }
    }

    fn peer_address(&self) -> (String, u16) {
        let advertised = self.node.config.quorum.peer_advertised.as_ref();
        advertised.map_or_else(Default::default, |address| (address.host.clone(), address.port))
    }

    /// Asks the voters who leads; a voter of another cluster ends this node, and so does one who knows this node's id as
    /// that of another directory.
    async fn look_for_leader(self: &Rc<Self>) -> Result<(), BootError> {
        let me = self.node.node_id();
        let voters = self.node.config.quorum.voters.iter().map(|voter| NodeId(voter.node_id));
        let others: Vec<NodeId> = voters.filter(|voter| *voter != me).collect();
        let mut foreign = 0;
        for voter in &others {
            let answer = match self.ask(*voter, WHO_LEADS, Bytes::new()).await {
                Ok(answer) => answer,
                Err(Turned::Foreign(sentence)) => {
                    foreign += 1;
                    // it may be that node which is wrong here
                    if 2 * foreign > others.len() {
                        return Err(BootError::Metadata(sentence));
                    }
                    continue;
                }
                Err(Turned::Away(sentence)) => return Err(BootError::Metadata(sentence)),
            };
            let Some(Known { leader: Some(leader) }) =
                answer.and_then(|answer| decode_call(&answer).ok())
            else {
                continue;
            };
            let members = self.raft.status(METADATA_GROUP).map(|status| status.membership);
            if members.is_some_and(|members| members.voters.contains(&replica_of(me))) {
                // it will hear of the leader by Raft itself
                return Ok(());
            }
            let join = Join { node: me, peer: self.peer_address(), shards: self.count as u16 };
            let joined = self.ask(leader, JOIN, encode(&join)).await;
            return joined
                .map(|_| ())
                .map_err(|turned| BootError::Metadata(turned.into_sentence()));
        }
        Ok(())
    }

    /// A question to a node; nothing if it has no answer now, an error if it never will.
    async fn ask(
        self: &Rc<Self>,
        node: NodeId,
        method: u16,
        body: Bytes,
    ) -> Result<Option<Bytes>, Turned> {
        let Some(cluster) = self.cluster() else { return Ok(None) };
        let peer = PeerId { node: node.0, shard: METADATA_SHARD };
        let asked = cluster.peers.call(peer, method, vec![body], QUESTION_MAX);
        let refused = match asked.await {
            Ok(answer) => return Ok(Some(answer)),
            Err(CallError::Refused(refused)) => refused,
            Err(error) => {
                tracing::debug!(node = node.0, %error, "no answer");
                return Ok(None);
            }
        };
        let (dir, me) = (self.node.config.data_dir.display(), self.node.node_id().0);
        match refused {
            Refusal::ForeignCluster => Err(Turned::Foreign(format!(
                "{dir} belongs to another cluster than node {}; name the voters of its own cluster \
                 or use an empty directory",
                node.0
            ))),
            Refusal::UsedNodeId => Err(Turned::Away(format!(
                "node.id={me} is used by a node with another data directory than {dir}; choose \
                 another id, or remove that node first"
            ))),
            other => {
                tracing::warn!(node = node.0, "refused: {other}");
                Ok(None)
            }
        }
    }
}

/// Whether a node may register, as records.
fn decide(image: &Image, record: BrokerRecord) -> Change<Result<(), String>> {
    let node = record.node;
    let known = image.nodes.get(&node).and_then(|node| node.link.as_ref());
    if known.is_some_and(|known| known.directory != record.directory) {
        let refused = format!(
            "node.id={} is used by a node with another data directory; choose another id, or remove \
             that node first",
            node.0
        );
        return Change { records: Vec::new(), answer: Err(refused) };
    }
    Change { records: vec![MetadataRecord::RegisterBroker(record)], answer: Ok(()) }
}

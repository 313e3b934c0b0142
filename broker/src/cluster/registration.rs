//! A node says who and where it is, and learns what it missed.
//!
//! Before anything else of it is served: it finds the leader of the metadata group, is added to those who are told of
//! changes if it does not vote, and registers. Whom it asks: the voters of its file, the nodes that it knows from an
//! earlier life, and whoever listens at `controller.quorum.bootstrap.servers`. Once its registration is applied here, it knows all metadata that were
//! there before. A node id belongs to the directory that used it first: another directory is refused.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rpc::{CallError, CallFailure, NodeAddress, PeerId, Refusal};
use runtime::time::{Instant, sleep};

use super::messages::{JOIN, Join, Known, TURNED_AWAY, WHO_LEADS, decode_call, encode};
use crate::ids::NodeId;
use crate::metadata::{BrokerRecord, Image, MetadataRecord};
use crate::node::BootError;
use crate::shard::{Change, METADATA_SHARD, Shard};

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
        self.refuse_foreign_servers().await?;
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
                    Err(error) => {
                        tracing::debug!(%error, "not registered yet");
                        // the leader may have let go of a replica that was not registered
                        self.look_for_leader().await?;
                    }
                }
            }
            if said.elapsed() >= SAY_AGAIN {
                said = Instant::now();
                tracing::warn!("waiting for a majority of the voters");
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

    /// Asks the others who leads, and the leader to be told of metadata. A voter of another cluster ends this node, and
    /// so does one who knows this node's id as that of another directory.
    async fn look_for_leader(self: &Rc<Self>) -> Result<(), BootError> {
        let contacts = self.contacts();
        let mut foreign = 0;
        for contact in &contacts {
            match self.ask(*contact, WHO_LEADS, Bytes::new()).await {
                Ok(Some(answer)) => {
                    if self.follow_hint(&answer).await? {
                        return Ok(());
                    }
                }
                Ok(None) => {}
                Err(Turned::Foreign(sentence)) => {
                    foreign += 1;
                    // it may be that node which is wrong here
                    if 2 * foreign > contacts.len() {
                        return Err(BootError::Metadata(sentence));
                    }
                }
                Err(Turned::Away(sentence)) => return Err(BootError::Metadata(sentence)),
            }
        }
        if let Some(known) = self.ask_bootstrap_servers().await? {
            self.join_leader(&known).await?;
        }
        Ok(())
    }

    async fn follow_hint(self: &Rc<Self>, answer: &Bytes) -> Result<bool, BootError> {
        match decode_call::<Known>(answer) {
            Ok(known) => self.join_leader(&known).await,
            Err(_) => Ok(false),
        }
    }

    /// Asks the leader, if it is known, to be told of metadata. Voters are told anyway.
    async fn join_leader(self: &Rc<Self>, known: &Known) -> Result<bool, BootError> {
        self.meet(known);
        let me = self.node.node_id();
        let Some(leader) = known.leader.filter(|leader| *leader != me) else { return Ok(false) };
        let directory = self.node.identity.get().expect("the data directory is open").directory;
        let (peer, shards) = (self.peer_address(), self.count as u16);
        let join = Join { node: me, directory, peer, shards };
        match self.ask(leader, JOIN, encode(&join)).await {
            Ok(joined) => Ok(joined.is_some()),
            Err(turned) => Err(BootError::Metadata(turned.into_sentence())),
        }
    }

    /// What those whom the file names know, as far as they answer.
    async fn ask_all_servers(self: &Rc<Self>) -> Vec<Result<Option<Known>, Turned>> {
        let Some(cluster) = self.cluster() else { return Vec::new() };
        let quorum = &self.node.config.quorum;
        let voters = quorum.voters.iter().map(|voter| &voter.address);
        let own = quorum.peer_advertised.as_ref();
        let servers = voters.chain(&quorum.bootstrap).filter(|server| Some(*server) != own);
        let asked = servers.map(|server| async move {
            let (host, port) = (server.host.as_str(), server.port);
            let asked = cluster.peers.call_address(host, port, WHO_LEADS, Vec::new(), QUESTION_MAX);
            let answer = asked.await.map(|(_, answer)| answer);
            let answer = self.judge_answer(&format!("the one at {server}"), answer)?;
            Ok(answer.and_then(|answer| decode_call::<Known>(&answer).ok()))
        });
        join_all(asked).await
    }

    /// A node that decides alone would never meet those whom its file names, and not see that they are another cluster.
    async fn refuse_foreign_servers(self: &Rc<Self>) -> Result<(), BootError> {
        if self.cluster().is_none() || !self.leads_metadata() {
            return Ok(()); // one that does not decide will ask them anyway
        }
        let mut foreign = None;
        for answer in self.ask_all_servers().await {
            match answer {
                Ok(Some(_)) => return Ok(()),
                Err(Turned::Foreign(sentence)) => foreign = Some(sentence),
                Ok(None) | Err(Turned::Away(_)) => {}
            }
        }
        foreign.map_or(Ok(()), |sentence| Err(BootError::Metadata(sentence)))
    }

    /// The first voters of a cluster that is there already, for a voter with an empty directory.
    pub(super) async fn find_formed_cluster(
        self: &Rc<Self>,
    ) -> Result<Option<Vec<NodeId>>, BootError> {
        for answer in self.ask_all_servers().await {
            match answer {
                Ok(Some(known)) if !known.first_voters.is_empty() => {
                    self.meet(&known);
                    return Ok(Some(known.first_voters));
                }
                Err(Turned::Away(sentence)) => return Err(BootError::Metadata(sentence)),
                Ok(_) | Err(Turned::Foreign(_)) => {}
            }
        }
        Ok(None)
    }

    /// Nodes that this one knows, and how to find them.
    fn contacts(&self) -> BTreeSet<NodeId> {
        let Some(cluster) = self.cluster() else { return BTreeSet::new() };
        let image = self.metadata_writer().latest();
        for (id, node) in &image.nodes {
            if let Some(link) = &node.link
                && cluster.peers.node_state(id.0).is_none()
                && *id != image.node
            {
                cluster.peers.set_node(id.0, super::link::address_of(link));
            }
        }
        let voters = self.node.config.quorum.voters.iter().map(|voter| NodeId(voter.node_id));
        let linked = image.nodes.iter().filter(|(_, node)| node.link.is_some()).map(|(id, _)| *id);
        voters.chain(linked).filter(|id| *id != image.node).collect()
    }

    /// Notes where other nodes are, as one of them says.
    fn meet(&self, known: &Known) {
        let Some(cluster) = self.cluster() else { return };
        for (id, host, port) in &known.nodes {
            if *id != self.node.node_id() && cluster.peers.node_state(id.0).is_none() {
                let address = NodeAddress { host: host.clone(), port: *port, directory: None };
                cluster.peers.set_node(id.0, address);
            }
        }
    }

    /// What the first of `controller.quorum.bootstrap.servers` that answers knows.
    async fn ask_bootstrap_servers(self: &Rc<Self>) -> Result<Option<Known>, BootError> {
        let Some(cluster) = self.cluster() else { return Ok(None) };
        for server in &self.node.config.quorum.bootstrap {
            let (host, port) = (server.host.as_str(), server.port);
            let asked = cluster.peers.call_address(host, port, WHO_LEADS, Vec::new(), QUESTION_MAX);
            let answer = asked.await.map(|(_, answer)| answer);
            match self.judge_answer(&server.to_string(), answer) {
                Ok(Some(answer)) => {
                    if let Ok(known) = decode_call::<Known>(&answer) {
                        self.meet(&known);
                        return Ok(Some(known));
                    }
                }
                Ok(None) => {}
                Err(turned) => return Err(BootError::Metadata(turned.into_sentence())),
            }
        }
        Ok(None)
    }

    /// Finds the cluster by its bootstrap servers; returns the voters with which its log begins.
    pub(crate) async fn find_first_voters(self: &Rc<Self>) -> Result<Vec<NodeId>, BootError> {
        let mut said = Instant::now();
        loop {
            if let Some(known) = self.ask_bootstrap_servers().await?
                && !known.first_voters.is_empty()
            {
                return Ok(known.first_voters);
            }
            if said.elapsed() >= SAY_AGAIN {
                said = Instant::now();
                tracing::warn!(
                    "waiting for a cluster at controller.quorum.bootstrap.servers; the first node of \
                     a new one is started with --standalone"
                );
            }
            sleep(RETRY_AFTER).await;
        }
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
        let answer = cluster.peers.call(peer, method, vec![body], QUESTION_MAX).await;
        self.judge_answer(&format!("node {}", node.0), answer)
    }

    fn judge_answer(
        &self,
        who: &str,
        answer: Result<Bytes, CallError>,
    ) -> Result<Option<Bytes>, Turned> {
        let refused = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(CallError::Refused(refused)) => refused,
            Err(CallError::Failed(CallFailure { code: TURNED_AWAY, reason })) => {
                return Err(Turned::Away(reason));
            }
            Err(error) => {
                tracing::debug!(who, %error, "no answer");
                return Ok(None);
            }
        };
        let (dir, me) = (self.node.config.data_dir.display(), self.node.node_id().0);
        match refused {
            Refusal::ForeignCluster => Err(Turned::Foreign(format!(
                "{dir} belongs to another cluster than {who}; name the voters of its own cluster or \
                 use an empty directory"
            ))),
            Refusal::UsedNodeId => Err(Turned::Away(format!(
                "node.id={me} is used by a node with another data directory than {dir}; choose \
                 another id, or remove that node first"
            ))),
            // a list of servers names this one, too
            Refusal::OwnNodeId => Ok(None),
            other => {
                tracing::warn!(who, "refused: {other}");
                Ok(None)
            }
        }
    }
}

/// Whether a node may register, as records.
fn decide(image: &Image, record: BrokerRecord) -> Change<Result<(), String>> {
    if let Err(refused) = image.check_directory(record.node, record.directory) {
        return Change { records: Vec::new(), answer: Err(refused) };
    }
    // Groups that another directory of this id had a replica of end here: an empty replica must not vote in them.
    let is_new = image.removed.get(&record.node).is_some_and(|removed| {
        removed.node.link.as_ref().is_some_and(|link| link.directory != record.directory)
    });
    let unused = if is_new { image.unused_groups_of(record.node) } else { Vec::new() };
    let end = |group| MetadataRecord::ChangeRaftGroup { group, voters: Vec::new() };
    let mut records: Vec<MetadataRecord> = unused.into_iter().map(end).collect();
    records.push(MetadataRecord::RegisterBroker(record));
    Change { records, answer: Ok(()) }
}

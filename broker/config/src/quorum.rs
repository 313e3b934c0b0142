//! `controller.quorum.voters`, `controller.quorum.bootstrap.servers` and the listener for other nodes: who decides about
//! metadata, how a node finds them, and where nodes meet.
//!
//! A node whose file names neither, or itself as the only voter, is a cluster of one: it opens no socket for other nodes.
//! A voter's address is where its peers connect, which in a combined-roles Kafka file is the controller listener. With
//! bootstrap servers the voters are not in the file but in the cluster: it begins with one node, the one that is told so
//! (`millrace.quorum.standalone`, or no server but itself), and others join it.

use crate::broker_values::BrokerValues;
use crate::error::ConfigError;
use crate::listeners::{self, Endpoint, Listener};

/// A node that votes on metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub node_id: i32,
    pub address: Endpoint,
}

/// What the file says about other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quorum {
    /// In order of their ids; empty for a cluster of one, and where the cluster says who votes.
    pub voters: Vec<Voter>,
    /// Where a node asks that knows no other one.
    pub bootstrap: Vec<Endpoint>,
    /// With an empty directory this node begins a cluster, as its only voter.
    pub standalone: bool,
    /// Where this node listens for others; absent in a cluster of one.
    pub peer_listener: Option<Endpoint>,
    /// Where others reach it.
    pub peer_advertised: Option<Endpoint>,
}

const VOTERS: &str = "controller.quorum.voters";
const BOOTSTRAP: &str = "controller.quorum.bootstrap.servers";
const STANDALONE: &str = "millrace.quorum.standalone";
const PEER_LISTENER: &str = "millrace.peer.listener";
/// Distance of a broker-only node's peer port from that of its first listener.
const PEER_PORT_DISTANCE: u16 = 1000;

impl Quorum {
    /// Whether this node has to do with others.
    pub fn is_clustered(&self) -> bool {
        !self.voters.is_empty() || !self.bootstrap.is_empty()
    }
}

pub(crate) fn resolve(
    values: &BrokerValues,
    node_id: i32,
    listeners: &[Listener],
) -> Result<Quorum, ConfigError> {
    let voters = voters(values)?;
    let bootstrap = bootstrap_servers(values)?;
    let me = voters.iter().find(|voter| voter.node_id == node_id);
    let is_alone = voters.is_empty() && bootstrap.is_empty();
    if is_alone || (voters.len() == 1 && me.is_some()) {
        return Ok(Quorum::default());
    }
    let advertised = me.map(|voter| voter.address.clone());
    let advertised = match advertised {
        None => listeners::advertised_controller(values)?,
        known => known,
    };
    let listener = match values.text(PEER_LISTENER).filter(|text| !text.is_empty()) {
        Some(text) => parse_address(&text).ok_or_else(|| ConfigError::Refused {
            name: PEER_LISTENER.to_owned(),
            value: text,
            reason: "write host:port, as in 10.0.0.7:9093".to_owned(),
        })?,
        None => match listeners::controller(values)? {
            Some(endpoint) => endpoint,
            None => beside(&listeners[0].bind, advertised.as_ref()),
        },
    };
    if listener.port == 0 {
        let value = listener.to_string();
        let reason = "nodes of a cluster must know each other's ports; choose one".to_owned();
        return Err(ConfigError::BadListener { name: "listeners", value, reason });
    }
    let advertised = advertised.unwrap_or_else(|| Endpoint {
        host: match (&*listener.host, &listeners[0].advertised) {
            ("" | "0.0.0.0" | "::", Some(advertised)) => advertised.host.clone(),
            _ => listener.host.clone(),
        },
        port: listener.port,
    });
    let names_itself = bootstrap.iter().all(|server| is_same(server, &advertised, &listener));
    let standalone = voters.is_empty() && (names_itself || values.boolean(STANDALONE));
    let (peer_listener, peer_advertised) = (Some(listener), Some(advertised));
    Ok(Quorum { voters, bootstrap, standalone, peer_listener, peer_advertised })
}

/// Whether a server is this node.
fn is_same(server: &Endpoint, advertised: &Endpoint, listener: &Endpoint) -> bool {
    const ANY: [&str; 3] = ["", "0.0.0.0", "::"];
    const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
    let has = |names: &[&str], host: &str| names.contains(&host);
    let is_local =
        has(&LOCAL, &server.host) && (has(&ANY, &listener.host) || has(&LOCAL, &listener.host));
    let by_listener = server.port == listener.port && (is_local || server.host == listener.host);
    server == advertised || by_listener
}

fn bootstrap_servers(values: &BrokerValues) -> Result<Vec<Endpoint>, ConfigError> {
    let servers = values.list(BOOTSTRAP).into_iter().filter(|text| !text.is_empty());
    let parse = |text: String| {
        parse_address(&text).filter(|address| !address.host.is_empty()).ok_or_else(|| {
            let reason = "write host:port, as in 10.0.0.7:9093".to_owned();
            ConfigError::Refused { name: BOOTSTRAP.to_owned(), value: text, reason }
        })
    };
    servers.map(parse).collect()
}

/// A node without a controller listener: the voter's port if it is one, else next to the clients' port.
fn beside(bind: &Endpoint, voter: Option<&Endpoint>) -> Endpoint {
    let port = voter.map_or(bind.port.wrapping_add(PEER_PORT_DISTANCE), |voter| voter.port);
    Endpoint { host: bind.host.clone(), port }
}

/// `id@host:port,id@host:port`
fn voters(values: &BrokerValues) -> Result<Vec<Voter>, ConfigError> {
    let mut voters: Vec<Voter> = Vec::new();
    for text in values.list(VOTERS).into_iter().filter(|text| !text.is_empty()) {
        let refused = |reason: &str| ConfigError::Refused {
            name: VOTERS.to_owned(),
            value: text.clone(),
            reason: reason.to_owned(),
        };
        let voter = parse_voter(&text).ok_or_else(|| {
            refused("write id@host:port pairs, as in 1@host-a:9093,2@host-b:9093,3@host-c:9093")
        })?;
        if voters.iter().any(|known| known.node_id == voter.node_id) {
            return Err(refused("each voter must have a different id"));
        }
        voters.push(voter);
    }
    voters.sort_by_key(|voter| voter.node_id);
    Ok(voters)
}

fn parse_voter(text: &str) -> Option<Voter> {
    let (id, address) = text.split_once('@')?;
    let node_id = id.trim().parse().ok().filter(|id| *id >= 0)?;
    Some(Voter { node_id, address: parse_address(address)? })
}

/// `host:port` or `[v6]:port`.
fn parse_address(text: &str) -> Option<Endpoint> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains([':', '[', ']']) => return None,
        None => host,
    };
    Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(text: &str) -> Result<Quorum, ConfigError> {
        let values = BrokerValues::from_properties(text)?.0;
        resolve(&values, 2, &listeners::resolve(&values)?)
    }

    const LISTENERS: &str = "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:19092\n\
                             controller.listener.names=CONTROLLER\n";

    #[test]
    fn a_node_that_votes_alone_is_a_cluster_of_one() {
        assert_eq!(quorum("").unwrap(), Quorum::default());
        assert_eq!(quorum("controller.quorum.voters=2@127.0.0.1:0").unwrap(), Quorum::default());
    }

    #[test]
    fn the_controller_listener_of_a_kafka_file_is_where_nodes_meet() {
        let text = format!("{LISTENERS}controller.quorum.voters=3@c:3,1@a:1,2@b:2\n");
        let quorum = quorum(&text).unwrap();
        assert!(quorum.is_clustered());
        let ids: Vec<i32> = quorum.voters.iter().map(|voter| voter.node_id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(quorum.peer_listener.unwrap().to_string(), "127.0.0.1:19092");
        assert_eq!(quorum.peer_advertised.unwrap().to_string(), "b:2");
    }

    #[test]
    fn a_node_without_controller_listener_meets_others_beside_its_clients() {
        let text = "listeners=PLAINTEXT://10.0.0.7:9092\ncontroller.quorum.voters=1@a:1\n";
        let beside = quorum(text).unwrap();
        assert_eq!(beside.peer_listener.unwrap().to_string(), "10.0.0.7:10092");
        assert_eq!(beside.peer_advertised.unwrap().to_string(), "10.0.0.7:10092");
        let chosen = quorum(&format!("{text}millrace.peer.listener=[::1]:7\n")).unwrap();
        assert_eq!(chosen.peer_listener.unwrap().to_string(), "[::1]:7");
    }

    #[test]
    fn a_node_that_names_only_itself_begins_a_cluster_and_any_other_joins_one() {
        let servers =
            |servers: &str| format!("{LISTENERS}controller.quorum.bootstrap.servers={servers}\n");
        let first = quorum(&servers("localhost:19092")).unwrap();
        assert!(first.is_clustered() && first.standalone && first.voters.is_empty());
        assert_eq!(first.peer_advertised.unwrap().to_string(), "127.0.0.1:19092");
        let joins = quorum(&servers("localhost:19092,b:19092")).unwrap();
        assert!(joins.is_clustered() && !joins.standalone);
        assert_eq!(joins.bootstrap.len(), 2);
        let told = servers("localhost:19092,b:19092") + "millrace.quorum.standalone=true\n";
        assert!(quorum(&told).unwrap().standalone);
        let voters = servers("b:19092") + "controller.quorum.voters=1@b:19092,2@c:1\n";
        assert!(!quorum(&voters).unwrap().standalone, "the file says who votes");
        assert!(quorum(&servers("b")).unwrap_err().to_string().contains("bootstrap.servers"));
    }

    #[test]
    fn what_the_controller_listener_advertises_is_where_others_come() {
        let text = "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n\
                    advertised.listeners=PLAINTEXT://a:9092,CONTROLLER://a:19093\n\
                    controller.quorum.bootstrap.servers=a:19093\n";
        let quorum = quorum(text).unwrap();
        assert_eq!(quorum.peer_advertised.unwrap().to_string(), "a:19093");
        assert!(quorum.standalone);
    }

    #[test]
    fn voters_that_cannot_be_are_refused_by_name() {
        for bad in ["1@a", "a:1", "-1@a:1", "1@a:x", "1@a:1,1@b:2", "1@a:1:2"] {
            let message = quorum(&format!("controller.quorum.voters={bad}")).unwrap_err();
            assert!(message.to_string().contains("controller.quorum.voters"), "{message}");
        }
    }
}

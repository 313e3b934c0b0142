//! Nodes of a cluster that come and go: where each is, how it is started or refused, and what it tells of the others.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use client::{Client, Connection, NewTopic};
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::{
    AddRaftVoterRequest, BrokerId, DescribeClusterRequest, DescribeQuorumRequest,
    DescribeQuorumResponse, RemoveRaftVoterRequest, TopicName, UnregisterBrokerRequest,
};
use protocol::{StrBytes, Uuid};

use super::address::own_host;
use super::numbers::{read_numbers, write_number};
use super::process::Starting;
use super::{Node, eventually};

/// Where a node is and where others meet it.
pub struct Place {
    pub id: i32,
    pub host: Ipv4Addr,
    pub home: PathBuf,
}

/// Nodes with these ids below `dir`.
pub fn places(dir: &Path, ids: &[i32]) -> Vec<Place> {
    let place = |id: &i32| {
        let host = own_host();
        Place { id: *id, host, home: dir.join(format!("node-{id}-{host}")) }
    };
    ids.iter().map(place).collect()
}

pub fn voters(places: &[Place]) -> String {
    let voter = |place: &Place| format!("{}@{}:9093", place.id, place.host);
    let voters: Vec<String> = places.iter().map(voter).collect();
    format!("controller.quorum.voters={}", voters.join(","))
}

pub fn servers(places: &[&Place]) -> String {
    let servers: Vec<String> = places.iter().map(|place| format!("{}:9093", place.host)).collect();
    format!("controller.quorum.bootstrap.servers={}", servers.join(","))
}

impl Place {
    pub fn address(&self) -> String {
        format!("{}:9092", self.host)
    }

    pub fn file(&self, quorum: &str) -> PathBuf {
        std::fs::create_dir_all(&self.home).expect("a directory");
        let file = self.home.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id={id}\n{quorum}\n\
             listeners=PLAINTEXT://{host}:9092,CONTROLLER://{host}:9093\n\
             controller.listener.names=CONTROLLER\nlog.dirs={data}\nmillrace.shards=2\n\
             broker.session.timeout.ms=2000\nmillrace.wal.file.bytes=4194304\n\
             offsets.topic.num.partitions=3\nmillrace.checkpoint.interval.ms=200\n\
             auto.leader.rebalance.enable=false\nmillrace.log.level=warn\n",
            id = self.id,
            host = self.host,
            data = self.home.join("data").display(),
        );
        std::fs::write(&file, text).expect("a file");
        file
    }

    pub fn command(&self, quorum: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.arg("start").arg("--config").arg(self.file(quorum)).args(more);
        command
    }

    pub fn start(&self, quorum: &str) -> Node {
        Node::run(self.command(quorum, &[]))
    }

    /// Starts and does not wait until it is ready.
    pub fn spawn(&self, quorum: &str) -> Starting {
        Node::spawn(self.command(quorum, &[]))
    }

    /// Starts and expects that the node ends by itself; the sentence that it says.
    pub fn refused(&self, quorum: &str) -> String {
        sentence(self.command(quorum, &[]).output().expect("the binary runs"))
    }

    pub fn recover(&self, quorum: &str, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.arg("recover").arg("--config").arg(self.file(quorum)).args(more);
        command.output().expect("the binary runs")
    }

    /// `directory.id` of its data directory.
    pub fn directory(&self) -> Uuid {
        use base64::Engine;
        let text = std::fs::read_to_string(self.home.join("data/meta.properties"));
        let text = text.expect("the node has written it");
        let id = text.lines().find_map(|line| line.strip_prefix("directory.id="));
        let id = id.expect("it names a directory").trim();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(id).expect("base64");
        Uuid::from_slice(&bytes).expect("16 bytes")
    }
}

pub fn sentence(output: Output) -> String {
    assert!(!output.status.success(), "it was not refused");
    let said = String::from_utf8(output.stderr).expect("text");
    let sentence = said.lines().find_map(|line| line.strip_prefix("millrace: "));
    sentence.unwrap_or_else(|| panic!("no sentence in {said:?}")).to_owned()
}

pub fn start_all(places: &[Place], quorum: &str) -> Vec<Node> {
    let starting: Vec<_> = places
        .iter()
        .map(|place| {
            let command = place.command(quorum, &[]);
            std::thread::spawn(move || Node::run(command))
        })
        .collect();
    starting.into_iter().map(|one| one.join().expect("the node is ready")).collect()
}

pub fn connect(place: &Place) -> Connection {
    Connection::open(&place.address()).expect("the node accepts")
}

pub fn quorum_of(place: &Place) -> DescribeQuorumResponse {
    let partitions = vec![PartitionData::default().with_partition_index(0)];
    let name = TopicName(StrBytes::from_static_str("__cluster_metadata"));
    let topic = TopicData::default().with_topic_name(name).with_partitions(partitions);
    let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
    connect(place).call(&request).expect("an answer")
}

/// Voters and observers, as a node tells them.
pub fn members(place: &Place) -> (BTreeSet<i32>, BTreeSet<i32>) {
    let told = quorum_of(place);
    let partition = &told.topics[0].partitions[0];
    let ids = |replicas: &[protocol::messages::describe_quorum_response::ReplicaState]| {
        replicas.iter().map(|replica| replica.replica_id.0).collect()
    };
    (ids(&partition.current_voters), ids(&partition.observers))
}

pub fn add_voter(asked: &Place, added: &Place) -> i16 {
    let request = AddRaftVoterRequest::default()
        .with_cluster_id(None)
        .with_timeout_ms(20_000)
        .with_voter_id(added.id)
        .with_voter_directory_id(added.directory());
    connect(asked).call(&request).expect("an answer").error_code
}

pub fn remove_voter(asked: &Place, removed: &Place) -> i16 {
    let request = RemoveRaftVoterRequest::default()
        .with_cluster_id(None)
        .with_voter_id(removed.id)
        .with_voter_directory_id(removed.directory());
    connect(asked).call(&request).expect("an answer").error_code
}

pub fn unregister(asked: &Place, id: i32) -> (i16, String) {
    let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(id));
    let answer = connect(asked).call(&request).expect("an answer");
    (answer.error_code, answer.error_message.map(|text| text.to_string()).unwrap_or_default())
}

/// Nodes that a node tells of, and which of them are fenced.
pub fn brokers(asked: &Place) -> Vec<(i32, bool)> {
    let request =
        DescribeClusterRequest::default().with_endpoint_type(1).with_include_fenced_brokers(true);
    let answer = connect(asked).call(&request).expect("an answer");
    answer.brokers.iter().map(|broker| (broker.broker_id.0, broker.is_fenced)).collect()
}

pub fn create(asked: &Place, topic: &str, partitions: i32, replicas: i16) {
    let new = NewTopic {
        name: topic.into(),
        partitions: Some(partitions),
        replication: Some(replicas),
        configs: Vec::new(),
    };
    let mut client = Client::connect(&asked.address()).expect("the node accepts");
    client.create_topic(&new).expect("the topic is created");
}

pub fn write(asked: &Place, topic: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        write_number(&asked.address(), topic, number);
    }
}

pub fn read(asked: &Place, topic: &str) -> BTreeSet<u32> {
    read_numbers(&asked.address(), topic).into_keys().collect()
}

pub fn wait_in_sync(asked: &Place, topic: &str, replicas: usize) {
    eventually("all replicas in sync", || {
        let mut client = Client::connect(&asked.address()).ok()?;
        let described = client.describe_topic(topic).ok()?;
        described.partitions.iter().all(|p| p.in_sync.len() == replicas).then_some(())
    });
}

pub fn wait_fenced(asked: &Place, id: i32) {
    eventually("it is fenced", || brokers(asked).contains(&(id, true)).then_some(()));
}

//! Blocking requests to prepare a run: create a topic, wait for it, get a producer id, produce a
//! probe record.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, InitProducerIdRequest, MetadataRequest, TopicName,
};
use protocol::{ApiRequest, StrBytes};
use record::BatchBuilder;

use super::{PartitionBatch, encode_produce, parse_produce};

const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;

pub struct Admin {
    stream: TcpStream,
    /// Connections to nodes that lead partitions which the first one does not.
    others: BTreeMap<SocketAddr, TcpStream>,
}

/// A partition as its topic's metadata tell.
#[derive(Clone, Debug)]
pub struct Placed {
    pub partition: i32,
    pub leader: i32,
    pub in_sync: usize,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Admin {
    pub fn connect(address: SocketAddr) -> Result<Admin> {
        Ok(Admin { stream: open(address)?, others: BTreeMap::new() })
    }

    /// Connects as soon as the broker answers ApiVersions.
    pub fn connect_when_ready(address: SocketAddr, limit: Duration) -> Result<Admin> {
        let start = Instant::now();
        loop {
            let attempt = Admin::connect(address).and_then(|mut admin| {
                admin.ask(0, &ApiVersionsRequest::default())?;
                Ok(admin)
            });
            match attempt {
                Ok(admin) => return Ok(admin),
                Err(_) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(1)),
                Err(e) => return Err(e.context(format!("no answer from {address}"))),
            }
        }
    }

    fn ask<T: ApiRequest>(&mut self, version: i16, request: &T) -> Result<T::Response> {
        let header = super::header::header(T::API, version, 1);
        self.stream.write_all(&protocol::encode_request(&header, request)?)?;
        let frame = read_frame(&mut self.stream)?;
        let (_, answer) = protocol::decode_response::<T::Response>(frame, version)?;
        Ok(answer)
    }

    /// Client addresses of the nodes by their ids.
    pub fn brokers(&mut self) -> Result<BTreeMap<i32, SocketAddr>> {
        let request = MetadataRequest::default().with_topics(Some(vec![]));
        let answer = self.ask(4, &request)?;
        let address = |host: &str, port: i32| format!("{host}:{port}").parse::<SocketAddr>();
        let brokers = answer.brokers.iter();
        brokers.map(|b| Ok((b.node_id.0, address(&b.host, b.port)?))).collect()
    }

    /// Every partition of the topic that has a leader.
    pub fn placed(&mut self, topic: &str) -> Result<Vec<Placed>> {
        let asked = MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask(4, &request)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let led = partitions.filter(|p| p.error_code == 0 && p.leader_id.0 >= 0);
        let placed = led.map(|p| Placed {
            partition: p.partition_index,
            leader: p.leader_id.0,
            in_sync: p.isr_nodes.len(),
        });
        Ok(placed.collect())
    }

    /// Partitions of a topic by the address of the node that leads them.
    pub fn leaders(&mut self, topic: &str) -> Result<BTreeMap<SocketAddr, Vec<i32>>> {
        let brokers = self.brokers()?;
        let mut by_leader: BTreeMap<SocketAddr, Vec<i32>> = BTreeMap::new();
        for placed in self.placed(topic)? {
            let leader = brokers.get(&placed.leader).context("a leader that is not a broker")?;
            by_leader.entry(*leader).or_default().push(placed.partition);
        }
        Ok(by_leader)
    }

    /// Creates a topic, as soon as there are nodes enough; one that exists is fine.
    pub fn create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        replicas: u16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let wanted = CreatableTopic::default()
            .with_name(TopicName(text(topic)))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas.try_into()?)
            .with_configs(configs.iter().map(config).collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(120_000);
        let start = Instant::now();
        loop {
            let created = self.ask(4, &request)?.topics.pop().context("an empty answer")?;
            match created.error_code {
                0 | TOPIC_ALREADY_EXISTS => return Ok(()),
                INVALID_REPLICATION_FACTOR if start.elapsed() < Duration::from_secs(60) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                code => bail!("creating {topic}: error {code} {:?}", created.error_message),
            }
        }
    }

    /// Waits until every partition of the topic has a leader.
    pub fn wait_for_leaders(&mut self, topic: &str, partitions: i32) -> Result<()> {
        let start = Instant::now();
        loop {
            if self.placed(topic)?.len() == partitions as usize {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(120) {
                bail!("{topic} has no leaders for all of its {partitions} partitions");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A fresh idempotent producer id with its epoch.
    pub fn init_producer_id(&mut self) -> Result<(i64, i16)> {
        let start = Instant::now();
        loop {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(60_000);
            let answer = self.ask(0, &request)?;
            if answer.error_code == 0 {
                return Ok((answer.producer_id.0, answer.producer_epoch));
            }
            if start.elapsed() > Duration::from_secs(30) {
                bail!("InitProducerId: error {}", answer.error_code);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Produces one small record until it is acknowledged, by whichever node leads the partition.
    pub fn produce_until_acknowledged(
        &mut self,
        topic: &str,
        partition: i32,
        limit: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        let mut leader = None;
        loop {
            let stream = match leader {
                None => &mut self.stream,
                Some(leader) => match self.others.entry(leader) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(open(leader)?),
                },
            };
            let error = produce_one(stream, topic, partition)?;
            if error == 0 {
                return Ok(());
            }
            if start.elapsed() > limit {
                bail!("{topic}-{partition} still refuses records: error {error}");
            }
            if error == NOT_LEADER_OR_FOLLOWER || error == UNKNOWN_TOPIC_OR_PARTITION {
                let found = self.leaders(topic)?;
                let mut found = found.into_iter().filter(|(_, led)| led.contains(&partition));
                leader = found.next().map(|(address, _)| address);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    Ok(stream)
}

fn read_frame(stream: &mut TcpStream) -> Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}

fn produce_one(stream: &mut TcpStream, topic: &str, partition: i32) -> Result<i16> {
    let mut builder = BatchBuilder::new();
    builder.push(crate::clock::wall_ms(), None, Some(&[7; 100]), &[])?;
    let batch = Bytes::from(builder.finish()?.to_vec());
    let frame = encode_produce(5, topic, &[PartitionBatch { partition, batch }]);
    stream.write_all(&frame.concat())?;
    let answer = read_frame(stream)?;
    let mut error = None;
    parse_produce(&answer, |code| error = Some(code))?;
    error.context("a produce answer without a partition")
}

//! Blocking requests to prepare a run: create a topic, wait for it, get a producer id, produce a
//! probe record.

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

pub struct Admin {
    stream: TcpStream,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Admin {
    pub fn connect(address: SocketAddr) -> Result<Admin> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(300)))?;
        Ok(Admin { stream })
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
        let (_, answer) = protocol::decode_response::<T::Response>(self.read_frame()?, version)?;
        Ok(answer)
    }

    fn read_frame(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// Creates a topic with replication factor 1; one that exists is fine.
    pub fn create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let wanted = CreatableTopic::default()
            .with_name(TopicName(text(topic)))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(120_000);
        for created in self.ask(4, &request)?.topics {
            if ![0, TOPIC_ALREADY_EXISTS].contains(&created.error_code) {
                bail!("creating {topic}: error {} {:?}", created.error_code, created.error_message);
            }
        }
        Ok(())
    }

    /// Waits until every partition of the topic has a leader.
    pub fn wait_for_leaders(&mut self, topic: &str, partitions: i32) -> Result<()> {
        let start = Instant::now();
        loop {
            if self.partitions_with_leader(topic)? == partitions {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(120) {
                bail!("{topic} has no leaders for all of its {partitions} partitions");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn partitions_with_leader(&mut self, topic: &str) -> Result<i32> {
        let asked = MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask(4, &request)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let led = partitions.filter(|p| p.error_code == 0 && p.leader_id.0 >= 0);
        Ok(led.count() as i32)
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

    /// Produces one small record until it is acknowledged.
    pub fn produce_until_acknowledged(
        &mut self,
        topic: &str,
        partition: i32,
        limit: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            let error = self.produce_one(topic, partition)?;
            if error == 0 {
                return Ok(());
            }
            if start.elapsed() > limit {
                bail!("{topic}-{partition} still refuses records: error {error}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn produce_one(&mut self, topic: &str, partition: i32) -> Result<i16> {
        let mut builder = BatchBuilder::new();
        let value = [7; 100];
        builder.push(crate::clock::wall_ms(), None, Some(&value), &[])?;
        let batch = Bytes::from(builder.finish()?.to_vec());
        let frame = encode_produce(5, topic, &[PartitionBatch { partition, batch }]);
        self.stream.write_all(&frame.concat())?;
        let answer = self.read_frame()?;
        let mut error = None;
        parse_produce(&answer, |code| error = Some(code))?;
        error.context("a produce answer without a partition")
    }
}

//! Blocking requests to prepare a run: create a topic, wait for it, get a producer id, produce a
//! probe record.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use record::BatchBuilder;

use super::{PartitionBatch, Reader, Writer, encode_produce, parse_produce};

const TOPIC_ALREADY_EXISTS: i16 = 36;

pub struct Admin {
    stream: TcpStream,
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
                admin.ask(Writer::request(18, 0, 1, false))?;
                Ok(admin)
            });
            match attempt {
                Ok(admin) => return Ok(admin),
                Err(_) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(1)),
                Err(e) => return Err(e.context(format!("no answer from {address}"))),
            }
        }
    }

    fn ask(&mut self, request: Writer) -> Result<Vec<u8>> {
        self.stream.write_all(&request.frame())?;
        self.read_frame()
    }

    fn read_frame(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Creates a topic with replication factor 1; one that exists is fine.
    pub fn create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let mut w = Writer::request(19, 4, 2, false);
        w.i32(1);
        w.string(topic);
        w.i32(partitions);
        w.i16(1);
        w.i32(0);
        w.i32(configs.len() as i32);
        for (name, value) in configs {
            w.string(name);
            w.string(value);
        }
        w.i32(120_000);
        w.i8(0);
        let answer = self.ask(w)?;
        let (_, mut r) = Reader::response(&answer, false)?;
        r.i32()?;
        for _ in 0..r.count()? {
            r.string()?;
            let error = r.i16()?;
            let message = r.string()?;
            if error != 0 && error != TOPIC_ALREADY_EXISTS {
                bail!("creating {topic}: error {error} {message}");
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
        let mut w = Writer::request(3, 4, 3, false);
        w.i32(1);
        w.string(topic);
        w.i8(0);
        let answer = self.ask(w)?;
        let (_, mut r) = Reader::response(&answer, false)?;
        r.i32()?;
        for _ in 0..r.count()? {
            r.i32()?;
            r.string()?;
            r.i32()?;
            r.string()?;
        }
        r.string()?;
        r.i32()?;
        let mut led = 0;
        for _ in 0..r.count()? {
            r.i16()?;
            r.string()?;
            r.i8()?;
            for _ in 0..r.count()? {
                let error = r.i16()?;
                r.i32()?;
                let leader = r.i32()?;
                for _ in 0..2 {
                    for _ in 0..r.count()? {
                        r.i32()?;
                    }
                }
                led += i32::from(error == 0 && leader >= 0);
            }
        }
        Ok(led)
    }

    /// A fresh idempotent producer id with its epoch.
    pub fn init_producer_id(&mut self) -> Result<(i64, i16)> {
        let start = Instant::now();
        loop {
            let mut w = Writer::request(22, 0, 4, false);
            w.i16(-1);
            w.i32(60_000);
            let answer = self.ask(w)?;
            let (_, mut r) = Reader::response(&answer, false)?;
            r.i32()?;
            let error = r.i16()?;
            if error == 0 {
                return Ok((r.i64()?, r.i16()?));
            }
            if start.elapsed() > Duration::from_secs(30) {
                bail!("InitProducerId: error {error}");
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
        let batch = builder.finish()?.to_vec();
        self.stream.write_all(&encode_produce(5, topic, &[PartitionBatch { partition, batch }]))?;
        let answer = self.read_frame()?;
        let mut error = None;
        parse_produce(&answer, |code| error = Some(code))?;
        error.context("a produce answer without a partition")
    }
}

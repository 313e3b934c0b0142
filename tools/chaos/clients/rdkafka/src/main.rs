//! Load and readers on librdkafka; see ../../README.md for what this program is asked and prints.

// A client program of its own: it has no shard and no simulated world.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod consumer;
mod history;
mod producer;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub type Done = Result<(), Box<dyn std::error::Error>>;

/// Creating the topic has to survive a node that is just starting.
const CREATE_PATIENCE: Duration = Duration::from_secs(60);

/// What all roles of the run share.
#[derive(Clone)]
pub struct Job {
    pub bootstrap: String,
    pub topic: String,
    pub partitions: i32,
    pub size: u64,
    /// Standard input has ended.
    pub stop: Arc<AtomicBool>,
}

impl Job {
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("socket.timeout.ms", "10000")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "3");
        config
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn partition_name(&self, partition: i32) -> String {
        format!("{}-{partition}", self.topic)
    }

    /// All bytes of the record with this value.
    pub fn payload(&self, value: u64) -> Vec<u8> {
        let length = 16 + value.wrapping_mul(2_654_435_761) % (1 << 32) % self.size;
        let mut bytes = value.to_be_bytes().to_vec();
        bytes.extend((8..length).map(|i| value.wrapping_add(31 * i) as u8));
        bytes
    }
}

fn main() -> Done {
    let argument = std::env::args().nth(1).ok_or("the request is missing")?;
    let request: Value = serde_json::from_str(&argument)?;
    let text = |field: &str| request[field].as_str().unwrap_or_default().to_owned();
    let job = Job {
        bootstrap: text("bootstrap"),
        topic: text("topic"),
        partitions: i32::try_from(request["partitions"].as_i64().ok_or("no partitions")?)?,
        size: request["size"].as_u64().ok_or("no size")?,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let stop = job.stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
    let roles = request["roles"].as_array().cloned().unwrap_or_default();
    let running: Vec<_> = roles
        .into_iter()
        .map(|role| {
            let job = job.clone();
            std::thread::spawn(move || {
                play(&job, &role).map_err(|error| format!("{role}: {error}"))
            })
        })
        .collect();
    for role in running {
        role.join().map_err(|_| "a role panicked")??;
    }
    Ok(())
}

fn play(job: &Job, role: &Value) -> Done {
    let number = |field: &str| role[field].as_u64().ok_or(format!("{field} is missing"));
    let process = |role: &Value| role["process"].as_u64().unwrap_or_default();
    match role["role"].as_str().unwrap_or_default() {
        "create" => create(job, i32::try_from(number("replicas")?)?),
        "producer" => producer::run(job, process(role), number("rate")?),
        "consumer" => consumer::follow(job, process(role)),
        "member" => {
            let group = role["group"].as_str().ok_or("a member without a group")?;
            consumer::be_member(job, process(role), group)
        }
        "reader" => consumer::read_all(job, process(role)),
        other => Err(format!("unknown role {other}").into()),
    }
}

fn create(job: &Job, replicas: i32) -> Done {
    let admin: AdminClient<_> = job.config().create()?;
    let end = Instant::now() + CREATE_PATIENCE;
    loop {
        let topic = NewTopic::new(&job.topic, job.partitions, TopicReplication::Fixed(replicas));
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
        let told = futures_executor::block_on(admin.create_topics([&topic], &options));
        let why = match told {
            Ok(results) => match results.into_iter().next() {
                Some(Ok(_)) | Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => return Ok(()),
                Some(Err((_, code))) => code.to_string(),
                None => "no answer".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() > end || job.stopped() {
            return Err(format!("the topic cannot be created: {why}").into());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

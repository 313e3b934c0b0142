//! The configuration a node is started with: typed, complete, validated.
//!
//! Read once at start-up and shared read-only by all shards. What may change while the node runs
//! is derived again from [`NodeConfig::values`] after a dynamic layer changed
//! ([`NodeConfig::with_values`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::broker_keys::broker_key;
use crate::broker_values::{BrokerValues, Warning};
use crate::error::ConfigError;
use crate::listeners::{self, Listener};
use crate::quorum::{self, Quorum};
use crate::topic_config::Durability;

/// Place of the shards in the system's real-time class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realtime {
    Never,
    IfGranted,
    /// 1 to 99.
    Priority(u8),
}

/// Bound of the time in which the host's CPUs wake up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuLatency {
    OfHost,
    /// None at all while synced writes come in, where the host grants it.
    WhileWriting,
    AtMost(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalBackend {
    IoUring,
    CommitThread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Bounds of the network side; each is on by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub frame_bytes_max: usize,
    pub frame_timeout: Duration,
    pub idle_timeout: Duration,
    pub backlog: i32,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// New connections per second and shard.
    pub connection_rate_max: u32,
    pub connection_requests_max: usize,
    pub connection_unsent_bytes_max: usize,
    /// Per shard.
    pub request_memory_bytes: usize,
    pub request_partitions_max: usize,
    pub fetch_bytes_max: usize,
    /// Per node.
    pub fetch_sessions_max: usize,
    /// One page of DescribeTopicPartitions.
    pub topic_partitions_page_max: usize,
    /// `None` leaves the socket's buffer to the system.
    pub send_buffer_bytes: Option<usize>,
    pub receive_buffer_bytes: Option<usize>,
    /// Per shard.
    pub producer_ids_max: usize,
}

impl Limits {
    /// `max.connections.per.ip.overrides`.
    pub fn address_overrides(&self) -> impl Iterator<Item = (IpAddr, usize)> + '_ {
        self.connections_per_ip_overrides.iter().map(|(address, count)| (*address, *count))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    pub node_id: i32,
    pub rack: Option<String>,
    /// Consumers are sent to a replica in their rack (`replica.selector.class`).
    pub rack_aware_reads: bool,
    pub listeners: Vec<Listener>,
    /// Who decides about metadata, and where nodes meet.
    pub quorum: Quorum,
    pub heartbeat_interval: Duration,
    /// A node that is silent for longer is fenced.
    pub session_timeout: Duration,
    /// A replica that has not had everything committed for longer is out of sync.
    pub replica_lag_max: Duration,
    /// Whether preferred leaders get their groups back.
    pub prefer_leaders: bool,
    pub data_dir: PathBuf,
    /// 0: one per core that the process may use.
    pub shards: usize,
    pub pin_shards: bool,
    pub spin: Duration,
    pub cpu_latency: CpuLatency,
    pub realtime: Realtime,
    /// Of topics that do not set their own.
    pub durability: Durability,
    pub wal_backend: WalBackend,
    pub wal_file_bytes: u64,
    /// Per shard.
    pub tail_cache_bytes: usize,
    pub checkpoint_interval: Duration,
    /// Changed logs from which on a checkpoint syncs their file system.
    pub checkpoint_together_from: usize,
    /// Unset: what the shards need.
    pub disk_reserve_bytes: Option<u64>,
    pub retention_check_interval: Duration,
    pub cleaner_enabled: bool,
    pub cleaner_backoff: Duration,
    /// Bytes per second of moving partitions that are throttled: from this node, and to it.
    pub leader_copy_rate: u64,
    pub follower_copy_rate: u64,
    pub metrics_listen: Option<String>,
    pub log_format: LogFormat,
    pub log_level: String,
    pub stop_timeout: Duration,
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub producer_id_expiration: Duration,
    pub group_min_session_timeout_ms: i32,
    pub group_max_session_timeout_ms: i32,
    pub group_initial_rebalance_delay_ms: i32,
    pub group_size_max: usize,
    pub offsets_topic_partitions: i32,
    pub offsets_topic_replication_factor: i16,
    pub offsets_topic_segment_bytes: i32,
    pub offset_metadata_bytes_max: usize,
    pub offsets_retention: Duration,
    pub offsets_retention_check_interval: Duration,
    /// A commit that is not durable by then is answered; it may become durable later.
    pub offsets_commit_timeout: Duration,
    pub limits: Limits,
    /// The text of every key, for `DescribeConfigs` and for resolving topics.
    pub values: BrokerValues,
}

impl NodeConfig {
    /// Reads a `server.properties`; warnings name keys that are accepted and have no effect.
    pub fn from_properties(text: &str) -> Result<(NodeConfig, Vec<Warning>), ConfigError> {
        let (values, warnings) = BrokerValues::from_properties(text)?;
        Ok((Self::with_values(values)?, warnings))
    }

    /// Derives the typed fields. Errors if keys contradict each other or one is missing.
    pub fn with_values(mut values: BrokerValues) -> Result<NodeConfig, ConfigError> {
        let node_id = node_id(&mut values)?;
        check_roles(&values)?;
        let v = Reader(&values);
        let limits = limits(&v)?;
        let listeners = listeners::resolve(&values)?;
        let config = NodeConfig {
            node_id,
            rack: values.text("broker.rack").filter(|rack| !rack.is_empty()),
            rack_aware_reads: selects_by_rack(&values)?,
            quorum: quorum::resolve(&values, node_id, &listeners)?,
            heartbeat_interval: v.millis("broker.heartbeat.interval.ms"),
            session_timeout: v.millis("broker.session.timeout.ms"),
            replica_lag_max: v.millis("replica.lag.time.max.ms"),
            prefer_leaders: values.boolean("auto.leader.rebalance.enable"),
            listeners,
            data_dir: data_dir(&values)?,
            shards: v.size("millrace.shards"),
            pin_shards: values.boolean("millrace.shards.pin"),
            spin: Duration::from_micros(v.number("millrace.shards.spin.us")),
            cpu_latency: match v.integer("millrace.cpu.latency.us") {
                -1 => CpuLatency::WhileWriting,
                us => u64::try_from(us)
                    .map_or(CpuLatency::OfHost, |us| CpuLatency::AtMost(Duration::from_micros(us))),
            },
            realtime: match v.integer("millrace.shards.realtime.priority") {
                -1 => Realtime::IfGranted,
                0 => Realtime::Never,
                priority => Realtime::Priority(priority as u8),
            },
            durability: match values.get("millrace.durability") {
                Some("memory") => Durability::Memory,
                _ => Durability::Disk,
            },
            wal_backend: match values.text("millrace.wal.backend").as_deref() {
                Some("io_uring") => WalBackend::IoUring,
                _ => WalBackend::CommitThread,
            },
            wal_file_bytes: v.number("millrace.wal.file.bytes"),
            tail_cache_bytes: v.size("millrace.tail.cache.bytes"),
            checkpoint_interval: v.millis("millrace.checkpoint.interval.ms"),
            checkpoint_together_from: v.size("millrace.checkpoint.syncfs.partitions"),
            disk_reserve_bytes: u64::try_from(v.integer("millrace.disk.reserve.bytes")).ok(),
            retention_check_interval: v.millis("log.retention.check.interval.ms"),
            cleaner_enabled: values.boolean("log.cleaner.enable"),
            cleaner_backoff: v.millis("log.cleaner.backoff.ms"),
            leader_copy_rate: v.number("leader.replication.throttled.rate"),
            follower_copy_rate: v.number("follower.replication.throttled.rate"),
            metrics_listen: values.text("millrace.metrics.listen").filter(|s| !s.is_empty()),
            log_format: match values.text("millrace.log.format").as_deref() {
                Some("json") => LogFormat::Json,
                _ => LogFormat::Text,
            },
            log_level: values.text("millrace.log.level").unwrap_or_default(),
            stop_timeout: v.millis("millrace.stop.timeout.ms"),
            auto_create_topics: values.boolean("auto.create.topics.enable"),
            delete_topics: values.boolean("delete.topic.enable"),
            num_partitions: v.int("num.partitions"),
            default_replication_factor: v.int("default.replication.factor") as i16,
            producer_id_expiration: v.millis("producer.id.expiration.ms"),
            group_min_session_timeout_ms: v.int("group.min.session.timeout.ms"),
            group_max_session_timeout_ms: v.int("group.max.session.timeout.ms"),
            group_initial_rebalance_delay_ms: v.int("group.initial.rebalance.delay.ms"),
            group_size_max: v.size("group.max.size"),
            offsets_topic_partitions: v.int("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: v.int("offsets.topic.replication.factor") as i16,
            offsets_topic_segment_bytes: v.int("offsets.topic.segment.bytes"),
            offset_metadata_bytes_max: v.size("offset.metadata.max.bytes"),
            offsets_retention: Duration::from_secs(60 * v.number("offsets.retention.minutes")),
            offsets_retention_check_interval: v.millis("offsets.retention.check.interval.ms"),
            offsets_commit_timeout: v.millis("offsets.commit.timeout.ms"),
            limits,
            values: values.clone(),
        };
        Ok(config)
    }
}

struct Reader<'a>(&'a BrokerValues);

impl Reader<'_> {
    fn integer(&self, name: &str) -> i64 {
        let value = self.0.integer(name);
        value.unwrap_or_else(|| panic!("{name} is a number and has a default"))
    }

    /// Negative values, which some of Kafka's validators let through, count as 0.
    fn number(&self, name: &str) -> u64 {
        self.integer(name).max(0) as u64
    }

    fn size(&self, name: &str) -> usize {
        self.number(name) as usize
    }

    /// A key of type INT or SHORT.
    fn int(&self, name: &str) -> i32 {
        self.integer(name) as i32
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }
}

fn node_id(values: &mut BrokerValues) -> Result<i32, ConfigError> {
    let set = |values: &BrokerValues, name: &str| {
        values.set_value(name).and_then(|_| values.integer(name)).map(|id| id as i32)
    };
    let (node, broker) = (set(values, "node.id"), set(values, "broker.id"));
    let refused = |name: &str, value: i32, reason: String| {
        Err(ConfigError::Refused { name: name.to_owned(), value: value.to_string(), reason })
    };
    let id = match (node, broker) {
        (Some(id), None) => id,
        (None, Some(id)) if id >= 0 => id,
        (None, Some(id)) => return refused("broker.id", id, "it cannot be negative".to_owned()),
        (Some(id), Some(other)) if id == other => id,
        (Some(id), Some(other)) => {
            return refused("broker.id", other, format!("node.id={id} says otherwise"));
        }
        (None, None) => {
            return Err(ConfigError::Missing { name: "node.id", example: "1" });
        }
    };
    // As Kafka does: either name shows the id.
    for name in ["node.id", "broker.id"] {
        values.file.entry(name.to_owned()).or_insert_with(|| id.to_string());
    }
    Ok(id)
}

fn check_roles(values: &BrokerValues) -> Result<(), ConfigError> {
    let roles = values.list("process.roles");
    if roles.is_empty() || roles.iter().any(|role| role == "broker") {
        return Ok(());
    }
    Err(ConfigError::Refused {
        name: "process.roles".to_owned(),
        value: roles.join(","),
        reason: "a Millrace node is always broker and controller; write broker,controller"
            .to_owned(),
    })
}

/// Of Kafka's replica selectors there are the two that it comes with; others would be Java code.
fn selects_by_rack(values: &BrokerValues) -> Result<bool, ConfigError> {
    const PACKAGE: &str = "org.apache.kafka.common.replica.";
    let class = values.text("replica.selector.class").unwrap_or_default();
    match class.strip_prefix(PACKAGE) {
        Some("RackAwareReplicaSelector") => Ok(true),
        Some("LeaderSelector") => Ok(false),
        None if class.is_empty() => Ok(false),
        _ => Err(ConfigError::Refused {
            name: "replica.selector.class".to_owned(),
            value: class,
            reason: format!("write {PACKAGE}RackAwareReplicaSelector, or leave it out"),
        }),
    }
}

fn data_dir(values: &BrokerValues) -> Result<PathBuf, ConfigError> {
    let dirs = match values.list("log.dirs") {
        dirs if dirs.is_empty() => values.list("log.dir"),
        dirs => dirs,
    };
    match dirs.into_iter().find(|dir| !dir.is_empty()) {
        Some(first) => Ok(PathBuf::from(first)),
        None => Err(ConfigError::Missing { name: "log.dirs", example: "/var/lib/millrace" }),
    }
}

fn limits(v: &Reader<'_>) -> Result<Limits, ConfigError> {
    let buffer = |name: &str| usize::try_from(v.integer(name)).ok().filter(|&size| size > 0);
    Ok(Limits {
        frame_bytes_max: v.size("socket.request.max.bytes"),
        frame_timeout: v.millis("millrace.frame.timeout.ms"),
        idle_timeout: match v.integer("connections.max.idle.ms") {
            // as Kafka does: a connection may be silent for ever
            ..0 => Duration::MAX,
            _ => v.millis("connections.max.idle.ms"),
        },
        backlog: v.int("socket.listen.backlog.size"),
        connections_max: v.size("max.connections"),
        connections_per_ip_max: v.size("max.connections.per.ip"),
        connections_per_ip_overrides: ip_overrides(v)?,
        connection_rate_max: v.int("max.connection.creation.rate") as u32,
        connection_requests_max: v.size("millrace.connection.requests.max"),
        connection_unsent_bytes_max: v.size("millrace.connection.unsent.bytes"),
        request_memory_bytes: v.size("millrace.request.memory.bytes"),
        request_partitions_max: v.size("millrace.request.partitions.max"),
        fetch_bytes_max: v.size("fetch.max.bytes"),
        fetch_sessions_max: v.size("max.incremental.fetch.session.cache.slots"),
        topic_partitions_page_max: v.size("max.request.partition.size.limit"),
        send_buffer_bytes: buffer("socket.send.buffer.bytes"),
        receive_buffer_bytes: buffer("socket.receive.buffer.bytes"),
        producer_ids_max: v.size("millrace.producer.ids.max"),
    })
}

fn ip_overrides(v: &Reader<'_>) -> Result<BTreeMap<IpAddr, usize>, ConfigError> {
    debug_assert!(broker_key(IP_OVERRIDES).is_some());
    let text = v.0.get(IP_OVERRIDES).unwrap_or_default();
    parse_ip_overrides(text).map_err(|reason| ConfigError::Refused {
        name: IP_OVERRIDES.to_owned(),
        value: text.to_owned(),
        reason,
    })
}

pub(crate) const IP_OVERRIDES: &str = "max.connections.per.ip.overrides";

/// `address:count,address:count`. Names, which Kafka resolves once when it reads them, are refused.
pub(crate) fn parse_ip_overrides(text: &str) -> Result<BTreeMap<IpAddr, usize>, String> {
    let parse = |pair: &str| {
        let (address, count) = pair.rsplit_once(':')?;
        let address = address.trim().trim_matches(['[', ']']);
        Some((address.parse().ok()?, count.trim().parse().ok()?))
    };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let refused = |pair: &str| format!("{pair} is not address:count, as in 10.0.0.7:2000");
    pairs.map(|pair| parse(pair).ok_or_else(|| refused(pair))).collect()
}

//! Identity, roles, metadata quorum, topic creation and feature switches.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::{
    JAVA_CLASS, JOINING, LINKS, METADATA_GROUP, OPEN_WHEN_READY, PROVIDERS, QUOTAS, UNSTABLE,
};
use crate::key::{Key, boolean, class, int, list, long, string};
use crate::validator::Validator::{AtLeast, EachOneOf};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("broker.id").default("-1").high()
        .applied("Older name of node.id; if both are set they must agree."),
    list("config.providers").default("").low().dynamic()
        .no_effect(PROVIDERS),
    list("early.start.listeners").high()
        .no_effect(OPEN_WHEN_READY),
    string("broker.rack")
        .applied("Rack of this node, reported in metadata and used when replicas are placed."),
    boolean("delete.topic.enable").default("true").high()
        .applied("Whether topics may be deleted; otherwise DeleteTopics answers TOPIC_DELETION_DISABLED."),
    boolean("unstable.api.versions.enable").default("false").high().internal()
        .no_effect(UNSTABLE),
    boolean("unstable.feature.versions.enable").default("false").high().internal()
        .no_effect(UNSTABLE),
    list("process.roles").required().valid(EachOneOf(&["broker", "controller"])).high()
        .applied("Roles of this process. A Millrace node always holds both, so broker must be among them."),
    int("node.id").required().valid(AtLeast(0)).high()
        .applied("Identity of this node in the cluster; clients see it as the broker id."),
    int("initial.broker.registration.timeout.ms").default("60000")
        .no_effect(JOINING),
    int("broker.heartbeat.interval.ms").default("2000")
        .applied("Most time between two heartbeats of a node to the leader of the metadata group; Millrace sends one every 500 ms at least."),
    int("broker.session.timeout.ms").default("9000")
        .applied("A node whose heartbeats stay away for so long is fenced: clients are not told of it, and it gets no new replicas."),
    list("controller.listener.names").required().high()
        .applied("Listeners that Kafka reserves for controllers. In a cluster the first of them is where the nodes meet; a single node opens no socket for them."),
    long("controller.performance.sample.period.ms").default("60000").valid(AtLeast(100)).internal()
        .no_effect(METADATA_GROUP),
    long("controller.performance.always.log.threshold.ms").default("2000").valid(AtLeast(0)).internal()
        .no_effect(METADATA_GROUP),
    long("server.max.startup.time.ms").default("9223372036854775807").valid(AtLeast(0)).internal()
        .no_effect(JOINING),
    long("metadata.log.max.record.bytes.between.snapshots").default("20971520").valid(AtLeast(1)).high()
        .no_effect(METADATA_GROUP),
    long("metadata.log.max.snapshot.interval.ms").default("3600000").valid(AtLeast(0)).high()
        .no_effect(METADATA_GROUP),
    string("metadata.log.dir").high()
        .no_effect(METADATA_GROUP),
    int("metadata.log.segment.bytes").default("1073741824").valid(AtLeast(8_388_608)).high()
        .no_effect(METADATA_GROUP),
    long("metadata.log.segment.ms").default("604800000").high()
        .no_effect(METADATA_GROUP),
    long("metadata.max.retention.bytes").default("104857600").high()
        .no_effect(METADATA_GROUP),
    long("metadata.max.retention.ms").default("604800000").high()
        .no_effect(METADATA_GROUP),
    int("metadata.max.idle.interval.ms").default("500").valid(AtLeast(0)).low()
        .no_effect(METADATA_GROUP),
    int("internal.metadata.log.segment.bytes").low().internal()
        .no_effect(METADATA_GROUP),
    int("internal.metadata.max.batch.size.in.bytes").default("8388608").low().internal()
        .no_effect(METADATA_GROUP),
    long("internal.metadata.delete.delay.millis").default("60000").low().internal()
        .no_effect(METADATA_GROUP),
    int("controller.socket.timeout.ms").default("30000")
        .no_effect(LINKS),
    int("default.replication.factor").default("1")
        .applied("Replicas of a topic created without a count."),
    int("num.partitions").default("1").valid(AtLeast(1))
        .applied("Partitions of a topic created without a count."),
    boolean("auto.create.topics.enable").default("true").high()
        .applied("Whether asking for the metadata of an unknown topic may create it."),
    class("create.topic.policy.class.name").low()
        .no_effect(JAVA_CLASS),
    class("alter.config.policy.class.name").low()
        .no_effect(JAVA_CLASS),
    list("controller.quorum.voters").default("").high()
        .applied("The nodes that vote on metadata, as id@host:port pairs, the same on every node. Without it, or with this node alone, the node is a cluster of one."),
    list("controller.quorum.bootstrap.servers").default("").high()
        .applied("Where nodes of the cluster are met, as host:port pairs. A node with an empty directory finds the cluster there and joins it; one that names only itself begins a cluster that others can join."),
    int("controller.quorum.election.timeout.ms").default("1000").valid(AtLeast(0)).high()
        .no_effect(METADATA_GROUP),
    int("controller.quorum.fetch.timeout.ms").default("2000").valid(AtLeast(0)).high()
        .no_effect(METADATA_GROUP),
    int("controller.quorum.election.backoff.max.ms").default("1000").valid(AtLeast(0)).high()
        .no_effect(METADATA_GROUP),
    int("controller.quorum.append.linger.ms").default("25").valid(AtLeast(0))
        .no_effect(METADATA_GROUP),
    int("controller.quorum.request.timeout.ms").default("2000").valid(AtLeast(0))
        .no_effect(METADATA_GROUP),
    int("controller.quorum.retry.backoff.ms").default("20").valid(AtLeast(0)).low()
        .no_effect(METADATA_GROUP),
    boolean("controller.quorum.auto.join.enable").default("false").low()
        .no_effect(METADATA_GROUP),
    int("controller.quorum.fetch.snapshot.max.bytes").default("1048576").valid(AtLeast(1)).low()
        .no_effect(METADATA_GROUP),
    int("controller.quorum.fetch.max.bytes").default("1048576").valid(AtLeast(1)).low()
        .no_effect(METADATA_GROUP),
    int("controller.quota.window.num").default("11").valid(AtLeast(1)).low()
        .no_effect(QUOTAS),
    int("controller.quota.window.size.seconds").default("1").valid(AtLeast(1)).low()
        .no_effect(QUOTAS),
];

//! Millrace's own keys. Sizes are bytes, times carry their unit in the name.

use super::reasons::LOGIN;
use crate::key::{Key, boolean, int, long, string};
use crate::validator::Validator::{AtLeast, Between, OneOf};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("millrace.shards").default("0").valid(Between(0, 1024)).high()
        .applied("Shards of this node, each a thread on a core of its own; 0 takes every core the process may use."),
    boolean("millrace.shards.pin").default("true")
        .applied("Whether each shard is pinned to one core."),
    int("millrace.shards.spin.us").default("0").valid(Between(0, 1_000_000))
        .applied("How long an idle shard polls before it sleeps. It takes the whole core, so it is worth setting on dedicated ones only."),
    int("millrace.shards.realtime.priority").default("-1").valid(Between(-1, 99))
        .applied("Priority of the shards in the system's real-time class (SCHED_FIFO), so that nothing else delays their waking up; one that runs 2 ms without a sleep is in the ordinary class until its next sleep. -1 takes priority 1 if the host grants it, and leaves it to shards that use no more than a quarter of their CPU; 0 leaves them in the ordinary class."),
    int("millrace.cpu.latency.us").default("-1").valid(Between(-2, 1_000_000))
        .applied("How long CPUs of this host may take to wake up while the node runs (the kernel's PM QoS, /dev/cpu_dma_latency): 0 keeps idle CPUs polling, which shortens every synced write and costs power on the whole host. -1 does so only while at least 20 synced writes come in a second, and only if this user may write to the device; -2 leaves it to the host."),
    boolean("millrace.quorum.standalone").default("false")
        .applied("With an empty directory and controller.quorum.bootstrap.servers: begin a new cluster with this node as its only voter, as kafka-storage format --standalone does."),
    string("millrace.peer.listener")
        .applied("Address (host:port) where this node listens for other nodes of its cluster; unset: the controller listener, or the port of the first listener plus 1000."),
    string("millrace.durability").default("disk").valid(OneOf(&["disk", "memory"])).high().dynamic()
        .applied("Durability of topics that do not set their own: disk acknowledges what is synced, memory acknowledges first and syncs milliseconds later, as Kafka's defaults promise."),
    string("millrace.wal.backend").default("commit_thread").valid(OneOf(&["commit_thread", "io_uring"]))
        .applied("Who writes the WAL: a thread per shard that blocks (or the shard itself while it has nothing else to do and the disk is fast), or the shard's io_uring, whose synced writes wait for a worker of the kernel on the core that the disk interrupts."),
    long("millrace.wal.file.bytes").default("134217728").valid(Between(1 << 20, 1 << 34))
        .applied("Largest size of a WAL file, and so of a batch; the first has 4 MiB, each new one twice as much as the one before. Files are zeroed once, then written in place and recycled."),
    long("millrace.tail.cache.bytes").default("134217728").valid(AtLeast(1 << 20))
        .applied("Recent batches that each shard keeps in memory for readers and for destaging."),
    long("millrace.checkpoint.interval.ms").default("10000").valid(AtLeast(100))
        .applied("How often each shard syncs its segments and lets WAL files go."),
    int("millrace.checkpoint.syncfs.partitions").default("256").valid(AtLeast(1))
        .applied("Changed partitions of a shard from which on a checkpoint or a stop syncs the file system of the data directory once instead of each file. It then waits for what other programs write there, too; where it is shared with such, a large number keeps to single syncs."),
    long("millrace.disk.reserve.bytes").default("-1").valid(AtLeast(-1)).high()
        .applied("Free space below which produce requests get a retriable error while everything else goes on; -1: 256 MiB, or one WAL file of the largest size for each shard if that is more."),
    string("millrace.metrics.listen").high()
        .applied("Address (host:port) of the HTTP port for Prometheus metrics and health; unset for none."),
    string("millrace.log.format").default("text").valid(OneOf(&["text", "json"])).low()
        .applied("Form of the node's own log."),
    string("millrace.log.level").default("info").low()
        .applied("What the node logs, as a tracing filter: info, or warn,broker=debug."),
    int("millrace.login.timeout.ms").default("10000").valid(AtLeast(1))
        .no_effect(LOGIN),
    int("millrace.login.frame.max.bytes").default("65536").valid(AtLeast(1024))
        .no_effect(LOGIN),
    int("millrace.frame.timeout.ms").default("30000").valid(AtLeast(1))
        .applied("A frame that has begun must be complete within this time."),
    int("millrace.connection.requests.max").default("64").valid(AtLeast(1))
        .applied("Requests of one connection that are worked on at once; more are not read yet."),
    long("millrace.connection.unsent.bytes").default("16777216").valid(AtLeast(65_536))
        .applied("Answers that one connection may leave unread before its requests are no longer read."),
    long("millrace.request.memory.bytes").default("268435456").valid(AtLeast(1 << 20)).high()
        .applied("Memory per shard for requests in flight; above it sockets are not read."),
    int("millrace.request.partitions.max").default("2000").valid(AtLeast(1))
        .applied("Partitions that one request may name."),
    int("millrace.producer.ids.max").default("100000").valid(AtLeast(1))
        .applied("Idempotent producers whose state a shard keeps; the longest idle is forgotten first."),
    int("millrace.stop.timeout.ms").default("10000").valid(AtLeast(0))
        .applied("How long a stop waits for requests that were accepted."),
];

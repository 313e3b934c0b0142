//! Listeners, sockets, request limits and thread pools.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::{LINKS, PURGATORY, REQUEST_BUDGET, THREADS};
use crate::key::{Key, int, list, long, string};
use crate::validator::Validator::AtLeast;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("num.io.threads").default("8").valid(AtLeast(1)).high().dynamic()
        .no_effect(THREADS),
    int("background.threads").default("10").valid(AtLeast(1)).high().dynamic()
        .no_effect(THREADS),
    int("request.timeout.ms").default("30000").high()
        .no_effect(LINKS),
    long("socket.connection.setup.timeout.ms").default("10000")
        .no_effect(LINKS),
    long("socket.connection.setup.timeout.max.ms").default("30000")
        .no_effect(LINKS),
    int("max.incremental.fetch.session.cache.slots").default("1000").valid(AtLeast(0))
        .applied("Fetch sessions that a node keeps."),
    int("fetch.max.bytes").default("57671680").valid(AtLeast(1_024))
        .applied("Upper bound of one fetch response, whatever the client asks for."),
    int("max.request.partition.size.limit").default("2000").valid(AtLeast(1))
        .applied("Partitions in one page of DescribeTopicPartitions."),
    list("listeners").default("PLAINTEXT://:9092").high()
        .applied("Addresses to listen on, as NAME://host:port; an empty host means every interface. Read at the start only."),
    list("advertised.listeners").high()
        .applied("Addresses told to clients, by listener name; the listeners themselves when unset."),
    string("listener.security.protocol.map").default("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").low()
        .applied("Which security protocol each listener name speaks. This release speaks PLAINTEXT. Read at the start only."),
    int("socket.send.buffer.bytes").default("102400").high()
        .applied("SO_SNDBUF of client sockets. Unset or -1 leaves it to the system, which lets it grow with the connection."),
    int("socket.receive.buffer.bytes").default("102400").high()
        .applied("SO_RCVBUF of client sockets. Unset or -1 leaves it to the system, which lets it grow with the connection."),
    int("socket.request.max.bytes").default("104857600").valid(AtLeast(1)).high()
        .applied("Largest request frame; a larger one closes the connection."),
    int("socket.listen.backlog.size").default("50").valid(AtLeast(1))
        .applied("Length of the queue of connections not yet accepted, per listener and shard; 1024 when unset."),
    int("max.connections.per.ip").default("1000").valid(AtLeast(0)).dynamic()
        .applied("Connections from one address at once. Kafka sets no limit unless asked; Millrace does."),
    string("max.connections.per.ip.overrides").default("").dynamic()
        .applied("Limits for named addresses, as address:count pairs."),
    int("max.connections").default("10000").valid(AtLeast(0)).dynamic()
        .applied("Connections that a node serves at once. Kafka sets no limit unless asked; Millrace does."),
    int("max.connection.creation.rate").default("500").valid(AtLeast(0)).dynamic()
        .applied("New connections per second and shard. Kafka sets no limit unless asked; Millrace does."),
    long("connections.max.idle.ms").default("600000")
        .applied("Connections that are silent for this long are closed."),
    int("queued.max.requests").default("500").valid(AtLeast(1)).high()
        .no_effect(THREADS),
    long("queued.max.request.bytes").default("-1")
        .no_effect(REQUEST_BUDGET),
    int("num.network.threads").default("3").valid(AtLeast(1)).high().dynamic()
        .no_effect(THREADS),
    int("fetch.purgatory.purge.interval.requests").default("1000")
        .no_effect(PURGATORY),
    int("producer.purgatory.purge.interval.requests").default("1000")
        .no_effect(PURGATORY),
    int("delete.records.purgatory.purge.interval.requests").default("1")
        .no_effect(PURGATORY),
];

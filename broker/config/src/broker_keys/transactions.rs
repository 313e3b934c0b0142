//! Transactions and producer ids.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::{PACED, TRANSACTIONS};
use crate::key::{Key, boolean, int, short};
use crate::validator::Validator::AtLeast;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("transaction.state.log.min.isr").default("2").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
    int("transaction.state.log.load.buffer.size").default("5242880").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
    short("transaction.state.log.replication.factor").default("3").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
    int("transaction.state.log.num.partitions").default("50").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
    int("transaction.state.log.segment.bytes").default("104857600").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
    boolean("transaction.partition.verification.enable").default("true").low().dynamic()
        .no_effect(TRANSACTIONS),
    int("producer.id.expiration.ms").default("86400000").valid(AtLeast(1)).low().dynamic()
        .applied("State of an idle producer is forgotten after this time."),
    int("producer.id.expiration.check.interval.ms").default("600000").valid(AtLeast(1)).low().internal()
        .no_effect(PACED),
    int("transactional.id.expiration.ms").default("604800000").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
    int("transaction.max.timeout.ms").default("900000").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms").default("10000").valid(AtLeast(1)).low()
        .no_effect(TRANSACTIONS),
    int("transaction.remove.expired.transaction.cleanup.interval.ms").default("3600000").valid(AtLeast(1)).low()
        .no_effect(TRANSACTIONS),
    boolean("transaction.two.phase.commit.enable").default("false").low()
        .no_effect(TRANSACTIONS),
    int("add.partitions.to.txn.retry.backoff.max.ms").default("100").valid(AtLeast(0)).high()
        .no_effect(TRANSACTIONS),
    int("add.partitions.to.txn.retry.backoff.ms").default("20").valid(AtLeast(1)).high()
        .no_effect(TRANSACTIONS),
];

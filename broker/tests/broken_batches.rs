//! Batches that no client library sends: what their fields say is not what they hold, or they hold far more than their
//! bytes. A node refuses each and appends nothing. How batches are judged one by one stands in `storage/record/tests`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use client::Connection;
use node::records::{create, read_all, write};
use node::requests::{BY_NAME_MAX, batch, produce, text};
use node::{Node, memory_peak_kib};
use protocol::ErrorCode;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{ProduceRequest, TopicName};
use record::{BatchBuilder, Codec, Compressor, crc32c};

const LENGTH: usize = 8;
const CHECKSUM: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const COUNT: usize = 57;
const RECORDS: usize = 61;

/// A batch of one record that was changed, with a length and a checksum that are right.
fn changed(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut batch = batch(100, None);
    change(&mut batch);
    let length = (batch.len() - LENGTH - 4) as i32;
    batch[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c(&batch[ATTRIBUTES..]);
    batch[CHECKSUM..ATTRIBUTES].copy_from_slice(&checksum.to_be_bytes());
    batch
}

fn put(batch: &mut [u8], at: usize, number: i32) {
    batch[at..at + 4].copy_from_slice(&number.to_be_bytes());
}

fn produced(connection: &mut Connection, batch: &[u8]) -> ErrorCode {
    let codes = produce(connection, "t", [0], batch);
    ErrorCode::from_code(codes[0]).expect("a code of Kafka")
}

fn end(node: &Node) -> i64 {
    node.client().describe_topic("t").expect("it is there").partitions[0].end_offset
}

#[test]
fn a_batch_whose_checksum_is_right_and_whose_fields_lie_is_refused_and_nothing_is_appended() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[]);
    write(&node, "t", 0, 3, 100);
    let mut connection = node.connect();
    let lies = [
        ("a record too many", changed(|b| put(b, COUNT, 2))),
        ("a last offset too high", changed(|b| put(b, LAST_OFFSET_DELTA, 1))),
        (
            "both too high",
            changed(|b| {
                put(b, COUNT, 2);
                put(b, LAST_OFFSET_DELTA, 1);
            }),
        ),
        ("no records", changed(|b| put(b, COUNT, 0))),
        ("the control bit", changed(|b| b[ATTRIBUTES + 1] |= 0x20)),
        ("63 headers", changed(|b| *b.last_mut().unwrap() = 0x7e)),
        ("2^31 - 1 headers", {
            changed(|b| {
                b.pop();
                b.extend([0xfe, 0xff, 0xff, 0xff, 0x0f]);
                // the record has a length of two bytes, each half of it
                b[RECORDS] += 8;
            })
        }),
        ("a record that is too long", changed(|b| b[RECORDS] += 2)),
        ("a record that is too short", changed(|b| b[RECORDS] -= 2)),
        ("a codec that is none", changed(|b| b[ATTRIBUTES + 1] |= 0x07)),
        ("gzip that is none", changed(|b| b[ATTRIBUTES + 1] |= 0x01)),
        ("two producers", [batch(10, Some(1)), batch(10, Some(2))].concat()),
        ("a bit", {
            let mut batch = batch(100, None);
            batch[RECORDS + 20] ^= 1;
            batch
        }),
    ];
    for (lie, batch) in lies {
        let code = produced(&mut connection, &batch);
        let refused = [ErrorCode::InvalidRecord, ErrorCode::CorruptMessage];
        // Kafka has no better one for a codec that it does not know, or cannot read
        let refused = refused.contains(&code) || code == ErrorCode::UnknownServerError;
        assert!(refused, "{lie}: {code:?}");
    }
    assert_eq!(end(&node), 3);
    assert_eq!(produced(&mut connection, &batch(100, None)), ErrorCode::None);
    assert_eq!(end(&node), 4);
}

#[test]
fn records_of_a_transaction_are_refused_where_the_request_names_none() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "t", 2, &[]);
    let mut connection = node.connect();
    let begun = changed(|b| b[ATTRIBUTES + 1] |= 0x10);
    let codes = produce(&mut connection, "t", [0, 1], &begun);
    assert_eq!(codes, [ErrorCode::TransactionalIdAuthorizationFailed.code(); 2]);
    assert_eq!(end(&node), 0);
}

#[test]
fn acks_that_do_not_exist_are_told_where_topic_and_batch_are_right() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[]);
    let cases = [
        ("t", 0, batch(10, None), ErrorCode::InvalidRequiredAcks),
        ("t", 7, batch(10, None), ErrorCode::UnknownTopicOrPartition),
        ("absent", 0, batch(10, None), ErrorCode::UnknownTopicOrPartition),
        ("t", 0, Vec::new(), ErrorCode::InvalidRecord),
        ("t", 0, [batch(10, None), batch(10, None)].concat(), ErrorCode::InvalidRecord),
    ];
    for (topic, index, batch, code) in cases {
        let data =
            PartitionProduceData::default().with_index(index).with_records(Some(batch.into()));
        let topic = TopicProduceData::default()
            .with_name(TopicName(text(topic)))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(2).with_topic_data(vec![topic]);
        let answer = node.connect().call_up_to(&request, BY_NAME_MAX).expect("an answer");
        assert_eq!(answer.responses[0].partition_responses[0].error_code, code.code());
    }
    assert_eq!(end(&node), 0);
}

/// Records packed by `codec`, as the only record batch of a partition.
fn packed(codec: Codec, records: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Compressor::default().compress(codec, records, &mut bytes).expect("it is packed");
    changed(|batch| {
        batch[ATTRIBUTES + 1] |= codec.id();
        batch.truncate(RECORDS);
        batch.extend_from_slice(&bytes);
    })
}

/// The records of a batch of one record with a value of so many zeros.
fn zeros(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(1_000, None, Some(&vec![0; bytes]), &[]).expect("it fits");
    builder.finish().expect("a batch")[RECORDS..].to_vec()
}

#[test]
fn a_bomb_in_any_codec_is_refused_and_takes_no_memory() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    let bomb = zeros(300 << 20);
    let before = memory_peak_kib(&node);
    let mut sent = 0;
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        // snappy gains too little for so much to fit into a batch
        let batch = packed(codec, &bomb);
        if batch.len() > 1_000_000 {
            continue;
        }
        sent += 1;
        assert_eq!(produced(&mut connection, &batch), ErrorCode::MessageTooLarge, "{codec}");
    }
    assert!(sent > 0);
    let grown = memory_peak_kib(&node).saturating_sub(before);
    assert!(grown < 600 << 10, "{grown} KiB");
    assert_eq!(end(&node), 0);
}

#[test]
fn what_was_packed_twice_and_what_declares_a_size_that_it_has_not_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    let before = memory_peak_kib(&node);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut once = Vec::new();
        Compressor::default().compress(codec, &zeros(10_000), &mut once).expect("it is packed");
        let twice = produced(&mut connection, &packed(codec, &once));
        let refused = [ErrorCode::InvalidRecord, ErrorCode::CorruptMessage];
        assert!(refused.contains(&twice) || twice == ErrorCode::UnknownServerError, "{twice:?}");
    }
    // a snappy block of 1 GiB; a zstd frame whose content has 2^62 bytes
    let raw_snappy = [0x80, 0x80, 0x80, 0x80, 0x04, 0, 0];
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1u64 << 62).to_le_bytes(), &[1, 0, 0]];
    for (codec, bytes) in [(Codec::Snappy, raw_snappy.to_vec()), (Codec::Zstd, zstd.concat())] {
        let batch = changed(|batch| {
            batch[ATTRIBUTES + 1] |= codec.id();
            batch.truncate(RECORDS);
            batch.extend_from_slice(&bytes);
        });
        let code = produced(&mut connection, &batch);
        assert_ne!(code, ErrorCode::None, "{codec}");
    }
    let grown = memory_peak_kib(&node).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
    assert_eq!(end(&node), 0);
    write(&node, "t", 0, 10, 100);
    assert_eq!(read_all(&node, "t").len(), 10);
}

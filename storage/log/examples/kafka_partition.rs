//! Writes a partition directory as a node of ours would leave it after a clean stop, so that Kafka's
//! tools, and Kafka itself, can be tried on it.
//!
//! `kafka_partition DATA_DIR TOPIC TOPIC_ID [RECORDS]`: writes `DATA_DIR/TOPIC-0` with that many
//! records (default 10 000; key and value are the offset as text) over several segments, all
//! codecs, an idempotent producer, and an aborted transaction; prints the offsets of the log.

use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use record::{BatchBuilder, Codec, EndTxnMarker, ProducerFields};
use storage::log::{
    AbortedTransaction, Log, LogConfig, LogState, LogStore, LogStoreOptions, topic_id_from_text,
};

const RECORDS_PER_BATCH: i64 = 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data_dir, topic, topic_id, rest @ ..] = &args[..] else {
        eprintln!("usage: kafka_partition DATA_DIR TOPIC TOPIC_ID [RECORDS]");
        std::process::exit(2);
    };
    let records = rest.first().map_or(10_000, |count| count.parse().expect("a number of records"));
    let topic_id = topic_id_from_text(topic_id).expect("a topic id of 22 characters");
    let dir = PathBuf::from(data_dir).join(format!("{topic}-0"));
    runtime::block_on(async move {
        let now_ms = runtime::time::wall_clock_ms();
        let store = LogStore::new(LogStoreOptions::default());
        let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
        let state = LogState::new(0, now_ms);
        let log = Log::open(&store, dir, topic_id, Rc::new(config), state);
        write(&log, records, now_ms - records).await;
        let state = log.close().await.expect("the log is closed");
        println!("{} {}", state.log_start_offset, state.end_offset);
    });
}

async fn write(log: &Log, records: i64, first_timestamp: i64) {
    let mut offset = 0;
    let mut sequence = 0;
    while offset < records {
        let codec = Codec::ALL[(offset / RECORDS_PER_BATCH) as usize % Codec::ALL.len()];
        let producer =
            ProducerFields { producer_id: 4000, producer_epoch: 0, base_sequence: sequence };
        let mut builder =
            BatchBuilder::new().base_offset(offset).leader_epoch(0).codec(codec).producer(producer);
        let count = RECORDS_PER_BATCH.min(records - offset);
        for at in offset..offset + count {
            let text = format!("{at:0>200}");
            let key = Some(text.as_bytes());
            builder.push(first_timestamp + at, key, key, &[]).expect("a record");
        }
        append(log, builder.finish().expect("a batch"), &[]).await;
        offset += count;
        sequence += count as i32;
    }
    abort_a_transaction(log, offset, first_timestamp + offset).await;
}

async fn abort_a_transaction(log: &Log, offset: i64, timestamp: i64) {
    let producer = ProducerFields { producer_id: 4001, producer_epoch: 3, base_sequence: 0 };
    let mut builder = BatchBuilder::new()
        .base_offset(offset)
        .leader_epoch(0)
        .producer(producer)
        .transactional(true);
    builder.push(timestamp, None, Some(b"never seen"), &[]).expect("a record");
    append(log, builder.finish().expect("a batch"), &[]).await;
    let marker = EndTxnMarker { commit: false, coordinator_epoch: 7 };
    let mut batch = marker.batch(4001, 3, timestamp).expect("a marker");
    record::stamp(&mut batch, offset + 1, 0);
    let aborted = AbortedTransaction {
        producer_id: 4001,
        first_offset: offset,
        last_offset: offset + 1,
        last_stable_offset: offset + 2,
    };
    append(log, &batch, &[aborted]).await;
}

async fn append(log: &Log, batch: &[u8], aborted: &[AbortedTransaction]) {
    log.append(&[Bytes::copy_from_slice(batch)], aborted).await.expect("a batch is appended");
}

//! An idempotent producer: one batch at a time, repeated with the same sequence until the node says what became of it.

use crate::shared::{RETRY_PAUSE, Run, payload};
use crate::wire::{Connection, Lost};
use bytes::Bytes;
use checker::{OpKind, Outcome};
use protocol::messages::{InitProducerIdRequest, ProduceResponse};
use protocol::produce::{ProducePart, encode_produce_request};
use protocol::{ApiKey, ErrorCode, Uuid};
use record::{BatchBuilder, ProducerFields};
use runtime::time::{sleep, wall_clock_ms};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Writes until the run is quiet or its batches are sent; every batch it began it brings to an end.
pub async fn produce(run: Rc<Run>) {
    let process = run.process();
    let mut connection = run.connect().await;
    let producer_id = init_producer_id(&run, &mut connection).await;
    let partitions = run.partitions();
    let mut sequences: BTreeMap<(String, i32), i32> = BTreeMap::new();
    for _ in 0..run.plan.batches {
        if run.quiet.get() {
            return;
        }
        let at = partitions[run.below(partitions.len() as u64) as usize].clone();
        let values: Vec<u64> = (0..1 + run.below(5)).map(|_| run.value()).collect();
        let sequence = sequences.entry(at.clone()).or_default();
        let fields = ProducerFields { producer_id, producer_epoch: 0, base_sequence: *sequence };
        let batch = build(&values, fields, run.plan.value_bytes);
        *sequence += values.len() as i32;
        let op = run.begin(process, OpKind::Send);
        let partition = run.history.borrow_mut().partition(&format!("{}-{}", at.0, at.1));
        for value in &values {
            run.history.borrow_mut().send(op, partition, *value);
        }
        let Some(base) = send(&run, &mut connection, &at, batch).await else {
            run.end(op, Outcome::Info);
            return;
        };
        for (offset, value) in (base..).zip(&values) {
            run.history.borrow_mut().acknowledged(op, partition, *value, offset);
        }
        run.end(op, Outcome::Ok);
        run.acknowledged.set(run.acknowledged.get() + values.len() as u64);
        if run.below(4) == 0 {
            sleep(Duration::from_millis(run.below(100))).await;
        }
    }
}

pub fn build(values: &[u64], producer: ProducerFields, bytes_max: u64) -> Bytes {
    let mut batch = BatchBuilder::new().producer(producer);
    for value in values {
        let pushed = batch.push(wall_clock_ms(), None, Some(&payload(*value, bytes_max)), &[]);
        pushed.expect("a small record");
    }
    Bytes::copy_from_slice(batch.finish().expect("a small batch"))
}

async fn init_producer_id(run: &Run, connection: &mut Connection) -> i64 {
    loop {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
            .with_transaction_timeout_ms(60_000);
        match connection.call(&request).await {
            Ok(answer) if answer.error_code == 0 => return answer.producer_id.0,
            Ok(_) => {
                run.mark("a producer id was refused");
                sleep(RETRY_PAUSE).await;
            }
            Err(Lost) => *connection = run.connect().await,
        }
    }
}

/// The base offset once acknowledged; nothing if the node refuses, which is a violation.
async fn send(
    run: &Run,
    connection: &mut Connection,
    at: &(String, i32),
    records: Bytes,
) -> Option<i64> {
    loop {
        match send_once(connection, at, records.clone()).await {
            Ok((0, base)) if base >= 0 => return Some(base),
            Ok((code, base)) => {
                let error = ErrorCode::from_code(code);
                if !error.is_some_and(|error| error != ErrorCode::None && error.is_retriable()) {
                    run.violation(format!(
                        "produce to {}-{} was answered {error:?}, offset {base}",
                        at.0, at.1
                    ));
                    return None;
                }
                run.mark("produce answered with a retriable error");
                sleep(RETRY_PAUSE).await;
            }
            Err(Lost) => {
                run.mark("produce repeated on a new connection");
                *connection = run.connect().await;
            }
        }
    }
}

/// Error code and base offset.
pub async fn send_once(
    connection: &mut Connection,
    (topic, index): &(String, i32),
    records: Bytes,
) -> Result<(i16, i64), Lost> {
    let header = connection.header(ApiKey::Produce);
    let part = ProducePart { topic, topic_id: Uuid::nil(), index: *index, records };
    let frame = encode_produce_request(&header, None, -1, 10_000, &[part]);
    let answer = connection.exchange(&header, frame).await?;
    let answer = protocol::decode_response::<ProduceResponse>(answer, header.api_version);
    let (_, answer) = answer.unwrap_or_else(|cause| panic!("not a Produce answer: {cause}"));
    let part = &answer.responses[0].partition_responses[0];
    Ok((part.error_code, part.base_offset))
}

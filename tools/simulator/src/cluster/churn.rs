//! Clients that make and delete topics and records.

use super::client::Client;
use super::plan::Topic;
use super::produce::Producer;
use super::{At, Cluster};
use crate::producer::{build, send_once};
use crate::shared::topic_name;
use protocol::ErrorCode;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest};
use record::ProducerFields;
use runtime::time::{sleep, timeout};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// Topics that one founder makes.
const FOUNDED_MAX: u64 = 6;
/// How long one attempt to write may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes topics, writes to them and deletes some.
pub async fn churn(cluster: Rc<Cluster>) {
    let mut client = Client::new(&cluster);
    let mut nth = 0;
    let mut doubtful = BTreeSet::new();
    while !cluster.quiet.get() && nth < 12 {
        // A name comes again now and then: its new directory must not be taken for the old one.
        let name = format!("churn{}", cluster.below(nth + 1));
        nth += 1;
        let replication = 1 + cluster.below(cluster.nodes.len().min(3) as u64) as i16;
        let topic = Topic { partitions: 1 + cluster.below(3) as i32, replication };
        let unanswered = client.unanswered;
        if let Err(refused) = client.create_topic(&name, topic).await {
            return cluster.violation(refused);
        }
        if client.unanswered > unanswered {
            doubtful.insert(name.clone());
        }
        let at = (name.clone(), 0);
        client.forget_leaders();
        let leader = timeout(PATIENCE, client.leader(&at)).await;
        if leader.is_err() {
            // Answers may be on their way.
            client = Client::new(&cluster);
        }
        if let Ok(leader) = leader
            && let Ok(connection) = client.connection(leader).await
        {
            let fields = ProducerFields::default();
            let records = build(&[cluster.value()], fields, cluster.plan.value_bytes);
            if !matches!(timeout(PATIENCE, send_once(connection, &at, records)).await, Ok(Ok(_))) {
                client.hang_up(leader);
            }
        }
        if cluster.below(3) > 0
            && let Err(error) = delete(&cluster, &mut client, &name).await
        {
            return cluster.violation(format!("topic {name} was not deleted: {error:?}"));
        }
        if client.unanswered > unanswered {
            doubtful.insert(name.clone());
        }
        if doubtful.contains(&name) {
            // A request that nobody waits for any more may still be carried out.
            cluster.expected.borrow_mut().remove(&name);
        }
        sleep(Duration::from_millis(cluster.below(1_000))).await;
    }
}

/// Makes topics that stay and writes to them at once: some nodes may not have heard of them yet.
pub async fn found(cluster: Rc<Cluster>) {
    let mut client = Client::new(&cluster);
    let mut producer = Producer::idempotent(&cluster).await;
    for nth in 0..FOUNDED_MAX {
        sleep(Duration::from_millis(cluster.below(3_000))).await;
        if cluster.quiet.get() {
            break;
        }
        let name = format!("late{nth}");
        let most = cluster.nodes.len().min(3) as u64;
        let replication = most.saturating_sub(cluster.below(4) / 2).max(1) as i16;
        let topic = Topic { partitions: 1 + cluster.below(3) as i32, replication };
        if let Err(refused) = client.create_topic(&name, topic).await {
            return cluster.violation(refused);
        }
        cluster.mark("a topic was made while things broke");
        let partitions = (0..topic.partitions).map(|index| (name.clone(), index));
        cluster.partitions.borrow_mut().extend(partitions);
        for _ in 0..1 + cluster.below(10) {
            let at = (name.clone(), cluster.below(topic.partitions as u64) as i32);
            if !producer.write(&at).await {
                return;
            }
        }
    }
    producer.ends();
}

async fn delete(
    cluster: &Cluster,
    client: &mut Client,
    name: &str,
) -> Result<(), Option<ErrorCode>> {
    cluster.expected.borrow_mut().remove(name);
    let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    // Unknown is what an earlier attempt leaves; also what a controller says that does not know yet that another one
    // leads: then nothing is known.
    let unknown = Cell::new(false);
    let code = |code| match ErrorCode::from_code(code) {
        Some(ErrorCode::UnknownTopicOrPartition) => {
            unknown.set(true);
            0
        }
        _ => code,
    };
    client.until(&request, |answer| code(answer.responses[0].error_code)).await?;
    if !unknown.get() {
        cluster.mark("a topic was deleted");
        cluster.expected.borrow_mut().insert(name.to_owned(), false);
    }
    Ok(())
}

/// Deletes records from the start of partitions on.
pub async fn delete_records(cluster: Rc<Cluster>) {
    let mut client = Client::new(&cluster);
    while !cluster.quiet.get() {
        sleep(Duration::from_millis(cluster.below(3_000))).await;
        let ends: Vec<_> = cluster.ends.borrow().clone().into_iter().collect();
        if ends.is_empty() {
            continue;
        }
        let (at, end) = ends[cluster.below(ends.len() as u64) as usize].clone();
        let before = cluster.below(end.max(0) as u64 + 1) as i64;
        let most = cluster.deletions.borrow().get(&at).map_or(0, |deletion| deletion.asked);
        cluster.deletions.borrow_mut().entry(at.clone()).or_default().asked = most.max(before);
        match delete_before(&mut client, &at, before).await {
            Ok(start) => {
                cluster.mark("records were deleted");
                if start < before || start > before.max(most) {
                    let what = format!("DeleteRecords {at:?} to {before} left {start}");
                    return cluster.violation(what);
                }
                let mut deletions = cluster.deletions.borrow_mut();
                let deletion = deletions.entry(at).or_default();
                deletion.done = deletion.done.max(start);
            }
            Err(error) => {
                let what = format!("DeleteRecords {at:?} to {before}: {error:?}");
                return cluster.violation(what);
            }
        }
    }
}

/// Asks the leader until it is done; the log start then.
async fn delete_before(
    client: &mut Client,
    at: &At,
    before: i64,
) -> Result<i64, Option<ErrorCode>> {
    let part = DeleteRecordsPartition::default().with_partition_index(at.1).with_offset(before);
    let topic =
        DeleteRecordsTopic::default().with_name(topic_name(&at.0)).with_partitions(vec![part]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let told = |answer: &DeleteRecordsResponse| {
        let part = &answer.topics[0].partitions[0];
        (ErrorCode::from_code(part.error_code), part.low_watermark)
    };
    loop {
        let leader = client.leader(at).await;
        match client.ask(leader, &request).await.as_ref().map(told) {
            Ok((Some(ErrorCode::None), start)) => return Ok(start),
            Ok((Some(error), _))
                if !error.is_retriable() || error == ErrorCode::OffsetOutOfRange =>
            {
                return Err(Some(error));
            }
            Ok((None, _)) => return Err(None),
            _ => {}
        }
        client.forget_leaders();
        sleep(crate::shared::RETRY_PAUSE).await;
    }
}

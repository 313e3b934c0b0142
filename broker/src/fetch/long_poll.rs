//! A fetch over the shards: read everywhere, answer or wait, read again.
//!
//! Lives on: the shard that accepted the connection. One message per shard for a read, one per remote shard for a wait
//! and one to cancel it. Kafka's `DelayedFetch` decides when to answer: enough bytes, any error, divergence or better
//! replica, or the deadline.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select, select_all};
use runtime::shards::ShardId;
use runtime::time::Instant;

use super::read::{ReadAnswer, ReadError, ReadLimits, ReadPart};
use crate::ids::PartitionId;
use crate::partition::FetchSignal;
use crate::shard::Shard;

/// The parts of a fetch by owning shard.
pub type Plan = BTreeMap<ShardId, Rc<[ReadPart]>>;

/// Reads the plan until the answer is due. Answers come in no particular order; slots tell.
///
/// `gone` resolves when the client is gone; the fetch then ends early.
pub async fn fetch(
    shard: &Rc<Shard>,
    plan: &Plan,
    limits: ReadLimits,
    gone: impl Future<Output = ()>,
) -> Vec<ReadAnswer> {
    let mut gone = std::pin::pin!(gone);
    loop {
        let answers = read_all(shard, plan, limits).await;
        let wait = limits.deadline.saturating_duration_since(Instant::now());
        if wait.is_zero() || is_due(&answers, limits.bytes_min) {
            return answers.into_iter().map(without_those_ahead).collect();
        }
        let client_is_gone = {
            let news = std::pin::pin!(wait_for_news(shard, plan, &answers, wait));
            matches!(select(news, gone.as_mut()).await, Either::Right(_))
        };
        if client_is_gone {
            return answers;
        }
    }
}

/// Who has waited for a follower in vain asks the leader.
fn without_those_ahead((slot, answer): ReadAnswer) -> ReadAnswer {
    match answer {
        Ok(read) if read.is_ahead => (slot, Err(ReadError::NotAvailable)),
        answer => (slot, answer),
    }
}

fn is_due(answers: &[ReadAnswer], bytes_min: usize) -> bool {
    let mut bytes = 0;
    for (_, answer) in answers {
        match answer {
            Ok(read) if read.diverging.is_none() && read.preferred.is_none() => bytes += read.bytes,
            _ => return true,
        }
    }
    answers.is_empty() || bytes >= bytes_min
}

async fn read_all(shard: &Rc<Shard>, plan: &Plan, limits: ReadLimits) -> Vec<ReadAnswer> {
    let mut only = plan.iter();
    if let (Some((to, parts)), None) = (only.next(), only.next()) {
        return read_on(shard, *to, parts, limits).await;
    }
    let reads = plan.iter().map(|(to, parts)| read_on(shard, *to, parts, limits));
    join_all(reads).await.concat()
}

async fn read_on(
    shard: &Rc<Shard>,
    to: ShardId,
    parts: &Rc<[ReadPart]>,
    limits: ReadLimits,
) -> Vec<ReadAnswer> {
    if to == shard.id {
        return shard.read_parts(parts, &limits).await;
    }
    let parts = parts.to_vec();
    // The deadline is of this shard's clock; reading does not look at it.
    shard.on(to, move |there| async move { there.read_parts(&parts, &limits).await }).await
}

/// Resolves at the first news from any shard of the plan, or after `wait`.
async fn wait_for_news(shard: &Rc<Shard>, plan: &Plan, answers: &[ReadAnswer], wait: Duration) {
    let slots = answers.iter().map(|(slot, _)| *slot as usize + 1).max().unwrap_or(0);
    let mut high_watermarks = vec![-1; slots];
    for (slot, answer) in answers {
        high_watermarks[*slot as usize] = answer.as_ref().map_or(-1, |read| read.high_watermark);
    }
    let seen = |parts: &[ReadPart]| -> Vec<(PartitionId, i64)> {
        parts.iter().map(|p| (p.partition, high_watermarks[p.slot as usize])).collect()
    };
    let local = FetchSignal::new();
    let number = shard.next_watch();
    let mut remote = Vec::new();
    let mut waits: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    for (to, parts) in plan {
        let parts = seen(parts);
        if *to == shard.id {
            shard.watch(&parts, &local);
            continue;
        }
        remote.push(*to);
        let (from, here, to) = (shard.id, shard.clone(), *to);
        let watch = async move {
            here.on(to, move |there| there.watch_for(from, number, parts, wait)).await;
        };
        waits.push(Box::pin(watch));
    }
    if waits.is_empty() {
        let _ = runtime::time::timeout(wait, local.fired()).await;
        return;
    }
    waits.push(Box::pin(async move {
        let _ = runtime::time::timeout(wait, local.fired()).await;
    }));
    select_all(waits).await;
    for to in remote {
        let from = shard.id;
        shard.tell(to, move |there| there.cancel_watch(from, number));
    }
}

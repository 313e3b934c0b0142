//! One question, many partitions, several shards: one message per shard, answers in the order of the question.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::join_all;
use runtime::shards::ShardId;

use crate::shard::Shard;

/// Runs `f` once on each shard that has parts, with all its parts, and returns one answer per part in the order given.
pub async fn scatter<P, A, F, Fut>(shard: &Rc<Shard>, parts: Vec<(ShardId, P)>, f: F) -> Vec<A>
where
    P: Send + 'static,
    A: Send + 'static,
    F: FnOnce(Rc<Shard>, Vec<P>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Vec<A>> + 'static,
{
    let count = parts.len();
    let mut by_shard: BTreeMap<ShardId, (Vec<usize>, Vec<P>)> = BTreeMap::new();
    for (at, (to, part)) in parts.into_iter().enumerate() {
        let (places, parts) = by_shard.entry(to).or_default();
        places.push(at);
        parts.push(part);
    }
    let calls = by_shard.into_iter().map(|(to, (places, parts))| {
        let f = f.clone();
        async move { (places, shard.on(to, move |there| f(there, parts)).await) }
    });
    let mut answers: Vec<Option<A>> = (0..count).map(|_| None).collect();
    for (places, got) in join_all(calls).await {
        assert_eq!(places.len(), got.len(), "a shard answers every part it is given");
        for (place, answer) in places.into_iter().zip(got) {
            answers[place] = Some(answer);
        }
    }
    answers.into_iter().map(|a| a.expect("every part has an answer")).collect()
}

//! After healing: leaders are there soon, everything acknowledged is read, all nodes know the same, nothing is left over.

use super::client::Client;
use super::consume::Reader;
use super::plan::Client as Kind;
use super::{At, Cluster, faults, produce, reassign, voters};
use protocol::messages::{MetadataRequest, MetadataResponse};
use runtime::time::{Instant, sleep, timeout};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Every node must serve so long after the last fault.
const READY: Duration = Duration::from_secs(30);
/// Every partition must have a leader that every node names so long after that.
const LEADERS: Duration = Duration::from_secs(3);
/// Everything acknowledged must be read in so much time.
const READ: Duration = Duration::from_secs(10);
/// No partition may be on its way to other replicas then; one whose seal was broken rests first.
const ARRIVED: Duration = Duration::from_secs(70);
/// All nodes must know the same then.
const AGREED: Duration = Duration::from_secs(10);
/// Files of what was deleted must be gone then.
const LEFT_OVERS_GONE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until every node serves, and all name the same leader for every partition.
///
/// One that was cut off names the leader of before until it has heard of another, and answers consumers up to the end
/// that it knows, as a Kafka broker does: what is read then says nothing of what was acknowledged.
pub async fn leaders_are_there(cluster: &Rc<Cluster>) -> Result<(), String> {
    let ready = async {
        while !(0..cluster.nodes.len()).all(|index| cluster.is_ready(index)) {
            sleep(LOOK_AGAIN).await;
        }
    };
    let began = Instant::now();
    if timeout(READY, ready).await.is_err() {
        let waiting = (0..cluster.nodes.len()).filter(|index| !cluster.is_ready(*index));
        let waiting: Vec<usize> = waiting.collect();
        return Err(format!("nodes {waiting:?} do not serve {READY:?} after healing"));
    }
    let took = began.elapsed();
    let mut client = Client::new(cluster);
    let led = async {
        loop {
            let mut missing = None;
            let mut named = BTreeMap::new();
            for node in 0..cluster.nodes.len() {
                let answer = client.ask(node, &MetadataRequest::default().with_topics(None)).await;
                missing = missing.or(match answer {
                    Ok(answer) => leaderless(cluster, &answer, &mut named),
                    Err(_) => Some(format!("node {node} did not answer")),
                });
            }
            match missing {
                None => return,
                Some(what) => *cluster.last_missing.borrow_mut() = what,
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    match timeout(LEADERS, led).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let what = cluster.last_missing.take();
            Err(format!("{what} {LEADERS:?} after all nodes served ({took:?} after healing)"))
        }
    }
}

/// A partition without a leader, as a node sees it, or with another one than other nodes have `named` with its epoch.
fn leaderless(
    cluster: &Cluster,
    answer: &MetadataResponse,
    named: &mut BTreeMap<At, (i32, i32)>,
) -> Option<String> {
    for (name, index) in cluster.partitions.borrow().iter() {
        let topic = answer.topics.iter().find(|topic| {
            topic.name.as_ref().is_some_and(|known| known.0.as_str() == name.as_str())
        });
        let found = topic.and_then(|topic| {
            topic.partitions.iter().find(|partition| partition.partition_index == *index)
        });
        let Some(leader) = found.filter(|partition| partition.leader_id.0 >= 0) else {
            return Some(format!("{name}-{index} has no leader"));
        };
        let leader = (leader.leader_id.0, leader.leader_epoch);
        let first = *named.entry((name.clone(), *index)).or_insert(leader);
        if first != leader {
            return Some(format!("{name}-{index} is led by {first:?} and by {leader:?}"));
        }
    }
    None
}

/// Reads everything once more.
pub async fn everything_is_read(cluster: &Rc<Cluster>) -> Result<(), String> {
    let mut reader = Reader::new(cluster);
    let read = timeout(READ, reader.read_to_the_end()).await;
    read.map_err(|_| format!("the last read did not end within {READ:?}"))?;
    cluster.history.borrow_mut().read_to_the_end_by(reader.process());
    Ok(())
}

/// Sends the last batch of every producer to every partition once more: whoever leads must say where it stands.
pub async fn last_batches_stand(cluster: &Rc<Cluster>) -> Result<(), String> {
    let repeated = timeout(READ, produce::repeat_last(cluster)).await;
    repeated.map_err(|_| format!("batches that were repeated were not answered in {READ:?}"))
}

/// Has every node end and come back, one after the other, so that others lead what it led: everything must be as before.
pub async fn others_lead(cluster: &Rc<Cluster>) -> Result<(), String> {
    if !cluster.plan.ends_in_turn() {
        return Ok(());
    }
    for index in 0..cluster.nodes.len() {
        faults::end_for_a_while(cluster, index).await;
        leaders_are_there(cluster).await?;
        last_batches_stand(cluster).await?;
    }
    cluster.mark("all nodes ended and came back, one after the other");
    everything_is_read(cluster).await
}

/// Waits until no partition changes its replicas any more.
pub async fn nothing_is_on_its_way(cluster: &Rc<Cluster>) -> Result<(), String> {
    if !cluster.with(Kind::Reassigner) {
        return Ok(());
    }
    let mut client = Client::new(cluster);
    let arrived = async {
        for node in 0..cluster.nodes.len() {
            while let Some(what) = reassign::on_its_way(&mut client, node).await {
                *cluster.last_missing.borrow_mut() = format!("node {node}: {what}");
                sleep(LOOK_AGAIN).await;
            }
        }
    };
    timeout(ARRIVED, arrived).await.map_err(|_| {
        let what = cluster.last_missing.take();
        format!("{what} {ARRIVED:?} after everything was read")
    })
}

/// Whether all nodes name the same topics and leaders, and no files are left of what is gone.
pub async fn nodes_agree(cluster: &Rc<Cluster>) -> Result<(), String> {
    let mut client = Client::new(cluster);
    let agreed = async {
        loop {
            let Some(difference) = difference(cluster, &mut client).await else { return };
            *cluster.last_missing.borrow_mut() = difference;
            sleep(LOOK_AGAIN).await;
        }
    };
    if timeout(AGREED, agreed).await.is_err() {
        return Err(format!("{} {AGREED:?} after healing", cluster.last_missing.take()));
    }
    sleep(LEFT_OVERS_GONE).await;
    for (index, node) in cluster.nodes.iter().enumerate() {
        for left_over in ["removed-", "-delete/"] {
            let found = node.with_disk(|disk| disk.files(left_over));
            if let Some(path) = found.first() {
                let path = path.display();
                cluster.violation(format!("node {index}: {path} was deleted and is still there"));
            }
        }
        let known = view(client.metadata().await);
        let id = index as i32 + 1;
        for path in node.with_disk(|disk| disk.files("/data/")) {
            let Some((topic, partition)) = partition_of(&path) else { continue };
            let path = path.display();
            match known.get(topic).map(|told| told.iter().find(|told| told.index == partition)) {
                None => cluster.violation(format!("node {index}: {path} of no topic is there")),
                Some(told) if told.is_none_or(|told| !told.replicas.contains(&id)) => {
                    cluster.violation(format!("node {index}: {path} of other nodes is there"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// The partition in whose directory a file lies.
fn partition_of(path: &std::path::Path) -> Option<(&str, i32)> {
    let dir = path.parent()?.file_name()?.to_str()?;
    let (topic, index) = dir.rsplit_once('-')?;
    Some((topic, index.parse().ok()?)).filter(|(topic, _)| *topic != "wal")
}

/// What a node says of a partition.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    index: i32,
    leader: i32,
    epoch: i32,
    replicas: Vec<i32>,
}

type View = BTreeMap<String, Vec<Told>>;

async fn difference(cluster: &Cluster, client: &mut Client) -> Option<String> {
    let mut first: Option<View> = None;
    for node in 0..cluster.nodes.len() {
        let answer = client.ask(node, &MetadataRequest::default().with_topics(None)).await;
        let Ok(answer) = answer else { return Some(format!("node {node} did not answer")) };
        if cluster.with(Kind::Voters) && voters::describe(client, node).await.is_err() {
            return Some(format!("node {node} does not know who leads the metadata"));
        }
        let view = view(answer);
        for (topic, there) in cluster.expected.borrow().iter() {
            if view.contains_key(topic) != *there {
                let what =
                    if *there { "was created and is gone" } else { "was deleted and is there" };
                return Some(format!("node {node}: topic {topic} {what}"));
            }
        }
        match &first {
            None => first = Some(view),
            Some(first) if *first != view => {
                return Some(format!("node {node} knows {view:?}, node 0 {first:?}"));
            }
            Some(_) => {}
        }
    }
    None
}

fn view(answer: MetadataResponse) -> View {
    let mut view = View::new();
    for topic in answer.topics {
        let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
        let partitions = topic.partitions.into_iter();
        let told = partitions.map(|at| Told {
            index: at.partition_index,
            leader: at.leader_id.0,
            epoch: at.leader_epoch,
            replicas: at.replica_nodes.iter().map(|node| node.0).collect(),
        });
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        view.insert(name, told);
    }
    view
}

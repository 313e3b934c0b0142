//! After healing: leaders are there soon, everything acknowledged is read, all nodes know the same, nothing is left over.

use super::Cluster;
use super::client::Client;
use super::consume::Reader;
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
/// All nodes must know the same then.
const AGREED: Duration = Duration::from_secs(10);
/// Files of what was deleted must be gone then.
const LEFT_OVERS_GONE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until every node serves and names a leader for every partition.
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
            for node in 0..cluster.nodes.len() {
                let answer = client.ask(node, &MetadataRequest::default().with_topics(None)).await;
                missing = missing.or(match answer {
                    Ok(answer) => leaderless(cluster, &answer),
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

/// A partition without a leader, as a node sees it.
fn leaderless(cluster: &Cluster, answer: &MetadataResponse) -> Option<String> {
    for (name, index) in &cluster.partitions {
        let topic = answer.topics.iter().find(|topic| {
            topic.name.as_ref().is_some_and(|known| known.0.as_str() == name.as_str())
        });
        let found = topic.and_then(|topic| {
            topic.partitions.iter().find(|partition| partition.partition_index == *index)
        });
        if found.is_none_or(|partition| partition.leader_id.0 < 0) {
            return Some(format!("{name}-{index} has no leader"));
        }
    }
    None
}

/// Reads everything once more.
pub async fn everything_is_read(cluster: &Rc<Cluster>) -> Result<(), String> {
    let mut reader = Reader::new(cluster);
    let read = timeout(READ, reader.read_to_the_end()).await;
    read.map_err(|_| format!("the last read did not end within {READ:?}"))?;
    cluster.history.borrow_mut().read_to_the_end();
    Ok(())
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
        for path in node.with_disk(|disk| disk.files("/data/")) {
            let topic = topic_of(&path);
            if topic.is_some_and(|topic| !known.contains_key(topic)) {
                let path = path.display();
                cluster.violation(format!("node {index}: {path} of no topic is there"));
            }
        }
    }
    Ok(())
}

/// The topic in whose directory a file lies.
fn topic_of(path: &std::path::Path) -> Option<&str> {
    let dir = path.parent()?.file_name()?.to_str()?;
    let (topic, index) = dir.rsplit_once('-')?;
    index.parse::<u32>().is_ok().then_some(topic).filter(|topic| *topic != "wal")
}

type View = BTreeMap<String, Vec<(i32, i32, i32)>>;

async fn difference(cluster: &Cluster, client: &mut Client) -> Option<String> {
    let mut first: Option<View> = None;
    for node in 0..cluster.nodes.len() {
        let answer = client.ask(node, &MetadataRequest::default().with_topics(None)).await;
        let Ok(answer) = answer else { return Some(format!("node {node} did not answer")) };
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
        let told = partitions.map(|at| (at.partition_index, at.leader_id.0, at.leader_epoch));
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        view.insert(name, told);
    }
    view
}

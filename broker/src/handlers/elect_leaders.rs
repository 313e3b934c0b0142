//! ElectLeaders (key 43): leadership given back to preferred replicas (KIP-183, KIP-460).
//!
//! Partitions of a Raft group have one replica list and one leader, so electing for one of them elects for all of its
//! group. The preferred replica is the first of the list. Where another one leads, that one is asked to hand the group
//! over, and the answer waits until this node has heard that it is done. An unclean election never happens: a group
//! whose majority is there elects by itself, and is waited for; without a majority only an operator can decide that
//! what may be lost is lost (`millrace recover`), so the answer is ELIGIBLE_LEADERS_NOT_AVAILABLE.
//!
//! Source of the errors: `ReplicationControlManager.electLeaders`.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use runtime::time::{Instant, sleep};

use super::Call;
use crate::ids::{NodeId, RaftGroupId};
use crate::metadata::{Image, PartitionRecord, RaftGroupView, Topic};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
/// From this version on the whole request can fail.
const ERROR_FROM: i16 = 1;
/// How long elections are waited for, whatever the request says: Kafka's answer does not depend on its time either.
const WAIT_MIN: Duration = Duration::from_secs(2);
/// The same, at most.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two looks at who leads.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A hand-over that came to nothing is asked for again; Raft gives one up after an election timeout.
const ASK_AGAIN: Duration = Duration::from_millis(1500);

/// What is to be done for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing; this is the answer.
    Done(ErrorCode),
    /// The group's leader hands it over to the preferred one.
    HandOver(RaftGroupId),
    /// The group is electing.
    Await(RaftGroupId),
}

/// A topic that was asked for, perhaps with no partitions.
struct AskedTopic {
    name: TopicName,
    partitions: Vec<Asked>,
}

/// A partition that was asked for.
struct Asked {
    index: i32,
    verdict: Verdict,
    /// More than the name of the error.
    message: Option<String>,
}

/// Answers a request.
pub async fn handle(call: Call, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let kind = request.election_type;
    if kind != PREFERRED && kind != UNCLEAN {
        return refuse(&request, call.version());
    }
    let image = call.shard.image();
    let asked: Vec<AskedTopic> = match &request.topic_partitions {
        Some(topics) => topics.iter().map(|topic| named(&image, topic, kind)).collect(),
        None => image.topics().map(|topic| whole(&image, topic, kind)).collect(),
    };
    let limit = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    elect(&call, &asked, limit.clamp(WAIT_MIN, WAIT_MAX)).await;
    answer(&call.shard.image(), asked, request.topic_partitions.is_none())
}

fn named(image: &Image, topic: &TopicPartitions, kind: i8) -> AskedTopic {
    let judged = |index: &i32| {
        let (verdict, message) = match group_of(image, &topic.topic, *index) {
            Ok((id, group)) => (judge(image, id, group, kind), None),
            Err(message) => (Verdict::Done(ErrorCode::UnknownTopicOrPartition), Some(message)),
        };
        Asked { index: *index, verdict, message }
    };
    let partitions = topic.partitions.iter().map(judged).collect();
    AskedTopic { name: topic.topic.clone(), partitions }
}

fn whole(image: &Image, topic: &Topic, kind: i8) -> AskedTopic {
    let judged = |(index, partition): (i32, &PartitionRecord)| {
        let group = image.groups.get(&partition.group)?;
        Some(Asked { index, verdict: judge(image, partition.group, group, kind), message: None })
    };
    let partitions = (0..).zip(topic.partitions.iter()).filter_map(judged).collect();
    AskedTopic { name: TopicName(StrBytes::from_string(topic.name.to_string())), partitions }
}

fn group_of<'a>(
    image: &'a Image,
    topic: &TopicName,
    index: i32,
) -> Result<(RaftGroupId, &'a RaftGroupView), String> {
    let name: &str = topic;
    let known = image.topic(name).ok_or_else(|| format!("No such topic as {name}"))?;
    let partition = usize::try_from(index).ok().and_then(|i| known.partitions.get(i));
    let group = partition.map(|partition| partition.group);
    let view = group.and_then(|id| Some((id, image.groups.get(&id)?)));
    view.ok_or_else(|| format!("No such partition as {name}-{index}"))
}

fn judge(image: &Image, id: RaftGroupId, group: &RaftGroupView, kind: i8) -> Verdict {
    let leader = group.leader.filter(|leader| image.is_live(*leader));
    let preferred = group.voters[0];
    let live = group.voters.iter().filter(|voter| image.is_live(**voter)).count();
    let can_elect = 2 * live > group.voters.len();
    match (kind, leader) {
        (UNCLEAN, Some(_)) => Verdict::Done(ErrorCode::ElectionNotNeeded),
        (UNCLEAN, None) if can_elect => Verdict::Await(id),
        (UNCLEAN, None) => Verdict::Done(ErrorCode::EligibleLeadersNotAvailable),
        (_, Some(leader)) if leader == preferred => Verdict::Done(ErrorCode::ElectionNotNeeded),
        (_, Some(_)) if image.is_live(preferred) && group.in_sync().contains(&preferred) => {
            Verdict::HandOver(id)
        }
        _ => Verdict::Done(ErrorCode::PreferredLeaderNotAvailable),
    }
}

/// Carries out what was decided, and waits for it.
async fn elect(call: &Call, asked: &[AskedTopic], limit: Duration) {
    // by group, with the time from which on its leader may be asked
    let mut waiting: BTreeMap<RaftGroupId, Option<Instant>> = BTreeMap::new();
    for one in asked.iter().flat_map(|topic| &topic.partitions) {
        match one.verdict {
            Verdict::HandOver(group) => waiting.insert(group, Some(Instant::now())),
            Verdict::Await(group) => waiting.insert(group, None),
            Verdict::Done(_) => None,
        };
    }
    let give_up = Instant::now() + limit;
    loop {
        let image = call.shard.image();
        waiting.retain(|group, ask| {
            image.groups.get(group).is_some_and(|view| !is_elected(&image, view, ask.is_some()))
        });
        for (group, ask) in &mut waiting {
            let now = Instant::now();
            let Some(view) = image.groups.get(group).filter(|_| ask.is_some_and(|at| at <= now))
            else {
                continue;
            };
            if let Some(leader) = view.leader {
                call.shard.ask_to_hand_over(leader, *group, view.voters[0]).await;
            }
            *ask = Some(now + ASK_AGAIN);
        }
        if waiting.is_empty() || Instant::now() >= give_up {
            return;
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn is_elected(image: &Image, group: &RaftGroupView, by_preference: bool) -> bool {
    match group.leader.filter(|leader: &NodeId| image.is_live(*leader)) {
        Some(leader) => !by_preference || leader == group.voters[0],
        None => false,
    }
}

/// Partitions that have the desired leader already are left out if all were asked for, as Kafka does.
fn answer(image: &Image, asked: Vec<AskedTopic>, asks_all: bool) -> ElectLeadersResponse {
    let result = |one: Asked| {
        let error = outcome(image, one.verdict);
        let message = one.message.or_else(|| text_of(error).map(str::to_owned));
        let told = !asks_all || error != ErrorCode::ElectionNotNeeded;
        told.then(|| {
            PartitionResult::default()
                .with_partition_id(one.index)
                .with_error_code(error.code())
                .with_error_message(message.map(StrBytes::from_string))
        })
    };
    let topics = asked.into_iter().map(|topic| {
        ReplicaElectionResult::default()
            .with_topic(topic.name)
            .with_partition_result(topic.partitions.into_iter().filter_map(result).collect())
    });
    ElectLeadersResponse::default().with_replica_election_results(topics.collect())
}

fn outcome(image: &Image, verdict: Verdict) -> ErrorCode {
    let elected = |group, by_preference| {
        image.groups.get(&group).is_some_and(|view| is_elected(image, view, by_preference))
    };
    match verdict {
        Verdict::Done(error) => error,
        Verdict::HandOver(group) if elected(group, true) => ErrorCode::None,
        Verdict::HandOver(_) => ErrorCode::PreferredLeaderNotAvailable,
        Verdict::Await(group) if elected(group, false) => ErrorCode::None,
        Verdict::Await(_) => ErrorCode::EligibleLeadersNotAvailable,
    }
}

/// Kafka's own words for these errors.
fn text_of(error: ErrorCode) -> Option<&'static str> {
    match error {
        ErrorCode::ElectionNotNeeded => Some("Leader election not needed for topic partition."),
        ErrorCode::PreferredLeaderNotAvailable => Some("The preferred leader was not available."),
        ErrorCode::EligibleLeadersNotAvailable => {
            Some("Eligible topic partition leaders are not available.")
        }
        _ => None,
    }
}

fn refuse(request: &ElectLeadersRequest, version: i16) -> ElectLeadersResponse {
    let message = format!("Unknown election type {}", request.election_type);
    let error = ErrorCode::InvalidRequest.code();
    let partition = |index: &i32| {
        PartitionResult::default()
            .with_partition_id(*index)
            .with_error_code(error)
            .with_error_message(Some(StrBytes::from_string(message.clone())))
    };
    let topics = request.topic_partitions.iter().flatten().map(|topic| {
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(topic.partitions.iter().map(partition).collect())
    });
    let response = ElectLeadersResponse::default().with_replica_election_results(topics.collect());
    match version >= ERROR_FROM {
        true => response.with_error_code(error),
        false => response,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::TopicId;
    use crate::metadata::{BrokerRecord, LedGroup, MetadataRecord};
    use config::NodeConfig;

    const GROUP: RaftGroupId = RaftGroupId(4);

    /// A group of nodes 2, 1 and 3, with this leader; `fenced` are not heard of, and not in sync.
    fn image(leader: Option<i32>, fenced: &[i32]) -> Image {
        let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").unwrap();
        let mut image = Image::empty("c", NodeId(1), 1, Arc::new(config.values));
        for id in 1..=3 {
            let broker = BrokerRecord {
                node: NodeId(id),
                rack: None,
                endpoints: Vec::new(),
                directory: TopicId([id as u8; 16]),
                peer: ("h".to_owned(), 1),
                shards: 1,
                epoch: 1,
                fenced: fenced.contains(&id),
            };
            image.apply(&MetadataRecord::RegisterBroker(broker)).unwrap();
        }
        let voters = vec![NodeId(2), NodeId(1), NodeId(3)];
        let isr = voters.iter().copied().filter(|node| image.is_live(*node)).collect();
        image.apply(&MetadataRecord::CreateRaftGroup { group: GROUP, voters }).unwrap();
        let leader = leader.map(NodeId);
        image.note_leader(LedGroup { group: GROUP.0, leader, term: 5, isr: Some(isr) });
        image
    }

    fn judged(leader: Option<i32>, fenced: &[i32], kind: i8) -> Verdict {
        let image = image(leader, fenced);
        judge(&image, GROUP, &image.groups[&GROUP], kind)
    }

    #[test]
    fn a_preferred_replica_gets_its_group_if_it_is_alive_and_in_sync() {
        let not_there = Verdict::Done(ErrorCode::PreferredLeaderNotAvailable);
        assert_eq!(judged(Some(1), &[], PREFERRED), Verdict::HandOver(GROUP));
        assert_eq!(judged(Some(1), &[2], PREFERRED), not_there);
        assert_eq!(judged(None, &[], PREFERRED), not_there);
        let needless = Verdict::Done(ErrorCode::ElectionNotNeeded);
        assert_eq!(judged(Some(2), &[], PREFERRED), needless);
    }

    #[test]
    fn an_unclean_election_waits_for_a_majority_and_never_does_without() {
        let needless = Verdict::Done(ErrorCode::ElectionNotNeeded);
        assert_eq!(judged(Some(1), &[2], UNCLEAN), needless);
        assert_eq!(judged(Some(2), &[2], UNCLEAN), Verdict::Await(GROUP));
        let none = Verdict::Done(ErrorCode::EligibleLeadersNotAvailable);
        assert_eq!(judged(Some(2), &[2, 3], UNCLEAN), none);
    }
}

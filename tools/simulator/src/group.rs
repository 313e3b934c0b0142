//! Members of one classic consumer group that read and commit, and a group without members.

use crate::consumer::{Consumer, Positions};
use crate::shared::{RETRY_PAUSE, Run, text, topic_name};
use crate::wire::{Connection, Lost};
use checker::{Assignment, Observation, OpKind, Outcome};
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;
use protocol::{ErrorCode, StrBytes};
use runtime::time::sleep;
use std::rc::Rc;
use std::time::Duration;

const GROUP: &str = "g";
const LONER: &str = "loner";
/// Commits of all generations are one sequence: a fenced member cannot commit, and who takes a partition over goes on
/// from what is committed.
const ONE_SEQUENCE: i32 = 0;

/// Why a member has to begin anew.
enum Again {
    Lost,
    Refused,
}

impl From<Lost> for Again {
    fn from(Lost: Lost) -> Again {
        Again::Lost
    }
}

/// A membership that the group agreed on.
struct Joined {
    member: StrBytes,
    generation: i32,
    owned: Vec<(String, i32)>,
}

fn group_id() -> GroupId {
    GroupId(text(GROUP))
}

/// Joins, reads, commits and leaves, again and again, until the run is quiet.
pub async fn member(run: Rc<Run>) {
    let mut connection = run.connect().await;
    while !run.quiet.get() {
        match membership(&run, &mut connection).await {
            Ok(()) => {}
            Err(Again::Refused) => sleep(RETRY_PAUSE).await,
            Err(Again::Lost) => connection = run.connect().await,
        }
    }
}

/// Asks for the coordinator; the first question of all makes the topic that coordinators live on.
async fn find_coordinator(connection: &mut Connection) -> Result<(), Again> {
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(GROUP)]);
    let found = connection.call(&find).await?;
    accepted(found.coordinators[0].error_code)
}

async fn membership(run: &Rc<Run>, connection: &mut Connection) -> Result<(), Again> {
    find_coordinator(connection).await?;
    let joined = join(run, connection).await?;
    run.mark("a member joined the group");
    let positions = committed(run, connection, &joined.owned).await?;
    let positions: Positions =
        positions.into_iter().map(|(at, offset)| (at, offset.max(0))).collect();
    let mut consumer = Consumer::new(run.clone(), positions, Assignment::Subscribed).await;
    for _ in 0..1 + run.below(30) {
        if run.quiet.get() {
            break;
        }
        if !joined.owned.is_empty() {
            consumer.poll().await;
        }
        if run.below(2) == 0 {
            commit(run, connection, &joined, &consumer.next).await?;
        }
        let beat = HeartbeatRequest::default()
            .with_group_id(group_id())
            .with_generation_id(joined.generation)
            .with_member_id(joined.member.clone());
        accepted(connection.call(&beat).await?.error_code)?;
        sleep(Duration::from_millis(run.below(200))).await;
    }
    let leaving = MemberIdentity::default().with_member_id(joined.member.clone());
    let leave = LeaveGroupRequest::default().with_group_id(group_id()).with_members(vec![leaving]);
    connection.call(&leave).await?;
    Ok(())
}

fn accepted(code: i16) -> Result<(), Again> {
    if code == ErrorCode::None.code() { Ok(()) } else { Err(Again::Refused) }
}

async fn join(run: &Run, connection: &mut Connection) -> Result<Joined, Again> {
    let request = |member: StrBytes| {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(b"meta".as_slice().into());
        JoinGroupRequest::default()
            .with_group_id(group_id())
            .with_session_timeout_ms(6_000)
            .with_rebalance_timeout_ms(6_000)
            .with_member_id(member)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    };
    let mut answer = connection.call(&request(StrBytes::default())).await?;
    if answer.error_code == ErrorCode::MemberIdRequired.code() {
        answer = connection.call(&request(answer.member_id.clone())).await?;
    }
    accepted(answer.error_code)?;
    let members = answer.members.len().max(1);
    let assignments = answer.members.iter().enumerate().map(|(nth, member)| {
        let share = run.partitions().into_iter().skip(nth).step_by(members);
        let lines: Vec<String> = share.map(|(topic, index)| format!("{topic} {index}")).collect();
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(lines.join("\n").into())
    });
    let sync = SyncGroupRequest::default()
        .with_group_id(group_id())
        .with_generation_id(answer.generation_id)
        .with_member_id(answer.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments.collect());
    let synced = connection.call(&sync).await?;
    accepted(synced.error_code)?;
    let lines = String::from_utf8_lossy(&synced.assignment).into_owned();
    let owned = lines.lines().filter_map(|line| {
        let (topic, index) = line.split_once(' ')?;
        Some((topic.to_owned(), index.parse().ok()?))
    });
    let owned: Vec<(String, i32)> = owned.collect();
    for at in &owned {
        let member = answer.member_id.to_string();
        let key = (answer.generation_id, at.clone());
        let other = run.owners.borrow_mut().insert(key, member.clone());
        if let Some(other) = other.filter(|other| *other != member) {
            let generation = answer.generation_id;
            run.violation(format!("{at:?}: of {other} and {member} in generation {generation}"));
        }
    }
    Ok(Joined { member: answer.member_id, generation: answer.generation_id, owned })
}

async fn commit(
    run: &Run,
    connection: &mut Connection,
    joined: &Joined,
    next: &Positions,
) -> Result<(), Again> {
    let Some(((topic, index), offset)) =
        next.iter().nth(run.below(next.len().max(1) as u64) as usize)
    else {
        return Ok(());
    };
    let op = run.begin(run.process(), OpKind::Commit);
    let observed = {
        let mut history = run.history.borrow_mut();
        let partition = history.partition(&format!("{topic}-{index}"));
        let group = history.group(GROUP);
        Observation::Committed { group, generation: ONE_SEQUENCE, partition, offset: *offset }
    };
    run.history.borrow_mut().observe(op, observed);
    let part = OffsetCommitRequestPartition::default()
        .with_partition_index(*index)
        .with_committed_offset(*offset);
    let topics = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![part]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id())
        .with_generation_id_or_member_epoch(joined.generation)
        .with_member_id(joined.member.clone())
        .with_topics(vec![topics]);
    let Ok(answer) = connection.call(&request).await else {
        run.end(op, Outcome::Info);
        return Err(Again::Lost);
    };
    let code = answer.topics[0].partitions[0].error_code;
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => {
            run.mark("an offset was committed");
            run.end(op, Outcome::Ok);
        }
        Some(
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress,
        ) => run.end(op, Outcome::Fail),
        _ => run.end(op, Outcome::Info),
    }
    accepted(code)
}

/// What is committed for partitions; -1 where nothing is.
async fn committed(
    run: &Run,
    connection: &mut Connection,
    of: &[(String, i32)],
) -> Result<Vec<((String, i32), i64)>, Again> {
    let op = run.begin(run.process(), OpKind::FetchCommitted);
    let topics = of.iter().map(|(topic, index)| {
        OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![*index])
    });
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group_id())
        .with_member_epoch(-1)
        .with_topics(Some(topics.collect()));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true);
    let Ok(answer) = connection.call(&request).await else {
        run.end(op, Outcome::Info);
        return Err(Again::Lost);
    };
    let told = &answer.groups[0];
    let mut offsets = Vec::new();
    for topic in &told.topics {
        for part in &topic.partitions {
            if told.error_code != 0 || part.error_code != 0 {
                run.end(op, Outcome::Fail);
                return Err(Again::Refused);
            }
            let at = (topic.name.to_string(), part.partition_index);
            let mut history = run.history.borrow_mut();
            let partition = history.partition(&format!("{}-{}", at.0, at.1));
            let group = history.group(GROUP);
            let offset = part.committed_offset;
            let generation = ONE_SEQUENCE;
            history
                .observe(op, Observation::FetchedCommit { group, generation, partition, offset });
            offsets.push((at, offset));
        }
    }
    let outcome = if told.error_code == 0 { Outcome::Ok } else { Outcome::Fail };
    run.end(op, outcome);
    accepted(told.error_code)?;
    Ok(offsets)
}

/// The last look at what is committed.
pub async fn fetch_committed(run: &Run) {
    let mut connection = run.connect().await;
    let partitions = run.partitions();
    loop {
        let fetched = async {
            // No member may have come so far as to ask.
            find_coordinator(&mut connection).await?;
            committed(run, &mut connection, &partitions).await
        };
        match fetched.await {
            Ok(_) => return,
            Err(Again::Refused) => sleep(RETRY_PAUSE).await,
            Err(Again::Lost) => connection = run.connect().await,
        }
    }
}

/// What a group without members is asked to do, one after the other: every request is repeated until it is answered, so
/// what is committed is always known.
pub async fn loner(run: Rc<Run>) {
    let at = ("t0".to_owned(), 0);
    let mut connection = run.connect().await;
    // The first search for a coordinator makes the topic that offsets are kept in.
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(LONER)]);
    let code = |answer: &FindCoordinatorResponse| answer.coordinators[0].error_code;
    if let Err(error) = until_done(&run, &mut connection, &find, code).await {
        return run.violation(format!("a coordinator was not found: {error:?}"));
    }
    while !run.quiet.get() {
        let committed = match run.below(4) {
            0 | 1 => -1,
            _ => run.below(1_000) as i64,
        };
        let what = match committed {
            -1 if run.below(2) == 0 => {
                run.mark("a committed offset was deleted");
                until_done(&run, &mut connection, &delete_offset(&at), |answer| {
                    let part = answer.topics.first().and_then(|topic| topic.partitions.first());
                    part.map_or(answer.error_code, |part| part.error_code)
                })
                .await
            }
            -1 => {
                run.mark("a group was deleted");
                let request =
                    DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(LONER))]);
                until_done(&run, &mut connection, &request, |answer| answer.results[0].error_code)
                    .await
            }
            _ => {
                let part = OffsetCommitRequestPartition::default()
                    .with_partition_index(at.1)
                    .with_committed_offset(committed);
                let topic = OffsetCommitRequestTopic::default()
                    .with_name(topic_name(&at.0))
                    .with_partitions(vec![part]);
                let request = OffsetCommitRequest::default()
                    .with_group_id(GroupId(text(LONER)))
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(vec![topic]);
                until_done(&run, &mut connection, &request, |answer| {
                    answer.topics[0].partitions[0].error_code
                })
                .await
            }
        };
        if let Err(error) = what {
            return run.violation(format!("a group without members was answered {error:?}"));
        }
        sleep(Duration::from_millis(run.below(1_000))).await;
        let told = offset_of_loner(&run, &mut connection, &at).await;
        if told != committed {
            let text = format!("a group without members has {told}, but {committed} was committed");
            return run.violation(text);
        }
    }
}

fn delete_offset(at: &(String, i32)) -> OffsetDeleteRequest {
    use protocol::messages::offset_delete_request::{
        OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    };
    let part = OffsetDeleteRequestPartition::default().with_partition_index(at.1);
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name(&at.0))
        .with_partitions(vec![part]);
    OffsetDeleteRequest::default().with_group_id(GroupId(text(LONER))).with_topics(vec![topic])
}

/// Repeats a request until it is done, or has nothing to do.
async fn until_done<T: protocol::ApiRequest>(
    run: &Run,
    connection: &mut Connection,
    request: &T,
    code: impl Fn(&T::Response) -> i16,
) -> Result<(), Option<ErrorCode>> {
    loop {
        match connection.call(request).await {
            Err(Lost) => *connection = run.connect().await,
            Ok(answer) => match ErrorCode::from_code(code(&answer)) {
                Some(ErrorCode::None | ErrorCode::GroupIdNotFound) => return Ok(()),
                Some(error) if error.is_retriable() => sleep(RETRY_PAUSE).await,
                error => return Err(error),
            },
        }
    }
}

async fn offset_of_loner(run: &Run, connection: &mut Connection, at: &(String, i32)) -> i64 {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name(&at.0))
        .with_partition_indexes(vec![at.1]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(LONER)))
        .with_member_epoch(-1)
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true);
    loop {
        match connection.call(&request).await {
            Err(Lost) => *connection = run.connect().await,
            Ok(answer) => {
                let group = &answer.groups[0];
                let part = group.topics.first().and_then(|topic| topic.partitions.first());
                match part.filter(|part| group.error_code == 0 && part.error_code == 0) {
                    Some(part) => return part.committed_offset,
                    None => sleep(RETRY_PAUSE).await,
                }
            }
        }
    }
}

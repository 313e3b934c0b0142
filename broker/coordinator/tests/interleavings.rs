//! Members that come, work, stall and go in any order, with appends that take their time, fail, or
//! are lost in a restart. Whatever happens:
//!
//! - a generation of a group has one leader, and all its members hear of the same one;
//! - what a member is assigned stands in the log;
//! - the log alone gives back every offset, and every group that is stable or empty;
//! - each request is answered exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coordinator::record::{GroupValue, RecordKey};
use coordinator::*;
use proptest::prelude::*;

mod world;
use world::World;

const GROUPS: [&str; 2] = ["g", "h"];
const CLIENTS: usize = 5;
/// The clients from here on are static members; two of them share an instance id.
const FIRST_STATIC: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Join { client: usize, protocols: usize, early_version: bool, forgets: bool },
    Sync { client: usize },
    Heartbeat { client: usize },
    Leave { client: usize },
    Commit { client: usize, offset: i64 },
    CommitOutside { group: usize, offset: i64 },
    DeleteGroup { group: usize },
    DeleteOffsets { group: usize },
    DeleteTopic,
    Wait { ms: i64 },
    Hold,
    Release,
    Fail,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let group = 0..GROUPS.len();
    prop_oneof![
        12 => (client.clone(), 0..3usize, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(client, protocols, early_version, forgets)| Step::Join {
                client, protocols, early_version, forgets
            }
        ),
        12 => client.clone().prop_map(|client| Step::Sync { client }),
        4 => client.clone().prop_map(|client| Step::Heartbeat { client }),
        2 => client.clone().prop_map(|client| Step::Leave { client }),
        4 => (client, 0..100i64).prop_map(|(client, offset)| Step::Commit { client, offset }),
        2 => (group.clone(), 0..100i64)
            .prop_map(|(group, offset)| Step::CommitOutside { group, offset }),
        1 => group.clone().prop_map(|group| Step::DeleteGroup { group }),
        1 => group.prop_map(|group| Step::DeleteOffsets { group }),
        1 => Just(Step::DeleteTopic),
        8 => (0..6_000i64).prop_map(|ms| Step::Wait { ms }),
        2 => Just(Step::Hold),
        3 => Just(Step::Release),
        1 => Just(Step::Fail),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Default)]
struct Client {
    member_id: String,
    generation: i32,
    /// Whom it would assign, if it leads.
    members: Vec<Arc<str>>,
}

struct Play {
    world: World,
    clients: Vec<Client>,
    /// The client behind a request, and the member id and generation of a sync.
    asked: BTreeMap<RequestToken, (Option<usize>, String)>,
    leaders: BTreeMap<(String, i32), String>,
    /// From here on memory may know generations that the log does not.
    failed: bool,
    seen_of_log: usize,
}

fn group_of(client: usize) -> &'static str {
    GROUPS[usize::from(client == 2)]
}

fn instance_of(client: usize) -> Option<Arc<str>> {
    (client >= FIRST_STATIC).then(|| Arc::from("i"))
}

/// Static members change their ids; what stays is the instance.
fn identity(member_id: &str) -> &str {
    if member_id.starts_with("i-") { "i" } else { member_id }
}

impl Play {
    fn new() -> Self {
        let settings = Settings {
            initial_rebalance_delay_ms: 1_000,
            offsets_retention_ms: 40_000,
            offsets_retention_check_interval_ms: 7_000,
            group_size_max: 4,
            ..Settings::default()
        };
        Play {
            world: World::new(settings),
            clients: vec![Client::default(); CLIENTS],
            asked: BTreeMap::new(),
            leaders: BTreeMap::new(),
            failed: false,
            seen_of_log: 0,
        }
    }

    fn ask(&mut self, client: Option<usize>, member_id: &str, request: Request) {
        let token = self.world.request(request);
        let asked = self.asked.insert(token, (client, member_id.to_string()));
        assert!(asked.is_none());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Join { client, protocols, early_version, forgets } => {
                if forgets {
                    self.clients[client].member_id.clear();
                }
                let member_id = self.clients[client].member_id.clone();
                let uuid = self.world.uuid();
                let name = format!("c{client}");
                let mut join = world::join(group_of(client), &name, &member_id, uuid);
                join.instance_id = instance_of(client);
                join.requires_known_member_id = !early_version;
                join.supports_skip_assignment = !early_version;
                join.rebalance_timeout_ms = 8_000;
                match protocols {
                    0 => {}
                    1 => join.protocols.reverse(),
                    _ => join.protocols.truncate(1),
                }
                self.ask(Some(client), &member_id, Request::JoinGroup(join));
            }
            Step::Sync { client } => {
                let it = self.clients[client].clone();
                let assign =
                    |id: &Arc<str>| (id.clone(), Bytes::from(format!("{id} in {}", it.generation)));
                let request = SyncGroupRequest {
                    group_id: group_of(client).into(),
                    generation: it.generation,
                    member_id: it.member_id.as_str().into(),
                    instance_id: instance_of(client),
                    protocol_type: None,
                    protocol_name: None,
                    assignments: it.members.iter().map(assign).collect(),
                };
                self.ask(Some(client), &it.member_id, Request::SyncGroup(request));
            }
            Step::Heartbeat { client } => {
                let it = self.clients[client].clone();
                self.ask(Some(client), &it.member_id, heartbeat(client, &it));
            }
            Step::Leave { client } => {
                let member_id = self.clients[client].member_id.clone();
                let members = vec![MemberIdentity {
                    member_id: member_id.as_str().into(),
                    instance_id: instance_of(client),
                }];
                let request = LeaveGroupRequest { group_id: group_of(client).into(), members };
                self.ask(None, &member_id, Request::LeaveGroup(request));
            }
            Step::Commit { client, offset } => {
                let it = self.clients[client].clone();
                let group = group_of(client);
                let mut request = world::commit(group, &it.member_id, it.generation, offset);
                request.instance_id = instance_of(client);
                self.ask(None, &it.member_id, Request::OffsetCommit(request));
            }
            Step::CommitOutside { group, offset } => {
                let request = world::commit(GROUPS[group], "", -1, offset);
                self.ask(None, "", Request::OffsetCommit(request));
            }
            Step::DeleteGroup { group } => {
                self.ask(None, "", Request::DeleteGroups(vec![GROUPS[group].into()]));
            }
            Step::DeleteOffsets { group } => {
                let request = OffsetDeleteRequest {
                    group_id: GROUPS[group].into(),
                    topics: vec![("t".into(), vec![0])],
                };
                self.ask(None, "", Request::OffsetDelete(request));
            }
            Step::DeleteTopic => self.world.event(Event::TopicsDeleted(vec!["t".into()])),
            Step::Wait { ms } => self.world.wait(ms),
            Step::Hold => self.world.commits_at_once = false,
            Step::Release => {
                self.world.commits_at_once = true;
                self.world.commit();
            }
            Step::Fail => {
                self.failed |= !self.world.in_flight.is_empty();
                self.world.fail(AppendFailure::NotAvailable);
            }
            Step::Restart => self.restart(),
        }
    }

    fn restart(&mut self) {
        let unloaded = {
            let fresh = GroupCoordinator::new(self.world.settings.clone());
            std::mem::replace(&mut self.world.coordinator, fresh).unload()
        };
        self.world.answers.extend(unloaded.responses);
        self.judge();
        assert!(self.asked.is_empty(), "unanswered after unloading: {:?}", self.asked);
        self.world.restart();
        self.failed = false;
        // generations that only memory knew may come again
        let logged = logged_groups(&self.world.log);
        self.leaders.retain(|(group, generation), _| {
            logged.get(group).is_some_and(|value| *generation <= value.generation)
        });
    }

    /// Looks at every answer since the last time.
    fn judge(&mut self) {
        // a group that is deleted begins again at generation 1, committed or not
        let in_flight = self.world.in_flight.iter().flat_map(|append| &append.records);
        for record in self.world.log[self.seen_of_log..].iter().chain(in_flight) {
            if let (Ok(RecordKey::Group { group }), None) =
                (RecordKey::read(&record.key), &record.value)
            {
                self.leaders.retain(|(of, _), _| of != group);
            }
        }
        self.seen_of_log = self.world.log.len();
        for (token, response) in std::mem::take(&mut self.world.answers) {
            let (client, member_id) = self.asked.remove(&token).expect("answered once");
            match (response, client) {
                (Response::JoinGroup(joined), Some(client)) => self.judge_join(client, joined),
                (Response::SyncGroup(synced), Some(client)) if synced.error.is_none() => {
                    let logged = logged_groups(&self.world.log);
                    let group = logged.get(group_of(client)).expect("a stable group is logged");
                    let member = group.members.iter().find(|m| *m.member_id == *member_id);
                    let logged = member.map(|m| &m.assignment);
                    assert_eq!(logged, Some(&synced.assignment), "assigned to {member_id}");
                }
                _ => {}
            }
        }
    }

    fn judge_join(&mut self, client: usize, joined: JoinGroupResponse) {
        match joined.error {
            None => {
                let key = (group_of(client).to_string(), joined.generation);
                let leader = identity(&joined.leader).to_string();
                let known = self.leaders.entry(key).or_insert_with(|| leader.clone());
                assert_eq!(*known, leader, "leader of generation {}", joined.generation);
                assert!(
                    joined.members.is_empty() || joined.leader == joined.member_id,
                    "only the leader sees the members"
                );
                self.clients[client] = Client {
                    member_id: joined.member_id.to_string(),
                    generation: joined.generation,
                    members: joined.members.iter().map(|m| m.member_id.clone()).collect(),
                };
            }
            Some(GroupError::MemberIdRequired) => {
                self.clients[client].member_id = joined.member_id.to_string();
            }
            Some(GroupError::UnknownMemberId | GroupError::FencedInstanceId) => {
                self.clients[client] = Client::default();
            }
            Some(_) => {}
        }
    }

    /// With nothing in flight, memory and log tell the same.
    fn compare_with_log(&mut self) {
        if !self.world.in_flight.is_empty() {
            return;
        }
        // a group above its limit would rebalance at load
        let settings = (*self.world.settings).clone();
        let settings = Settings { group_size_max: usize::MAX, ..settings };
        let mut replayed = World::new(settings);
        replayed.now_ms = self.world.now_ms;
        replayed.coordinator = self.world.replayed();
        replayed.coordinator.configure(replayed.settings.clone());
        replayed.coordinator.finish_load(replayed.clock());
        replayed.coordinator.assert_invariants();
        for group in GROUPS {
            let ours = world::offsets_of(&mut self.world, group);
            assert_eq!(ours, world::offsets_of(&mut replayed, group), "offsets of {group}");
            let ours = describe(&mut self.world, group);
            if self.failed || !matches!(ours.state, GroupState::Stable | GroupState::Empty) {
                continue;
            }
            let theirs = describe(&mut replayed, group);
            let is_bare = ours.protocol_type.is_empty() && theirs.state == GroupState::Dead;
            if !is_bare {
                assert_eq!(ours, theirs, "description of {group}");
            }
        }
        for client in 0..CLIENTS {
            let it = self.clients[client].clone();
            if describe(&mut self.world, group_of(client)).state == GroupState::Stable
                && !self.failed
            {
                let theirs = replayed.ask(heartbeat(client, &it));
                assert_eq!(self.world.ask(heartbeat(client, &it)), theirs, "beat of {client}");
            }
        }
    }
}

fn heartbeat(client: usize, it: &Client) -> Request {
    Request::Heartbeat(HeartbeatRequest {
        group_id: group_of(client).into(),
        generation: it.generation,
        member_id: it.member_id.as_str().into(),
        instance_id: instance_of(client),
    })
}

fn describe(world: &mut World, group: &str) -> DescribedGroup {
    match world.ask(Request::DescribeGroups(vec![group.into()])) {
        Response::DescribeGroups(mut groups) => groups.remove(0),
        other => panic!("described as {other:?}"),
    }
}

/// The last record of each group.
fn logged_groups(log: &[Record]) -> BTreeMap<String, GroupValue> {
    let mut groups = BTreeMap::new();
    for record in log {
        if let Ok(RecordKey::Group { group }) = RecordKey::read(&record.key) {
            match &record.value {
                Some(value) => {
                    groups.insert(group.to_string(), GroupValue::read(value).unwrap());
                }
                None => {
                    groups.remove(group);
                }
            }
        }
    }
    groups
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_interleaving_keeps_one_leader_per_generation_and_the_log_tells_all(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut play = Play::new();
        for step in steps {
            play.take(step);
            play.judge();
            play.world.coordinator.assert_invariants();
            play.compare_with_log();
        }
        play.restart();
    }
}

#[test]
fn a_group_that_is_left_alone_settles() {
    // everybody joins, the leader syncs, nothing is forgotten: the group must become stable
    let mut play = Play::new();
    for client in [0, 1, 3] {
        for _ in 0..2 {
            play.take(Step::Join { client, protocols: 0, early_version: false, forgets: false });
            play.judge();
        }
    }
    play.take(Step::Wait { ms: 9_000 });
    play.judge();
    for client in [0, 1, 3] {
        play.take(Step::Sync { client });
        play.judge();
    }
    let described = describe(&mut play.world, "g");
    assert_eq!(described.state, GroupState::Stable);
    let assigned: BTreeSet<_> = described.members.iter().map(|m| m.assignment.clone()).collect();
    assert_eq!(assigned.len(), 3, "each its own");
}

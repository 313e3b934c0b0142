//! What clients can make grow has a bound, and what is refused at the bound leaves nothing behind.

use std::sync::Arc;

use bytes::Bytes;
use coordinator::*;

mod world;
use world::{World, commit, join, offsets_of};

fn joined(world: &mut World, group: &str, client: &str, member_id: &str) -> JoinGroupResponse {
    let uuid = world.uuid();
    let token = world.request(Request::JoinGroup(join(group, client, member_id, uuid)));
    world.wait(3_000);
    answer(world, token)
}

fn answer(world: &mut World, token: RequestToken) -> JoinGroupResponse {
    let at = world.answers.iter().position(|(answered, _)| *answered == token);
    match world.answers.remove(at.expect("the join is answered")).1 {
        Response::JoinGroup(response) => response,
        other => panic!("a join was answered with {other:?}"),
    }
}

fn committed(world: &mut World, request: OffsetCommitRequest) -> Option<GroupError> {
    match world.ask(Request::OffsetCommit(request)) {
        Response::OffsetCommit(topics) => topics[0].partitions[0].1,
        other => panic!("a commit was answered with {other:?}"),
    }
}

#[test]
fn ids_that_are_asked_for_and_never_used_are_bounded_and_run_out() {
    let mut world = World::new(Settings { pending_joins_max: 3, ..Settings::default() });
    for _ in 0..3 {
        let uuid = world.uuid();
        let token = world.request(Request::JoinGroup(join("g", "c", "", uuid)));
        assert_eq!(answer(&mut world, token).error, Some(GroupError::MemberIdRequired));
    }
    let uuid = world.uuid();
    let token = world.request(Request::JoinGroup(join("g", "c", "", uuid)));
    assert_eq!(answer(&mut world, token).error, Some(GroupError::GroupMaxSizeReached));
    assert_eq!(world.coordinator.stats().pending_members, 3);
    world.wait(10_000);
    assert_eq!(world.coordinator.stats().pending_members, 0, "their sessions are over");
    let required = joined(&mut world, "g", "c", "");
    assert_eq!(required.error, Some(GroupError::MemberIdRequired));
}

#[test]
fn members_that_bring_more_than_the_group_may_hold_are_refused_and_the_others_stay() {
    let room = 2 * Settings::MEMBER_BYTES + 3_000;
    let mut world = World::new(Settings { members_bytes_max: room, ..Settings::default() });
    let id = joined(&mut world, "g", "a", "").member_id;
    assert_eq!(joined(&mut world, "g", "a", &id).error, None);
    let uuid = world.uuid();
    let mut large = join("g", "b", "", uuid);
    large.requires_known_member_id = false;
    large.protocols[0].metadata = Bytes::from(vec![0; 5_000]);
    let token = world.request(Request::JoinGroup(large.clone()));
    assert_eq!(answer(&mut world, token).error, Some(GroupError::GroupMaxSizeReached));
    assert_eq!(world.coordinator.stats().members, 1);
    world.coordinator.assert_invariants();
    large.protocols[0].metadata = world::subscription(&["t"]);
    let token = world.request(Request::JoinGroup(large));
    joined(&mut world, "g", "a", &id);
    assert_eq!(answer(&mut world, token).error, None);
    world.coordinator.assert_invariants();
}

#[test]
fn a_coordinator_full_of_groups_makes_no_new_one_and_serves_those_it_has() {
    let mut world = World::new(Settings { groups_max: 2, ..Settings::default() });
    assert_eq!(joined(&mut world, "g1", "c", "").error, Some(GroupError::MemberIdRequired));
    assert_eq!(committed(&mut world, commit("g2", "", -1, 5)), None);
    assert_eq!(joined(&mut world, "g3", "c", "").error, Some(GroupError::GroupMaxSizeReached));
    let refused = committed(&mut world, commit("g3", "", -1, 5));
    assert_eq!(refused, Some(GroupError::InvalidCommitOffsetSize));
    assert_eq!(world.coordinator.groups(), 2);
    assert_eq!(committed(&mut world, commit("g2", "", -1, 6)), None);
    world.restart();
    assert_eq!(world.coordinator.groups(), 2);
    assert_eq!(offsets_of(&mut world, "g2").into_values().collect::<Vec<_>>(), [6]);
}

#[test]
fn a_coordinator_full_of_offsets_still_moves_those_it_has() {
    let mut world = World::new(Settings { offsets_max: 1, ..Settings::default() });
    assert_eq!(committed(&mut world, commit("g", "", -1, 5)), None);
    let mut other = commit("g", "", -1, 5);
    other.topics[0].name = Arc::from("another");
    assert_eq!(committed(&mut world, other), Some(GroupError::InvalidCommitOffsetSize));
    assert_eq!(committed(&mut world, commit("g", "", -1, 6)), None);
    assert_eq!(offsets_of(&mut world, "g").into_values().collect::<Vec<_>>(), [6]);
    assert_eq!(world.log.len(), 2, "what was refused was not written");
}

//! Classic groups: how coordinators are found and groups are told. What happens inside a group is in the transcripts of
//! `broker/coordinator/tests`.

use client::Connection;
use protocol::ErrorCode;
use protocol::messages::*;

use super::fresh;
use super::node::Node;
use super::node::eventually;
use super::node::requests::text;

fn pending_member(connection: &mut Connection, group: &str) -> i16 {
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    connection.call(&request).expect("an answer").error_code
}

/// A node with group `g`, in which somebody asked for a member id.
fn with_group() -> (tempfile::TempDir, Node) {
    let (data, node) = fresh(&["offsets.topic.num.partitions=3"]);
    let mut connection = node.connect();
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    connection.call(&request).expect("an answer");
    eventually("the coordinator is loaded", || {
        let code = pending_member(&mut connection, "g");
        (code == ErrorCode::MemberIdRequired.code()).then_some(())
    });
    (data, node)
}

#[test]
fn each_key_of_a_question_for_coordinators_has_an_answer_of_its_own() {
    let (_data, node) = fresh(&[]);
    let mut connection = node.connect();
    let keys = vec![text("a"), text("b"), text("a b")];
    let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
    for version in [4, 6] {
        let answer = connection.call_up_to(&request, version).expect("an answer");
        assert_eq!((answer.error_code, answer.host.len(), answer.port), (0, 0, 0), "unused");
        let told: Vec<&str> = answer.coordinators.iter().map(|found| &*found.key).collect();
        assert_eq!(told, ["a", "b", "a b"]);
        for found in &answer.coordinators {
            // the first question ever makes the topic and is answered when it is there
            assert_eq!(
                (found.error_code, format!("{}:{}", found.host, found.port)),
                (0, node.address.clone())
            );
        }
    }
    let wrong = request.with_key_type(7);
    let answer = connection.call(&wrong).expect("an answer");
    assert_eq!(answer.error_code, 0);
    let refused = ErrorCode::InvalidRequest.code();
    assert!(answer.coordinators.iter().all(|found| found.error_code == refused));
}

#[test]
fn a_group_that_nobody_knows_is_dead_up_to_version_5_and_then_an_error() {
    let (_data, node) = with_group();
    let mut connection = node.connect();
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("nobody"))]);
    let mut ask = |version: i16| {
        let answer = connection.call_up_to(&request, version).expect("an answer");
        let group = answer.groups.into_iter().next().expect("one");
        let message = group.error_message.map(|text| text.to_string());
        (group.error_code, group.group_state.to_string(), message)
    };
    for version in [0, 5] {
        assert_eq!(ask(version), (0, "Dead".to_owned(), None), "version {version}");
    }
    let (code, state, message) = ask(6);
    assert_eq!((code, &*state), (ErrorCode::GroupIdNotFound.code(), "Dead"));
    assert!(message.is_some_and(|text| text.contains("nobody")));
}

#[test]
fn groups_are_listed_by_state_and_by_type() {
    let (_data, node) = with_group();
    let mut connection = node.connect();
    let mut ask = |states: &[&str], types: &[&str]| {
        let texts = |of: &[&str]| of.iter().map(|one| text(one)).collect::<Vec<_>>();
        let request = ListGroupsRequest::default()
            .with_states_filter(texts(states))
            .with_types_filter(texts(types));
        let answer = connection.call(&request).expect("an answer");
        assert_eq!(answer.error_code, 0);
        let told = answer
            .groups
            .iter()
            .map(|g| format!("{} {} {}", *g.group_id, g.group_state, g.group_type));
        told.collect::<Vec<_>>()
    };
    let it = ["g Empty classic"];
    for (states, types) in
        [(&[][..], &[][..]), (&["Empty"], &[]), (&["Stable", "empty"], &["Classic"])]
    {
        assert_eq!(ask(states, types), it, "{states:?} {types:?}");
    }
    for (states, types) in
        [(&["Stable"][..], &[][..]), (&[], &["consumer"]), (&[], &["share", "streams"])]
    {
        assert!(ask(states, types).is_empty(), "{states:?} {types:?}");
    }
}

#[test]
fn a_member_without_an_id_is_given_one_from_version_4_on_and_joins_at_once_before() {
    let (_data, node) = with_group();
    let mut connection = node.connect();
    assert_eq!(pending_member(&mut connection, "g"), ErrorCode::MemberIdRequired.code());
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("old")))
        .with_session_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let joined = connection.call_up_to(&request, 0).expect("an answer");
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(joined.leader, joined.member_id);
}

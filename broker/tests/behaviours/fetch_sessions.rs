//! Fetch sessions (KIP-227) as a client sees them.

use std::thread;

use client::Connection;
use protocol::ErrorCode;
use protocol::messages::fetch_request::ForgottenTopic;
use protocol::messages::{FetchRequest, FetchResponse};

use super::fresh;
use super::node::records::create;
use super::node::requests::BY_NAME_MAX;
use super::questions::*;

fn ask(connection: &mut Connection, request: &FetchRequest) -> FetchResponse {
    connection.call_up_to(request, BY_NAME_MAX).expect("an answer")
}

/// A session with partitions 0 and 1 of `t`; its id.
fn open(connection: &mut Connection) -> i32 {
    let request = fetch_of("t", vec![from(0, 0), from(1, 0)]);
    let answer = ask(connection, &request.with_session_epoch(0).with_max_wait_ms(0));
    assert_eq!((answer.error_code, answer.responses[0].partitions.len()), (0, 2));
    answer.session_id
}

/// A fetch of a session that names no partition.
fn next(id: i32, epoch: i32) -> FetchRequest {
    let mut request = fetch_of("t", Vec::new()).with_session_id(id).with_session_epoch(epoch);
    request.topics.clear();
    request
}

#[test]
fn epochs_count_up_and_who_miscounts_or_names_no_session_of_ours_is_told() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 2, &[]);
    let mut connection = node.connect();
    let id = open(&mut connection);
    assert_ne!(id, 0);
    let mut code = |request: FetchRequest| {
        let answer = ask(&mut connection, &request.with_max_wait_ms(0));
        (ErrorCode::from_code(answer.error_code).expect("a code of Kafka"), answer.session_id)
    };
    assert_eq!(code(next(id, 1)), (ErrorCode::None, id));
    assert_eq!(code(next(id, 1)).0, ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(code(next(id, 3)).0, ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(code(next(id, 2)), (ErrorCode::None, id), "a wrong epoch changed nothing");
    assert_eq!(code(next(id.wrapping_add(1), 1)).0, ErrorCode::FetchSessionIdNotFound);
    let by_id = connection.call(&next(id, 3).with_max_wait_ms(0)).expect("an answer");
    assert_eq!(by_id.error_code, ErrorCode::FetchSessionTopicIdError.code());
    // epoch -1 closes it
    let closed = ask(&mut connection, &next(id, -1).with_max_wait_ms(0));
    assert_eq!((closed.error_code, closed.session_id), (0, 0));
    let gone = ask(&mut connection, &next(id, 3).with_max_wait_ms(0));
    assert_eq!(gone.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[test]
fn a_request_without_partitions_waits_for_those_of_its_session_and_mentions_only_news() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 2, &[]);
    let mut connection = node.connect();
    let id = open(&mut connection);
    let waiting = thread::spawn(move || {
        let answer = ask(&mut connection, &next(id, 1));
        (connection, answer)
    });
    assert_eq!(produce(&mut node.connect(), "t", &records(&[1], 10)).error_code, 0);
    let (mut connection, answer) = waiting.join().expect("an answer");
    let partitions = &answer.responses[0].partitions;
    assert_eq!((partitions.len(), partitions[0].partition_index), (1, 0));
    assert!(bytes_of(&partitions[0]) > 0);
    // partition 0 is forgotten, although it has records; partition 1 has none
    let forgotten = ForgottenTopic::default().with_topic(name("t")).with_partitions(vec![0]);
    let request = next(id, 2).with_forgotten_topics_data(vec![forgotten]).with_max_wait_ms(1);
    assert!(ask(&mut connection, &request).responses.is_empty());
    // and comes back when it is named again
    let request = fetch_of("t", vec![from(0, 0)]).with_session_id(id).with_session_epoch(3);
    let back = ask(&mut connection, &request);
    assert_eq!((back.error_code, bytes_of(&back.responses[0].partitions[0]) > 0), (0, true));
}

#[test]
fn a_topic_that_is_deleted_is_an_error_of_its_partitions_and_the_session_goes_on() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 2, &[]);
    create(&node, "other", 1, &[]);
    let mut by_name = node.connect();
    let id = open(&mut by_name);
    let mut by_id = node.connect();
    let mut request = fetch_of("", vec![from(0, 0)]).with_session_epoch(0).with_max_wait_ms(0);
    request.topics[0].topic_id = metadata_of(&mut by_id, "t").topic_id;
    let session = by_id.call(&request).expect("an answer").session_id;
    node.client().delete_topic("t").expect("it is there");
    let answer = ask(&mut by_name, &next(id, 1));
    let codes: Vec<i16> = answer.responses[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [ErrorCode::UnknownTopicOrPartition.code(); 2]);
    let answer = by_id.call(&next(session, 1)).expect("an answer");
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicId.code());
    let request = fetch_of("other", vec![from(0, 0)]).with_session_id(id).with_session_epoch(2);
    let answer = ask(&mut by_name, &request.with_max_wait_ms(0));
    assert_eq!((answer.error_code, answer.session_id), (0, id));
}

//! How a connection begins, and what requests may look like.

use std::io::{Read, Write};
use std::net::TcpStream;

use protocol::messages::*;
use protocol::{ErrorCode, SUPPORTED};

use super::node::Node;
use super::node::requests::text;
use super::{fresh, questions};

/// Sends an ApiVersions request in this version, with `rest` behind its client id; the answer without its length.
fn ask_versions(stream: &mut TcpStream, version: u8, rest: &[u8]) -> Vec<u8> {
    let head = [0, 18, 0, version, 0, 0, 0, 7, 0xff, 0xff];
    let length = (head.len() + rest.len()) as u32;
    stream.write_all(&[&length.to_be_bytes(), &head[..], rest].concat()).expect("it reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("all of it");
    answer
}

fn stream_to(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(&node.address).expect("the node accepts");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).expect("a timeout");
    stream
}

#[test]
fn who_asks_in_an_unknown_version_is_told_a_known_one_and_goes_on_with_it() {
    let (_data, node) = fresh(&[]);
    let mut stream = stream_to(&node);
    let refused = ask_versions(&mut stream, 9, &[0, 2, b'a', 2, b'1', 0]);
    // correlation id, UNSUPPORTED_VERSION, one API: ApiVersions from 0 to 4, and nothing of later versions
    assert_eq!(refused, [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    let highest = refused[15];
    // an empty list of tags of the header, two names, an empty list of tags
    let served = ask_versions(&mut stream, highest, &[0, 2, b'a', 2, b'1', 0]);
    // no list of tags behind the correlation id, although the version is flexible: the error code follows
    assert_eq!(served[..7], [0, 0, 0, 7, 0, 0, SUPPORTED.len() as u8 + 1]);
}

#[test]
fn a_client_whose_software_has_no_proper_name_is_refused_and_stays_connected() {
    let (_data, node) = fresh(&[]);
    let mut connection = node.connect();
    let named = |software: &str, version: &str| {
        ApiVersionsRequest::default()
            .with_client_software_name(text(software))
            .with_client_software_version(text(version))
    };
    for (software, version) in [("", "1"), ("a", ""), ("a b", "1"), ("a", "1."), ("-a", "1")] {
        let answer = connection.call(&named(software, version)).expect("an answer");
        assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code(), "{software} {version}");
        assert!(answer.api_keys.is_empty());
    }
    assert_eq!(connection.call(&named("a", "1.0-x")).expect("an answer").error_code, 0);
    // versions below 3 have no names to judge
    assert_eq!(connection.call_up_to(&named("", ""), 2).expect("an answer").error_code, 0);
}

#[test]
fn unstable_versions_and_what_nobody_receives_are_not_advertised() {
    let (_data, node) = fresh(&[]);
    let asked = ApiVersionsRequest::default()
        .with_client_software_name(text("a"))
        .with_client_software_version(text("1"));
    let answer = node.connect().call(&asked).expect("an answer");
    let range = |key: i16| {
        let found = answer.api_keys.iter().find(|api| api.api_key == key)?;
        Some((found.min_version, found.max_version))
    };
    assert_eq!(range(22), Some((0, 5)), "InitProducerId 6 is unstable in Kafka 4.3");
    assert_eq!((range(71), range(72)), (None, None), "clients would push what they measure");
    assert_eq!(range(0), Some((0, 13)), "librdkafka compresses only if 0 is there");
}

#[test]
fn versions_mix_on_one_connection_and_unknown_tags_are_skipped() {
    let (_data, node) = fresh(&[]);
    let mut connection = node.connect();
    let plain = MetadataRequest::default().with_topics(Some(Vec::new()));
    let mut tagged = plain.clone();
    tagged.unknown_tagged_fields.insert(77, bytes::Bytes::from_static(b"from the future"));
    for (request, version) in [(&plain, 1), (&tagged, 12), (&plain, 8), (&tagged, 9)] {
        let answer = connection.call_up_to(request, version).expect("an answer");
        assert_eq!(answer.brokers.len(), 1, "version {version}");
    }
    assert_eq!(questions::metadata_of(&mut connection, "t").error_code, 3);
}

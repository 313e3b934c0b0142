//! What Kafka's parsers let pass (seen on 4.3.1) passes here, in its plain meaning.

use bytes::Bytes;
use protocol::messages::*;
use protocol::{decode_request, guard};

fn metadata(body: &'static [u8], version: i16) -> Result<MetadataRequest, String> {
    decode_request(Bytes::from_static(body), version).map_err(|e| e.to_string())
}

#[test]
fn a_negative_array_length_is_null() {
    assert!(metadata(b"\xff\xff\xff\xfe", 1).unwrap().topics.is_none());
    assert!(metadata(b"\x80\0\0\0", 1).unwrap().topics.is_none());
    let compact = metadata(b"\xff\xff\xff\xff\x0f\x01\0\0\0\0", 12).unwrap();
    assert!(compact.topics.is_none() && compact.allow_auto_topic_creation);
    assert!(metadata(b"\x80\x80\x80\x80\x80\x01\0", 12).is_err(), "a varint of six bytes");
}

#[test]
fn a_null_that_may_not_be_null_is_refused() {
    assert!(metadata(b"\xff\xff\xff\xff", 0).is_err());
    assert!(metadata(b"\0\0\0\x01\xff\xff", 1).is_err());
}

#[test]
fn trailing_bytes_are_ignored_and_any_boolean_but_zero_is_true() {
    assert!(metadata(b"\0\0\0\0\x02", 4).unwrap().allow_auto_topic_creation);
    assert!(!metadata(b"\0\0\0\0\0\xff\xff\xff", 4).unwrap().allow_auto_topic_creation);
}

#[test]
fn a_string_that_is_not_utf8_is_patched() {
    let topics = metadata(b"\0\0\0\x01\0\x03a\xffb", 1).unwrap().topics.unwrap();
    assert_eq!(&topics[0].name.as_ref().unwrap()[..], "a\u{fffd}b");
}

#[test]
fn a_nullable_struct_is_there_at_any_mark_that_is_not_negative() {
    for (mark, there) in
        [(0u8, true), (1, true), (2, true), (0x7f, true), (0xff, false), (0x80, false)]
    {
        let mut body = vec![1, 0, 0, 0, 5, mark];
        if there {
            body.extend([2, b't', 0, 0, 0, 3, 0]);
        }
        body.push(0);
        let r: DescribeTopicPartitionsRequest = decode_request(body.into(), 0).unwrap();
        assert_eq!(r.cursor.map(|c| c.partition_index), there.then_some(3), "{mark}");
    }
}

#[test]
fn unknown_tags_inside_elements_are_taken_out() {
    let body: &[u8] = b"\x02\x02t\x01\x09\x02xy\x01\0\0\x00";
    let r: MetadataRequest = decode_request(Bytes::from_static(body), 9).unwrap();
    let topics = r.topics.unwrap();
    assert_eq!((topics.len(), topics[0].unknown_tagged_fields.len()), (1, 0));
    assert!(r.allow_auto_topic_creation);
}

#[test]
fn a_request_of_an_api_or_version_without_schema_is_refused() {
    assert!(guard::check(4, 0, Bytes::new()).is_err());
    assert!(guard::check(0, 2, Bytes::new()).is_err());
}

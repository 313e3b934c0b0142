//! Interim: Raft's messages in the library's own encoding.

use bytes::Bytes;
use protobuf::Message as _;
use raft_group::Message;

pub fn encode(message: &Message, out: &mut Vec<Bytes>) {
    out.push(message.write_to_bytes().expect("a message is whole").into());
}

pub fn decode(body: Bytes) -> Result<Message, String> {
    Message::parse_from_bytes(&body).map_err(|e| e.to_string())
}

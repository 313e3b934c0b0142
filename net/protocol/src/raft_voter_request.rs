//! AddRaftVoter requests of version 1, which `kafka-protocol` 0.18 does not know. The field that it adds asks for an
//! answer before the change is committed; this node always answers when it is, so the field is read and not kept, and
//! written as its default.
//!
//! The guard has walked the bytes before, see [`crate::offset_requests`].

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::AddRaftVoterRequest;
use kafka_protocol::messages::add_raft_voter_request::Listener;

use crate::header::str_bytes;
use crate::wire::{Reader, WireError, WriteWire};

/// First version with `AckWhenCommitted`.
pub(crate) const ACK_FROM: i16 = 1;

pub(crate) fn decode(body: &Bytes) -> Result<AddRaftVoterRequest, WireError> {
    let string = |s: &[u8]| str_bytes(body.slice_ref(s));
    let mut r = Reader::new(body);
    let mut out = AddRaftVoterRequest::default()
        .with_cluster_id(r.nullable_string(true)?.map(string))
        .with_timeout_ms(r.i32()?)
        .with_voter_id(r.i32()?)
        .with_voter_directory_id(r.uuid()?);
    let listeners = r.array_len(true)?;
    out.listeners.reserve_exact(listeners);
    for _ in 0..listeners {
        out.listeners.push(
            Listener::default()
                .with_name(string(r.string(true)?))
                .with_host(string(r.string(true)?))
                .with_port(r.i16()?.cast_unsigned()),
        );
        r.skip_tagged_fields()?;
    }
    r.bool()?;
    r.skip_tagged_fields()?;
    Ok(out)
}

pub(crate) fn encode(request: &AddRaftVoterRequest, out: &mut BytesMut) {
    out.put_nullable_string(true, request.cluster_id.as_ref().map(|s| s.as_bytes()));
    out.put_i32(request.timeout_ms);
    out.put_i32(request.voter_id);
    out.put_slice(request.voter_directory_id.as_bytes());
    out.put_array_len(true, Some(request.listeners.len()));
    for listener in &request.listeners {
        out.put_string(true, &listener.name);
        out.put_string(true, &listener.host);
        out.put_u16(listener.port);
        out.put_no_tags(true);
    }
    out.put_u8(1);
    out.put_no_tags(true);
}

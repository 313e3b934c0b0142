//! Request headers.
//!
//! The header of a request that this node does not serve is parsed too, as far as its layout is
//! known: the server counts and logs it, and ApiVersions is answered at any version. Versions of
//! the header: 1, and 2 (with tagged fields) for flexible versions of an API; the client id is
//! never compact. Response headers: 0, and 1 for flexible versions, except ApiVersions: always 0.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use crate::api;
use crate::wire::{Reader, WireError, WriteWire};

/// A header that does not parse; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct HeaderError(#[from] WireError);

/// The header of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Any number; see [`crate::is_served`].
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    /// Shares memory with the frame until [`Self::detach`]. Bytes that are not UTF-8 are replaced.
    pub client_id: Option<StrBytes>,
}

impl RequestHeader {
    /// Parses the header at the start of `frame` (behind its length field) and leaves the body
    /// there. No allocation.
    pub fn parse(frame: &mut Bytes) -> Result<Self, HeaderError> {
        let mut r = Reader::new(frame);
        let (api_key, api_version, correlation_id) = (r.i16()?, r.i16()?, r.i32()?);
        let client_id = r.nullable_string(false)?.map(|id| id.len());
        let client_id_end = r.position();
        if api::request_header_version(api_key, api_version) >= 2 {
            r.skip_tagged_fields()?;
        }
        let body_at = r.position();
        let client_id =
            client_id.map(|len| str_bytes(frame.slice(client_id_end - len..client_id_end)));
        let _ = frame.split_to(body_at);
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// Copies the client id out of the frame, so that the frame's memory can go.
    pub fn detach(&mut self) {
        if let Some(id) = &mut self.client_id {
            *id = str_bytes(Bytes::copy_from_slice(id.as_bytes()));
        }
    }

    /// The client id; null and empty are the same to quotas and logs.
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or("")
    }

    /// Whether the body is in the flexible encoding (compact lengths, tagged fields).
    pub fn is_flexible(&self) -> bool {
        api::is_flexible(self.api_key, self.api_version)
    }

    /// Appends the header as a client sends it.
    pub fn encode(&self, out: &mut BytesMut) {
        use bytes::BufMut;
        out.put_i16(self.api_key);
        out.put_i16(self.api_version);
        out.put_i32(self.correlation_id);
        out.put_nullable_string(false, self.client_id.as_ref().map(|s| s.as_bytes()));
        out.put_no_tags(api::request_header_version(self.api_key, self.api_version) >= 2);
    }
}

/// `bytes` as a string, with what is not UTF-8 replaced (Kafka does the same).
pub(crate) fn str_bytes(bytes: Bytes) -> StrBytes {
    match StrBytes::from_utf8(bytes.clone()) {
        Ok(s) => s,
        Err(_) => StrBytes::from_string(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(key: i16, version: i16, rest: &[u8]) -> Bytes {
        let mut out = Vec::new();
        out.extend(key.to_be_bytes());
        out.extend(version.to_be_bytes());
        out.extend(77i32.to_be_bytes());
        out.extend(rest);
        out.into()
    }

    #[test]
    fn the_client_id_is_never_compact_and_tags_of_flexible_headers_are_skipped() {
        let mut f = frame(3, 12, b"\0\x02me\x01\x05\x02xxbody");
        let h = RequestHeader::parse(&mut f).unwrap();
        assert_eq!((h.client_id(), h.correlation_id, &f[..]), ("me", 77, &b"body"[..]));
        assert!(h.is_flexible());
        let mut f = frame(3, 8, b"\xff\xffbody");
        let h = RequestHeader::parse(&mut f).unwrap();
        assert_eq!((h.client_id, &f[..]), (None, &b"body"[..]));
    }

    #[test]
    fn a_cut_header_is_an_error() {
        for n in 0..10 {
            let mut f = frame(3, 1, b"\0\x02me").slice(..n);
            assert!(RequestHeader::parse(&mut f).is_err(), "{n}");
        }
        let mut f = frame(3, 9, b"\0\0\x01\x00\x7f");
        assert!(RequestHeader::parse(&mut f).is_err());
    }

    #[test]
    fn a_client_id_that_is_not_utf8_is_replaced_and_an_unknown_api_still_has_a_header() {
        let mut f = frame(999, 3, b"\0\x02\xff\xfe");
        let h = RequestHeader::parse(&mut f).unwrap();
        assert_eq!(h.client_id(), "\u{fffd}\u{fffd}");
        assert_eq!(h.api_key, 999);
    }

    #[test]
    fn a_header_that_was_written_parses_and_survives_its_frame() {
        for version in [8, 9] {
            let header = RequestHeader {
                api_key: 3,
                api_version: version,
                correlation_id: -5,
                client_id: Some(StrBytes::from_static_str("client")),
            };
            let mut out = BytesMut::new();
            header.encode(&mut out);
            out.extend_from_slice(b"rest");
            let mut frame = out.freeze();
            let mut back = RequestHeader::parse(&mut frame).unwrap();
            back.detach();
            assert_eq!((back, &frame[..]), (header, &b"rest"[..]));
        }
    }
}

//! One socket to one node: a request, then its answer, never two at a time.

use crate::error::ClientError;
use bytes::{Bytes, BytesMut};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::{ApiKey, ApiRequest, ApiResponse, ErrorCode, RequestHeader, StrBytes};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const CLIENT_ID: &str = "millrace-cli";
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any request of ours may take at the broker.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// A fetch answer is the largest; more than this is not Kafka's protocol.
const ANSWER_BYTES_MAX: i32 = 512 * 1024 * 1024;

pub struct Connection {
    address: String,
    stream: TcpStream,
    correlation_id: i32,
    /// API key to the versions that the node serves.
    served: BTreeMap<i16, (i16, i16)>,
}

impl Connection {
    /// Connects and learns which versions the node serves.
    pub fn open(address: &str) -> Result<Self, ClientError> {
        let stream = connect(address)?;
        let timeouts = stream.set_read_timeout(Some(ANSWER_PATIENCE));
        let timeouts = timeouts.and_then(|()| stream.set_write_timeout(Some(ANSWER_PATIENCE)));
        timeouts.and_then(|()| stream.set_nodelay(true)).map_err(|cause| broken(address, cause))?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            correlation_id: 0,
            served: BTreeMap::new(),
        };
        connection.learn_versions()?;
        Ok(connection)
    }

    /// Version 3 first; a node that does not know it says so in version 0, which everybody understands.
    fn learn_versions(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(CLIENT_ID))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let frame = self.exchange_frame(&request, 3)?;
        let answer = match decode::<ApiVersionsResponse>(frame.clone(), 3) {
            Ok(answer) if answer.error_code == ErrorCode::None.code() => answer,
            _ => {
                let frame = self.exchange_frame(&request, 0)?;
                decode::<ApiVersionsResponse>(frame, 0)?
            }
        };
        ClientError::check(
            || format!("ask {} for its versions", self.address),
            answer.error_code,
            None,
        )?;
        let ranges =
            answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        self.served = ranges.collect();
        Ok(())
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The highest version up to `limit` that the node and this client know.
    pub fn version_up_to(&self, api: ApiKey, limit: i16) -> Result<i16, ClientError> {
        let ours = protocol::served_range(api as i16).map(|range| (range.min, range.max));
        let theirs = self.served.get(&(api as i16)).copied();
        let common = ours
            .zip(theirs)
            .map(|(ours, theirs)| (ours.0.max(theirs.0), ours.1.min(theirs.1).min(limit)));
        match common {
            Some((min, max)) if min <= max => Ok(max),
            _ => Err(ClientError::NotServed {
                address: self.address.clone(),
                api: format!("{api:?}"),
            }),
        }
    }

    /// Sends a request in the highest common version and waits for its answer.
    pub fn call<T: ApiRequest>(&mut self, request: &T) -> Result<T::Response, ClientError> {
        self.call_up_to(request, i16::MAX)
    }

    /// The same in no higher version than `limit`, for requests written for that version.
    pub fn call_up_to<T: ApiRequest>(
        &mut self,
        request: &T,
        limit: i16,
    ) -> Result<T::Response, ClientError> {
        let version = self.version_up_to(T::API, limit)?;
        let frame = self.exchange_frame(request, version)?;
        decode(frame, version)
    }

    fn exchange_frame<T: ApiRequest>(
        &mut self,
        request: &T,
        version: i16,
    ) -> Result<Bytes, ClientError> {
        let header = self.header(T::API, version);
        let frame = protocol::encode_request(&header, request)?;
        self.exchange(&header, &[frame])
    }

    /// The header of the next request.
    pub(crate) fn header(&mut self, api: ApiKey, version: i16) -> RequestHeader {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        RequestHeader {
            api_key: api as i16,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(StrBytes::from_static_str(CLIENT_ID)),
        }
    }

    /// Sends the segments of one frame and returns the answer behind its length.
    pub(crate) fn exchange(
        &mut self,
        header: &RequestHeader,
        frame: &[Bytes],
    ) -> Result<Bytes, ClientError> {
        for segment in frame {
            self.stream.write_all(segment).map_err(|cause| broken(&self.address, cause))?;
        }
        let answer = self.read_frame()?;
        let got = answer.first_chunk().map_or(-1, |id| i32::from_be_bytes(*id));
        if got != header.correlation_id {
            let (address, expected) = (self.address.clone(), header.correlation_id);
            return Err(ClientError::AnswerOrder { address, expected, got });
        }
        Ok(answer)
    }

    fn read_frame(&mut self) -> Result<Bytes, ClientError> {
        let mut size = [0; 4];
        self.read_exact(&mut size)?;
        let bytes = i32::from_be_bytes(size);
        if !(4..=ANSWER_BYTES_MAX).contains(&bytes) {
            return Err(ClientError::AnswerSize { address: self.address.clone(), bytes });
        }
        let mut frame = BytesMut::zeroed(bytes as usize);
        self.read_exact(&mut frame)?;
        Ok(frame.freeze())
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Result<(), ClientError> {
        self.stream.read_exact(into).map_err(|cause| match cause.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
                ClientError::Closed { address: self.address.clone() }
            }
            _ => broken(&self.address, cause),
        })
    }
}

fn connect(address: &str) -> Result<TcpStream, ClientError> {
    let found = address.to_socket_addrs().map_err(|cause| match cause.kind() {
        ErrorKind::InvalidInput => ClientError::Address { address: address.to_owned() },
        _ => ClientError::Connect { address: address.to_owned(), cause },
    })?;
    let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
    for candidate in found {
        match TcpStream::connect_timeout(&candidate, CONNECT_PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ClientError::Connect { address: address.to_owned(), cause: last })
}

fn broken(address: &str, cause: std::io::Error) -> ClientError {
    ClientError::Broken { address: address.to_owned(), cause }
}

fn decode<T: ApiResponse>(frame: Bytes, version: i16) -> Result<T, ClientError> {
    Ok(protocol::decode_response::<T>(frame, version)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn refusal(answer: &'static [u8]) -> ClientError {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let broker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut size = [0; 4];
            stream.read_exact(&mut size).unwrap();
            let mut request = vec![0; i32::from_be_bytes(size) as usize];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        });
        let refusal = Connection::open(&address).err().unwrap();
        broker.join().unwrap();
        refusal
    }

    #[test]
    fn what_is_no_broker_is_told_as_such() {
        assert!(matches!(refusal(b""), ClientError::Closed { .. }));
        assert!(matches!(
            refusal(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            ClientError::AnswerSize { .. }
        ));
        assert!(matches!(
            refusal(b"\0\0\0\x04\0\0\0\x63"),
            ClientError::AnswerOrder { got: 0x63, .. }
        ));
    }

    #[test]
    fn an_address_without_a_port_is_told_as_such() {
        assert!(matches!(Connection::open("localhost"), Err(ClientError::Address { .. })));
    }

    #[test]
    fn a_port_where_nobody_listens_is_told_with_its_address() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let told = Connection::open(&format!("127.0.0.1:{port}")).err().unwrap().to_string();
        assert!(told.contains(&port.to_string()) && told.contains("--bootstrap"), "{told}");
    }
}

//! One connection to the node under test, in the simulated world.
//!
//! Requests are sent in fixed versions that name topics by name. Whatever goes wrong on the way is
//! [`Lost`]: nobody knows whether the node did what was asked.

use bytes::{Bytes, BytesMut};
use protocol::{ApiKey, ApiRequest, RequestHeader, StrBytes};
use runtime::net::TcpStream;
use runtime::time::timeout;
use std::net::SocketAddr;
use std::time::Duration;

/// The newest versions that name topics by name.
const PRODUCE: i16 = 12;
const FETCH: i16 = 12;
const OFFSETS: i16 = 9;
/// So long (in virtual time) a client waits for an answer or a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connection broke, or the answer did not come in time.
#[derive(Debug)]
pub struct Lost;

/// A connection; after [`Lost`] it is of no use.
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    correlation_id: i32,
}

impl Connection {
    /// Connects within the patience of a client.
    pub async fn open(address: SocketAddr) -> Result<Connection, Lost> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| Lost)?.map_err(|_| Lost)?;
        Ok(Connection { stream, buffer: BytesMut::new(), correlation_id: 0 })
    }

    /// Sends a request and waits for its answer.
    pub async fn call<T: ApiRequest>(&mut self, request: &T) -> Result<T::Response, Lost> {
        let header = self.header(T::API);
        let frame = protocol::encode_request(&header, request)
            .unwrap_or_else(|cause| panic!("{:?} cannot be encoded: {cause}", T::API));
        self.send(vec![frame]).await?;
        let answer = self.receive(&header).await?;
        let decoded = protocol::decode_response::<T::Response>(answer, header.api_version);
        let (_, body) = decoded
            .unwrap_or_else(|cause| panic!("the answer to {:?} is not one: {cause}", T::API));
        Ok(body)
    }

    /// The header of the next request.
    pub fn header(&mut self, api: ApiKey) -> RequestHeader {
        let limit = match api {
            ApiKey::Produce => PRODUCE,
            ApiKey::Fetch => FETCH,
            ApiKey::OffsetCommit | ApiKey::OffsetFetch => OFFSETS,
            _ => i16::MAX,
        };
        let served = protocol::served_range(api as i16).expect("only served APIs are called");
        self.correlation_id += 1;
        RequestHeader {
            api_key: api as i16,
            api_version: served.max.min(limit),
            correlation_id: self.correlation_id,
            client_id: Some(StrBytes::from_static_str("simulator")),
        }
    }

    /// Sends the segments of one frame.
    pub async fn send(&mut self, mut frame: Vec<Bytes>) -> Result<(), Lost> {
        timeout(PATIENCE, self.stream.write_all(&mut frame))
            .await
            .map_err(|_| Lost)?
            .map_err(|_| Lost)
    }

    /// The answer to the oldest request that was not answered, behind its length.
    pub async fn receive(&mut self, header: &RequestHeader) -> Result<Bytes, Lost> {
        let answer = timeout(PATIENCE, self.read_frame()).await.map_err(|_| Lost)??;
        let id = answer.first_chunk().map(|id| i32::from_be_bytes(*id));
        assert_eq!(id, Some(header.correlation_id), "answers come in the order of requests");
        Ok(answer)
    }

    async fn read_frame(&mut self) -> Result<Bytes, Lost> {
        loop {
            if let Some(size) = self.buffer.first_chunk::<4>() {
                let size = i32::from_be_bytes(*size) as usize;
                if self.buffer.len() >= 4 + size {
                    let mut frame = self.buffer.split_to(4 + size).freeze();
                    let _ = frame.split_to(4);
                    return Ok(frame);
                }
            }
            match self.stream.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Lost),
                Ok(_) => {}
            }
        }
    }
}

//! The hello on a stream, from both sides.

use std::io;

use bytes::{Bytes, BytesMut};
use runtime::net::{TcpStream, resolve};
use runtime::shards::ShardId;

use crate::hello::{GREETING_BYTES, Greeting, HELLO_BYTES, Hello, MAGIC, Reply, VERSIONS};
use crate::shared::Shared;
use crate::{Ended, Refusal};

/// A connection whose other side has accepted the hello, and what came behind its reply.
pub(crate) struct Connected {
    pub stream: TcpStream,
    pub leftover: BytesMut,
    pub reply: Reply,
}

/// Connects to the first address of a host that answers.
pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Says who this is to whoever accepted `stream`.
pub(crate) async fn introduce(
    shared: &Shared,
    stream: TcpStream,
    wanted_node: i32,
    wanted_shard: ShardId,
    one_call: bool,
) -> Result<Connected, Ended> {
    let mut leftover = BytesMut::new();
    let greeting = read_block::<GREETING_BYTES>(&stream, &mut leftover).await?;
    let greeting = Greeting::decode(&greeting).map_err(Ended::Refused)?;
    let hello = Hello {
        versions: VERSIONS,
        nonce: greeting.nonce,
        identity: shared.identity(),
        wanted_node,
        wanted_shard,
        one_call,
    };
    stream.write_all(&mut vec![Bytes::copy_from_slice(&hello.encode())]).await?;
    let reply = read_block::<HELLO_BYTES>(&stream, &mut leftover).await?;
    let reply = Reply::decode(&reply).map_err(Ended::Refused)?;
    reply.judge(&hello, shared.directory(wanted_node)).map_err(Ended::Refused)?;
    Ok(Connected { stream, leftover, reply })
}

/// Asks an accepted connection who it is. What can be refused here, is, by an answer if the other
/// side will understand it.
pub(crate) async fn greet(
    shared: &Shared,
    stream: &TcpStream,
    leftover: &mut BytesMut,
) -> Result<Hello, Ended> {
    stream.set_nodelay(true)?;
    let greeting = Greeting { versions: VERSIONS, nonce: runtime::random::u64() };
    stream.write_all(&mut vec![Bytes::copy_from_slice(&greeting.encode())]).await?;
    let block = read_block::<HELLO_BYTES>(stream, leftover).await?;
    let judged = Hello::decode(&block).and_then(|hello| {
        if hello.nonce != greeting.nonce {
            return Err(Refusal::Replayed);
        }
        hello.judge(&shared.identity(), shared.directory(hello.identity.peer.node))?;
        Ok(hello)
    });
    match judged {
        Ok(hello) => Ok(hello),
        Err(refusal) => {
            reply(shared, stream, Err(refusal)).await?;
            Err(Ended::Refused(refusal))
        }
    }
}

/// Answers a hello.
pub(crate) async fn reply(
    shared: &Shared,
    stream: &TcpStream,
    result: Result<u16, Refusal>,
) -> io::Result<()> {
    let reply = Reply { result, identity: shared.identity() };
    stream.write_all(&mut vec![Bytes::copy_from_slice(&reply.encode())]).await
}

/// Reads a block of the handshake, leaving what follows it in `buffer`. A stream that begins with
/// something else is refused at its first wrong byte.
async fn read_block<const N: usize>(
    stream: &TcpStream,
    buffer: &mut BytesMut,
) -> Result<[u8; N], Ended> {
    loop {
        let begun = buffer.len().min(MAGIC.len());
        if buffer[..begun] != MAGIC[..begun] {
            return Err(Ended::Refused(Refusal::WrongMagic));
        }
        if buffer.len() >= N {
            let block = buffer.split_to(N);
            return Ok(block[..].try_into().expect("as many as asked for"));
        }
        buffer.reserve(HELLO_BYTES);
        if stream.read(buffer).await? == 0 {
            return Err(Ended::Closed);
        }
    }
}

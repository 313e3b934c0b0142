//! A connection changes its shard; the same in both worlds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use runtime::net::{DetachedStream, TcpListener, TcpStream, resolve};
use runtime::shards::{self, Context, Options, ShardId};
use runtime::time::timeout;

/// Reads until `len` bytes are there.
async fn read(stream: &TcpStream, buffer: &mut BytesMut, len: usize) {
    while buffer.len() < len {
        assert_ne!(stream.read(buffer).await.unwrap(), 0, "the stream goes on");
    }
}

async fn write(stream: &TcpStream, bytes: &'static [u8]) {
    stream.write_all(&mut vec![Bytes::from_static(bytes)]).await.unwrap();
}

/// Shard 0 accepts and reads the first word, shard 1 answers the second.
async fn shard(cx: Context<DetachedStream>) {
    if cx.id == ShardId(1) {
        for _ in 0..2 {
            let stream = TcpStream::attach(cx.mailbox.recv().await.1);
            let mut buffer = BytesMut::new();
            read(&stream, &mut buffer, 6).await;
            stream.write_all(&mut vec![buffer.freeze()]).await.unwrap();
        }
        drop(cx.mailbox.recv().await);
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 8).unwrap();
    let address = listener.local_addr().unwrap();
    for waits_before in [false, true] {
        let client = TcpStream::connect(address).await.unwrap();
        write(&client, b"first").await;
        let (stream, _) = listener.accept().await.unwrap();
        let mut buffer = BytesMut::new();
        read(&stream, &mut buffer, 5).await;
        assert_eq!(&buffer[..], b"first");
        if waits_before {
            // The first shard has begun to wait for more.
            let more = timeout(Duration::from_millis(1), stream.read(&mut buffer)).await;
            assert!(more.is_err());
        }
        cx.mailbox.send(ShardId(1), stream.detach().unwrap());
        write(&client, b"second").await;
        let mut answer = BytesMut::new();
        read(&client, &mut answer, 6).await;
        assert_eq!(&answer[..], b"second");
        assert_eq!(client.read(&mut answer).await.unwrap(), 0, "closed on the other shard");
    }
    let client = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    cx.mailbox.send(ShardId(1), stream.detach().unwrap());
    let end = client.read(&mut BytesMut::new()).await.unwrap();
    assert_eq!(end, 0, "dropping it on the way closes it");
}

#[test]
fn a_connection_goes_on_where_it_is_attached() {
    shards::run(Options { count: 2, ..Options::default() }, shard).unwrap();
}

#[test]
fn names_and_literals_resolve_and_unknown_names_do_not() {
    runtime::block_on(async {
        for (host, expected) in [("127.0.0.1", "127.0.0.1:7"), ("[::1]", "[::1]:7")] {
            assert_eq!(resolve(host, 7).await.unwrap(), [expected.parse().unwrap()]);
        }
        let found = resolve("localhost", 7).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        assert!(resolve("no-such-host.invalid", 7).await.is_err());
    });
}

//! A node that echoes what its connections send, and a client for it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use runtime::net::{TcpListener, TcpStream};
use runtime::shards::{Context, ShardId};
use runtime::sim::NodeHandle;
use runtime::task::{Class, spawn};

pub const PORT: u16 = 9092;

pub async fn echo_shard(cx: Context<u64>) {
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], PORT)), 128).unwrap();
    let accepting = spawn(Class::Latency, async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            spawn(Class::Latency, echo(stream)).detach();
        }
    });
    if cx.id == ShardId(0) {
        runtime::signal::stop_requested().await.unwrap();
        for shard in 1..cx.count {
            cx.mailbox.send(ShardId(shard as u16), 0);
        }
    } else {
        cx.mailbox.recv().await;
    }
    drop(accepting);
}

pub async fn echo(stream: TcpStream) {
    let mut buf = BytesMut::new();
    while let Ok(n) = stream.read(&mut buf).await {
        if n == 0 || stream.write_all(&mut vec![buf.split().freeze()]).await.is_err() {
            return;
        }
    }
}

pub fn address(node: &NodeHandle) -> SocketAddr {
    SocketAddr::new(node.ip(), PORT)
}

/// Sends bytes and reads as many back.
pub async fn ping(stream: &TcpStream, len: usize) -> std::io::Result<()> {
    stream.write_all(&mut vec![Bytes::from(vec![5; len])]).await?;
    let mut buf = BytesMut::new();
    while buf.len() < len {
        if stream.read(&mut buf).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    assert!(buf.iter().all(|&b| b == 5) && buf.len() == len);
    Ok(())
}

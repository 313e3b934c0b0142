//! Whoever does not keep to the protocol is refused, named once, and harms nobody; both worlds.

mod support;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rpc::*;
use runtime::block_on;
use runtime::net::{TcpListener, TcpStream};
use runtime::task::{Class, Task, spawn};
use support::*;

const GREETING_BYTES: usize = 16;
const HELLO_BYTES: usize = 128;

async fn read_exactly(stream: &TcpStream, len: usize) -> Bytes {
    let mut buffer = BytesMut::new();
    while buffer.len() < len {
        buffer.reserve(len);
        let before = buffer.len();
        let mut piece = BytesMut::with_capacity(len - before);
        assert_ne!(stream.read(&mut piece).await.unwrap(), 0, "the other side goes on");
        buffer.extend_from_slice(&piece);
    }
    buffer.freeze()
}

async fn write(stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(&mut vec![Bytes::copy_from_slice(bytes)]).await.unwrap();
}

/// Waits until the other side has closed; what it still says is ignored.
async fn closed(stream: &TcpStream) {
    let mut buffer = BytesMut::new();
    while let Ok(1..) = stream.read(&mut buffer).await {
        buffer.clear();
    }
}

fn frame(kind: u8, method: u16, call: u64, length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([kind, 0]);
    bytes.extend(method.to_le_bytes());
    bytes.extend(call.to_le_bytes());
    bytes.extend(crc32c::crc32c(body).to_le_bytes());
    let sum = crc32c::crc32c(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// A true hello of node 1 for node 2, between the two: `from` is connected to node 1, `to` to node 2,
/// both have agreed. The hello itself is returned too.
async fn between(a: &Node, b: &Node) -> (TcpStream, TcpStream, Bytes, Task<()>) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 8).unwrap();
    a.peers.set_node(b.id.node, address_of(listener.local_addr().unwrap()));
    let (peers, peer) = (Rc::clone(&a.peers), b.id);
    let calling = spawn(Class::Latency, async move {
        let _ = peers.call(peer, ECHO, Vec::new(), LIMIT).await;
    });
    let (from, _) = listener.accept().await.unwrap();
    let to = TcpStream::connect(b.address).await.unwrap();
    write(&from, &read_exactly(&to, GREETING_BYTES).await).await;
    let hello = read_exactly(&from, HELLO_BYTES).await;
    write(&to, &hello).await;
    write(&from, &read_exactly(&to, HELLO_BYTES).await).await;
    (from, to, hello, calling)
}

/// The node still serves, and has refused so many, of which the log named one.
async fn unharmed(b: &Node, refused: u64) {
    let c = Node::new(30);
    c.knows(b);
    c.peers.call(b.id, ECHO, Vec::new(), LIMIT).await.unwrap();
    let stats = b.peers.stats();
    assert_eq!((stats.refused, stats.refused_logged), (refused, refused.min(1)), "{stats:?}");
}

#[test]
fn other_protocols_on_the_peer_port_are_refused_at_their_first_byte() {
    block_on(async {
        let b = Node::new(2);
        // ApiVersions of a Kafka client, an HTTP request, a TLS hello.
        let api_versions =
            [&[0, 0, 0, 20, 0, 18, 0, 3, 0, 0, 0, 1][..], b"\0\x06client\0"].concat();
        let strangers: [&[u8]; 3] = [&api_versions, b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0]];
        for _ in 0..20 {
            for stranger in strangers {
                let stream = TcpStream::connect(b.address).await.unwrap();
                write(&stream, stranger).await;
                closed(&stream).await;
            }
        }
        unharmed(&b, 60).await;
        assert_eq!(b.heard.messages.borrow().len(), 0);
    });
}

#[test]
fn whoever_says_half_a_hello_or_nothing_makes_room_for_others() {
    block_on(async {
        let b = Node::with(2, |options| options.greeting_max = 4);
        let mut waiting = Vec::new();
        for len in [0, 3, 4, 100, 127, 0, 1, 2] {
            let stream = TcpStream::connect(b.address).await.unwrap();
            read_exactly(&stream, GREETING_BYTES).await;
            write(&stream, &[&b"\xCDRPC"[..], &[0; 124]].concat()[..len]).await;
            waiting.push(stream);
        }
        for oldest in &waiting[..4] {
            closed(oldest).await;
        }
        assert!(b.peers.stats().greeting <= 4);
        unharmed(&b, 0).await;
    });
}

#[test]
fn a_client_of_kafka_is_told_a_length_that_it_refuses_instead_of_a_gigabyte() {
    block_on(async {
        let b = Node::new(2);
        let stream = TcpStream::connect(b.address).await.unwrap();
        let greeting = read_exactly(&stream, GREETING_BYTES).await;
        assert!(i32::from_be_bytes(greeting[..4].try_into().unwrap()) < 0);
        b.stop();
    });
}

#[test]
fn a_hello_that_never_comes_ends_with_its_time() {
    block_on(async {
        let b = Node::with(2, |options| options.hello_timeout = Duration::from_millis(30));
        let stream = TcpStream::connect(b.address).await.unwrap();
        closed(&stream).await;
        b.stop();
    });
}

#[test]
fn a_hello_opens_no_connection_but_its_own() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        let (_from, to, hello, _calling) = between(&a, &b).await;
        // Recorded and sent again on a new connection.
        let replay = TcpStream::connect(b.address).await.unwrap();
        read_exactly(&replay, GREETING_BYTES).await;
        write(&replay, &hello).await;
        let reply = read_exactly(&replay, HELLO_BYTES).await;
        assert_eq!(reply[4..6], 4u16.to_le_bytes(), "refused as a replay");
        closed(&replay).await;
        assert_eq!(b.peers.stats().inbound, 1, "the true one goes on");
        // And again where frames are expected.
        write(&to, &hello).await;
        closed(&to).await;
        unharmed(&b, 2).await;
    });
}

#[test]
fn a_damaged_hello_is_refused() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        let (_from, _to, hello, _calling) = between(&a, &b).await;
        for at in [5, 20, 50, 100, 127] {
            let mut damaged = hello.to_vec();
            damaged[at] ^= 1;
            let stream = TcpStream::connect(b.address).await.unwrap();
            read_exactly(&stream, GREETING_BYTES).await;
            write(&stream, &damaged).await;
            let reply = read_exactly(&stream, HELLO_BYTES).await;
            assert_eq!(reply[4..6], 2u16.to_le_bytes(), "byte {at}");
        }
        unharmed(&b, 5).await;
    });
}

#[test]
fn frames_that_no_peer_sends_end_the_connection_and_nothing_else() {
    let giant = frame(1, 1, 0, u32::MAX, &[]);
    let mut wrong_sum = frame(1, 1, 0, 4, b"body");
    *wrong_sum.last_mut().unwrap() ^= 1;
    let answers_nobody_asked = frame(3, 0, 7, 0, &[]);
    let cases = [
        giant,
        wrong_sum,
        answers_nobody_asked,
        frame(9, 1, 0, 0, &[]),
        frame(1, NONSENSE, 0, 4, b"what"),
        vec![0; 24],
        b"\xCDRPC and then something else, of whatever length".to_vec(),
    ];
    for (number, bytes) in cases.into_iter().enumerate() {
        block_on(async move {
            let (a, b) = (Node::new(1), Node::new(2));
            let (_from, to, _hello, _calling) = between(&a, &b).await;
            write(&to, &bytes).await;
            closed(&to).await;
            assert_eq!(b.heard.messages.borrow().len(), 0, "case {number}");
            unharmed(&b, 1).await;
        });
    }
}

#[test]
fn half_a_frame_is_no_message() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        let whole = frame(1, 1, 0, 4, b"body");
        for (count, len) in [1, 23, 24, 27].into_iter().enumerate() {
            let (_from, to, _hello, _calling) = between(&a, &b).await;
            write(&to, &whole[..len]).await;
            drop(to);
            unharmed(&b, 0).await;
            assert_eq!(b.heard.messages.borrow().len(), 0, "{count}");
            a.peers.remove_node(2);
        }
    });
}

#[test]
fn a_peer_that_answers_what_was_never_asked_is_left() {
    for bytes in [frame(3, 0, 99, 0, &[]), frame(1, 1, 0, 0, &[]), frame(4, 0, 1, 1, &[1])] {
        block_on(async move {
            let (a, b) = (Node::new(1), Node::new(2));
            let (from, _to, _hello, calling) = between(&a, &b).await;
            write(&from, &bytes).await;
            calling.await;
            assert_eq!(a.peers.stats().refused, 1);
            assert_eq!(*a.heard.unreachable.borrow(), [b.id]);
        });
    }
}

#[test]
fn a_server_of_another_protocol_at_a_peers_address_is_refused() {
    block_on(async {
        let a = Node::new(1);
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        a.peers.set_node(2, address_of(address));
        let peer = PeerId { node: 2, shard: runtime::shards::ShardId(0) };
        let (peers, serving) = (Rc::clone(&a.peers), async move {
            let (stream, _) = listener.accept().await.unwrap();
            write(&stream, b"SSH-2.0-OpenSSH_9.9\r\n").await;
            closed(&stream).await;
        });
        let serving = spawn(Class::Latency, serving);
        let refused = peers.call(peer, ECHO, Vec::new(), LIMIT).await;
        assert_eq!(refused, Err(CallError::Refused(Refusal::WrongMagic)));
        serving.await;
    });
}

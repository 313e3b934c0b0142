//! Nodes of one shard each, and a broker that remembers what it is told.

#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rpc::*;
use runtime::net::TcpListener;
use runtime::shards::ShardId;
use runtime::sync::Notify;
use runtime::task::{Class, Task, spawn};

pub const CLUSTER: [u8; 16] = [7; 16];

/// Far longer than anything takes, on however slow a machine.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const ECHO: u16 = 1;
pub const FAIL: u16 = 2;
pub const NEVER: u16 = 3;
/// Answers with as many bytes as the body says.
pub const SIZED: u16 = 4;
/// A kind of message that the handler does not understand.
pub const NONSENSE: u16 = 99;

#[derive(Default)]
pub struct Recorder {
    pub messages: RefCell<Vec<(PeerId, u16, Bytes)>>,
    pub connected: RefCell<Vec<PeerId>>,
    pub unreachable: RefCell<Vec<PeerId>>,
    pub calls: Cell<usize>,
    /// No room: connections stop reading.
    pub full: Cell<bool>,
    pub news: Notify,
}

impl Recorder {
    /// Waits until what was heard satisfies `done`.
    pub async fn wait(&self, done: impl Fn(&Recorder) -> bool) {
        while !done(self) {
            self.news.notified().await;
        }
    }

    pub async fn wait_messages(&self, count: usize) {
        self.wait(|it| it.messages.borrow().len() >= count).await;
    }
}

impl Handler for Recorder {
    fn message(&self, from: PeerId, kind: u16, body: Bytes, _sum: u32) -> Result<(), BadMessage> {
        if kind == NONSENSE {
            return Err(BadMessage("nonsense".to_owned()));
        }
        self.messages.borrow_mut().push((from, kind, body));
        self.news.notify_waiters();
        Ok(())
    }

    fn call(
        &self,
        _from: PeerId,
        method: u16,
        mut body: Bytes,
    ) -> HandlerFuture<Result<Vec<Bytes>, CallFailure>> {
        self.calls.set(self.calls.get() + 1);
        self.news.notify_waiters();
        Box::pin(async move {
            match method {
                ECHO => Ok(vec![body]),
                FAIL => Err(CallFailure::new(7, "as asked")),
                NEVER => std::future::pending().await,
                SIZED => Ok(vec![Bytes::from(vec![1; body.get_u32_le() as usize])]),
                _ => Err(CallFailure::unknown_method(method)),
            }
        })
    }

    fn room(&self) -> Option<HandlerFuture<()>> {
        self.full.get().then(|| -> HandlerFuture<()> { Box::pin(std::future::pending()) })
    }

    fn connected(&self, to: PeerId) {
        self.connected.borrow_mut().push(to);
        self.news.notify_waiters();
    }

    fn unreachable(&self, to: PeerId) {
        self.unreachable.borrow_mut().push(to);
        self.news.notify_waiters();
    }
}

pub struct Node {
    pub id: PeerId,
    pub peers: Rc<Peers>,
    pub heard: Rc<Recorder>,
    pub address: SocketAddr,
    accepting: Task<()>,
}

impl Node {
    pub fn new(node: i32) -> Node {
        Node::with(node, |_| {})
    }

    pub fn with(node: i32, change: impl FnOnce(&mut Options)) -> Node {
        Node::at(node, "127.0.0.1:0".parse().unwrap(), change)
    }

    pub fn at(node: i32, address: SocketAddr, change: impl FnOnce(&mut Options)) -> Node {
        let mut options = patient(Options::new(node, directory(node), ShardId(0), 1));
        change(&mut options);
        let heard = Rc::new(Recorder::default());
        let peers = Rc::new(Peers::new(options, heard.clone()));
        peers.set_cluster_id(CLUSTER);
        let listener = TcpListener::bind(address, BACKLOG).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = {
            let peers = Rc::clone(&peers);
            spawn(Class::Latency, async move {
                peers.accept(listener, |shard, _| panic!("nobody asks for shard {shard}")).await;
            })
        };
        let id = PeerId { node, shard: ShardId(0) };
        Node { id, peers, heard, address, accepting }
    }

    pub fn knows(&self, other: &Node) {
        self.peers.set_node(other.id.node, address_of(other.address));
    }

    /// Ends it as a stopped process does.
    pub fn stop(self) {
        drop(self.accepting);
        self.peers.close();
    }
}

/// Without time limits that a busy machine could reach.
pub fn patient(options: Options) -> Options {
    Options { connect_timeout: LIMIT, hello_timeout: LIMIT, silence_max: LIMIT, ..options }
}

pub fn directory(node: i32) -> [u8; 16] {
    [node as u8 + 100; 16]
}

pub fn address_of(address: SocketAddr) -> NodeAddress {
    NodeAddress { host: address.ip().to_string(), port: address.port(), directory: None }
}

pub fn pieces(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
}

//! What the tasks of a shard's connections share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use runtime::task::Task;
use runtime::time::Instant;

use crate::hello::{Identity, NO_CLUSTER};
use crate::peers::NodeAddress;
use crate::refusal_log::RefusalLog;
use crate::{Handler, Options, PeerId, Refusal};

pub(crate) struct Shared {
    pub options: Options,
    pub handler: Rc<dyn Handler>,
    pub cluster: Cell<[u8; 16]>,
    pub nodes: RefCell<BTreeMap<i32, Rc<Node>>>,
    pub refusals: RefusalLog,
    /// Accepted connections whose peer is known.
    pub inbound: RefCell<BTreeMap<u64, Inbound>>,
    /// Accepted connections whose peer has not said who it is, oldest first.
    pub greeting: RefCell<BTreeMap<u64, Task<()>>>,
    numbers: Cell<u64>,
}

/// A node of the cluster, as this shard was told, and what it saw of it.
pub(crate) struct Node {
    pub address: NodeAddress,
    /// When something came from it, on any connection of this shard.
    pub heard: Rc<Cell<Option<Instant>>>,
    /// Shards it said it has when it was last connected.
    pub shard_count: Cell<Option<u16>>,
    /// Why the last attempt to connect was refused.
    pub refused: Cell<Option<Refusal>>,
}

pub(crate) struct Inbound {
    pub identity: Identity,
    pub one_call: bool,
    pub task: Option<Task<()>>,
}

impl Shared {
    pub fn new(options: Options, handler: Rc<dyn Handler>) -> Shared {
        Shared {
            options,
            handler,
            cluster: Cell::new(NO_CLUSTER),
            nodes: RefCell::default(),
            refusals: RefusalLog::default(),
            inbound: RefCell::default(),
            greeting: RefCell::default(),
            numbers: Cell::new(0),
        }
    }

    pub fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    pub fn identity(&self) -> Identity {
        Identity::new(&self.options, self.cluster.get())
    }

    pub fn node(&self, node: i32) -> Option<Rc<Node>> {
        self.nodes.borrow().get(&node).cloned()
    }

    /// The directory that a node id belongs to, if that is known.
    pub fn directory(&self, node: i32) -> Option<[u8; 16]> {
        self.nodes.borrow().get(&node).and_then(|node| node.address.directory)
    }

    /// Notes what a peer said about itself.
    pub fn met(&self, identity: &Identity) -> Rc<Cell<Option<Instant>>> {
        match self.node(identity.peer.node) {
            Some(node) => {
                node.shard_count.set(Some(identity.shard_count));
                node.refused.set(None);
                node.heard.set(Some(Instant::now()));
                Rc::clone(&node.heard)
            }
            None => Rc::default(),
        }
    }

    /// Ends accepted connections that `keep` does not want. Tasks are dropped with nothing borrowed.
    pub fn retain_inbound(&self, keep: impl Fn(&u64, &Inbound) -> bool) {
        let mut ended = Vec::new();
        let mut inbound = self.inbound.borrow_mut();
        inbound.retain(|number, connection| {
            let kept = keep(number, connection);
            if !kept {
                ended.push(connection.task.take());
            }
            kept
        });
        drop(inbound);
        drop(ended);
    }

    /// Ends the lasting connection of this peer shard.
    pub fn replace_inbound(&self, peer: PeerId) {
        self.retain_inbound(|_, connection| {
            connection.one_call || connection.identity.peer != peer
        });
    }
}

//! Calls from shard to shard: a closure travels to the owner, its result travels back.
//!
//! Lives on: every shard, one [`Router`] each; owned by the shard. A request that touches several shards makes one
//! call per shard and joins the answers, so the number of messages does not depend on the number of partitions.
//!
//! Contract: a call to the own shard runs at once, without a message. Calls from one shard to another start in the
//! order in which they were made; their answers come in any order. Neither side waits to send (no deadlock):
//! the number of open calls is bounded by the callers (connections in flight), and counted.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use futures_util::future::join_all;
use runtime::collections::HashMap;
use runtime::shards::{Mailbox, ShardId};
use runtime::sync::oneshot;
use runtime::task::{self, Class};

use super::Shard;
use crate::node::BootMessage;

/// Work for the shard that receives it.
pub type RemoteCall = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// What travels between shards.
pub enum Message {
    /// Run this on the shard that receives it.
    Call(RemoteCall),
    /// Something of the boot sequence; never after it.
    Boot(Box<BootMessage>),
    /// The node cannot go on: stop without another write.
    Abort,
    /// The result of a call this shard made.
    Reply {
        /// Which call.
        call: u64,
        /// Its result, of the type that the caller knows.
        value: Box<dyn Any + Send>,
    },
}

/// See the module.
pub struct Router {
    id: ShardId,
    mailbox: Mailbox<Message>,
    next_call: Cell<u64>,
    open: RefCell<HashMap<u64, oneshot::Sender<Box<dyn Any + Send>>>>,
}

impl Router {
    /// A router that sends through `mailbox`.
    pub fn new(id: ShardId, mailbox: Mailbox<Message>) -> Router {
        Router { id, mailbox, next_call: Cell::new(0), open: RefCell::default() }
    }

    /// Calls without an answer yet.
    pub fn open_calls(&self) -> usize {
        self.open.borrow().len()
    }

    /// Receives messages for ever; spawned once per shard.
    pub async fn receive(shard: Rc<Shard>) {
        loop {
            let (_, message) = shard.router.mailbox.recv().await;
            match message {
                Message::Call(call) => call(&shard),
                Message::Reply { call, value } => shard.router.complete(call, value),
                Message::Abort => shard.finish(),
                Message::Boot(_) => tracing::warn!("a boot message after boot is ignored"),
            }
        }
    }

    fn complete(&self, call: u64, value: Box<dyn Any + Send>) {
        let waiting = self.open.borrow_mut().remove(&call);
        if let Some(tx) = waiting {
            let _ = tx.send(value);
        }
    }
}

impl Shard {
    /// Whether every shard of this node says so; all are asked.
    pub(crate) async fn all_shards<F, Fut>(self: &Rc<Self>, f: F) -> bool
    where
        F: FnOnce(Rc<Shard>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = bool> + 'static,
    {
        let asked = self.shards().map(|to| self.on(to, f.clone()));
        join_all(asked).await.into_iter().all(|yes| yes)
    }

    /// Runs `f` on shard `to` and returns its result; at once if that is this shard.
    ///
    /// The future may be dropped: the remote part then still runs to its end, its result is discarded.
    pub async fn on<T, F, Fut>(self: &Rc<Self>, to: ShardId, f: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        if to == self.id {
            return f(self.clone()).await;
        }
        let router = &self.router;
        let call = router.next_call.replace(router.next_call.get() + 1);
        let (tx, rx) = oneshot::channel();
        router.open.borrow_mut().insert(call, tx);
        let from = router.id;
        let run = move |there: &Rc<Shard>| {
            let there = there.clone();
            let work = async move {
                let value = Box::new(f(there.clone()).await);
                there.router.mailbox.send(from, Message::Reply { call, value });
            };
            task::spawn(Class::Latency, work).detach();
        };
        router.mailbox.send(to, Message::Call(Box::new(run)));
        let value = rx.await.expect("a shard ends only with the process");
        *value.downcast::<T>().expect("a reply has the type of its call")
    }

    /// Runs the plain function `f` on shard `to` without waiting for it; at once if that is this shard.
    pub fn tell(self: &Rc<Self>, to: ShardId, f: impl FnOnce(&Rc<Shard>) + Send + 'static) {
        if to == self.id {
            return f(self);
        }
        self.router.mailbox.send(to, Message::Call(Box::new(f)));
    }
}

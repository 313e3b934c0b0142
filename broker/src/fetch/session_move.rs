//! Fetch sessions follow their client from shard to shard.
//!
//! A session id means the same on every connection of a node (KIP-227), and which shard accepts a connection is up to the
//! kernel. So a request whose session is not here asks the other shards for it: one message per shard, only in the first
//! request of a connection that goes on with an older session. Ids are drawn at random from 31 bits; should two shards
//! have drawn the same one, each keeps its own.

use std::rc::Rc;

use futures_util::future::join_all;

use super::session::Session;
use crate::shard::Shard;

impl Shard {
    /// Brings the session here, if another shard has it.
    pub async fn bring_session(self: &Rc<Self>, id: i32) {
        if id == 0 || self.count == 1 || self.sessions.borrow().contains(id) {
            return;
        }
        let others = self.shards().filter(|shard| *shard != self.id);
        let asked = others.map(|shard| {
            self.on(shard, move |there| async move {
                there.sessions.borrow_mut().take(id).map(Session::into_parts)
            })
        });
        let found = join_all(asked).await.into_iter().flatten().next();
        if let Some(parts) = found {
            let now_ms = self.clock_ms().max(0) as u64;
            self.sessions.borrow_mut().put(id, Session::from_parts(parts), now_ms);
        }
    }
}

//! Memory durability in a group with several voters: a leader says which entries a majority holds in
//! memory, before any disk has them.
//!
//! ```text
//! leader     marks its appends while entries of memory durability are not committed
//! follower   answers a marked append at once, besides the answer that waits for its disk
//! leader     a majority, itself included, holds the entry: [`crate::Apply::held`]
//! ```
//!
//! Such an entry survives whatever happens to connections and leaders, because a vote is given only
//! by who knows its own log; it is lost if holders stop within the milliseconds until their disks
//! have it. So it may be acknowledged to those who asked for no more, but it is not committed: nobody
//! may read it, and nothing may be built on it. Commit stays a matter of disks alone: `raft` never
//! sees the early answers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};

use crate::apply::{Event, Outbox};
use crate::group::Group;
use crate::window::WindowTicket;

/// Context of an append that shall be answered from memory.
const HOLD: &[u8] = b"hold";
/// Context of such an answer.
const HELD: &[u8] = b"held";

#[derive(Default)]
pub(crate) struct HeldInMemory {
    /// Entries of memory durability that are neither held by a majority nor committed.
    pending: VecDeque<WindowTicket>,
    /// Up to where each replica has answered in this term.
    held: BTreeMap<u64, u64>,
}

impl HeldInMemory {
    /// This replica leads no more.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.held.clear();
    }

    pub fn await_majority(&mut self, ticket: WindowTicket) {
        self.pending.push_back(ticket);
    }

    /// Everything up to `index` is committed: that says more.
    pub fn committed(&mut self, index: u64) {
        while self.pending.front().is_some_and(|first| first.index.0 <= index) {
            self.pending.pop_front();
        }
    }

    /// Marks appends for as long as somebody waits.
    pub fn mark(&self, messages: &mut [Message]) {
        if self.pending.is_empty() {
            return;
        }
        for message in messages {
            if message.get_msg_type() == MessageType::MsgAppend && !message.entries.is_empty() {
                message.context = Bytes::from_static(HOLD);
            }
        }
    }
}

/// Whether an append shall be answered from memory.
pub(crate) fn is_marked(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgAppend && message.context[..] == *HOLD
}

/// Whether this is an answer from memory.
pub(crate) fn is_held(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgAppendResponse && message.context[..] == *HELD
}

impl Group {
    /// Lets the answers to a marked append go at once, as answers from memory.
    pub(crate) fn answer_from_memory(&self, out: &mut Outbox) {
        for answer in &self.raft.msgs {
            if answer.get_msg_type() == MessageType::MsgAppendResponse && !answer.reject {
                let mut held = answer.clone();
                held.context = Bytes::from_static(HELD);
                out.messages.push((self.id, held));
            }
        }
    }

    /// Takes an answer from memory.
    pub(crate) fn note_held(&mut self, message: &Message, out: &mut Outbox) {
        if !self.is_leader() || message.term != self.raft.term || message.reject {
            return;
        }
        let held = self.memory.held.entry(message.from).or_default();
        *held = message.index.max(*held);
        while let Some(first) = self.memory.pending.front() {
            let index = first.index.0;
            let has = |replica: crate::ReplicaId| {
                let held = self.memory.held.get(&replica.0).copied().unwrap_or_default();
                let matched = self.raft.prs().get(replica.0).map_or(0, |at| at.matched);
                replica == self.replica || held.max(matched) >= index
            };
            if !self.membership().has_majority(has) {
                break;
            }
            out.events.push(Event::Held(*first));
            self.memory.pending.pop_front();
        }
    }
}

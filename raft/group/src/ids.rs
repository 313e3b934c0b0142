//! The numbers of Raft, one type each, so that a term never stands where an index belongs.
//!
//! Zero is never a valid replica (the `raft` crate uses it for "nobody"), and index and term zero
//! mean "before everything".

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A Raft group, unique in the cluster. The same on every node that holds a replica.
    RaftGroupId
}
number! {
    /// A Raft term.
    Term
}
number! {
    /// Place of an entry in the log of its group, from 1, without gaps.
    RaftIndex
}
number! {
    /// A member of a Raft group. Derived from the node, see [`ReplicaId::of_node`].
    ReplicaId
}

impl ReplicaId {
    /// The replica that a node holds in any group: node ids start at 0, replica ids at 1.
    pub fn of_node(node_id: u32) -> ReplicaId {
        ReplicaId(u64::from(node_id) + 1)
    }

    /// Inverse of [`ReplicaId::of_node`]; `None` for the invalid replica 0 and for numbers that
    /// no node has.
    pub fn node(self) -> Option<u32> {
        self.0.checked_sub(1).and_then(|node| u32::try_from(node).ok())
    }
}

impl RaftIndex {
    /// The index behind this one.
    pub fn next(self) -> RaftIndex {
        RaftIndex(self.0 + 1)
    }
}

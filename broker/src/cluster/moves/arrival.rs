//! A partition on its way to this shard, as far as the shard knows.

/// What the rounds of copying have found.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Arrival {
    /// Of which move.
    pub(in crate::cluster) id: u64,
    /// The last round of copying reached the end of the leader's log quickly.
    pub(in crate::cluster) near: bool,
}

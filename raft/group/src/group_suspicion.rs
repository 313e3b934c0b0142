//! A leader whose connection broke: its followers stop trusting it and soon ask for votes, instead of
//! waiting until they miss its heartbeats.
//!
//! A process that dies takes its connections along, so the others know within a millisecond. If the
//! leader lives and only this replica has lost it, nothing comes of it: the others still hear it and
//! answer no pre-vote, and its next heartbeat brings this one back. Voters take turns, so that two
//! seldom ask at the same time.

use storage::wal::WalError;

use crate::apply::Outbox;
use crate::group::Group;
use crate::{FrameLog, ReplicaId};

/// Ticks between two voters that ask for votes: long enough for an election in between.
const TICKS_APART: usize = 2;

impl Group {
    /// The connection to `replica` broke. If it leads, this replica knows no leader any more.
    pub(crate) fn suspect<W: FrameLog>(
        &mut self,
        replica: ReplicaId,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<(), WalError> {
        if self.is_leader() || self.leader() != Some(replica) {
            return Ok(());
        }
        let turn = self.turn_after(replica);
        self.raft.become_follower(self.raft.term, raft::INVALID_ID);
        self.pump(wal, out, None)?;
        if let Some(turn) = turn {
            let timeout = self.raft.randomized_election_timeout();
            self.raft.election_elapsed = timeout.saturating_sub(1 + turn * TICKS_APART);
        }
        Ok(())
    }

    /// How many voters ask before this one when `leader` is gone; each group begins with another one.
    fn turn_after(&self, leader: ReplicaId) -> Option<usize> {
        let voters = self.membership().voters.iter().filter(|voter| **voter != leader);
        let mut voters: Vec<ReplicaId> = voters.copied().collect();
        voters.sort_unstable();
        let at = voters.iter().position(|voter| *voter == self.replica)?;
        let first = (self.id.0 % voters.len() as u64) as usize;
        Some((at + voters.len() - first) % voters.len())
    }
}

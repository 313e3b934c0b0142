//! The small durable states of a Raft group and their bytes: hard state, membership, log start,
//! origin, checkpoint.
//!
//! Little-endian, each state led by a version byte of its own. They lie in frames of the WAL
//! (checksummed there) and in the checkpoint as opaque owner state. Membership carries learners
//! and the outgoing half of a joint configuration from the first version on, so that adding
//! members changes no format.

use raft::eraftpb;
use storage::wal::WalPosition;

use crate::byte_reader::ByteReader;
use crate::{ConfChange, MemberChange, RaftGroupId, RaftIndex, ReplicaId, StateError, Term};

/// Members of one set that a state may name; more is refused when read.
pub const MEMBERS_MAX: usize = 64;

const VERSION: u8 = 1;

/// What a replica must not forget: Raft's persistent state except the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    /// For whom this replica voted in `term`.
    pub vote: Option<ReplicaId>,
    /// A lower bound of what is committed. Exact only where a membership change depends on it.
    pub commit: RaftIndex,
}

/// Who belongs to a group. The outgoing sets are empty outside of a joint change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub voters: Vec<ReplicaId>,
    pub learners: Vec<ReplicaId>,
    pub voters_outgoing: Vec<ReplicaId>,
    pub learners_next: Vec<ReplicaId>,
    pub auto_leave: bool,
}

/// Everything up to and including `index` is no longer in the log; what follows builds on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStart {
    pub index: RaftIndex,
    /// Term of the entry at `index`.
    pub term: Term,
    /// Members after the entry at `index`.
    pub membership: Membership,
}

/// First frame of a group in a stream. Until the entry (`last_index`, `last_term`) has followed,
/// the move into this stream is unfinished and the stream it came from is the valid one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub start: LogStart,
    pub hard_state: HardState,
    pub last_index: RaftIndex,
    pub last_term: Term,
}

/// A group in the shard's checkpoint: replay continues behind `start` with `hard_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCheckpoint {
    pub raft_group: RaftGroupId,
    pub start: LogStart,
    pub hard_state: HardState,
    /// Frames before this position are accounted for in this checkpoint, as far as they create,
    /// remove or vote. Durable when the checkpoint was made.
    pub covers_before: WalPosition,
}

impl HardState {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.put(&mut out);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<HardState, StateError> {
        decode_whole(bytes, HardState::take)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_le_bytes());
        out.extend_from_slice(&self.vote.map_or(0, |vote| vote.0).to_le_bytes());
        out.extend_from_slice(&self.commit.0.to_le_bytes());
    }

    fn take(from: &mut ByteReader<'_>) -> Result<HardState, StateError> {
        let term = Term(from.u64()?);
        let vote = Some(ReplicaId(from.u64()?)).filter(|vote| vote.0 != 0);
        Ok(HardState { term, vote, commit: RaftIndex(from.u64()?) })
    }

    /// Whether this one was written after `other`: within a term a vote is given once, and
    /// nothing is ever taken back.
    pub(crate) fn supersedes(&self, other: &HardState) -> bool {
        (self.term, self.vote.is_some(), self.commit)
            >= (other.term, other.vote.is_some(), other.commit)
    }

    pub(crate) fn to_raft(self) -> eraftpb::HardState {
        eraftpb::HardState {
            term: self.term.0,
            vote: self.vote.map_or(0, |vote| vote.0),
            commit: self.commit.0,
            ..Default::default()
        }
    }
}

impl Membership {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.put(&mut out);
        out
    }

    /// Inverse of [`Membership::encode`]; bounded, but not checked for sense.
    pub fn decode(bytes: &[u8]) -> Result<Membership, StateError> {
        decode_whole(bytes, Membership::take)
    }

    /// A group of these voters, without learners.
    pub fn of_voters(voters: impl IntoIterator<Item = ReplicaId>) -> Membership {
        Membership { voters: voters.into_iter().collect(), ..Membership::default() }
    }

    /// The members after a change, outside of joint ones.
    pub(crate) fn follow(&mut self, change: &ConfChange) {
        for change in &change.changes {
            let (MemberChange::AddVoter(replica)
            | MemberChange::AddLearner(replica)
            | MemberChange::Remove(replica)) = *change;
            self.voters.retain(|voter| *voter != replica);
            self.learners.retain(|learner| *learner != replica);
            match change {
                MemberChange::AddVoter(_) => self.voters.push(replica),
                MemberChange::AddLearner(_) => self.learners.push(replica),
                MemberChange::Remove(_) => {}
            }
        }
        self.voters.sort();
        self.learners.sort();
    }

    /// Whether `replica` alone decides.
    pub fn is_sole_voter(&self, replica: ReplicaId) -> bool {
        self.voters == [replica] && self.voters_outgoing.is_empty()
    }

    /// Whether `replica` votes, in either half of a joint change.
    pub fn has_voter(&self, replica: ReplicaId) -> bool {
        self.voters.contains(&replica) || self.voters_outgoing.contains(&replica)
    }

    /// Whether a majority of the voters, of both halves in a joint change, is such.
    pub fn has_majority(&self, is_such: impl Fn(ReplicaId) -> bool) -> bool {
        let majority = |voters: &[ReplicaId]| {
            2 * voters.iter().filter(|voter| is_such(**voter)).count() > voters.len()
        };
        majority(&self.voters)
            && (self.voters_outgoing.is_empty() || majority(&self.voters_outgoing))
    }

    /// Whether `replica` is a member of any kind.
    pub fn names(&self, replica: ReplicaId) -> bool {
        self.has_voter(replica) || self.learners.contains(&replica)
    }

    /// Refuses what `raft` would panic on: no voter, replica 0, a replica in two places.
    pub(crate) fn check(&self) -> Result<(), ()> {
        let lists = [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next];
        for list in lists {
            let mut sorted = list.clone();
            sorted.sort();
            sorted.dedup();
            if sorted.len() != list.len()
                || list.len() > MEMBERS_MAX
                || list.contains(&ReplicaId(0))
            {
                return Err(());
            }
        }
        let is_voter = |replica: &ReplicaId| self.has_voter(*replica);
        let joint = !self.voters_outgoing.is_empty();
        let learners_ok = !self.learners.iter().any(is_voter)
            && self.learners_next.iter().all(|next| self.voters_outgoing.contains(next));
        let auto_leave_ok = joint || !self.auto_leave;
        if self.voters.is_empty() || !learners_ok || !auto_leave_ok { Err(()) } else { Ok(()) }
    }

    fn put(&self, out: &mut Vec<u8>) {
        for set in [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next] {
            out.extend_from_slice(&(set.len() as u32).to_le_bytes());
            for replica in set {
                out.extend_from_slice(&replica.0.to_le_bytes());
            }
        }
        out.push(u8::from(self.auto_leave));
    }

    fn take(from: &mut ByteReader<'_>) -> Result<Membership, StateError> {
        Ok(Membership {
            voters: take_members(from)?,
            learners: take_members(from)?,
            voters_outgoing: take_members(from)?,
            learners_next: take_members(from)?,
            auto_leave: match from.u8()? {
                0 => false,
                1 => true,
                _ => return Err(StateError::Number),
            },
        })
    }

    pub(crate) fn to_raft(&self) -> eraftpb::ConfState {
        let ids = |set: &[ReplicaId]| set.iter().map(|replica| replica.0).collect();
        eraftpb::ConfState {
            voters: ids(&self.voters),
            learners: ids(&self.learners),
            voters_outgoing: ids(&self.voters_outgoing),
            learners_next: ids(&self.learners_next),
            auto_leave: self.auto_leave,
            ..Default::default()
        }
    }

    /// Sorted, so that equal memberships have equal bytes.
    pub(crate) fn from_raft(state: &eraftpb::ConfState) -> Membership {
        let set = |ids: &[u64]| {
            let mut set: Vec<_> = ids.iter().map(|id| ReplicaId(*id)).collect();
            set.sort();
            set
        };
        Membership {
            voters: set(&state.voters),
            learners: set(&state.learners),
            voters_outgoing: set(&state.voters_outgoing),
            learners_next: set(&state.learners_next),
            auto_leave: state.auto_leave,
        }
    }
}

impl LogStart {
    /// Where a new group begins. Index 1 and term 1 count as taken by the creation itself, so that
    /// a replica which knows nothing of it, at (0, 0), never matches one that does.
    pub fn create(membership: Membership) -> LogStart {
        LogStart { index: RaftIndex(1), term: Term(1), membership }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.0.to_le_bytes());
        out.extend_from_slice(&self.term.0.to_le_bytes());
        self.membership.put(out);
    }

    fn take(from: &mut ByteReader<'_>) -> Result<LogStart, StateError> {
        Ok(LogStart {
            index: RaftIndex(from.u64()?),
            term: Term(from.u64()?),
            membership: Membership::take(from)?,
        })
    }
}

impl Origin {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.start.put(&mut out);
        self.hard_state.put(&mut out);
        out.extend_from_slice(&self.last_index.0.to_le_bytes());
        out.extend_from_slice(&self.last_term.0.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Origin, StateError> {
        decode_whole(bytes, |from| {
            Ok(Origin {
                start: LogStart::take(from)?,
                hard_state: HardState::take(from)?,
                last_index: RaftIndex(from.u64()?),
                last_term: Term(from.u64()?),
            })
        })
    }
}

impl GroupCheckpoint {
    /// The owner state for the storage checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.raft_group.0.to_le_bytes());
        self.start.put(&mut out);
        self.hard_state.put(&mut out);
        out.extend_from_slice(&self.covers_before.encode());
        out
    }

    /// Inverse of [`GroupCheckpoint::encode`].
    pub fn decode(bytes: &[u8]) -> Result<GroupCheckpoint, StateError> {
        decode_whole(bytes, |from| {
            Ok(GroupCheckpoint {
                raft_group: RaftGroupId(from.u64()?),
                start: LogStart::take(from)?,
                hard_state: HardState::take(from)?,
                covers_before: take_position(from)?,
            })
        })
    }
}

fn take_position(from: &mut ByteReader<'_>) -> Result<WalPosition, StateError> {
    let bytes = from.take(WalPosition::ENCODED_BYTES)?;
    Ok(WalPosition::decode(bytes.try_into().expect("as many as asked for")))
}

fn take_members(from: &mut ByteReader<'_>) -> Result<Vec<ReplicaId>, StateError> {
    let count = from.u32()? as usize;
    if count > MEMBERS_MAX {
        return Err(StateError::TooManyMembers { count, count_max: MEMBERS_MAX });
    }
    (0..count).map(|_| from.u64().map(ReplicaId)).collect()
}

fn decode_whole<T>(
    bytes: &[u8],
    take: impl FnOnce(&mut ByteReader<'_>) -> Result<T, StateError>,
) -> Result<T, StateError> {
    let mut from = ByteReader::new(bytes);
    let version = from.u8()?;
    if version != VERSION {
        return Err(StateError::Version { expected: VERSION, found: version });
    }
    let value = take(&mut from)?;
    from.finish()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        Membership {
            voters: vec![ReplicaId(1), ReplicaId(2), ReplicaId(4)],
            learners: vec![ReplicaId(9)],
            voters_outgoing: vec![ReplicaId(1), ReplicaId(2), ReplicaId(3)],
            learners_next: vec![ReplicaId(3)],
            auto_leave: true,
        }
    }

    fn origin() -> Origin {
        Origin {
            start: LogStart { index: RaftIndex(40), term: Term(6), membership: membership() },
            hard_state: HardState {
                term: Term(7),
                vote: Some(ReplicaId(2)),
                commit: RaftIndex(41),
            },
            last_index: RaftIndex(44),
            last_term: Term(7),
        }
    }

    #[test]
    fn states_read_back_as_written() {
        let origin = origin();
        assert_eq!(Origin::decode(&origin.encode()), Ok(origin.clone()));
        let state = origin.hard_state;
        assert_eq!(HardState::decode(&state.encode()), Ok(state));
        let none = HardState::default();
        assert_eq!(HardState::decode(&none.encode()), Ok(none));
        let checkpoint = GroupCheckpoint {
            raft_group: RaftGroupId(3),
            start: origin.start,
            hard_state: state,
            covers_before: WalPosition { sequence: 9, file: 2, offset: 4096 },
        };
        assert_eq!(GroupCheckpoint::decode(&checkpoint.encode()), Ok(checkpoint));
    }

    #[test]
    fn the_bytes_of_a_hard_state_are_fixed() {
        let bytes = origin().hard_state.encode();
        assert_eq!(
            bytes,
            [1, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 41, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn membership_survives_the_conversion_to_the_raft_crate() {
        assert_eq!(Membership::from_raft(&membership().to_raft()), membership());
    }

    #[test]
    fn cut_extended_and_oversized_states_are_errors() {
        let bytes = origin().encode();
        for len in 0..bytes.len() {
            assert!(Origin::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Origin::decode(&longer), Err(StateError::Trailing(1)));
        let mut many = bytes.clone();
        many[17..21].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(
            Origin::decode(&many),
            Err(StateError::TooManyMembers { count: u32::MAX as usize, count_max: MEMBERS_MAX })
        );
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(Origin::decode(&other), Err(StateError::Version { expected: 1, found: 2 }));
    }

    #[test]
    fn a_later_hard_state_supersedes_an_earlier_one_and_not_the_reverse() {
        let state = |term, vote, commit| HardState {
            term: Term(term),
            vote: Some(ReplicaId(vote)).filter(|vote| vote.0 != 0),
            commit: RaftIndex(commit),
        };
        let written = [state(1, 0, 0), state(1, 3, 0), state(1, 3, 8), state(2, 0, 8)];
        for (i, earlier) in written.iter().enumerate() {
            for later in &written[i..] {
                assert!(later.supersedes(earlier));
                assert_eq!(earlier.supersedes(later), earlier == later);
            }
        }
    }
}

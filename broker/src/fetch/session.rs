//! Incremental fetch sessions (KIP-227; Kafka's `FetchSessionCache`, `FetchContext`).
//!
//! Lives on: each shard keeps the sessions of the connections it accepted. A session belongs to the node, not to a
//! connection: a client that comes back on another shard brings its session with it (`session_move.rs`). Pure state.
//!
//! Bounds: [`FetchSessions::new`] takes the slots of this shard. A full cache evicts a session that was unused for
//! [`EVICTION_MS`]; otherwise the fetch is served without a session (session id 0), and a session that comes from
//! another shard is dropped, upon which its client opens a new one.
//!
//! Invariants: an incremental request changes the session only if its epoch matched; a partition moves to the end of
//! the order when it returned records, so none starves.

use std::rc::Rc;

use indexmap::IndexMap;
use runtime::collections::HashMap;

use crate::ids::TopicId;

/// `min.incremental.fetch.session.eviction.ms`.
pub const EVICTION_MS: u64 = 120_000;

/// Names a partition the way the request did: by topic id (v13 and later) or by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionKey {
    /// Zero when named.
    pub topic_id: TopicId,
    /// Empty when the request used ids.
    pub topic_name: Rc<str>,
    /// Index.
    pub index: i32,
}

/// What the client wants of one partition, and what it was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedPartition {
    /// Next offset to read.
    pub fetch_offset: i64,
    /// `partition_max_bytes`.
    pub bytes_max: i32,
    /// Client's idea of the leader epoch, -1 if none.
    pub current_leader_epoch: i32,
    /// Epoch of the last fetched record, -1 if none.
    pub last_fetched_epoch: i32,
    /// High watermark in the last answer; -1 forces the next answer to mention the partition.
    pub told_high_watermark: i64,
    /// Log start offset in the last answer.
    pub told_log_start_offset: i64,
}

impl CachedPartition {
    /// A partition as a request names it, nothing told yet.
    pub fn asked(
        fetch_offset: i64,
        bytes_max: i32,
        current_leader_epoch: i32,
        last_fetched_epoch: i32,
    ) -> CachedPartition {
        CachedPartition {
            fetch_offset,
            bytes_max,
            current_leader_epoch,
            last_fetched_epoch,
            told_high_watermark: -1,
            told_log_start_offset: -1,
        }
    }
}

/// Partitions in answering order.
pub type Partitions = IndexMap<PartitionKey, CachedPartition, hash::Fixed>;

/// A hasher without a random seed.
pub mod hash {
    /// See the module.
    pub type Fixed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
}

/// Why a session request is refused; the whole answer carries the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No such session on this shard.
    #[error("fetch session id is not known")]
    NotFound,
    /// Not the next epoch.
    #[error("fetch session epoch is not the next one")]
    InvalidEpoch,
    /// The session names topics by id and the request by name, or the other way round.
    #[error("fetch session and request name topics differently")]
    TopicIds,
}

/// How one fetch request is served.
#[derive(Debug)]
pub enum FetchContext {
    /// Without a session.
    Sessionless(Partitions),
    /// All partitions are given; a session is opened with the answer if there is room.
    Full {
        /// As asked.
        partitions: Partitions,
        /// The request names topics by id.
        uses_topic_ids: bool,
    },
    /// The session's partitions.
    Incremental {
        /// Session.
        id: i32,
        /// A copy of the session's partitions in order.
        partitions: Partitions,
    },
}

impl FetchContext {
    /// What to read, in order.
    pub fn partitions(&self) -> &Partitions {
        match self {
            FetchContext::Sessionless(p) => p,
            FetchContext::Full { partitions, .. }
            | FetchContext::Incremental { partitions, .. } => partitions,
        }
    }

    /// The answer mentions only partitions with news.
    pub fn is_incremental(&self) -> bool {
        matches!(self, FetchContext::Incremental { .. })
    }
}

/// What the answer says of one partition, as far as the session must remember it.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// High watermark in the answer.
    pub high_watermark: i64,
    /// Log start offset in the answer.
    pub log_start_offset: i64,
    /// Bytes of records.
    pub bytes: usize,
    /// Error, diverging epoch or preferred replica: mention in any case.
    pub notable: bool,
    /// The error code is not NONE.
    pub failed: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    epoch: i32,
    used_ms: u64,
    uses_topic_ids: bool,
    partitions: Partitions,
}

/// A [`Session`] on its way to another shard.
#[derive(Debug)]
pub(super) struct SessionParts {
    epoch: i32,
    used_ms: u64,
    uses_topic_ids: bool,
    partitions: Vec<(TopicId, String, i32, CachedPartition)>,
}

/// The sessions of one shard.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    by_id: HashMap<i32, Session>,
}

impl FetchSessions {
    /// At most `slots` sessions (`max.incremental.fetch.session.cache.slots` over the shards).
    pub fn new(slots: usize) -> FetchSessions {
        FetchSessions { slots, by_id: HashMap::default() }
    }

    /// Sessions open.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True without sessions.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Resolves a request. `named` are the partitions it lists, `forgotten` those it drops.
    ///
    /// # Errors
    /// [`SessionError`]; the session is then as before.
    pub fn open(
        &mut self,
        session_id: i32,
        session_epoch: i32,
        uses_topic_ids: bool,
        named: Partitions,
        forgotten: &[PartitionKey],
        now_ms: u64,
    ) -> Result<FetchContext, SessionError> {
        const INITIAL_EPOCH: i32 = 0;
        const FINAL_EPOCH: i32 = -1;
        if session_epoch == INITIAL_EPOCH || session_epoch == FINAL_EPOCH {
            self.by_id.remove(&session_id);
            return Ok(match session_epoch {
                FINAL_EPOCH => FetchContext::Sessionless(named),
                _ => FetchContext::Full { partitions: named, uses_topic_ids },
            });
        }
        let session = self.by_id.get_mut(&session_id).ok_or(SessionError::NotFound)?;
        if session.uses_topic_ids != uses_topic_ids {
            return Err(SessionError::TopicIds);
        }
        if session.epoch != session_epoch {
            return Err(SessionError::InvalidEpoch);
        }
        session.update(named, forgotten);
        session.epoch = next_epoch(session.epoch);
        session.used_ms = now_ms;
        if session.partitions.is_empty() {
            self.by_id.remove(&session_id);
            return Ok(FetchContext::Sessionless(Partitions::default()));
        }
        let partitions = session.partitions.clone();
        Ok(FetchContext::Incremental { id: session_id, partitions })
    }

    /// Decides, for an incremental answer, whether the partition is mentioned, and remembers what is told.
    pub fn tell(&mut self, id: i32, key: &PartitionKey, told: Told) -> bool {
        let Some(session) = self.by_id.get_mut(&id) else {
            return true;
        };
        let Some(cached) = session.partitions.get_mut(key) else {
            return true;
        };
        let news = told.bytes > 0
            || told.notable
            || cached.told_high_watermark != told.high_watermark
            || cached.told_log_start_offset != told.log_start_offset;
        cached.remember(&told);
        if told.bytes > 0
            && let Some((key, cached)) = session.partitions.shift_remove_entry(key)
        {
            session.partitions.insert(key, cached);
        }
        news
    }

    /// Opens a session for a full fetch whose answer is known. Returns its id, or 0 without room.
    /// `random` picks the id.
    pub fn create(
        &mut self,
        mut partitions: Partitions,
        told: &[Told],
        uses_topic_ids: bool,
        now_ms: u64,
        mut random: impl FnMut() -> u64,
    ) -> i32 {
        if partitions.is_empty() || (self.by_id.len() >= self.slots && !self.evict(now_ms)) {
            return 0;
        }
        for (cached, told) in partitions.values_mut().zip(told) {
            cached.remember(told);
        }
        let id = loop {
            let id = (random() & 0x7fff_ffff) as i32;
            if id != 0 && !self.by_id.contains_key(&id) {
                break id;
            }
        };
        let session = Session { epoch: 1, used_ms: now_ms, uses_topic_ids, partitions };
        self.by_id.insert(id, session);
        id
    }

    /// Whether this shard keeps that session.
    pub fn contains(&self, id: i32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Gives a session away.
    pub(super) fn take(&mut self, id: i32) -> Option<Session> {
        self.by_id.remove(&id)
    }

    /// Keeps a session that another shard gave away, if there is room.
    pub(super) fn put(&mut self, id: i32, session: Session, now_ms: u64) {
        if self.by_id.len() < self.slots || self.evict(now_ms) {
            self.by_id.insert(id, session);
        }
    }

    fn evict(&mut self, now_ms: u64) -> bool {
        let idle = self.by_id.iter().min_by_key(|(id, s)| (s.used_ms, **id));
        match idle.map(|(id, s)| (*id, s.used_ms)) {
            Some((id, used)) if now_ms.saturating_sub(used) >= EVICTION_MS => {
                self.by_id.remove(&id);
                true
            }
            _ => false,
        }
    }
}

impl Session {
    /// What it is made of, without what is bound to this thread.
    pub(super) fn into_parts(self) -> SessionParts {
        let Session { epoch, used_ms, uses_topic_ids, partitions } = self;
        let part = |(key, cached): (PartitionKey, CachedPartition)| {
            (key.topic_id, key.topic_name.to_string(), key.index, cached)
        };
        let partitions = partitions.into_iter().map(part).collect();
        SessionParts { epoch, used_ms, uses_topic_ids, partitions }
    }

    /// The session again, on another shard.
    pub(super) fn from_parts(parts: SessionParts) -> Session {
        let SessionParts { epoch, used_ms, uses_topic_ids, partitions } = parts;
        let partition = |(topic_id, topic_name, index, cached): (TopicId, String, i32, _)| {
            (PartitionKey { topic_id, topic_name: topic_name.into(), index }, cached)
        };
        let partitions = partitions.into_iter().map(partition).collect();
        Session { epoch, used_ms, uses_topic_ids, partitions }
    }

    fn update(&mut self, named: Partitions, forgotten: &[PartitionKey]) {
        for (key, asked) in named {
            match self.partitions.get_mut(&key) {
                Some(cached) => {
                    let told = (cached.told_high_watermark, cached.told_log_start_offset);
                    *cached = asked;
                    (cached.told_high_watermark, cached.told_log_start_offset) = told;
                }
                None => {
                    self.partitions.insert(key, asked);
                }
            }
        }
        for key in forgotten {
            self.partitions.shift_remove(key);
        }
    }
}

impl CachedPartition {
    fn remember(&mut self, told: &Told) {
        self.told_high_watermark = if told.failed { -1 } else { told.high_watermark };
        self.told_log_start_offset = told.log_start_offset;
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: i32) -> PartitionKey {
        PartitionKey { topic_id: TopicId::ZERO, topic_name: "t".into(), index }
    }

    fn named(indexes: &[i32]) -> Partitions {
        indexes.iter().map(|i| (key(*i), CachedPartition::asked(0, 1024, -1, -1))).collect()
    }

    fn told(high_watermark: i64, bytes: usize) -> Told {
        Told { high_watermark, log_start_offset: 0, bytes, notable: false, failed: false }
    }

    fn opened(sessions: &mut FetchSessions, indexes: &[i32]) -> i32 {
        let all = named(indexes);
        let answers = vec![told(5, 0); all.len()];
        sessions.create(all, &answers, false, 0, || 77)
    }

    #[test]
    fn epochs_count_up_and_a_wrong_one_changes_nothing() {
        let mut s = FetchSessions::new(2);
        let id = opened(&mut s, &[0, 1]);
        assert_eq!(id, 77);
        let none = Partitions::default;
        assert_eq!(s.open(id, 2, false, none(), &[], 0).unwrap_err(), SessionError::InvalidEpoch);
        assert!(s.open(id, 1, false, none(), &[], 0).unwrap().is_incremental());
        assert_eq!(s.open(id, 1, false, none(), &[], 0).unwrap_err(), SessionError::InvalidEpoch);
        assert_eq!(s.open(id, 2, true, none(), &[], 0).unwrap_err(), SessionError::TopicIds);
        assert_eq!(s.open(5, 1, false, none(), &[], 0).unwrap_err(), SessionError::NotFound);
    }

    #[test]
    fn an_incremental_answer_mentions_only_news() {
        let mut s = FetchSessions::new(2);
        let id = opened(&mut s, &[0, 1]);
        assert!(!s.tell(id, &key(0), told(5, 0)));
        assert!(s.tell(id, &key(0), told(6, 0)), "the watermark moved");
        assert!(s.tell(id, &key(0), told(6, 10)), "records are news");
        let error = Told { notable: true, failed: true, ..told(6, 0) };
        assert!(s.tell(id, &key(0), error));
        assert!(s.tell(id, &key(0), told(6, 0)), "after an error the partition is mentioned again");
    }

    #[test]
    fn a_partition_that_returned_records_moves_to_the_end() {
        let mut s = FetchSessions::new(2);
        let id = opened(&mut s, &[0, 1, 2]);
        s.tell(id, &key(0), told(6, 10));
        let context = s.open(id, 1, false, Partitions::default(), &[], 0).unwrap();
        let order: Vec<i32> = context.partitions().keys().map(|k| k.index).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn forgetting_every_partition_ends_the_session() {
        let mut s = FetchSessions::new(2);
        let id = opened(&mut s, &[0]);
        s.open(id, 1, false, Partitions::default(), &[key(0)], 0).unwrap();
        assert!(s.is_empty());
    }

    #[test]
    fn a_session_that_moves_keeps_its_epoch_order_and_what_was_told() {
        let (mut here, mut there) = (FetchSessions::new(1), FetchSessions::new(1));
        let id = opened(&mut there, &[0, 1]);
        there.tell(id, &key(0), told(6, 10));
        let parts = there.take(id).unwrap().into_parts();
        assert!(there.is_empty());
        here.put(id, Session::from_parts(parts), 0);
        let context = here.open(id, 1, false, Partitions::default(), &[], 0).unwrap();
        let order: Vec<i32> = context.partitions().keys().map(|k| k.index).collect();
        assert_eq!(order, [1, 0]);
        assert!(!here.tell(id, &key(0), told(6, 0)), "it was told before");
    }

    #[test]
    fn a_session_that_comes_to_a_full_cache_is_dropped() {
        let (mut here, mut there) = (FetchSessions::new(1), FetchSessions::new(1));
        here.create(named(&[0]), &[told(0, 0)], false, 0, || 5);
        let id = opened(&mut there, &[0]);
        here.put(id, there.take(id).unwrap(), 0);
        assert!(!here.contains(id) && here.contains(5));
    }

    #[test]
    fn a_full_cache_gives_no_session_until_one_is_old() {
        let mut s = FetchSessions::new(1);
        opened(&mut s, &[0]);
        assert_eq!(s.create(named(&[1]), &[told(0, 0)], false, 1, || 9), 0);
        assert_eq!(s.create(named(&[1]), &[told(0, 0)], false, EVICTION_MS, || 9), 9);
        assert_eq!(s.len(), 1);
    }
}

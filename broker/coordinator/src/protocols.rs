//! The protocols of a group: which one its members agree on, and what a consumer's metadata say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::group::ClassicGroup;
use crate::member::distinct_names;
use crate::{GroupState, Protocol, subscription};

/// The protocol type of Kafka consumers, whose metadata names topics.
const CONSUMER: &str = "consumer";

impl ClassicGroup {
    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Where the subscription cannot be read, a consumer group counts as subscribed to everything.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Whether a member with these protocols can be in this group.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everybody = self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|p| self.votes.get(&p.name).copied().unwrap_or(0) == everybody)
    }

    /// The protocol that most members prefer among those that all support; on a tie the leader's
    /// preference decides.
    pub(crate) fn select_protocol(&self) -> Option<Arc<str>> {
        let everybody = self.members.len();
        let is_candidate = |name: &Arc<str>| self.votes.get(name) == Some(&everybody);
        let mut ballots: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(name) = distinct_names(&member.protocols).find(|name| is_candidate(name)) {
                *ballots.entry(name).or_default() += 1;
            }
        }
        let most = ballots.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        leader
            .into_iter()
            .flat_map(|leader| distinct_names(&leader.protocols))
            .find(|name| ballots.get(name) == Some(&most))
            .or_else(|| ballots.iter().find(|(_, votes)| **votes == most).map(|(name, _)| *name))
            .cloned()
    }

    pub(crate) fn count_votes(&mut self, protocols: &[Protocol]) {
        for name in distinct_names(protocols) {
            *self.votes.entry(name.clone()).or_default() += 1;
        }
    }

    pub(crate) fn uncount_votes(&mut self, protocols: &[Protocol]) {
        for name in distinct_names(protocols) {
            if let Some(votes) = self.votes.get_mut(name) {
                *votes -= 1;
                if *votes == 0 {
                    self.votes.remove(name);
                }
            }
        }
    }

    /// The topics of all members' subscriptions, if this is a consumer group that can be read.
    pub(crate) fn read_subscribed_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol_name = Some(&**self.protocol_name.as_ref()?);
        for member in self.members.values() {
            subscription::read_topics(&member.metadata(protocol_name), &mut topics).ok()?;
        }
        Some(topics)
    }
}

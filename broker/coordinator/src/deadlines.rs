//! The deadlines of one coordinator in one ordered set, so that the shell needs a single timer.
//!
//! Sessions move with every heartbeat; moving them in the set each time would cost two tree walks.
//! So a session is kept in the set at or before its true moment, and when it comes up early it is put
//! back. Invariant: `queued <= at`, and `(queued, alarm)` is in the set unless `queued` is `NEVER`.

use std::collections::BTreeSet;
use std::sync::Arc;

/// No moment at all.
pub(crate) const NEVER: i64 = i64::MAX;

/// What is due. Ordered, so that alarms of the same moment ring in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The join phase of a group is over.
    Join(Arc<str>),
    /// Members had their time to sync.
    Sync(Arc<str>),
    /// A member or pending member may have gone silent.
    Session { group: Arc<str>, member: Arc<str> },
    /// Look for expired offsets.
    Retention,
}

/// The deadline of one member's session.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Session {
    at: i64,
    queued: i64,
}

impl Default for Session {
    fn default() -> Self {
        Session { at: NEVER, queued: NEVER }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: BTreeSet<(i64, Alarm)>,
}

impl Deadlines {
    pub(crate) fn next(&self) -> Option<i64> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn pop_due(&mut self, now: i64) -> Option<Alarm> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_first().map(|(_, alarm)| alarm)
    }

    pub(crate) fn arm(&mut self, at: i64, alarm: Alarm) {
        self.queue.insert((at, alarm));
    }

    pub(crate) fn disarm(&mut self, at: i64, alarm: Alarm) {
        let removed = self.queue.remove(&(at, alarm));
        debug_assert!(removed, "an alarm was disarmed that was not set");
    }

    /// Sets the moment of a session, usually without touching the set.
    pub(crate) fn arm_session(
        &mut self,
        group: &Arc<str>,
        member: &Arc<str>,
        session: &mut Session,
        at: i64,
    ) {
        session.at = at;
        if session.queued <= at {
            return;
        }
        self.unqueue(group, member, session);
        session.queued = at;
        self.arm(at, Alarm::Session { group: group.clone(), member: member.clone() });
    }

    pub(crate) fn disarm_session(
        &mut self,
        group: &Arc<str>,
        member: &Arc<str>,
        session: &mut Session,
    ) {
        self.unqueue(group, member, session);
        session.at = NEVER;
    }

    /// After the alarm of a session rang: true if it is really over, else it is put back.
    pub(crate) fn session_is_over(
        &mut self,
        group: &Arc<str>,
        member: &Arc<str>,
        session: &mut Session,
        now: i64,
    ) -> bool {
        session.queued = NEVER;
        if session.at <= now {
            session.at = NEVER;
            return true;
        }
        if session.at != NEVER {
            self.arm_session(group, member, session, session.at);
        }
        false
    }

    fn unqueue(&mut self, group: &Arc<str>, member: &Arc<str>, session: &mut Session) {
        if session.queued != NEVER {
            let alarm = Alarm::Session { group: group.clone(), member: member.clone() };
            self.disarm(session.queued, alarm);
            session.queued = NEVER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_was_prolonged_comes_up_early_and_is_put_back() {
        let (group, member): (Arc<str>, Arc<str>) = ("g".into(), "m".into());
        let mut deadlines = Deadlines::default();
        let mut session = Session::default();
        deadlines.arm_session(&group, &member, &mut session, 10);
        deadlines.arm_session(&group, &member, &mut session, 25);
        assert_eq!(deadlines.next(), Some(10));
        assert!(deadlines.pop_due(9).is_none());
        assert!(deadlines.pop_due(10).is_some());
        assert!(!deadlines.session_is_over(&group, &member, &mut session, 10));
        assert_eq!(deadlines.next(), Some(25));
        assert!(deadlines.pop_due(25).is_some());
        assert!(deadlines.session_is_over(&group, &member, &mut session, 25));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_session_that_is_shortened_moves_in_the_set() {
        let (group, member): (Arc<str>, Arc<str>) = ("g".into(), "m".into());
        let mut deadlines = Deadlines::default();
        let mut session = Session::default();
        deadlines.arm_session(&group, &member, &mut session, 300);
        deadlines.arm_session(&group, &member, &mut session, 20);
        assert_eq!((deadlines.next(), deadlines.len()), (Some(20), 1));
        deadlines.disarm_session(&group, &member, &mut session);
        assert_eq!(deadlines.next(), None);
    }
}

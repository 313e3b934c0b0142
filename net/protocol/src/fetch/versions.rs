//! Versions at which the layout of Fetch changes, in both directions.

/// First version in the flexible encoding.
pub(super) const FLEXIBLE_FROM: i16 = 12;
/// First version that names topics by id.
pub(super) const TOPIC_IDS_FROM: i16 = 13;
/// First version with fetch sessions.
pub(super) const SESSIONS_FROM: i16 = 7;

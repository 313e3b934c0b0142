//! Versions at which the layout of Produce changes, in both directions.

/// First version in the flexible encoding.
pub(super) const FLEXIBLE_FROM: i16 = 9;
/// First version that names topics by id.
pub(super) const TOPIC_IDS_FROM: i16 = 13;

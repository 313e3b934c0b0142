//! The one look a coordinator takes into a member's metadata: the topics of a consumer subscription.
//!
//! `ConsumerProtocolSubscription` of any version begins with the fields of version 0: the version, an
//! array of topic names, nullable user data. Nothing behind these is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::RecordError;
use crate::record::FieldReader;

/// Adds the subscribed topics of one member's metadata to `topics`.
pub(crate) fn read_topics(
    metadata: &[u8],
    topics: &mut BTreeSet<Arc<str>>,
) -> Result<(), RecordError> {
    let mut fields = FieldReader::new("a consumer subscription", metadata);
    let version = fields.i16()?;
    if version < 0 {
        return Err(RecordError::BadLength {
            what: "a consumer subscription",
            length: version.into(),
        });
    }
    for _ in 0..fields.i32()? {
        topics.insert(Arc::from(fields.string()?));
    }
    fields.nullable_bytes()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_a_real_subscription_are_found_and_cut_bytes_are_an_error() {
        // written by kafka-python, version 0, topic "t1"
        let metadata = [0, 0, 0, 0, 0, 1, 0, 2, b't', b'1', 0, 0, 0, 0];
        let mut topics = BTreeSet::new();
        read_topics(&metadata, &mut topics).unwrap();
        assert_eq!(topics.iter().map(|t| &**t).collect::<Vec<_>>(), ["t1"]);
        for cut in 0..metadata.len() {
            assert!(read_topics(&metadata[..cut], &mut BTreeSet::new()).is_err(), "cut at {cut}");
        }
    }
}

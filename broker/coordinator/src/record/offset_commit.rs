//! `OffsetCommitValue`: one committed offset.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::FieldReader;
use super::fields::{put_compact_string, put_string, put_varint};
use crate::{CommittedOffset, RecordError};

const WHAT: &str = "an offset commit value";
const HIGHEST: i16 = 4;
const FIRST_FLEXIBLE: i16 = 4;
/// The only version that carries an expire timestamp.
const WITH_EXPIRY: i16 = 1;
const TOPIC_ID_TAG: u32 = 0;
const TOPIC_ID_BYTES: usize = 16;

/// The value of an offset record is exactly what is kept of the offset.
pub type OffsetValue = CommittedOffset;

impl OffsetValue {
    pub fn read(value: &[u8]) -> Result<Self, RecordError> {
        let mut fields = FieldReader::new(WHAT, value);
        let version = fields.i16()?;
        if !(0..=HIGHEST).contains(&version) {
            return Err(RecordError::UnknownVersion { what: WHAT, version, highest: HIGHEST });
        }
        let offset = fields.i64()?;
        let leader_epoch = if version >= 3 { fields.i32()? } else { -1 };
        let metadata = match version >= FIRST_FLEXIBLE {
            true => fields.compact_string()?,
            false => fields.string()?,
        };
        let metadata = (!metadata.is_empty()).then(|| Arc::from(metadata));
        let commit_timestamp_ms = fields.i64()?;
        let expire = if version == WITH_EXPIRY { fields.i64()? } else { -1 };
        let mut topic_id = [0; TOPIC_ID_BYTES];
        if version >= FIRST_FLEXIBLE {
            fields.tags(|tag, bytes| {
                if tag == TOPIC_ID_TAG {
                    topic_id = FieldReader::new(WHAT, bytes).array()?;
                }
                Ok(())
            })?;
        }
        Ok(CommittedOffset {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms,
            expire_timestamp_ms: (expire != -1).then_some(expire),
            topic_id,
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let metadata = self.metadata.as_deref().unwrap_or("");
        buffer.reserve(64 + metadata.len());
        if let Some(expire_timestamp_ms) = self.expire_timestamp_ms {
            buffer.put_i16(WITH_EXPIRY);
            buffer.put_i64(self.offset);
            put_string(buffer, metadata);
            buffer.put_i64(self.commit_timestamp_ms);
            buffer.put_i64(expire_timestamp_ms);
            return;
        }
        buffer.put_i16(FIRST_FLEXIBLE);
        buffer.put_i64(self.offset);
        buffer.put_i32(self.leader_epoch);
        put_compact_string(buffer, metadata);
        buffer.put_i64(self.commit_timestamp_ms);
        if self.topic_id == [0; TOPIC_ID_BYTES] {
            put_varint(buffer, 0);
        } else {
            put_varint(buffer, 1);
            put_varint(buffer, TOPIC_ID_TAG);
            put_varint(buffer, TOPIC_ID_BYTES as u32);
            buffer.put_slice(&self.topic_id);
        }
    }
}

//! Keys of `__consumer_offsets`.

use bytes::{BufMut, BytesMut};

use super::FieldReader;
use super::fields::put_string;
use crate::RecordError;

const LEGACY_OFFSET: i16 = 0;
const OFFSET: i16 = 1;
const GROUP: i16 = 2;

/// What a record is about; borrows the key's bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RecordKey<'a> {
    Offset {
        group: &'a str,
        topic: &'a str,
        partition: i32,
    },
    Group {
        group: &'a str,
    },
    /// A record of another kind of group.
    Other {
        kind: i16,
    },
}

impl<'a> RecordKey<'a> {
    pub fn read(key: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = FieldReader::new("a record key", key);
        Ok(match fields.i16()? {
            LEGACY_OFFSET | OFFSET => RecordKey::Offset {
                group: fields.string()?,
                topic: fields.string()?,
                partition: fields.i32()?,
            },
            GROUP => RecordKey::Group { group: fields.string()? },
            kind => RecordKey::Other { kind },
        })
    }
}

pub(super) fn write_offset(buffer: &mut BytesMut, group: &str, topic: &str, partition: i32) {
    buffer.reserve(10 + group.len() + topic.len());
    buffer.put_i16(OFFSET);
    put_string(buffer, group);
    put_string(buffer, topic);
    buffer.put_i32(partition);
}

pub(super) fn write_group(buffer: &mut BytesMut, group: &str) {
    buffer.reserve(4 + group.len());
    buffer.put_i16(GROUP);
    put_string(buffer, group);
}

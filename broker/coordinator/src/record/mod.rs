//! The records of `__consumer_offsets`, byte for byte as Apache Kafka 4.3 writes them.
//!
//! A key is an `i16` type and plain fields: 0 and 1 name a committed offset, 2 a group. A value is an
//! `i16` version and fields. Written today: offset values of version 4 (flexible, topic id as tag 0),
//! or of version 1 when the client set a retention; group values of version 3. All versions that any
//! Kafka wrote (0-4) are read. Unknown key types are left to whoever knows them.

mod fields;
mod group_metadata;
mod key;
mod offset_commit;

pub(crate) use fields::FieldReader;
pub use group_metadata::{GroupValue, MemberValue};
pub use key::RecordKey;
pub use offset_commit::OffsetValue;

use bytes::{Bytes, BytesMut};

/// Writes the records of one append into one buffer; keys and values are slices of it.
#[derive(Debug, Default)]
pub(crate) struct RecordWriter {
    buffer: BytesMut,
    pub(crate) records: Vec<crate::Record>,
}

impl RecordWriter {
    pub(crate) fn with_capacity(records: usize, bytes: usize) -> Self {
        RecordWriter {
            buffer: BytesMut::with_capacity(bytes),
            records: Vec::with_capacity(records),
        }
    }

    pub(crate) fn offset(&mut self, group: &str, topic: &str, partition: i32, value: &OffsetValue) {
        key::write_offset(&mut self.buffer, group, topic, partition);
        let key = self.take();
        value.write(&mut self.buffer);
        let value = Some(self.take());
        self.records.push(crate::Record { key, value });
    }

    pub(crate) fn offset_tombstone(&mut self, group: &str, topic: &str, partition: i32) {
        key::write_offset(&mut self.buffer, group, topic, partition);
        let key = self.take();
        self.records.push(crate::Record { key, value: None });
    }

    pub(crate) fn group(&mut self, group: &str, value: &GroupValue) {
        key::write_group(&mut self.buffer, group);
        let key = self.take();
        value.write(&mut self.buffer);
        let value = Some(self.take());
        self.records.push(crate::Record { key, value });
    }

    pub(crate) fn group_tombstone(&mut self, group: &str) {
        key::write_group(&mut self.buffer, group);
        let key = self.take();
        self.records.push(crate::Record { key, value: None });
    }

    fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

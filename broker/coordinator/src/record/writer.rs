//! Writing records: a key and a value each, or a tombstone.

use bytes::{Bytes, BytesMut};

use super::{GroupValue, OffsetValue, key};

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

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
mod writer;

pub(crate) use fields::FieldReader;
pub use group_metadata::{GroupValue, MemberValue};
pub use key::RecordKey;
pub use offset_commit::OffsetValue;
pub(crate) use writer::RecordWriter;

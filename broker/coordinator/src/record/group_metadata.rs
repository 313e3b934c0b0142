//! `GroupMetadataValue`: a classic group at the end of a rebalance.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::FieldReader;
use super::fields::{put_bytes, put_nullable_string, put_string};
use crate::RecordError;

const WHAT: &str = "a group metadata value";
const HIGHEST: i16 = 4;
const FIRST_FLEXIBLE: i16 = 4;
const WRITTEN: i16 = 3;

/// A group without members is an empty group; otherwise it is stable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// Empty for a group that only stores offsets.
    pub protocol_type: Arc<str>,
    pub generation: i32,
    pub protocol_name: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    /// When the group came into its state; -1 in records of old brokers.
    pub state_timestamp_ms: i64,
    pub members: Vec<MemberValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// -1 in records of old brokers: the session timeout counts.
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

impl GroupValue {
    pub fn read(value: &[u8]) -> Result<Self, RecordError> {
        let mut fields = FieldReader::new(WHAT, value);
        let version = fields.i16()?;
        if !(0..=HIGHEST).contains(&version) {
            return Err(RecordError::UnknownVersion { what: WHAT, version, highest: HIGHEST });
        }
        let flexible = version >= FIRST_FLEXIBLE;
        let protocol_type = string(&mut fields, flexible)?;
        let generation = fields.i32()?;
        let protocol_name = nullable_string(&mut fields, flexible)?;
        let leader = nullable_string(&mut fields, flexible)?;
        let state_timestamp_ms = if version >= 2 { fields.i64()? } else { -1 };
        let count = match flexible {
            true => i64::from(fields.varint()?) - 1,
            false => i64::from(fields.i32()?),
        };
        if count < 0 {
            return Err(RecordError::BadLength { what: WHAT, length: count });
        }
        // not reserved by count: a count is only believed as far as bytes follow
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(MemberValue::read(&mut fields, version)?);
        }
        if flexible {
            fields.tags(|_, _| Ok(()))?;
        }
        Ok(GroupValue {
            protocol_type,
            generation,
            protocol_name,
            leader,
            state_timestamp_ms,
            members,
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        buffer.put_i16(WRITTEN);
        put_string(buffer, &self.protocol_type);
        buffer.put_i32(self.generation);
        put_nullable_string(buffer, self.protocol_name.as_deref());
        put_nullable_string(buffer, self.leader.as_deref());
        buffer.put_i64(self.state_timestamp_ms);
        buffer.put_i32(i32::try_from(self.members.len()).expect("group.max.size is an i32"));
        for member in &self.members {
            member.write(buffer);
        }
    }
}

impl MemberValue {
    fn read(fields: &mut FieldReader<'_>, version: i16) -> Result<Self, RecordError> {
        let flexible = version >= FIRST_FLEXIBLE;
        let member = MemberValue {
            member_id: string(fields, flexible)?,
            instance_id: if version >= 3 { nullable_string(fields, flexible)? } else { None },
            client_id: string(fields, flexible)?,
            client_host: string(fields, flexible)?,
            rebalance_timeout_ms: if version >= 1 { fields.i32()? } else { -1 },
            session_timeout_ms: fields.i32()?,
            subscription: bytes(fields, flexible)?,
            assignment: bytes(fields, flexible)?,
        };
        if flexible {
            fields.tags(|_, _| Ok(()))?;
        }
        Ok(member)
    }

    fn write(&self, buffer: &mut BytesMut) {
        put_string(buffer, &self.member_id);
        put_nullable_string(buffer, self.instance_id.as_deref());
        put_string(buffer, &self.client_id);
        put_string(buffer, &self.client_host);
        buffer.put_i32(self.rebalance_timeout_ms);
        buffer.put_i32(self.session_timeout_ms);
        put_bytes(buffer, &self.subscription);
        put_bytes(buffer, &self.assignment);
    }
}

fn string(fields: &mut FieldReader<'_>, flexible: bool) -> Result<Arc<str>, RecordError> {
    Ok(Arc::from(if flexible { fields.compact_string()? } else { fields.string()? }))
}

fn nullable_string(
    fields: &mut FieldReader<'_>,
    flexible: bool,
) -> Result<Option<Arc<str>>, RecordError> {
    let string =
        if flexible { fields.compact_nullable_string()? } else { fields.nullable_string()? };
    Ok(string.map(Arc::from))
}

fn bytes(fields: &mut FieldReader<'_>, flexible: bool) -> Result<Bytes, RecordError> {
    let bytes = if flexible { fields.compact_bytes()? } else { fields.bytes()? };
    Ok(Bytes::copy_from_slice(bytes))
}

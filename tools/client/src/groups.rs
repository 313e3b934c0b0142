//! Consumer groups: list, and describe with committed offsets and lag.

use crate::client::{Client, retry};
use crate::error::ClientError;
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use protocol::messages::{DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetFetchRequest};
use protocol::{ApiKey, ErrorCode, StrBytes};
use std::collections::{BTreeMap, BTreeSet};

/// From here on OffsetFetch takes several groups; from version 10 on it names topics by id only.
const OFFSET_FETCH_BATCHED: i16 = 8;
const OFFSET_FETCH_BY_NAME_MAX: i16 = 9;
const LATEST: i64 = -1;
const DEAD: &str = "Dead";

/// Topic and partition, and the offset committed there.
type Committed = ((String, i32), i64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: String,
    pub protocol_type: String,
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub id: String,
    pub state: String,
    pub protocol_type: String,
    /// The assignor that the members agreed on.
    pub protocol: String,
    pub members: Vec<GroupMember>,
    pub offsets: Vec<CommittedOffset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    /// Topic and partition.
    pub assigned: BTreeSet<(String, i32)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub topic: String,
    pub partition: i32,
    /// Nothing where a member owns the partition but has committed nothing.
    pub committed: Option<i64>,
    pub end_offset: i64,
    pub member: Option<String>,
}

impl CommittedOffset {
    /// How many records are still to come.
    pub fn lag(&self) -> Option<i64> {
        self.committed.map(|committed| (self.end_offset - committed).max(0))
    }
}

impl Client {
    /// All groups by name; each node tells of those that it coordinates.
    pub fn groups(&mut self) -> Result<Vec<Group>, ClientError> {
        let nodes: Vec<i32> =
            self.metadata(None, false)?.brokers.iter().map(|node| node.node_id.0).collect();
        let mut groups = Vec::new();
        for node in nodes {
            let answer = retry(|| {
                let answer = self.node(node)?.call(&ListGroupsRequest::default())?;
                ClientError::check(|| "list groups".to_owned(), answer.error_code, None)?;
                Ok(answer)
            })?;
            groups.extend(answer.groups.into_iter().map(|group| Group {
                id: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
            }));
        }
        groups.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(groups)
    }

    pub fn describe_group(&mut self, group: &str) -> Result<GroupDescription, ClientError> {
        let id = GroupId(StrBytes::from_string(group.to_owned()));
        let request = DescribeGroupsRequest::default().with_groups(vec![id.clone()]);
        let answer = retry(|| {
            let answer = self.coordinator(group)?.call(&request)?;
            let code = answer.groups.first().map_or(0, |described| described.error_code);
            if code != ErrorCode::GroupIdNotFound.code() {
                ClientError::check(|| format!("describe group {group}"), code, None)?;
            }
            Ok(answer)
        })?;
        let missing = || ClientError::NoGroup { group: group.to_owned() };
        let described = answer.groups.into_iter().next().ok_or_else(missing)?;
        if described.error_code != ErrorCode::None.code() || described.group_state.as_str() == DEAD
        {
            return Err(missing());
        }
        let members: Vec<GroupMember> = described
            .members
            .into_iter()
            .map(|member| GroupMember {
                id: member.member_id.to_string(),
                instance_id: member.group_instance_id.map(|id| id.to_string()),
                client_id: member.client_id.to_string(),
                host: member.client_host.to_string(),
                assigned: assignment(&member.member_assignment),
            })
            .collect();
        let offsets = self.group_offsets(id, &members)?;
        Ok(GroupDescription {
            id: group.to_owned(),
            state: described.group_state.to_string(),
            protocol_type: described.protocol_type.to_string(),
            protocol: described.protocol_data.to_string(),
            members,
            offsets,
        })
    }

    /// What is committed and what is owned, each partition once.
    fn group_offsets(
        &mut self,
        id: GroupId,
        members: &[GroupMember],
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let mut committed: BTreeMap<(String, i32), Option<i64>> = BTreeMap::new();
        let owners: BTreeMap<&(String, i32), &str> = members
            .iter()
            .flat_map(|member| member.assigned.iter().map(|owned| (owned, member.id.as_str())))
            .collect();
        committed.extend(owners.keys().map(|owned| ((*owned).clone(), None)));
        committed.extend(
            self.committed(id)?.into_iter().map(|(partition, offset)| (partition, Some(offset))),
        );
        let topics: BTreeSet<String> = committed.keys().map(|(topic, _)| topic.clone()).collect();
        let mut ends = BTreeMap::new();
        for topic in topics {
            // A deleted topic has no end; what was committed for it is still shown.
            if let Ok(found) = self.topic(&topic, false) {
                let offsets = self.offsets(&found, LATEST)?;
                ends.extend(
                    offsets.into_iter().map(|(partition, end)| ((topic.clone(), partition), end)),
                );
            }
        }
        let rows = committed.into_iter().map(|(at, offset)| CommittedOffset {
            committed: offset,
            end_offset: ends.get(&at).copied().unwrap_or(-1),
            member: owners.get(&at).map(|member| (*member).to_owned()),
            topic: at.0,
            partition: at.1,
        });
        Ok(rows.collect())
    }

    fn committed(&mut self, id: GroupId) -> Result<Vec<Committed>, ClientError> {
        let connection = self.coordinator(&id.0)?;
        let what = || format!("read committed offsets of group {}", id.0);
        let version = connection.version_up_to(ApiKey::OffsetFetch, OFFSET_FETCH_BY_NAME_MAX)?;
        let request = match version >= OFFSET_FETCH_BATCHED {
            true => {
                let group =
                    OffsetFetchRequestGroup::default().with_group_id(id.clone()).with_topics(None);
                OffsetFetchRequest::default().with_groups(vec![group])
            }
            false => OffsetFetchRequest::default().with_group_id(id.clone()).with_topics(None),
        };
        let answer = connection.call_up_to(&request, version)?;
        let mut offsets = Vec::new();
        ClientError::check(what, answer.error_code, None)?;
        for topic in &answer.topics {
            for partition in &topic.partitions {
                ClientError::check(what, partition.error_code, None)?;
                offsets.push((
                    (topic.name.to_string(), partition.partition_index),
                    partition.committed_offset,
                ));
            }
        }
        for group in &answer.groups {
            ClientError::check(what, group.error_code, None)?;
            for topic in &group.topics {
                for partition in &topic.partitions {
                    ClientError::check(what, partition.error_code, None)?;
                    offsets.push((
                        (topic.name.to_string(), partition.partition_index),
                        partition.committed_offset,
                    ));
                }
            }
        }
        Ok(offsets)
    }
}

/// What a member of the consumer protocol owns (ConsumerProtocolAssignment: version, topics with partitions, user
/// data); other protocols, and bytes that do not parse, say nothing.
fn assignment(bytes: &[u8]) -> BTreeSet<(String, i32)> {
    parse_assignment(bytes).unwrap_or_default()
}

fn parse_assignment(mut bytes: &[u8]) -> Option<BTreeSet<(String, i32)>> {
    let mut owned = BTreeSet::new();
    take::<2>(&mut bytes)?;
    for _ in 0..i32::from_be_bytes(take(&mut bytes)?) {
        let length = u16::from_be_bytes(take(&mut bytes)?);
        let (topic, rest) = bytes.split_at_checked(length.into())?;
        bytes = rest;
        let topic = String::from_utf8_lossy(topic).into_owned();
        for _ in 0..i32::from_be_bytes(take(&mut bytes)?) {
            owned.insert((topic.clone(), i32::from_be_bytes(take(&mut bytes)?)));
        }
    }
    Some(owned)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_a_cut_one_says_nothing() {
        let bytes = b"\0\x03\0\0\0\x01\0\x02ab\0\0\0\x02\0\0\0\x05\0\0\0\x07\xff\xff\xff\xff";
        let expected = BTreeSet::from([("ab".to_owned(), 5), ("ab".to_owned(), 7)]);
        assert_eq!(assignment(bytes), expected);
        assert!((0..22).all(|length| assignment(&bytes[..length]).is_empty()));
    }

    #[test]
    fn lag_is_what_is_still_to_come() {
        let row = |committed| CommittedOffset {
            topic: "t".to_owned(),
            partition: 0,
            committed,
            end_offset: 10,
            member: None,
        };
        assert_eq!(row(Some(4)).lag(), Some(6));
        assert_eq!(row(None).lag(), None);
    }
}

//! The notation of request schemas, and looking one up.
//!
//! One character per field: `b` boolean, `1 2 4 8` signed integers by bytes, `H` unsigned 16,
//! `F` float 64, `U` uuid; strings `s` and compact `c`, nullable `S` and `C`; bytes `y`, `z`,
//! nullable `Y`, `Z`; records `R` and compact `Q` (nullable). `[n;...]` is an array of the fields
//! inside, `<n;...>` a compact one, `n` the bytes that one element takes as a struct in memory;
//! `(...)` is a struct; `?` in front of either says nullable. `{0:...,1:...}` are tagged fields
//! with the known tags.

use super::requests::REQUESTS;

/// Fields in the notation above: a whole request, an element, or the rest of either.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema(pub &'static [u8]);

impl Schema {
    pub fn of_request(api_key: i16, version: i16) -> Option<Schema> {
        REQUESTS
            .iter()
            .find(|(key, min, max, _)| *key == api_key && (*min..=*max).contains(&version))
            .map(|(_, _, _, text)| Schema(text.as_bytes()))
    }

    /// The next character, consumed.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The decimal number up to `end`, consumed with it.
    pub fn number(&mut self, end: u8) -> usize {
        let mut n = 0;
        while let Some(c) = self.next() {
            if c == end {
                break;
            }
            n = n * 10 + usize::from(c - b'0');
        }
        n
    }

    /// What stands up to the bracket that closes the one just consumed, consumed with it.
    pub fn inside(&mut self) -> Schema {
        let mut depth = 1;
        for (i, c) in self.0.iter().enumerate() {
            match c {
                b'[' | b'<' | b'(' | b'{' => depth += 1,
                b']' | b'>' | b')' | b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inside = Schema(&self.0[..i]);
                self.0 = &self.0[i + 1..];
                return inside;
            }
        }
        unreachable!("schema with an open bracket")
    }

    /// The known tags of a `{...}` whose inside this is.
    pub fn tagged(mut self, wanted: u32) -> Option<Schema> {
        while !self.0.is_empty() {
            let tag = self.number(b':');
            let end = self.field_end();
            let field = Schema(&self.0[..end]);
            if tag as u32 == wanted {
                return Some(field);
            }
            self.0 = &self.0[(end + 1).min(self.0.len())..];
        }
        None
    }

    /// Where the comma at depth 0 stands, or the end.
    fn field_end(&self) -> usize {
        let mut depth = 0;
        for (i, c) in self.0.iter().enumerate() {
            match c {
                b'[' | b'<' | b'(' | b'{' => depth += 1,
                b']' | b'>' | b')' | b'}' => depth -= 1,
                b',' if depth == 0 => return i,
                _ => {}
            }
        }
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    #[test]
    fn every_schema_is_well_formed() {
        fn walk(mut s: Schema) {
            while let Some(c) = s.next() {
                match c {
                    b'[' | b'<' => {
                        assert!(s.number(b';') > 0);
                        walk(s.inside());
                    }
                    b'(' => walk(s.inside()),
                    b'{' => {
                        let inside = s.inside();
                        for tag in 0..3 {
                            inside.tagged(tag).into_iter().for_each(walk);
                        }
                    }
                    b'?' => assert!(matches!(s.0[0], b'[' | b'<' | b'(')),
                    c => assert!(b"b1248HFUscSCyzYZRQ".contains(&c), "{}", c as char),
                }
            }
        }
        for (_, _, _, text) in REQUESTS {
            walk(Schema(text.as_bytes()));
        }
    }

    #[test]
    fn tags_are_found_among_others() {
        let s = Schema(b"0:C,1:(48{}),7:8");
        assert_eq!(s.tagged(0).unwrap().0, b"C");
        assert_eq!(s.tagged(1).unwrap().0, b"(48{})");
        assert_eq!(s.tagged(7).unwrap().0, b"8");
        assert!(s.tagged(2).is_none());
    }

    /// Sizes of array elements in a schema, in the order in which they open.
    fn element_sizes(text: &str) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['[', '<']) {
            rest = &rest[at + 1..];
            let end = rest.find(';').unwrap();
            sizes.push(rest[..end].parse().unwrap());
        }
        sizes
    }

    macro_rules! elements {
        ($($key:literal $version:literal: $($element:ty),*;)*) => {
            [$(($key, $version, vec![$(size_of::<$element>()),*])),*]
        };
    }

    #[test]
    fn the_sizes_of_elements_cover_the_structs_that_are_decoded() {
        use kafka_protocol::messages::*;
        let structs = elements! {
            0 13: produce_request::TopicProduceData, produce_request::PartitionProduceData;
            1 18: fetch_request::FetchTopic, fetch_request::FetchPartition,
                fetch_request::ForgottenTopic, i32;
            2 11: list_offsets_request::ListOffsetsTopic, list_offsets_request::ListOffsetsPartition;
            3 13: metadata_request::MetadataRequestTopic;
            8 10: offset_commit_request::OffsetCommitRequestTopic,
                offset_commit_request::OffsetCommitRequestPartition;
            9 7: offset_fetch_request::OffsetFetchRequestTopic, i32;
            9 10: offset_fetch_request::OffsetFetchRequestGroup,
                offset_fetch_request::OffsetFetchRequestTopics, i32;
            10 6: StrBytes;
            11 9: join_group_request::JoinGroupRequestProtocol;
            13 5: leave_group_request::MemberIdentity;
            14 5: sync_group_request::SyncGroupRequestAssignment;
            15 6: GroupId;
            16 5: StrBytes, StrBytes;
            19 7: create_topics_request::CreatableTopic,
                create_topics_request::CreatableReplicaAssignment, BrokerId,
                create_topics_request::CreatableTopicConfig;
            20 5: TopicName;
            20 6: delete_topics_request::DeleteTopicState;
            21 2: delete_records_request::DeleteRecordsTopic,
                delete_records_request::DeleteRecordsPartition;
            23 4: offset_for_leader_epoch_request::OffsetForLeaderTopic,
                offset_for_leader_epoch_request::OffsetForLeaderPartition;
            32 4: describe_configs_request::DescribeConfigsResource, StrBytes;
            33 2: alter_configs_request::AlterConfigsResource,
                alter_configs_request::AlterableConfig;
            37 3: create_partitions_request::CreatePartitionsTopic,
                create_partitions_request::CreatePartitionsAssignment, BrokerId;
            42 2: GroupId;
            44 1: incremental_alter_configs_request::AlterConfigsResource,
                incremental_alter_configs_request::AlterableConfig;
            47 0: offset_delete_request::OffsetDeleteRequestTopic,
                offset_delete_request::OffsetDeleteRequestPartition;
            75 0: describe_topic_partitions_request::TopicRequest;
        };
        for (key, version, actual) in structs {
            let schema = Schema::of_request(key, version).unwrap();
            let told = element_sizes(std::str::from_utf8(schema.0).unwrap());
            assert_eq!(told.len(), actual.len(), "API {key} version {version}");
            let covered = told.iter().zip(&actual).all(|(told, actual)| told >= actual);
            assert!(covered, "API {key} version {version}: {told:?} told, {actual:?} in memory");
        }
    }
}

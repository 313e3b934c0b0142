//! Which APIs this node serves, at which versions, and the facts of each that framing needs.
//!
//! [`SUPPORTED`] is the one place that says so: ApiVersions advertises it, `PROTOCOL.md` is
//! generated from it, the connection refuses what it does not hold. `tests/data/apis.tsv` holds
//! Kafka 4.3's own table; a test compares.

pub use kafka_protocol::messages::ApiKey;

/// One served API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiVersionRange {
    pub api: ApiKey,
    /// First and last version that is answered.
    pub min: i16,
    pub max: i16,
    /// First version in the flexible encoding.
    pub flexible_from: Option<i16>,
    /// What ApiVersions says is the first version: 0 for Produce, because librdkafka turns
    /// compression off if versions 0 to 2 are missing (KAFKA-18659).
    pub advertised_min: i16,
}

impl ApiVersionRange {
    pub fn contains(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

const fn api(api: ApiKey, min: i16, max: i16, flexible_from: i16) -> ApiVersionRange {
    ApiVersionRange { api, min, max, flexible_from: Some(flexible_from), advertised_min: min }
}

/// The APIs of this node, by key.
pub const SUPPORTED: &[ApiVersionRange] = &[
    ApiVersionRange { advertised_min: 0, ..api(ApiKey::Produce, 3, 13, 9) },
    api(ApiKey::Fetch, 4, 18, 12),
    api(ApiKey::ListOffsets, 1, 11, 6),
    api(ApiKey::Metadata, 0, 13, 9),
    api(ApiKey::OffsetCommit, 2, 10, 8),
    api(ApiKey::OffsetFetch, 1, 10, 6),
    api(ApiKey::FindCoordinator, 0, 6, 3),
    api(ApiKey::JoinGroup, 0, 9, 6),
    api(ApiKey::Heartbeat, 0, 4, 4),
    api(ApiKey::LeaveGroup, 0, 5, 4),
    api(ApiKey::SyncGroup, 0, 5, 4),
    api(ApiKey::DescribeGroups, 0, 6, 5),
    api(ApiKey::ListGroups, 0, 5, 3),
    api(ApiKey::ApiVersions, 0, 4, 3),
    api(ApiKey::CreateTopics, 2, 7, 5),
    api(ApiKey::DeleteTopics, 1, 6, 4),
    api(ApiKey::DeleteRecords, 0, 2, 2),
    api(ApiKey::InitProducerId, 0, 5, 2),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4, 4),
    api(ApiKey::DescribeConfigs, 1, 4, 4),
    api(ApiKey::AlterConfigs, 0, 2, 2),
    api(ApiKey::DescribeLogDirs, 1, 5, 2),
    api(ApiKey::CreatePartitions, 0, 3, 2),
    api(ApiKey::DeleteGroups, 0, 2, 2),
    api(ApiKey::ElectLeaders, 0, 2, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1, 1),
    api(ApiKey::AlterPartitionReassignments, 0, 1, 0),
    api(ApiKey::ListPartitionReassignments, 0, 0, 0),
    ApiVersionRange { flexible_from: None, ..api(ApiKey::OffsetDelete, 0, 0, 0) },
    api(ApiKey::DescribeQuorum, 0, 2, 0),
    api(ApiKey::UpdateFeatures, 0, 2, 0),
    api(ApiKey::DescribeCluster, 0, 2, 0),
    api(ApiKey::DescribeProducers, 0, 0, 0),
    api(ApiKey::UnregisterBroker, 0, 0, 0),
    api(ApiKey::DescribeTopicPartitions, 0, 0, 0),
    api(ApiKey::AddRaftVoter, 0, 1, 0),
    api(ApiKey::RemoveRaftVoter, 0, 0, 0),
];

/// The range of `api_key`, if this node serves it.
pub fn served_range(api_key: i16) -> Option<&'static ApiVersionRange> {
    SUPPORTED.iter().find(|r| r.api as i16 == api_key)
}

/// Whether a request of this API and version is answered (a connection that sends any other is
/// closed, except for ApiVersions).
pub fn is_served(api_key: i16, version: i16) -> bool {
    served_range(api_key).is_some_and(|r| r.contains(version))
}

/// Whether the body of this API and version is in the flexible encoding; known for served APIs.
pub fn is_flexible(api_key: i16, version: i16) -> bool {
    served_range(api_key).and_then(|r| r.flexible_from).is_some_and(|from| version >= from)
}

/// 1 or 2.
pub fn request_header_version(api_key: i16, version: i16) -> i16 {
    1 + i16::from(is_flexible(api_key, version))
}

/// 0 or 1.
pub fn response_header_version(api_key: i16, version: i16) -> i16 {
    i16::from(api_key != ApiKey::ApiVersions as i16 && is_flexible(api_key, version))
}

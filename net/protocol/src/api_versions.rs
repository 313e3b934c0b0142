//! ApiVersions: the answer that every connection starts with.
//!
//! Rules (KIP-35, KIP-511, KIP-584, KAFKA-17011): an unsupported version is answered in version 0
//! with UNSUPPORTED_VERSION and the range of ApiVersions alone; supported features whose first
//! level is 0 are left out up to version 3; the response header never has tagged fields.

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::{SUPPORTED, served_range};
use crate::codec::{EncodeError, encode_response_as};
use crate::error_code::ErrorCode;
use crate::header::RequestHeader;

/// From this version on, features that start at level 0 may be told.
const LEVEL_ZERO_FROM: i16 = 4;

/// A feature that this node can run, and the level the cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub min_level: i16,
    pub max_level: i16,
    /// 0: not finalized, and then not listed as such.
    pub finalized_level: i16,
}

/// The regular answer. `features_epoch` is -1 as long as nothing was finalized.
pub fn response(version: i16, features: &[Feature], features_epoch: i64) -> ApiVersionsResponse {
    let supported = features
        .iter()
        .filter(|f| f.min_level > 0 || version >= LEVEL_ZERO_FROM)
        .map(|f| {
            SupportedFeatureKey::default()
                .with_name(StrBytes::from_static_str(f.name))
                .with_min_version(f.min_level)
                .with_max_version(f.max_level)
        })
        .collect();
    let finalized = features
        .iter()
        .filter(|f| f.finalized_level > 0)
        .map(|f| {
            FinalizedFeatureKey::default()
                .with_name(StrBytes::from_static_str(f.name))
                .with_min_version_level(f.finalized_level)
                .with_max_version_level(f.finalized_level)
        })
        .collect();
    ApiVersionsResponse::default()
        .with_api_keys(SUPPORTED.iter().map(|r| key(r.api, r.advertised_min, r.max)).collect())
        .with_supported_features(supported)
        .with_finalized_features_epoch(features_epoch)
        .with_finalized_features(finalized)
}

/// The answer to a version that is not served, as a whole frame.
pub fn unsupported_version(header: &RequestHeader) -> Result<Bytes, EncodeError> {
    let own = served_range(ApiKey::ApiVersions as i16).map(|r| key(r.api, r.min, r.max));
    let body = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(own.into_iter().collect());
    encode_response_as(header, 0, &body)
}

fn key(api: ApiKey, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default().with_api_key(api as i16).with_min_version(min).with_max_version(max)
}

/// Whether a client's software name or version is well formed
/// (`[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`); otherwise the answer is INVALID_REQUEST.
pub fn is_software_name(name: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(name.as_bytes().first())
        && ends(name.as_bytes().last())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_response, encode_response};

    const FEATURES: &[Feature] = &[
        Feature { name: "metadata.version", min_level: 7, max_level: 30, finalized_level: 30 },
        Feature { name: "group.version", min_level: 0, max_level: 1, finalized_level: 0 },
    ];

    fn header(version: i16) -> RequestHeader {
        RequestHeader { api_key: 18, api_version: version, correlation_id: 9, client_id: None }
    }

    #[test]
    fn produce_is_advertised_from_version_0_and_all_versions_of_the_answer_come_back() {
        for version in 0..=4 {
            let body = response(version, FEATURES, 5);
            let frame = encode_response(&header(version), &body).unwrap();
            assert_eq!(&frame[..4], ((frame.len() - 4) as u32).to_be_bytes());
            let (id, back): (i32, ApiVersionsResponse) =
                decode_response(frame.slice(4..), version).unwrap();
            assert_eq!((id, back.api_keys.len()), (9, SUPPORTED.len()));
            assert_eq!((back.api_keys[0].api_key, back.api_keys[0].min_version), (0, 0));
            let features = back.supported_features.len();
            assert_eq!(features, [0, 0, 0, 1, 2][version as usize], "version {version}");
            assert_eq!(back.finalized_features.len(), usize::from(version >= 3));
        }
    }

    #[test]
    fn an_unsupported_version_is_answered_in_version_0_with_the_own_range() {
        let frame = unsupported_version(&header(99)).unwrap();
        let (_, back): (i32, ApiVersionsResponse) = decode_response(frame.slice(4..), 0).unwrap();
        assert_eq!(back.error_code, 35);
        let ranges: Vec<_> =
            back.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version)).collect();
        assert_eq!(ranges, [(18, 0, 4)]);
    }

    #[test]
    fn software_names_are_judged_as_kafka_judges_them() {
        for good in ["a", "1.0-SNAPSHOT", "v1", "apache-kafka-java"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "1.0 ", "1_0", "1.", "-1", "ü"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}

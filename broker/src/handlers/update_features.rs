//! UpdateFeatures (key 57): levels of features finalized for the whole cluster (KIP-584, KIP-778).
//!
//! A level says what all nodes understand. There is one level that every version of Millrace so far understands, so an
//! update either asks for what is finalized already or is refused; nothing is recorded. Source of the order of refusals:
//! Kafka's `FeatureControlManager.updateFeature`.

use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::update_features_response::UpdatableFeatureResult;
use protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use protocol::{ErrorCode, StrBytes};

use super::Call;
use super::api_versions::FEATURES;

/// The first and the last kind of change that a request names.
const UPGRADE: i8 = 1;
const UNSAFE_DOWNGRADE: i8 = 3;
/// Up to this version the answer names each feature.
const RESULTS_TO: i16 = 1;

/// Answers a request.
pub async fn handle(call: Call, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    answer(&request, call.version())
}

fn answer(request: &UpdateFeaturesRequest, version: i16) -> UpdateFeaturesResponse {
    let updates = &request.feature_updates;
    if let Some(reason) = updates.iter().find_map(|update| refusal(update, version)) {
        let message = format!(
            "The update failed for all features since the following feature had an error: {reason}"
        );
        return UpdateFeaturesResponse::default()
            .with_error_code(ErrorCode::InvalidUpdateVersion.code())
            .with_error_message(Some(StrBytes::from_string(message)));
    }
    let result = |update: &FeatureUpdateKey| {
        UpdatableFeatureResult::default()
            .with_feature(update.feature.clone())
            .with_error_message(Some(StrBytes::from_static_str(ErrorCode::None.name())))
    };
    let results = match version <= RESULTS_TO {
        true => updates.iter().map(result).collect(),
        false => Vec::new(),
    };
    UpdateFeaturesResponse::default().with_error_message(None).with_results(results)
}

/// Why a feature stays at its level; nothing if that is the level asked for.
fn refusal(update: &FeatureUpdateKey, version: i16) -> Option<String> {
    let (name, level) = (&*update.feature, update.max_version_level);
    // Before version 1 a request only says whether it may be a downgrade.
    let is_known_kind = version == 0 || (UPGRADE..=UNSAFE_DOWNGRADE).contains(&update.upgrade_type);
    let known = FEATURES.iter().find(|feature| feature.name == name);
    let reason = match known {
        _ if !is_known_kind => "The controller does not support the given upgrade type.".to_owned(),
        _ if level < 0 => "A feature version cannot be less than 0.".to_owned(),
        None => "This cluster does not know the feature.".to_owned(),
        Some(feature) if level == feature.finalized_level => return None,
        Some(feature) => {
            format!("This cluster has the feature at level {} alone.", feature.finalized_level)
        }
    };
    Some(format!("Invalid update version {level} for feature {name}. {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(feature: &'static str, level: i16, kind: i8, version: i16) -> UpdateFeaturesResponse {
        let update = FeatureUpdateKey::default()
            .with_feature(StrBytes::from_static_str(feature))
            .with_max_version_level(level)
            .with_upgrade_type(kind);
        answer(&UpdateFeaturesRequest::default().with_feature_updates(vec![update]), version)
    }

    #[test]
    fn only_the_level_that_is_finalized_already_is_taken() {
        let level = FEATURES[0].finalized_level;
        let taken = asked("metadata.version", level, UPGRADE, 1);
        assert_eq!((taken.error_code, taken.error_message, taken.results.len()), (0, None, 1));
        assert!(asked("metadata.version", level, UPGRADE, 2).results.is_empty());
        for (feature, level, kind) in [
            ("metadata.version", level - 1, UNSAFE_DOWNGRADE),
            ("metadata.version", level + 1, UPGRADE),
            ("metadata.version", level, 0),
            ("transaction.version", 0, UPGRADE),
            ("transaction.version", -1, UPGRADE),
        ] {
            let refused = asked(feature, level, kind, 2);
            assert_eq!(refused.error_code, ErrorCode::InvalidUpdateVersion.code(), "{feature}");
            let message = refused.error_message.expect("the reason");
            assert!(message.contains(&format!("version {level} for feature {feature}")));
        }
    }
}

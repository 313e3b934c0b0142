//! DeleteTopics (key 20): by name, or by id from version 6 on (KIP-516).

use std::collections::BTreeSet;

use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use protocol::{ErrorCode, StrBytes, Uuid};

use super::Refusal;
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::ids::TopicId;
use crate::metadata::{Image, MetadataRecord, Topic};
use crate::shard::Change;

/// Topics stand in a list of states from this version on.
const STATES_FROM: i16 = 6;
/// TOPIC_DELETION_DISABLED is known from this version on.
const DISABLED_FROM: i16 = 3;

/// Answers a request.
pub async fn handle(call: Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let version = call.version();
    let asked = match version >= STATES_FROM {
        true => request.topics,
        false => {
            let names = request.topic_names.into_iter();
            let state = |name| DeleteTopicState::default().with_name(Some(name));
            names.map(state).collect()
        }
    };
    if !call.shard.node.config.delete_topics {
        let refusal = match version >= DISABLED_FROM {
            true => ErrorCode::TopicDeletionDisabled,
            false => ErrorCode::InvalidRequest,
        };
        return refuse_all(&asked, &Refusal::new(refusal, "Topic deletion is disabled."));
    }
    let shared = asked.clone();
    let delete = move |image: &Image| decide(image, &shared);
    match call.shard.change_metadata(delete).await {
        Ok(responses) => DeleteTopicsResponse::default().with_responses(responses),
        Err(error) => refuse_all(&asked, &Refusal::new(error.code(), error.to_string())),
    }
}

fn refuse_all(asked: &[DeleteTopicState], refusal: &Refusal) -> DeleteTopicsResponse {
    let responses = asked.iter().map(|state| refused(state, refusal.clone()));
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

/// Topics named twice are refused once; of a name and an id of the same topic the later one is.
pub(super) fn decide(
    image: &Image,
    asked: &[DeleteTopicState],
) -> Change<Vec<DeletableTopicResult>> {
    let (mut records, mut answer) = (Vec::new(), Vec::new());
    let mut deleted = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for state in asked {
        let same = |other: &&DeleteTopicState| key(other) == key(state);
        // who gives both or neither is told so each time
        let is_named = state.name.is_some() == state.topic_id.is_nil();
        let is_repeated = is_named && asked.iter().filter(same).count() > 1;
        if is_repeated && !repeated.insert(key(state)) {
            continue;
        }
        let found = match is_repeated {
            true => Err(duplicate(state)),
            false => find(image, state),
        };
        let found = found.and_then(|topic| match deleted.insert(topic.id) {
            true => Ok(topic),
            false => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "The provided topic name maps to an ID that was already supplied.",
            )),
        });
        match found {
            Ok(topic) => {
                records.push(MetadataRecord::DeleteTopic { topic: topic.id });
                answer.push(
                    DeletableTopicResult::default()
                        .with_name(Some(name_of(topic)))
                        .with_topic_id(Uuid::from_bytes(topic.id.0)),
                );
            }
            Err(refusal) => answer.push(refused(state, refusal)),
        }
    }
    Change { records, answer }
}

fn key(state: &DeleteTopicState) -> (Option<&str>, Uuid) {
    let name = state.name.as_deref().map(|name| &**name);
    (name, state.topic_id)
}

fn duplicate(state: &DeleteTopicState) -> Refusal {
    let what = match &state.name {
        Some(_) => "Duplicate topic name.",
        None => "Duplicate topic id.",
    };
    Refusal::new(ErrorCode::InvalidRequest, what)
}

fn find<'a>(image: &'a Image, state: &DeleteTopicState) -> Result<&'a Topic, Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    match (&state.name, state.topic_id.is_nil()) {
        (Some(_), false) => invalid("You may not specify both topic name and topic id."),
        (None, true) => invalid("Neither topic name nor id were specified."),
        (Some(name), true) => image.topic(name).map(|topic| &**topic).ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )
        }),
        (None, false) => {
            let topic = image.topic_by_id(TopicId(state.topic_id.into_bytes()));
            topic.map(|topic| &**topic).ok_or_else(|| {
                Refusal::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
            })
        }
    }
}

fn name_of(topic: &Topic) -> TopicName {
    TopicName(StrBytes::from_string(topic.name.to_string()))
}

fn refused(state: &DeleteTopicState, refusal: Refusal) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(state.name.clone())
        .with_topic_id(state.topic_id)
        .with_error_code(refusal.error.code())
        .with_error_message(refusal.wire_message())
}

//! OffsetFetch.
//!
//! An answer waits until everything it shows is committed, so whether the client asked for stable
//! offsets makes no difference here.

use crate::group::Group;
use crate::{
    FetchedTopic, GroupCoordinator, OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopic,
    RequestToken, Response,
};

impl GroupCoordinator {
    pub(crate) fn fetch_offsets(&mut self, token: RequestToken, request: OffsetFetchRequest) {
        let group = self.groups.get(&request.group_id);
        let topics = match request.topics {
            Some(topics) => topics.into_iter().map(|topic| fetch_topic(group, topic)).collect(),
            None => group.map(fetch_all).unwrap_or_default(),
        };
        let response = OffsetFetchResponse { error: None, topics };
        self.respond_committed(token, Response::OffsetFetch(response));
    }
}

fn fetch_topic(group: Option<&Group>, topic: OffsetFetchTopic) -> FetchedTopic {
    let committed = group.and_then(|group| group.offsets.topic(&topic.name));
    let fetch = |partition: i32| {
        let offset = committed.and_then(|offsets| offsets.get(&partition));
        (partition, offset.filter(|offset| offset.is_of_topic(&topic.topic_id)).cloned())
    };
    FetchedTopic {
        partitions: topic.partitions.iter().map(|partition| fetch(*partition)).collect(),
        name: topic.name,
    }
}

fn fetch_all(group: &Group) -> Vec<FetchedTopic> {
    group
        .offsets
        .topics()
        .map(|(name, partitions)| FetchedTopic {
            name: name.clone(),
            partitions: partitions
                .iter()
                .map(|(partition, offset)| (*partition, Some(offset.clone())))
                .collect(),
        })
        .collect()
}

//! A group without members: its offsets are committed and asked for again, whichever node coordinates it.

use super::Cluster;
use super::client::Client;
use crate::shared::{RETRY_PAUSE, text, topic_name};
use crate::wire::Lost;
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest,
};
use runtime::time::sleep;
use std::rc::Rc;
use std::time::Duration;

/// Old answers in a row, each a while after the one before: none comes from somebody who leads no more.
const STALE_MAX: u32 = 100;

struct Committer {
    client: Client,
    group: String,
    coordinator: Option<usize>,
}

/// Commits ever larger offsets; one that was acknowledged must be told from then on, or a later one that was asked for.
pub async fn commit(cluster: Rc<Cluster>) {
    let group = format!("g{}", cluster.process());
    let mut committer = Committer { client: Client::new(&cluster), group, coordinator: None };
    let (mut acknowledged, mut asked) = (-1, -1);
    let (mut last, mut stale) = (false, 0);
    loop {
        asked += 1;
        match committer.commit_one(asked).await {
            Ok(true) => {
                cluster.mark("an offset was committed");
                acknowledged = asked;
            }
            Ok(false) => {}
            Err(error) => return cluster.violation(format!("a commit was answered {error:?}")),
        }
        if last || cluster.below(3) == 0 {
            match committer.fetch().await {
                Ok(Some(told)) if (acknowledged..=asked).contains(&told) => stale = 0,
                Ok(None) if !last => {}
                Ok(None) => continue,
                // As in Kafka, a coordinator that cannot know yet that another one took over says what it knows.
                Ok(Some(told)) if told < acknowledged && stale < STALE_MAX => {
                    cluster.mark("an old coordinator told an old offset");
                    committer.coordinator = None;
                    stale += 1;
                    sleep(RETRY_PAUSE).await;
                    continue;
                }
                Ok(Some(told)) => {
                    let what = format!("offset {told} is told; {acknowledged} was committed");
                    return cluster.violation(format!("group {}: {what}", committer.group));
                }
                Err(error) => {
                    return cluster.violation(format!("an offset fetch was answered {error:?}"));
                }
            }
        }
        if last {
            return;
        }
        last = cluster.quiet.get();
        sleep(Duration::from_millis(cluster.below(1_000))).await;
    }
}

impl Committer {
    async fn coordinator(&mut self) -> Option<usize> {
        if self.coordinator.is_none() {
            let request = FindCoordinatorRequest::default()
                .with_key_type(0)
                .with_coordinator_keys(vec![text(&self.group)]);
            let answer = self.client.ask_any(&request).await;
            let found = answer.coordinators.first()?;
            self.coordinator = usize::try_from(found.node_id.0 - 1).ok();
        }
        self.coordinator
    }

    /// Whether it was acknowledged; an error only if it never will be.
    async fn commit_one(&mut self, offset: i64) -> Result<bool, Option<ErrorCode>> {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(-1);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name("t0"))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id_or_member_epoch(-1)
            .with_member_id(text(""))
            .with_topics(vec![topic]);
        let Some(node) = self.coordinator().await else {
            sleep(RETRY_PAUSE).await;
            return Ok(false);
        };
        let answer = self.client.ask(node, &request).await;
        let code = answer.map(|answer| answer.topics[0].partitions[0].error_code);
        self.judge(code).await
    }

    /// The offset that is told, if one is known at all.
    async fn fetch(&mut self) -> Result<Option<i64>, Option<ErrorCode>> {
        let Some(node) = self.coordinator().await else {
            sleep(RETRY_PAUSE).await;
            return Ok(None);
        };
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name("t0"))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_topics(Some(vec![topic]));
        let request =
            OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
        let answer = self.client.ask(node, &request).await;
        let told = answer.map(|answer| {
            let group = &answer.groups[0];
            let partition = group.topics.first().and_then(|topic| topic.partitions.first());
            let told = partition.map_or((0, -1), |at| (at.error_code, at.committed_offset));
            if group.error_code != 0 { (group.error_code, -1) } else { told }
        });
        let (code, offset) = match told {
            Ok((code, offset)) => (Ok(code), offset),
            Err(Lost) => (Err(Lost), -1),
        };
        Ok(self.judge(code).await?.then_some(offset))
    }

    async fn judge(&mut self, code: Result<i16, Lost>) -> Result<bool, Option<ErrorCode>> {
        let error = match code {
            Ok(code) => ErrorCode::from_code(code),
            Err(Lost) => Some(ErrorCode::NotCoordinator),
        };
        match error {
            Some(ErrorCode::None) => Ok(true),
            Some(error) if error.is_retriable() => {
                self.coordinator = None;
                sleep(RETRY_PAUSE).await;
                Ok(false)
            }
            error => Err(error),
        }
    }
}

//! Partition directories that no partition of this node has any more.
//!
//! - Of topics that are gone: a crash between the commit of a topic's deletion and the renames of its directories leaves
//!   them, and the next start would keep them for ever. Kafka calls them stray partitions.
//! - Of partitions that other nodes have now: they moved while this node was away.
//!
//! Lives on: the metadata shard, once per start, with the image in which this node is registered: everything committed
//! before is in it. A node of a cluster has opened no partition then, and opens what that very image says
//! ([`Shard::begin_to_host`]), so nothing judged here is in use.
//!
//! A directory goes only if its `partition.metadata` names what is not this node's; without that file only if it holds
//! nothing. One that has the name of a partition of this node is left to that partition (`Log::prepare`), unless this node
//! writes none yet. A partition that moved may come back, and then a checkpoint must not speak of files that are gone: so
//! its directory goes after checkpoints that do not name it, and until then it is not opened here.
//!
//! Where the cluster was recovered without its majority, a topic or a move may be unknown although nobody deleted or undid
//! it: such directories are kept under another name, and said.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::fs;
use runtime::task::{self, Class};
use runtime::time::sleep;
use storage::log::{Aside, DirOwner, LogError, owner_of_dir, put_aside};

use super::Shard;
use crate::ids::{PartitionId, TopicId};
use crate::metadata::{Image, Topic};

/// Between attempts at checkpoints that do not name what moved away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Directories of partitions that other nodes have now.
#[derive(Default)]
pub(crate) struct MovedAway {
    dirs: BTreeMap<PartitionId, PathBuf>,
    doomed: bool,
}

impl Shard {
    /// Renames what belongs to no topic, so that it is removed with other deleted directories, and keeps what belongs to
    /// other nodes' partitions from being opened: [`Shard::delete_moved_away`] takes it.
    pub(crate) async fn rename_strays(self: &Rc<Self>, image: &Image) -> MovedAway {
        let dir = &self.node.config.data_dir;
        let looked = self.look_for_strays(image, dir).await;
        looked.unwrap_or_else(|error| {
            tracing::warn!(%error, "directories of deleted topics may stay");
            MovedAway::default()
        })
    }

    async fn look_for_strays(&self, image: &Image, dir: &Path) -> Result<MovedAway, LogError> {
        let listed = fs::read_dir(dir).await.map_err(|error| unreadable(dir, &error))?;
        // The records of a recovery that is under way come later.
        let recovers = self.node.goes_on_alone.load(Ordering::Relaxed);
        let doomed = !recovers && !image.may_have_forgotten();
        let (mut strays, mut dirs) = (Vec::new(), BTreeMap::new());
        for entry in listed.into_iter().filter(|entry| entry.is_dir) {
            let Some((topic, index)) = partition_of(&entry.name) else { continue };
            if self.is_expected(image, topic, index) {
                continue;
            }
            let path = dir.join(&entry.name);
            match owner_of_dir(&path).await? {
                DirOwner::Unfinished => strays.push(path),
                DirOwner::Unknown => {}
                DirOwner::Topic(id) => {
                    let id = PartitionId { topic: TopicId(id), index };
                    match image.topic_by_id(id.topic) {
                        None => strays.push(path),
                        Some(_) if self.moved_away(image, id) => drop(dirs.insert(id, path)),
                        Some(_) => {}
                    }
                }
            }
        }
        if let Some(cluster) = self.cluster() {
            cluster.leaving.borrow_mut().extend(dirs.keys().copied());
        }
        rename(&strays, if doomed { Aside::Doomed } else { Aside::Stray }).await?;
        Ok(MovedAway { dirs, doomed })
    }

    /// Whether a partition of this node has that name.
    fn is_expected(&self, image: &Image, topic: &str, index: i32) -> bool {
        image.topic(topic).is_some_and(|topic| {
            let id = PartitionId { topic: topic.id, index };
            match self.cluster() {
                Some(_) => is_of_this_node(image, topic, id),
                None => self.recovered_logs.borrow().contains_key(&id),
            }
        })
    }

    fn moved_away(&self, image: &Image, id: PartitionId) -> bool {
        self.cluster().is_some()
            && image.topic_by_id(id.topic).is_some_and(|topic| {
                image.placement(topic, id.index).is_some() && !is_of_this_node(image, topic, id)
            })
    }

    /// Takes the directories of partitions that moved away out of the way, when the start is over; behind the caller.
    pub(crate) fn delete_moved_away(self: &Rc<Self>, moved: MovedAway) {
        if !moved.dirs.is_empty() {
            task::spawn(Class::Background, self.clone().forget_moved_away(moved)).detach();
        }
    }

    async fn forget_moved_away(self: Rc<Self>, moved: MovedAway) {
        let Some(cluster) = self.cluster().cloned() else { return };
        let forgotten = |there: Rc<Shard>| async move { there.has_forgotten().await };
        while !self.all_shards(forgotten).await {
            sleep(RETRY_AFTER).await;
        }
        let dirs: Vec<PathBuf> = moved.dirs.values().cloned().collect();
        let gone = match moved.doomed {
            true => self.log_store.delete_dirs(&dirs).await,
            false => rename(&dirs, Aside::Stray).await,
        };
        match gone {
            Ok(()) => tracing::info!(
                partitions = dirs.len(),
                "partitions moved to other nodes while this one was away: their files are removed"
            ),
            // They stay barred: what comes back would take these files for its own.
            Err(error) => {
                tracing::warn!(%error, "files of moved partitions stay until the next start");
                return;
            }
        }
        cluster.leaving.borrow_mut().retain(|id| !moved.dirs.contains_key(id));
    }
}

/// Whether it is here or on its way here.
fn is_of_this_node(image: &Image, topic: &Topic, id: PartitionId) -> bool {
    let placement = image.placement(topic, id.index);
    placement.is_some_and(|placement| placement.replicas.contains(&image.node))
        || image.is_coming(id, image.node)
}

/// What Kafka keeps of its own where it has formatted the directory.
const KAFKA_METADATA: &str = "__cluster_metadata";

/// Topic and partition of a directory that is not being deleted.
fn partition_of(name: &str) -> Option<(&str, i32)> {
    let (topic, index) = name.rsplit_once('-')?;
    let index: u32 = index.parse().ok()?;
    Some((topic, i32::try_from(index).ok()?))
        .filter(|(topic, _)| !topic.is_empty() && *topic != KAFKA_METADATA)
}

async fn rename(strays: &[PathBuf], aside: Aside) -> Result<(), LogError> {
    for (dir, renamed) in strays.iter().zip(put_aside(strays, aside).await?) {
        match renamed {
            Some(kept) if aside == Aside::Stray => tracing::warn!(
                dir = %kept.display(),
                "the recovered cluster does not know these records as this node's: they are kept there; delete them if they are not wanted"
            ),
            Some(_) => tracing::info!(dir = %dir.display(), "its topic was deleted: it is removed"),
            None => {}
        }
    }
    Ok(())
}

fn unreadable(dir: &Path, error: &io::Error) -> LogError {
    LogError::Io {
        operation: "list",
        file: dir.to_path_buf(),
        kind: error.kind(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn directories_of_partitions_are_told_from_others() {
        assert_eq!(partition_of("a-b-17"), Some(("a-b", 17)));
        assert_eq!(partition_of("t--1"), Some(("t-", 1)), "a topic may end with a dash");
        for other in ["t", "-3", "t-x", "t-0.0123-delete", "lost+found", "__cluster_metadata-0"] {
            assert_eq!(partition_of(other), None, "{other}");
        }
    }
}

//! Partition directories of topics that are gone.
//!
//! A crash between the commit of a topic's deletion and the renames of its directories leaves them: the next start does
//! not know the topic and would keep them for ever. Kafka calls them stray partitions.
//!
//! Lives on: the metadata shard, once per start, when the image is that of now: everything committed before this node
//! registered is applied. Directories are listed before that image is taken, so whatever was made meanwhile is not judged.
//! A directory goes only if its `partition.metadata` names a topic that is not in the image; without that file only if it
//! holds nothing. One that has the name of a partition that is in the image is left to that partition
//! (`Log::prepare`), unless this node writes none yet. Where the cluster was recovered without its majority, a topic may
//! be unknown although nobody deleted it: its directories are kept under another name, and said.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use runtime::fs;
use storage::log::{Aside, DirOwner, LogError, owner_of_dir, put_aside};

use super::Shard;
use crate::ids::TopicId;
use crate::metadata::Image;

impl Shard {
    /// Renames what belongs to nobody, so that it is removed with other deleted directories.
    pub(crate) async fn rename_strays(self: &Rc<Self>) {
        let dir = &self.node.config.data_dir;
        if let Err(error) = self.look_for_strays(dir).await {
            tracing::warn!(%error, "directories of deleted topics may stay");
        }
    }

    async fn look_for_strays(&self, dir: &Path) -> Result<(), LogError> {
        let listed = fs::read_dir(dir).await.map_err(|error| unreadable(dir, &error))?;
        let before = self.metadata_writer().latest();
        let mut owners = BTreeMap::new();
        for entry in listed.into_iter().filter(|entry| entry.is_dir) {
            if !self.is_expected(&before, &entry.name) {
                let path = dir.join(&entry.name);
                owners.insert(path.clone(), owner_of_dir(&path).await?);
            }
        }
        let image = self.metadata_writer().latest();
        // The records of a recovery that is under way come later.
        let recovers = self.node.goes_on_alone.load(Ordering::Relaxed);
        let aside = match recovers || image.may_have_forgotten() {
            true => Aside::Stray,
            false => Aside::Doomed,
        };
        owners.retain(|_, owner| is_stray(&image, *owner));
        rename(&owners.into_keys().collect::<Vec<_>>(), aside).await
    }

    /// Names that no stray has; the others are looked at.
    fn is_expected(&self, image: &Image, name: &str) -> bool {
        let Some((topic, index)) = partition_of(name) else {
            return true;
        };
        let there = image.topic(topic).filter(|topic| {
            usize::try_from(index).is_ok_and(|index| index < topic.partitions.len())
        });
        // In a cluster partitions may be at work already.
        there.is_some_and(|topic| {
            let id = crate::ids::PartitionId { topic: topic.id, index };
            self.cluster().is_some() || self.recovered_logs.borrow().contains_key(&id)
        })
    }
}

fn is_stray(image: &Image, owner: DirOwner) -> bool {
    match owner {
        DirOwner::Topic(id) => image.topic_by_id(TopicId(id)).is_none(),
        DirOwner::Unfinished => true,
        DirOwner::Unknown => false,
    }
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
                "the recovered cluster does not know this topic: its records are kept there; delete them if they are not wanted"
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

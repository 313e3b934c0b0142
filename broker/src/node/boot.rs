//! From a data directory to a serving node, and back.
//!
//! Order on every start:
//! 1. shard 0 opens the data directory and tells every shard which WAL streams exist;
//! 2. each shard reads its stream (and those left over from a larger number of shards) and sends what it found to
//!    shard 0, which picks the newest copy of each Raft group and hands every group to the shard that hosts it now;
//! 3. shard 0 brings up the metadata group, registers this node, creates missing data groups and publishes the image; in a
//!    cluster of several nodes it waits for a leader of the group, and has then applied all that others did;
//! 4. every shard creates its partitions from the image and brings up its data groups, which replays their entries;
//! 5. listeners open on every shard; the node is ready.
//!
//! A shard that fails says why once and aborts the others; nothing has been acknowledged by then.

use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::{Either, join_all, select};
use raft_group::{GroupError, RecoveredGroup, newest_of};
use runtime::shards::{Context, Mailbox, ShardId};
use storage::checkpoint::LogCheckpoint;
use storage::wal::{Wal, WalError, WalReader};

use super::data_dir::Formation;
use super::foreign_data::{self, ForeignData};
use super::recovery::{self, RecoveredStream, StreamError};
use super::{DataDirError, NodeContext, data_dir, lost_majority, serving, takeover};
use crate::ids::{PartitionId, RaftGroupId};
use crate::metadata::hosting_shard;
use crate::shard::{
    CheckpointFailure, METADATA_SHARD, Message, MovedAway, RecoveredLog, Shard, keep_newer,
    newest_logs,
};

/// Raft groups and the segments of partitions, on their way to the shards that host them.
#[derive(Default)]
pub struct Recovered {
    groups: Vec<RecoveredGroup>,
    logs: BTreeMap<String, LogCheckpoint>,
}

/// What shards tell each other before they serve.
pub enum BootMessage {
    /// From shard 0: the data directory is open; these streams exist.
    Opened(Arc<Vec<u16>>),
    /// To shard 0: what the sender's streams hold.
    Recovered(Recovered),
    /// From shard 0: the groups that the receiver hosts, and the segments of all partitions.
    Hosted(Vec<RecoveredGroup>, Arc<BTreeMap<PartitionId, RecoveredLog>>),
}

/// What a shard starts with.
struct Start {
    reader: WalReader,
    carried: BTreeMap<String, LogCheckpoint>,
    metadata: Option<(Vec<u8>, u64)>,
}

/// What a shard is to host. On shard 0 also the copies of groups that are left over in other streams.
#[derive(Default)]
struct Hosted {
    groups: Vec<RecoveredGroup>,
    logs: Arc<BTreeMap<PartitionId, RecoveredLog>>,
    left_over: Vec<(u16, RaftGroupId)>,
}

/// Why a node does not start; each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is in it.
    #[error(transparent)]
    Foreign(#[from] ForeignData),
    /// Recovery.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The WAL.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Raft.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The checkpoint after a change of the number of shards.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointFailure),
    /// Sockets.
    #[error("{0}")]
    Listen(String),
    /// Metadata.
    #[error("{0}")]
    Metadata(String),
    /// Another shard failed and has said why.
    #[error("another shard could not start")]
    Aborted,
    /// A signal: what a start has done so far is as after a crash.
    #[error("the node was asked to stop while it started")]
    Stopped,
}

/// The whole life of one shard.
pub async fn shard_main(context: Context<Message>, node: Arc<NodeContext>) {
    let (id, count, mailbox) = (context.id, context.count, context.mailbox);
    let result = live(id, count, mailbox.clone(), node.clone()).await;
    if let Err(error) = result {
        if !matches!(error, BootError::Aborted | BootError::Stopped) {
            node.fail(error.to_string());
        }
        for to in (0..count as u16).map(ShardId).filter(|to| *to != id) {
            mailbox.send(to, Message::Abort);
        }
    }
}

async fn live(
    id: ShardId,
    count: usize,
    mailbox: Mailbox<Message>,
    node: Arc<NodeContext>,
) -> Result<(), BootError> {
    let boot = Boot { id, count, mailbox, node };
    let streams = boot.open().await?;
    let (start, found) = boot.recover(&streams).await?;
    let hosted = boot.exchange(found).await?;
    let wal = Wal::start(start.reader, recovery::wal_options(&boot.node.config)).await?;
    let shard = Shard::new(id, count, boot.node.clone(), boot.mailbox.clone(), wal);
    shard.open_file_system().await;
    shard.keep_recovered(hosted.groups);
    shard.keep_recovered_logs(hosted.logs);
    shard.carry(start.carried);
    if let Some((records, index)) = start.metadata.filter(|_| id == METADATA_SHARD) {
        shard.metadata_writer().restore(&records, index).map_err(BootError::Metadata)?;
    }
    shard.run_background();
    if id == METADATA_SHARD {
        let mut stop = Box::pin(serving::stop_requested());
        let boot = pin!(lead_boot(&shard, &streams, hosted.left_over));
        // A shard that could not start answers no call, and a majority may never come: what waits for them would wait
        // for ever.
        match select(boot, select(pin!(shard.finished()), stop.as_mut())).await {
            Either::Left((booted, _)) => booted?,
            Either::Right((Either::Left(_), _)) => return Err(BootError::Aborted),
            Either::Right((Either::Right(_), _)) => return Err(BootError::Stopped),
        }
        // In this order: who is told that the node is ready may stop it at once.
        serving::stop_in_order(&shard, stop);
        shard.node.set_ready(true);
        (shard.node.on_ready)(&shard.node);
    }
    shard.finished().await;
    Ok(())
}

struct Boot {
    id: ShardId,
    count: usize,
    mailbox: Mailbox<Message>,
    node: Arc<NodeContext>,
}

impl Boot {
    fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let me = self.id;
        (0..self.count as u16).map(ShardId).filter(move |to| *to != me)
    }

    async fn receive(&self) -> Result<(ShardId, BootMessage), BootError> {
        match self.mailbox.recv().await {
            (from, Message::Boot(message)) => Ok((from, *message)),
            (_, Message::Abort) => Err(BootError::Aborted),
            (from, _) => {
                let text = format!("shard {from} called before this shard was up");
                Err(BootError::Metadata(text))
            }
        }
    }

    fn send(&self, to: ShardId, message: BootMessage) {
        self.mailbox.send(to, Message::Boot(Box::new(message)));
    }

    async fn open(&self) -> Result<Arc<Vec<u16>>, BootError> {
        if self.id != METADATA_SHARD {
            return match self.receive().await? {
                (_, BootMessage::Opened(streams)) => Ok(streams),
                _ => Err(BootError::Aborted),
            };
        }
        let config = &self.node.config;
        foreign_data::refuse(&config.data_dir, data_dir::PRIVATE).await?;
        let formation = match config.quorum.is_clustered() {
            true => Formation::Agreed,
            false => Formation::Alone,
        };
        let identity = data_dir::open(&config.data_dir, config.node_id, formation).await?;
        let _ = self.node.identity.set(identity);
        let alone = lost_majority::is_asked_for(&config.data_dir).await?;
        self.node.goes_on_alone.store(alone, Ordering::Relaxed);
        takeover::begin(&config.data_dir).await.map_err(StreamError::from)?;
        let streams = Arc::new(data_dir::streams(&config.data_dir).await?);
        for to in self.others() {
            self.send(to, BootMessage::Opened(streams.clone()));
        }
        Ok(streams)
    }

    /// Reads the own stream and those left over that fall to this shard.
    async fn recover(&self, streams: &[u16]) -> Result<(Start, Recovered), BootError> {
        let config = &self.node.config;
        let own = recovery::read_stream(&config.data_dir, self.id.0, config).await?;
        let RecoveredStream { mut groups, mut logs, metadata, reader } = own;
        for stream in left_over_streams(streams, self.count) {
            if usize::from(stream) % self.count == self.id.index() {
                let other = recovery::read_stream(&config.data_dir, stream, config).await?;
                groups.extend(other.groups);
                for (name, log) in other.logs {
                    keep_newer(&mut logs, name, log);
                }
            }
        }
        let start = Start { reader, carried: logs.clone(), metadata };
        Ok((start, Recovered { groups, logs }))
    }

    /// Gives every Raft group to the shard that hosts it now; returns those of this shard.
    async fn exchange(&self, found: Recovered) -> Result<Hosted, BootError> {
        if self.id != METADATA_SHARD {
            self.send(METADATA_SHARD, BootMessage::Recovered(found));
            return match self.receive().await? {
                (_, BootMessage::Hosted(groups, logs)) => {
                    Ok(Hosted { groups, logs, left_over: Vec::new() })
                }
                _ => Err(BootError::Aborted),
            };
        }
        let mut groups = found.groups;
        let mut logs: Vec<_> = found.logs.into_iter().collect();
        for _ in self.others() {
            match self.receive().await? {
                (_, BootMessage::Recovered(other)) => {
                    groups.extend(other.groups);
                    logs.extend(other.logs);
                }
                _ => return Err(BootError::Aborted),
            }
        }
        let newest = newest_of(groups);
        let logs = Arc::new(newest_logs(logs));
        let mut by_shard: BTreeMap<ShardId, Vec<RecoveredGroup>> = BTreeMap::new();
        let mut left_over = newest.left_over;
        for group in newest.groups {
            let host = hosting_shard(group.raft_group, self.count);
            if group.stream != host.0 {
                left_over.push((group.stream, group.raft_group));
            }
            by_shard.entry(host).or_default().push(group);
        }
        for to in self.others() {
            let groups = by_shard.remove(&to).unwrap_or_default();
            self.send(to, BootMessage::Hosted(groups, logs.clone()));
        }
        let groups = by_shard.remove(&self.id).unwrap_or_default();
        Ok(Hosted { groups, logs, left_over })
    }
}

/// Streams of shards that this start does not have.
fn left_over_streams(streams: &[u16], count: usize) -> impl Iterator<Item = u16> + '_ {
    streams.iter().copied().filter(move |s| usize::from(*s) >= count)
}

/// Steps 3 to 5, from the metadata shard.
async fn lead_boot(
    shard: &Rc<Shard>,
    streams: &[u16],
    left_over: Vec<(u16, RaftGroupId)>,
) -> Result<(), BootError> {
    if shard.node.config.quorum.is_clustered() {
        let started = shard.shards().map(|to| shard.on(to, Shard::start_cluster));
        for result in join_all(started).await {
            result.map_err(BootError::Listen)?;
        }
    }
    let is_new = shard.bring_up_metadata().await?;
    let listeners = serving::resolve_listeners(&shard.node.config).map_err(BootError::Listen)?;
    let bound = shard.bind(listeners).map_err(BootError::Listen)?;
    let _ = shard
        .node
        .bound
        .set(bound.iter().map(|listener| (listener.name.clone(), listener.address)).collect());
    shard.register_node(&bound).await?;
    // The metadata are those of now: whoever is registered has applied all that was there before.
    let image = shard.metadata_writer().latest();
    let moved_away = match is_new || runtime::mutant::is("strays-stay") {
        true => MovedAway::default(),
        false => shard.rename_strays(&image).await,
    };
    shard.publish_metadata().await;
    let host = shard.shards().map(|to| {
        let image = image.clone();
        shard.on(to, move |there| there.begin_to_host(image))
    });
    join_all(host).await;
    join_all(shard.shards().map(|to| shard.on(to, Shard::open_recovered_arrivals))).await;
    let ready = shard.shards().map(|to| shard.on(to, |there| there.groups_ready()));
    for result in join_all(ready).await {
        result?;
    }
    settle(shard, streams, left_over).await?;
    if shard.node.goes_on_alone.load(Ordering::Relaxed) {
        lost_majority::complete(shard).await?;
    }
    let opened = shard.shards().map(|to| {
        let bound = bound.clone();
        shard.on(to, move |there| async move { there.open_listeners(bound) })
    });
    for result in join_all(opened).await {
        result.map_err(BootError::Listen)?;
    }
    shard.clone().resume_deletions().await;
    shard.delete_moved_away(moved_away);
    crate::shard::watch_disk(shard);
    Ok(())
}

/// After a change of the number of shards: what moved is made durable where it is hosted now, and what it left behind
/// is removed. Without such a change only forgets what recovery kept.
async fn settle(
    shard: &Rc<Shard>,
    streams: &[u16],
    left_over: Vec<(u16, RaftGroupId)>,
) -> Result<(), BootError> {
    let gone: Vec<u16> = left_over_streams(streams, shard.count).collect();
    // A start that was interrupted may have moved the groups and not yet their logs.
    let carries = |there: Rc<Shard>| async move { there.carries_for_others() };
    let carried = join_all(shard.shards().map(|to| shard.on(to, carries))).await;
    if !gone.is_empty() || !left_over.is_empty() || carried.contains(&true) {
        // Durable at the new home, then marked as gone at the old one, and only then may a checkpoint of the old one
        // leave it out: at every crash point one whole copy is found, and no frame without a beginning.
        settled_everywhere(shard).await?;
        // Where a group is hosted, its new frames supersede an old copy in the same stream.
        let elsewhere = |(stream, group): &(u16, RaftGroupId)| {
            !gone.contains(stream) && hosting_shard(*group, shard.count).0 != *stream
        };
        for (stream, group) in left_over.into_iter().filter(elsewhere) {
            let forget = move |there: Rc<Shard>| async move { there.raft.forget_copy(group) };
            shard.on(ShardId(stream), forget).await?;
        }
        settled_everywhere(shard).await?;
        let stored = shard.shards().map(|to| shard.on(to, Shard::checkpoint_now));
        for result in join_all(stored).await {
            result?;
        }
        for stream in gone {
            data_dir::remove_stream(&shard.node.config.data_dir, stream).await?;
        }
    }
    let dropped =
        shard.shards().map(|to| shard.on(to, |there| async move { there.drop_carried() }));
    join_all(dropped).await;
    Ok(())
}

/// Waits until every shard has made durable what it wrote so far.
async fn settled_everywhere(shard: &Rc<Shard>) -> Result<(), BootError> {
    let settled = |there: Rc<Shard>| async move { there.raft.settled().await };
    for result in join_all(shard.shards().map(|to| shard.on(to, settled))).await {
        result?;
    }
    Ok(())
}

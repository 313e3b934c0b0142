//! From a data directory to a serving node, and back.
//!
//! Order on every start:
//! 1. shard 0 opens the data directory and tells every shard which WAL streams exist;
//! 2. each shard reads its stream (and those left over from a larger number of shards) and sends what it found to
//!    shard 0, which picks the newest copy of each Raft group and hands every group to the shard that hosts it now;
//! 3. shard 0 brings up the metadata group, registers this node, creates missing data groups and publishes the image;
//! 4. every shard creates its partitions from the image and brings up its data groups, which replays their entries;
//! 5. listeners open on every shard; the node is ready.
//!
//! A shard that fails says why once and aborts the others; nothing has been acknowledged by then.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::join_all;
use raft_group::{GroupError, RecoveredGroup, newest_of};
use runtime::shards::{Context, Mailbox, ShardId};
use storage::wal::{Wal, WalError, WalReader};

use super::recovery::{self, RecoveredStream, StreamError};
use super::{DataDirError, Identity, NodeContext, data_dir, serving};
use crate::ids::RaftGroupId;
use crate::metadata::hosting_shard;
use crate::shard::{METADATA_SHARD, Message, Shard};

/// What shards tell each other before they serve.
pub enum BootMessage {
    /// From shard 0: the data directory is open; these streams exist.
    Opened(Arc<Vec<u16>>),
    /// To shard 0: what the sender's streams hold.
    Recovered(Vec<RecoveredGroup>),
    /// From shard 0: the groups that the receiver hosts.
    Hosted(Vec<RecoveredGroup>),
}

/// Why a node does not start; each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Recovery.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The WAL.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Raft.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Sockets.
    #[error("{0}")]
    Listen(String),
    /// Metadata.
    #[error("{0}")]
    Metadata(String),
    /// Another shard failed and has said why.
    #[error("another shard could not start")]
    Aborted,
}

/// The whole life of one shard.
pub async fn shard_main(context: Context<Message>, node: Arc<NodeContext>) {
    let (id, count, mailbox) = (context.id, context.count, context.mailbox);
    let result = live(id, count, mailbox.clone(), node.clone()).await;
    if let Err(error) = result {
        if !matches!(error, BootError::Aborted) {
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
    let boot = Boot {
        id,
        count,
        mailbox,
        node,
    };
    let streams = boot.open().await?;
    let (reader, found) = boot.recover(&streams).await?;
    let hosted = boot.exchange(found).await?;
    let wal = Wal::start(reader, recovery::wal_options(&boot.node.config)).await?;
    let shard = Shard::new(id, count, boot.node.clone(), boot.mailbox.clone(), wal);
    shard.run_background();
    shard.keep_recovered(hosted);
    if id == METADATA_SHARD {
        lead_boot(&shard).await?;
        serving::stop_on_signal(&shard);
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
        (0..self.count as u16)
            .map(ShardId)
            .filter(move |to| *to != me)
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
        let identity: Identity = data_dir::open(&config.data_dir, config.node_id, None).await?;
        let _ = self.node.identity.set(identity);
        let streams = Arc::new(data_dir::streams(&config.data_dir).await?);
        for to in self.others() {
            self.send(to, BootMessage::Opened(streams.clone()));
        }
        Ok(streams)
    }

    /// Reads the own stream and those left over that fall to this shard.
    async fn recover(
        &self,
        streams: &[u16],
    ) -> Result<(WalReader, Vec<RecoveredGroup>), BootError> {
        let config = &self.node.config;
        let own = recovery::read_stream(&config.data_dir, self.id.0, config).await?;
        let RecoveredStream {
            mut groups, reader, ..
        } = own;
        let left_over = |s: &&u16| {
            usize::from(**s) >= self.count && usize::from(**s) % self.count == self.id.index()
        };
        for stream in streams.iter().filter(left_over) {
            let other = recovery::read_stream(&config.data_dir, *stream, config).await?;
            groups.extend(other.groups);
        }
        Ok((reader, groups))
    }

    /// Gives every Raft group to the shard that hosts it now; returns those of this shard.
    async fn exchange(&self, found: Vec<RecoveredGroup>) -> Result<Vec<RecoveredGroup>, BootError> {
        if self.id != METADATA_SHARD {
            self.send(METADATA_SHARD, BootMessage::Recovered(found));
            return match self.receive().await? {
                (_, BootMessage::Hosted(groups)) => Ok(groups),
                _ => Err(BootError::Aborted),
            };
        }
        let mut all = found;
        for _ in self.others() {
            match self.receive().await? {
                (_, BootMessage::Recovered(groups)) => all.extend(groups),
                _ => return Err(BootError::Aborted),
            }
        }
        let mut by_shard: BTreeMap<ShardId, Vec<RecoveredGroup>> = BTreeMap::new();
        for group in newest_of(all).groups {
            let host = hosting_shard(RaftGroupId(group.raft_group.0), self.count);
            by_shard.entry(host).or_default().push(group);
        }
        for to in self.others() {
            self.send(
                to,
                BootMessage::Hosted(by_shard.remove(&to).unwrap_or_default()),
            );
        }
        Ok(by_shard.remove(&self.id).unwrap_or_default())
    }
}

/// Steps 3 to 5, from the metadata shard.
async fn lead_boot(shard: &Rc<Shard>) -> Result<(), BootError> {
    shard.bring_up_metadata().await?;
    let listeners = serving::resolve_listeners(&shard.node.config).map_err(BootError::Listen)?;
    let bound = shard.bind(listeners).map_err(BootError::Listen)?;
    let _ = shard.node.bound.set(
        bound
            .iter()
            .map(|listener| (listener.name.clone(), listener.address))
            .collect(),
    );
    shard.register_node(&bound).await?;
    shard.publish_metadata().await;
    let ready = shard
        .shards()
        .map(|to| shard.on(to, |there| there.groups_ready()));
    for result in join_all(ready).await {
        result?;
    }
    let opened = shard.shards().map(|to| {
        let bound = bound.clone();
        shard.on(to, move |there| async move { there.open_listeners(bound) })
    });
    for result in join_all(opened).await {
        result.map_err(BootError::Listen)?;
    }
    crate::shard::watch_disk(shard);
    shard.node.set_ready(true);
    (shard.node.on_ready)(&shard.node);
    Ok(())
}

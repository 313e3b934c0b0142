//! A node is forgotten: its registration goes, its id becomes free, and it is told nothing any more.
//!
//! Lives on: the metadata shard of the node that was asked; decided like every change of metadata. What its directory
//! was stays known, so that its replicas are never taken over by an empty directory of the same id
//! ([`Image::check_directory`]): such a replica would have forgotten what it voted for and what it acknowledged. Raft
//! groups that have no partitions go with it.

use std::rc::Rc;

use crate::ids::NodeId;
use crate::metadata::{Image, MetadataRecord};
use crate::shard::{Change, ChangeError, Shard};

/// Why a node stays registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnregisterRefusal {
    #[error("Broker ID {node} is not currently registered")]
    Unknown { node: i32 },
    #[error("Broker ID {node} is alive; stop it before it is unregistered")]
    Alive { node: i32 },
    #[error("Broker ID {node} votes on metadata; remove it from the controllers first")]
    Votes { node: i32 },
}

impl Shard {
    /// Forgets a node; on the metadata shard.
    pub(crate) async fn unregister(
        self: Rc<Self>,
        node: NodeId,
    ) -> Result<Result<(), UnregisterRefusal>, ChangeError> {
        let shard = self.clone();
        self.change_here(move |image: &Image| decide(image, node, shard.is_metadata_voter(node)))
            .await
    }
}

fn decide(image: &Image, id: NodeId, votes: bool) -> Change<Result<(), UnregisterRefusal>> {
    let node = id.0;
    let refused = match image.nodes.get(&id) {
        None => Some(UnregisterRefusal::Unknown { node }),
        Some(known) if !known.fenced => Some(UnregisterRefusal::Alive { node }),
        Some(_) if votes => Some(UnregisterRefusal::Votes { node }),
        Some(_) => None,
    };
    if let Some(refused) = refused {
        return Change { records: Vec::new(), answer: Err(refused) };
    }
    let unused = image.unused_groups_of(id).into_iter();
    let gone = unused.map(|group| MetadataRecord::ChangeRaftGroup { group, voters: Vec::new() });
    let removed = std::iter::once(MetadataRecord::RemoveNode { node: id });
    Change { records: removed.chain(gone).collect(), answer: Ok(()) }
}

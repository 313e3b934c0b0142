//! The leader of the metadata group drives all moves: asks how far they are, and commits what comes next.
//!
//! Lives on: the metadata shard of every node; acts where that node leads the metadata group. It keeps nothing but what
//! becomes of seals, and whose turn it is: another leader finds everything else out again.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use runtime::shards::ShardId;
use runtime::time::{Instant, sleep, timeout};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::{Moving, SealedAt};
use super::seals::Seals;
use super::steps::{self, End, Seen, Step};
use crate::cluster::messages::{
    COMPLETE_COPIES, MOVE_PROGRESS, SEAL_PARTITIONS, decode_call, encode,
};
use crate::ids::{NodeId, PartitionId, RaftGroupId};
use crate::metadata::{Image, Move, Placer};
use crate::shard::{Change, Shard};

/// Between two rounds.
const AGAIN: Duration = Duration::from_millis(100);
/// Moves that are asked about in one round; the others wait for their turn.
const MOVES_MAX: usize = 256;
/// How long nodes may take to say how far copies are.
const NEAR_MAX: Duration = Duration::from_secs(2);
/// Partitions that are sealed at the same time.
const SEALED_AT_ONCE: usize = 16;

/// A shard of a node.
type Host = (NodeId, ShardId);
/// What lasts from round to round.
#[derive(Default)]
struct Rounds {
    seals: Seals,
    /// Moves that were asked about; the next round goes on behind them, so none that waits holds up others.
    turn: usize,
}

fn moving(id: PartitionId, of: &Move) -> Moving {
    Moving { topic: id.topic, index: id.index, id: of.id, sealed: of.sealed.unwrap_or_default() }
}

impl Shard {
    /// Drives all moves while this node leads the metadata group; runs as long as the metadata shard.
    pub(in crate::cluster) async fn drive_moves_for_ever(self: Rc<Self>) {
        let mut rounds = Rounds::default();
        loop {
            sleep(AGAIN).await;
            let image = self.metadata_writer().latest();
            if image.moves.is_empty() || !self.leads_metadata() {
                rounds.seals.clear();
                continue;
            }
            self.drive_moves(&image, &mut rounds).await;
        }
    }

    async fn drive_moves(self: &Rc<Self>, image: &Image, rounds: &mut Rounds) {
        let (sealed, mut copying): (Vec<_>, Vec<_>) =
            image.moves.iter().map(|(id, of)| (*id, *of)).partition(|(_, of)| of.sealed.is_some());
        rounds.seals.follow(image, Instant::now());
        let patience = rounds.seals.patience(&sealed, Instant::now());
        let complete = self.ask_complete(image, &sealed, patience).await;
        let now = Instant::now();
        let mut steps = Vec::new();
        for (id, of) in &sealed {
            let is_overdue = rounds.seals.is_overdue(*id, of, now);
            let seen = Seen { near: true, complete: complete.get(id).copied(), is_overdue };
            let step = steps::next(image, *id, of, &seen);
            if step == Step::Unseal {
                rounds.seals.broke(*id, of, now);
            }
            steps.push((*id, *of, step));
        }
        if copying.len() > MOVES_MAX {
            rounds.turn = (rounds.turn + MOVES_MAX) % copying.len();
            copying.rotate_left(rounds.turn);
        }
        let asked = &copying[..copying.len().min(MOVES_MAX)];
        let near = self.ask_near(image, asked).await;
        let mut room = SEALED_AT_ONCE.saturating_sub(sealed.len());
        for (id, of) in asked {
            let near = near.contains(id) && room > 0 && !rounds.seals.rests(*id, of, now);
            let seen = Seen { near, complete: None, is_overdue: false };
            let step = steps::next(image, *id, of, &seen);
            room -= usize::from(step == Step::Seal);
            steps.push((*id, *of, step));
        }
        steps.retain(|(.., step)| *step != Step::Wait);
        if !steps.is_empty() {
            self.commit_steps(steps).await;
        }
    }

    async fn commit_steps(self: &Rc<Self>, steps: Vec<(PartitionId, Move, Step)>) {
        for (id, of, step) in &steps {
            match step {
                Step::Redirect => tracing::info!(
                    partition = ?id, to = %of.to,
                    "a move begins anew with another group: a node has another number of shards now"
                ),
                Step::Unseal => tracing::info!(partition = ?id, "a move takes too long and waits"),
                step => tracing::debug!(partition = ?id, ?step, "a move goes on"),
            }
        }
        let change = move |image: &Image| {
            let mut placer = Placer::new(image);
            let records = steps
                .iter()
                .flat_map(|(id, of, step)| steps::records(image, &mut placer, *id, of, *step));
            Change { records: records.collect(), answer: () }
        };
        if let Err(error) = self.change_metadata(change).await {
            tracing::debug!(%error, "another leader drives the moves");
        }
    }

    /// Which of these partitions are nearly copied to every node that gets them.
    async fn ask_near(
        self: &Rc<Self>,
        image: &Image,
        copying: &[(PartitionId, Move)],
    ) -> BTreeSet<PartitionId> {
        let asked = copying.iter().map(|(id, of)| (moving(*id, of), ())).collect::<Vec<_>>();
        let by_host = self.by_target(image, &asked);
        let bodies = by_host.iter().map(|(host, asked)| {
            let moves: Vec<Moving> = asked.iter().map(|(moving, ())| *moving).collect();
            (*host, moves)
        });
        let answers = self.ask_all(MOVE_PROGRESS, bodies.collect(), NEAR_MAX).await;
        in_all(copying.iter().map(|(id, _)| *id), by_host.into_values().zip(answers))
    }

    /// The ends of those sealed partitions that every replica of the new group has all of, durably.
    async fn ask_complete(
        self: &Rc<Self>,
        image: &Image,
        sealed: &[(PartitionId, Move)],
        patience: Duration,
    ) -> BTreeMap<PartitionId, End> {
        let give_up = Instant::now() + patience;
        let mut by_leader: BTreeMap<Host, Vec<Moving>> = BTreeMap::new();
        for (id, of) in sealed {
            let leader = image.placement_by_id(*id).and_then(|placement| placement.leader);
            if let (Some(leader), Some(group)) = (leader, image.group_of(*id))
                && let Some(shard) = self.host_of(image, leader, group)
            {
                by_leader.entry((leader, shard)).or_default().push(moving(*id, of));
            }
        }
        let answers: Vec<Option<Vec<Option<SealedAt>>>> =
            self.ask_all(SEAL_PARTITIONS, by_leader.clone().into_iter().collect(), patience).await;
        let ended = by_leader
            .into_values()
            .zip(answers)
            .flat_map(|(asked, answer)| asked.into_iter().zip(answer.unwrap_or_default()));
        let ended: Vec<(Moving, SealedAt)> =
            ended.filter_map(|(moving, end)| Some((moving, end?))).collect();
        let by_host = self.by_target(image, &ended);
        let bodies = by_host.iter().map(|(host, asked)| (*host, asked.clone())).collect();
        let answers = self.ask_all(COMPLETE_COPIES, bodies, give_up - Instant::now()).await;
        let complete = in_all(
            ended.iter().map(|(moving, _)| moving.partition()),
            by_host.into_values().zip(answers),
        );
        let end = |(moving, at): &(Moving, SealedAt)| {
            let end = End { offset: at.end, leader_epoch: at.leader_epoch };
            (moving.partition(), end)
        };
        ended.iter().map(end).filter(|(id, _)| complete.contains(id)).collect()
    }

    /// What to ask each shard that hosts a replica of a new group.
    fn by_target<T: Clone>(
        &self,
        image: &Image,
        asked: &[(Moving, T)],
    ) -> BTreeMap<Host, Vec<(Moving, T)>> {
        let mut by_host: BTreeMap<Host, Vec<(Moving, T)>> = BTreeMap::new();
        for (moving, what) in asked {
            let Some(of) = image.move_of(moving.partition()) else { continue };
            for node in image.voters(of.to) {
                if let Some(shard) = self.host_of(image, *node, of.to) {
                    let of_host = by_host.entry((*node, shard)).or_default();
                    of_host.push((*moving, what.clone()));
                }
            }
        }
        by_host
    }

    fn host_of(&self, image: &Image, node: NodeId, group: RaftGroupId) -> Option<ShardId> {
        image
            .nodes
            .contains_key(&node)
            .then(|| crate::metadata::hosting_shard(group, image.shards_of(node)))
    }

    /// Asks all at once; nothing where no answer came in time.
    async fn ask_all<Q: Serialize, A: DeserializeOwned>(
        self: &Rc<Self>,
        method: u16,
        asked: Vec<(Host, Q)>,
        patience: Duration,
    ) -> Vec<Option<A>> {
        let asks = asked.into_iter().map(|((node, shard), body)| async move {
            let answer = timeout(patience, self.ask_shard(node, shard, method, encode(&body)));
            let answer = answer.await.inspect_err(|_| {
                tracing::debug!(node = node.0, "no answer about moves in time");
            });
            let answer = answer.ok()?.inspect_err(|error| {
                tracing::debug!(node = node.0, %error, "no answer about moves");
            });
            decode_call(&answer.ok()?).ok()
        });
        join_all(asks).await
    }
}

/// The partitions to which nobody who was asked said no, or nothing.
fn in_all<T>(
    all: impl Iterator<Item = PartitionId>,
    answers: impl Iterator<Item = (Vec<(Moving, T)>, Option<Vec<bool>>)>,
) -> BTreeSet<PartitionId> {
    let mut yes: BTreeSet<PartitionId> = all.collect();
    for (asked, answer) in answers {
        let answer = answer.filter(|answer| answer.len() == asked.len());
        let said = |i: usize| answer.as_ref().is_some_and(|answer| answer[i]);
        for (i, (moving, _)) in asked.iter().enumerate() {
            if !said(i) {
                yes.remove(&moving.partition());
            }
        }
    }
    yes
}

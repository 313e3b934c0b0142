//! What breaks while clients work, several things at once, and how it is made good again.

use super::Cluster;
use super::plan::{Fault, RESERVE_BYTES};
use super::run::SHARDS_MAX;
use super::run::VoterDoom;
use crate::damage;
use runtime::sim::{
    BitFlip, Crash, DiskFaults, DiskOperation, FaultRule, NetworkFaults, NodeHandle,
};
use runtime::time::{sleep, timeout};
use std::path::PathBuf;
use std::time::Duration;

/// A node that cannot go on, or was asked to stop, must have ended by then.
const ENDED: Duration = Duration::from_secs(60);
/// A node that refuses to start has done so by then.
const REFUSED: Duration = Duration::from_secs(5);
/// So many times longer may it take where operations of the disk stall: at a stop two checkpoints, one behind the other, sync
/// dozens of files.
const STALLING: u32 = 10;

/// What a fault leaves to be done when it is over.
enum After {
    /// A sync of a WAL had to fail on this node, and the node to end.
    Synced(usize),
    /// This node had next to no room.
    Full(usize),
    /// A bit of this node's WAL is wrong.
    Flipped(usize, BitFlip, PathBuf),
    /// Bits of segments are.
    Segments(Vec<BitFlip>),
    /// This node got no CPU.
    Paused(usize),
}

impl After {
    fn node(&self) -> Option<usize> {
        match self {
            After::Synced(index)
            | After::Full(index)
            | After::Flipped(index, ..)
            | After::Paused(index) => Some(*index),
            After::Segments(_) => None,
        }
    }
}

/// Rounds of faults, each with time to work before.
pub async fn break_things(cluster: &Cluster) {
    cluster.tails_fall.set(cluster.plan.tails_fall());
    for _ in 0..cluster.plan.rounds {
        sleep(Duration::from_millis(cluster.below(3_000))).await;
        let mut after = Vec::new();
        for _ in 0..1 + cluster.below(2) {
            let kinds = &cluster.plan.kinds;
            let kind = kinds[cluster.below(kinds.len() as u64) as usize];
            let index = cluster.below(cluster.nodes.len() as u64) as usize;
            // A node in trouble is left alone: how it ends is looked at.
            if after.iter().all(|after: &After| after.node() != Some(index)) {
                after.extend(begin(cluster, kind, index).await);
            }
            sleep(Duration::from_millis(cluster.below(500))).await;
        }
        sleep(Duration::from_millis(cluster.below(6_000))).await;
        for after in after {
            end(cluster, after).await;
        }
        calm(cluster);
        run_again(cluster).await;
    }
}

/// No more faults; every node runs.
pub async fn heal(cluster: &Cluster) {
    cluster.tails_fall.set(false);
    calm(cluster);
    for node in &cluster.nodes {
        node.set_clock(0, 0);
    }
    run_again(cluster).await;
}

/// A node ends and comes back when others lead what it led.
pub async fn end_for_a_while(cluster: &Cluster, index: usize) {
    let node = &cluster.nodes[index];
    match cluster.below(3) {
        0 => stop(cluster, node).await,
        1 => node.kill(),
        _ => node.power_cut(),
    }
    sleep(Duration::from_millis(1_000 + cluster.below(2_000))).await;
    run_again(cluster).await;
}

/// Network and disks are as they were.
fn calm(cluster: &Cluster) {
    if cluster.voter_doom.take() == VoterDoom::Fell {
        cluster.mark("a node lost power when it voted");
    }
    cluster.world.mend_all();
    cluster.world.set_network(cluster.plan.network());
    for node in &cluster.nodes {
        node.with_disk(|disk| {
            disk.faults_mut().stall = 0.0;
            disk.faults_mut().stall_time = DiskFaults::default().stall_time;
            disk.faults_mut().capacity = DiskFaults::default().capacity;
            disk.forget_rules();
        });
    }
}

async fn run_again(cluster: &Cluster) {
    sleep(Duration::from_millis(1 + cluster.below(500))).await;
    for index in 0..cluster.nodes.len() {
        if !cluster.nodes[index].is_running() {
            cluster.crashes.set(cluster.crashes.get() + 1);
            cluster.start(index);
        }
    }
}

async fn begin(cluster: &Cluster, kind: Fault, index: usize) -> Option<After> {
    let node = &cluster.nodes[index];
    match kind {
        Fault::Kill => {
            cluster.mark("a node was killed");
            node.kill();
            trouble_voters(cluster);
        }
        Fault::PowerCut => {
            cluster.mark("a node lost power");
            node.power_cut();
            trouble_voters(cluster);
        }
        Fault::AllLosePower => {
            cluster.mark("all nodes lost power");
            cluster.world.power_cut_all();
        }
        Fault::CrashAtOperation => {
            cluster.mark("a node was to crash at a disk operation");
            node.crash_at_disk_operation(1 + cluster.below(200), any_crash(cluster));
        }
        Fault::CrashAtBoot => crash_at_boot(cluster, index).await,
        Fault::Stop => stop(cluster, node).await,
        Fault::Cut | Fault::Alone | Fault::OneWay | Fault::Bridge | Fault::Clients => {
            cut(cluster, index, kind);
        }
        Fault::Unreliable => {
            cluster.mark("the network lost and delayed segments");
            let ms = Duration::from_millis;
            let latency = [ms(1)..ms(5), ms(5)..ms(60)][cluster.below(2) as usize].clone();
            let faults =
                NetworkFaults { latency, reset: 0.01, loss: 0.03, ..cluster.plan.network() };
            cluster.world.set_network(faults);
        }
        Fault::SlowDisk => {
            cluster.mark("a disk was slow");
            node.with_disk(|disk| disk.faults_mut().stall = 0.03);
        }
        Fault::SyncError => return refuse_sync(index, node),
        Fault::FullDisk => {
            cluster.mark("a disk was full");
            let left = [RESERVE_BYTES / 2, 64 << 10][cluster.below(2) as usize];
            node.with_disk(|disk| disk.faults_mut().capacity = disk.used() + left);
            // It needs a file of the WAL for each shard; without room for those it may end.
            let wal = SHARDS_MAX * cluster.plan.wal_file_bytes;
            return (left < RESERVE_BYTES / 2 || left <= wal).then_some(After::Full(index));
        }
        Fault::WalFlip => return flip_in_wal(cluster, index).await,
        Fault::SegmentFlip => return flip_in_segments(cluster, node),
        Fault::Clock => {
            const BACK_MS: i64 = 50 * 60_000;
            const FORTH_MS: u64 = 12 * 3_600_000;
            cluster.mark("a wall clock jumped");
            let offset = cluster.below(FORTH_MS) as i64 - BACK_MS;
            node.set_clock(offset, cluster.below(1_000) as i64 - 500);
        }
        Fault::Pause => {
            cluster.mark("a node got no CPU");
            node.pause();
            return Some(After::Paused(index));
        }
    }
    None
}

/// Has somebody fall who votes for the one that takes over from a node that fell: the vote must be known afterwards. Or has
/// votes come so late that their candidates have asked again.
fn trouble_voters(cluster: &Cluster) {
    const STALL: Duration = Duration::from_millis(1_500);
    if cluster.plan.voters_fall() {
        cluster.voter_doom.set(VoterDoom::Next);
    }
    if cluster.plan.voters_are_slow() {
        cluster.mark("votes came late");
        for node in &cluster.nodes {
            node.with_disk(|disk| {
                disk.faults_mut().stall = 0.3;
                disk.faults_mut().stall_time = STALL;
            });
        }
    }
}

fn any_crash(cluster: &Cluster) -> Crash {
    if cluster.below(2) == 0 { Crash::Kill } else { Crash::PowerCut }
}

async fn stop(cluster: &Cluster, node: &NodeHandle) {
    cluster.mark("a node was stopped");
    node.stop();
    if !ends_within(node, ENDED).await {
        cluster.violation("a node that was asked to stop did not".to_owned());
    }
}

/// Whether the life of `node` ends in time; a disk that stalls makes it longer.
async fn ends_within(node: &NodeHandle, patience: Duration) -> bool {
    let stalls = node.with_disk(|disk| disk.faults_mut().stall > 0.0);
    let patience = if stalls { patience * STALLING } else { patience };
    timeout(patience, node.ended()).await.is_ok()
}

/// Lives that end while they begin, some of them several times in a row.
async fn crash_at_boot(cluster: &Cluster, index: usize) {
    let node = &cluster.nodes[index];
    node.crash(any_crash(cluster));
    node.ended().await;
    for _ in 0..1 + cluster.below(3) {
        cluster.crashes.set(cluster.crashes.get() + 1);
        cluster.start(index);
        node.crash_at_disk_operation(1 + cluster.below(60), any_crash(cluster));
        if timeout(Duration::from_secs(2), node.ended()).await.is_err() {
            node.crash(any_crash(cluster));
            node.ended().await;
        }
        cluster.mark("a crash while booting");
    }
}

fn cut(cluster: &Cluster, index: usize, kind: Fault) {
    let (world, nodes) = (&cluster.world, &cluster.nodes);
    let others = nodes.len() - 1;
    let other = (index + 1 + cluster.below(others as u64) as usize) % nodes.len();
    match kind {
        Fault::Cut => {
            cluster.mark("two nodes did not see each other");
            world.cut(&nodes[index], &nodes[other]);
        }
        Fault::Alone => {
            cluster.mark("a node was alone");
            let rest = nodes.iter().enumerate().filter(|(at, _)| *at != index);
            rest.for_each(|(_, node)| world.cut(&nodes[index], node));
        }
        Fault::OneWay => {
            cluster.mark("a node was not heard");
            let all = cluster.below(2) == 0;
            let heard = |at: usize| at != index && (all || at == other);
            let deaf = (0..nodes.len()).filter(|at| heard(*at));
            deaf.for_each(|at| world.cut_one_way(&nodes[index], &nodes[at]));
        }
        Fault::Bridge => {
            cluster.mark("two halves met in one node only");
            for a in (0..nodes.len()).filter(|a| *a != index) {
                for b in (0..a).filter(|b| *b != index && (a + b) % 2 == 1) {
                    world.cut(&nodes[a], &nodes[b]);
                }
            }
        }
        _ => {
            cluster.mark("clients did not see a node");
            world.cut(world.driver(), &nodes[index]);
        }
    }
}

fn refuse_sync(index: usize, node: &NodeHandle) -> Option<After> {
    let rule = FaultRule {
        path: "*.wal".to_owned(),
        operation: DiskOperation::Sync,
        error: std::io::ErrorKind::Other,
        times: 1,
    };
    node.with_disk(|disk| disk.fail(rule));
    Some(After::Synced(index))
}

/// Kills a node and flips a bit in its WAL: it must not start, or not need the frame.
async fn flip_in_wal(cluster: &Cluster, index: usize) -> Option<After> {
    let node = &cluster.nodes[index];
    node.crash(Crash::Kill);
    node.ended().await;
    let Some((flip, path)) = damage::flip_a_frame(node, &|bound| cluster.below(bound)) else {
        cluster.mark("no frame of the WAL to harm");
        return None;
    };
    cluster.crashes.set(cluster.crashes.get() + 1);
    cluster.start(index);
    Some(After::Flipped(index, flip, path))
}

fn flip_in_segments(cluster: &Cluster, node: &NodeHandle) -> Option<After> {
    let below = |bound| cluster.below(bound);
    let flips = (0..1 + below(3)).filter_map(|_| damage::flip_a_batch(node, &below));
    let flips: Vec<BitFlip> = flips.collect();
    if flips.is_empty() {
        cluster.mark("no segment to harm");
        return None;
    }
    cluster.mark("a bit flipped in a segment");
    cluster.damage(true);
    Some(After::Segments(flips))
}

async fn end(cluster: &Cluster, after: After) {
    match after {
        After::Synced(index) => ended_for_its_sync(cluster, index).await,
        After::Full(index) => {
            let node = &cluster.nodes[index];
            node.with_disk(|disk| disk.faults_mut().capacity = DiskFaults::default().capacity);
            if !node.is_running() {
                cluster.mark("a disk without any room ended a node");
                cluster.forget_life(index);
            }
        }
        After::Flipped(index, flip, path) => {
            refused_its_wal(cluster, index, &path).await;
            flip.undo();
        }
        After::Segments(flips) => {
            flips.into_iter().rev().for_each(BitFlip::undo);
            cluster.damage(false);
        }
        After::Paused(index) => cluster.nodes[index].resume(),
    }
}

/// A node must end at the first sync of its WAL that fails; what it could not sync is gone then.
async fn ended_for_its_sync(cluster: &Cluster, index: usize) {
    let node = &cluster.nodes[index];
    if node.with_disk(|disk| disk.rules()) > 0 {
        return cluster.mark("no sync came to fail");
    }
    match ends_within(node, ENDED).await {
        true => cluster.mark("a failed sync ended a node"),
        false => cluster.violation("a node went on after its WAL was not synced".to_owned()),
    }
    cluster.forget_life(index);
    node.power_cut();
}

/// A node with a damaged WAL has said so, or did not look there.
async fn refused_its_wal(cluster: &Cluster, index: usize, path: &std::path::Path) {
    let node = &cluster.nodes[index];
    if !ends_within(node, REFUSED).await {
        return cluster.mark("a bit flipped in a WAL where nobody looked");
    }
    let reason = cluster.forget_life(index);
    let named = format!("WAL {} is corrupt at ", path.display());
    match reason {
        Some(reason) if reason.contains(&named) => cluster.mark("a node refused a damaged WAL"),
        // Another fault ended it.
        None => {}
        Some(reason) if reason.contains("no storage space") => {
            cluster.mark("a disk without any room ended a node");
        }
        Some(reason) => {
            cluster.violation(format!("a damaged {} was met with {reason}", path.display()));
        }
    }
}

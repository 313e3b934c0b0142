//! Bits that flip, and what a node may make of it.
//!
//! **In the WAL** a bit of a frame flips that was durable when another one was written: the node either does not need
//! the frame any more, or refuses to start, naming file and position. Never does it go on without the frame, which the
//! checker would see as lost writes. A flip in the very last write cannot be told from a write that a crash interrupted;
//! so none is made there.
//!
//! **In a segment** a bit of a batch flips that its checksum covers, or its length: a fetch is refused with
//! CORRUPT_MESSAGE, or the reader sees the wrong checksum. A node that starts with another number of shards moves logs,
//! and refuses to start over a segment that it cannot go on in, naming it. Base offset and leader epoch are outside of the checksum, as
//! in Kafka's format, and are left alone: nobody could tell. Afterwards the bit is set right again, as if the disk had
//! come back from a backup, and everything has to be readable.

use crate::faults::start;
use crate::shared::Run;
use runtime::sim::{BitFlip, Crash, NodeHandle};
use runtime::time::{sleep, timeout};
use std::path::PathBuf;
use std::time::Duration;

const BLOCK: usize = 4096;
/// So many of the newest frames are worth harming.
const RECENT: usize = 12;
const FRAME_MAGIC: &[u8] = b"MRWF";
/// Bytes of a batch before and behind the leader epoch that a flip is noticed in.
const LENGTH: std::ops::Range<usize> = 8..12;
const CHECKED_FROM: usize = 16;
/// A batch is at least as long as its header.
const BATCH_BYTES_MIN: usize = 61;

/// A frame of a WAL stream, as `storage/FORMAT.md` describes it.
struct Frame {
    path: PathBuf,
    at: usize,
    bytes: usize,
    epoch: u64,
    sequence: u64,
    write_first: u64,
}

/// Kills the node, flips a bit in its WAL, and looks what it does.
pub async fn flip_in_wal(run: &Run) {
    run.node.crash(Crash::Kill);
    run.node.ended().await;
    let Some((flip, path)) = flip_a_frame(&run.node, &|bound| run.below(bound)) else {
        return run.mark("no frame of the WAL to harm");
    };
    run.crashes.set(run.crashes.get() + 1);
    start(run);
    let refused = timeout(Duration::from_secs(5), run.node.ended()).await.is_ok();
    if !refused {
        return run.mark("a bit flipped in the WAL where nobody looked");
    }
    let reason = run.context.take().and_then(|life| life.failure.get().cloned());
    let named = format!("WAL {} is corrupt at ", path.display());
    match reason {
        Some(reason) if reason.contains(&named) => run.mark("a node refused a damaged WAL"),
        other => run.violation(format!("a damaged {} was met with {other:?}", path.display())),
    }
    flip.undo();
}

/// Flips a bit of a durable frame; nothing if there is none.
pub fn flip_a_frame(node: &NodeHandle, below: &dyn Fn(u64) -> u64) -> Option<(BitFlip, PathBuf)> {
    let streams = node.with_disk(|disk| disk.files("*/stream"));
    let dirs: Vec<PathBuf> =
        streams.iter().filter_map(|path| Some(path.parent()?.into())).collect();
    let dir = dirs.get(below(dirs.len().max(1) as u64) as usize)?;
    let frames = durable_frames(node, dir);
    // Among the newest ones: the others are in checkpoints.
    let recent = &frames[frames.len().saturating_sub(RECENT)..];
    let frame = recent.get(below(recent.len().max(1) as u64) as usize)?;
    let byte = frame.at as u64 + below(frame.bytes as u64);
    let bit = below(8) as u8;
    let flip = node.with_disk(|disk| disk.flip(&frame.path, byte, bit))?;
    Some((flip, frame.path.clone()))
}

/// The frames of the last life that ended before its last write began, except what pads them.
fn durable_frames(node: &NodeHandle, dir: &std::path::Path) -> Vec<Frame> {
    let files = node.with_disk(|disk| disk.files("*.wal"));
    let mut frames = Vec::new();
    for path in files.into_iter().filter(|path| path.starts_with(dir)) {
        let content = node.with_disk(|disk| disk.read(&path)).unwrap_or_default();
        let number = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
        for (nth, block) in content.chunks_exact(BLOCK).enumerate() {
            let u64_at = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("8"));
            let at = nth * BLOCK;
            // Sequence, file and offset, in this order; a recycled file holds frames of other places.
            if block.starts_with(FRAME_MAGIC)
                && Some(u64_at(40)) == number
                && u64_at(48) == at as u64
            {
                let payload = u32::from_le_bytes(block[64..68].try_into().expect("4")) as usize;
                frames.push(Frame {
                    path: path.clone(),
                    at,
                    bytes: 128 + payload,
                    epoch: u64_at(24),
                    sequence: u64_at(32),
                    write_first: u64_at(56),
                });
            }
        }
    }
    let epoch = frames.iter().map(|frame| frame.epoch).max().unwrap_or(0);
    frames.retain(|frame| frame.epoch == epoch);
    let last = frames.iter().max_by_key(|frame| frame.sequence).map_or(0, |last| last.write_first);
    frames.retain(|frame| frame.sequence < last);
    frames.sort_by_key(|frame| frame.sequence);
    frames
}

/// Flips bits of segments, has the clients meet them, and sets them right.
pub async fn flip_in_segments(run: &Run) {
    let flips: Vec<BitFlip> = (0..1 + run.below(3))
        .filter_map(|_| flip_a_batch(&run.node, &|bound| run.below(bound)))
        .collect();
    if flips.is_empty() {
        return run.mark("no segment to harm");
    }
    run.damage(true);
    run.mark("a bit flipped in a segment");
    if run.below(2) == 0 {
        run.node.crash(Crash::Kill);
        run.node.ended().await;
        run.crashes.set(run.crashes.get() + 1);
        start(run);
    }
    sleep(Duration::from_millis(run.below(5_000))).await;
    // the last one first: two may have hit one byte
    for flip in flips.into_iter().rev() {
        flip.undo();
    }
    run.damage(false);
}

/// Flips a bit of a batch in a segment where it is noticed; nothing if there is none.
pub fn flip_a_batch(node: &NodeHandle, below: &dyn Fn(u64) -> u64) -> Option<BitFlip> {
    let files = node.with_disk(|disk| disk.files("*.log"));
    let path = files.get(below(files.len().max(1) as u64) as usize)?;
    let content = node.with_disk(|disk| disk.read(path))?;
    let mut batches = Vec::new();
    let mut at = 0;
    while let Some(length) = content.get(at + LENGTH.start..at + LENGTH.end) {
        let bytes = 12 + u32::from_be_bytes(length.try_into().expect("4")) as usize;
        if bytes < BATCH_BYTES_MIN || at + bytes > content.len() {
            break;
        }
        batches.push((at, bytes));
        at += bytes;
    }
    let (at, bytes) = *batches.get(below(batches.len().max(1) as u64) as usize)?;
    let byte = match below(8) {
        0 => LENGTH.start + below(4) as usize,
        _ => CHECKED_FROM + below((bytes - CHECKED_FROM) as u64) as usize,
    };
    let bit = below(8) as u8;
    node.with_disk(|disk| disk.flip(path, (at + byte) as u64, bit))
}

//! The bytes of a simulated file, with what a power cut would leave of them.
//!
//! `content` is what reads see. `undo` holds, for each sector that differs from stable storage (or
//! may), the bytes on stable storage; `durable_len` is the length there. So an untouched file costs
//! its content only, and a sync forgets the undo. `doomed` are the sectors that a failed sync covered:
//! the page cache takes them for clean, so no later sync writes them unless they are written again. `harm` lists
//! the bits that flipped or were set right, for what a sync under way took before.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::disk_faults::DiskFaults;
use super::rng::Rng;

/// What a disk writes whole or tears.
pub(super) const SECTOR: usize = 512;

/// What the page cache takes for clean or dirty as a whole.
const PAGE: usize = 4096;

type Sector = [u8; SECTOR];

#[derive(Default)]
pub(super) struct FileData {
    content: Vec<u8>,
    undo: BTreeMap<u64, Sector>,
    doomed: BTreeSet<u64>,
    durable_len: usize,
    /// Counts snapshots of the whole file, and which of them is stable.
    snapshots: Cell<u64>,
    stable_snapshot: u64,
    harm: Vec<Harm>,
    /// What it was last renamed to.
    pub name: Option<PathBuf>,
    /// Written past the page cache.
    pub is_direct: bool,
}

/// What a sync covers: sectors, and unless it is of a range the length, as they were when it began.
pub(super) struct Snapshot {
    sectors: Vec<(u64, Sector)>,
    whole: Option<WholeFile>,
    /// So much of the file's harm is in it.
    harm: usize,
}

/// A byte that became another one by itself, wherever the file has it.
#[derive(Clone, Copy)]
struct Harm {
    byte: u64,
    was: u8,
    is: u8,
}

struct WholeFile {
    number: u64,
    len: usize,
}

impl FileData {
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    pub fn len(&self) -> usize {
        self.content.len()
    }

    pub fn read(&self, pos: u64, len: usize) -> &[u8] {
        let start = usize::try_from(pos).unwrap_or(usize::MAX).min(self.content.len());
        let end = start.saturating_add(len).min(self.content.len());
        &self.content[start..end]
    }

    pub fn write(&mut self, pos: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = pos as usize;
        let end = start + bytes.len();
        self.remember(start.min(self.content.len()), end);
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        // Writing makes whole pages dirty again.
        let pages = (start / PAGE * PAGE / SECTOR)..(end.next_multiple_of(PAGE) / SECTOR);
        self.doomed.retain(|&sector| !pages.contains(&(sector as usize)));
        self.content[start..end].copy_from_slice(bytes);
    }

    pub fn set_len(&mut self, len: usize) {
        let (low, high) = (len.min(self.content.len()), len.max(self.content.len()));
        self.remember(low, high);
        self.content.resize(len, 0);
    }

    /// Extends with zeros that are on stable storage at once; the file must be durable so far.
    pub fn extend_durably(&mut self, len: usize) {
        assert!(self.is_durable(), "only for files that nobody writes yet");
        if len > self.content.len() {
            self.content.resize(len, 0);
            self.durable_len = len;
        }
    }

    /// Keeps the stable bytes of the sectors that touch `start..end`.
    fn remember(&mut self, start: usize, end: usize) {
        for sector in (start / SECTOR)..end.div_ceil(SECTOR) {
            let stable = self.sector(sector as u64);
            self.undo.entry(sector as u64).or_insert(stable);
        }
    }

    /// A sector as reads see it, zeros past the end.
    fn sector(&self, index: u64) -> Sector {
        let mut sector = [0; SECTOR];
        let bytes = self.read(index * SECTOR as u64, SECTOR);
        sector[..bytes.len()].copy_from_slice(bytes);
        sector
    }

    /// What a sync of the whole file covers.
    pub fn snapshot(&self) -> Snapshot {
        let dirty = self.undo.keys().filter(|index| !self.doomed.contains(index));
        let sectors = dirty.map(|&index| (index, self.sector(index))).collect();
        let number = self.snapshots.get() + 1;
        self.snapshots.set(number);
        Snapshot {
            sectors,
            whole: Some(WholeFile { number, len: self.content.len() }),
            harm: self.harm.len(),
        }
    }

    /// What a durable write of a range covers; it does not change the length.
    pub fn snapshot_range(&self, pos: u64, len: u64) -> Snapshot {
        let first = pos / SECTOR as u64;
        let end = (pos + len).div_ceil(SECTOR as u64);
        let sectors = (first..end).map(|index| (index, self.sector(index))).collect();
        Snapshot { sectors, whole: None, harm: self.harm.len() }
    }

    /// Stable storage now holds what `snapshot` covers, or what a later one covered that was faster.
    pub fn made_durable(&mut self, snapshot: Snapshot) {
        if let Some(WholeFile { number, len }) = snapshot.whole {
            if number < self.stable_snapshot {
                return;
            }
            self.stable_snapshot = number;
            self.durable_len = len;
        }
        for (index, mut stable) in snapshot.sectors {
            for harm in &self.harm[snapshot.harm..] {
                harm.meet(index, &mut stable);
            }
            if self.sector(index) == stable {
                self.undo.remove(&index);
            } else {
                self.undo.insert(index, stable);
            }
        }
    }

    /// A sync failed: what it covered is taken for clean and will never be written.
    pub fn sync_failed(&mut self, snapshot: Snapshot) {
        let covered = snapshot.sectors.into_iter().map(|(index, _)| index);
        self.doomed.extend(covered.filter(|index| self.undo.contains_key(index)));
    }

    /// Whether stable storage holds exactly what reads see.
    pub fn is_durable(&self) -> bool {
        self.undo.is_empty() && self.durable_len == self.content.len()
    }

    /// Leaves what a power cut leaves.
    pub fn power_cut(&mut self, rng: &mut Rng, faults: &DiskFaults) {
        let (written, durable) = (self.content.len(), self.durable_len);
        let len = match rng.below(3) {
            0 => durable,
            1 => written,
            _ => {
                let (low, high) = (written.min(durable), written.max(durable));
                low + rng.below((high - low + 1) as u64) as usize
            }
        };
        self.content.resize(written.max(durable).next_multiple_of(SECTOR), 0);
        for (index, stable) in std::mem::take(&mut self.undo) {
            let start = index as usize * SECTOR;
            let Some(sector) = self.content.get_mut(start..start + SECTOR) else { continue };
            if rng.chance(faults.keep_unsynced_sector) {
                continue;
            }
            let kept = if rng.chance(faults.tear_sector) { rng.below(SECTOR as u64) } else { 0 };
            sector[kept as usize..].copy_from_slice(&stable[kept as usize..]);
        }
        self.content.resize(len, 0);
        self.durable_len = len;
        self.doomed.clear();
    }

    /// Has a byte that reads see as `was` be `is` there, on stable storage and in syncs under way, each unless something
    /// else was written to it.
    pub fn harm(&mut self, byte: u64, was: u8, is: u8) {
        let harm = Harm { byte, was, is };
        let content = usize::try_from(byte).ok().and_then(|at| self.content.get_mut(at));
        if let Some(content) = content.filter(|content| **content == was) {
            *content = is;
        }
        let index = byte / SECTOR as u64;
        if let Some(stable) = self.undo.get_mut(&index) {
            harm.meet(index, stable);
        }
        self.harm.push(harm);
    }
}

impl Harm {
    /// What it makes of a sector.
    fn meet(&self, index: u64, sector: &mut Sector) {
        let byte = &mut sector[self.byte as usize % SECTOR];
        if index == self.byte / SECTOR as u64 && *byte == self.was {
            *byte = self.is;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(keep: f64, tear: f64) -> DiskFaults {
        DiskFaults { keep_unsynced_sector: keep, tear_sector: tear, ..DiskFaults::default() }
    }

    #[test]
    fn what_was_synced_survives_every_cut() {
        for seed in 0..200 {
            let mut file = FileData::default();
            file.write(0, &[1; 3000]);
            file.made_durable(file.snapshot());
            assert!(file.is_durable());
            file.write(600, &[2; 100]);
            file.write(2900, &[3; 2000]);
            file.power_cut(&mut Rng::new(seed), &faults(0.5, 0.5));
            assert!(file.len() >= 3000 && file.len() <= 4900);
            assert!(file.content()[..600].iter().all(|&b| b == 1));
            assert!(file.content()[600..700].iter().all(|&b| b == 1 || b == 2));
            assert!(file.content()[700..2900].iter().all(|&b| b == 1));
            assert!(file.content()[3000..].iter().all(|&b| b == 0 || b == 3));
        }
    }

    #[test]
    fn a_sync_in_progress_covers_only_what_came_before_it() {
        let mut file = FileData::default();
        file.write(0, &[1; 100]);
        let snapshot = file.snapshot();
        file.write(100, &[2; 100]);
        file.made_durable(snapshot);
        assert!(!file.is_durable());
        file.power_cut(&mut Rng::new(1), &faults(0.0, 0.0));
        assert!(file.content()[..100].iter().all(|&b| b == 1));
        assert!(file.content()[100..].iter().all(|&b| b == 0));
    }

    #[test]
    fn a_lost_cut_to_size_brings_the_old_bytes_back() {
        let mut seen_old = false;
        for seed in 0..50 {
            let mut file = FileData::default();
            file.write(0, &[7; 2000]);
            file.made_durable(file.snapshot());
            file.set_len(100);
            file.power_cut(&mut Rng::new(seed), &faults(0.0, 0.0));
            assert!(file.content().iter().all(|&b| b == 7), "seed {seed}");
            seen_old |= file.len() == 2000;
        }
        assert!(seen_old);
    }

    #[test]
    fn a_bit_that_is_set_right_while_a_sync_is_under_way_stays_right_in_a_power_cut() {
        for (flipped_before, cut_after_writing) in [(true, false), (false, false), (true, true)] {
            let mut file = FileData::default();
            file.write(0, &[1; 100]);
            if flipped_before {
                file.harm(10, 1, 3);
            }
            let sync = file.snapshot();
            if !flipped_before {
                file.harm(10, 1, 3);
            }
            if cut_after_writing {
                file.write(10, &[9]);
            }
            file.harm(10, 3, 1);
            file.made_durable(sync);
            file.power_cut(&mut Rng::new(1), &faults(0.0, 0.0));
            assert!(file.content().iter().all(|&b| b == 1), "{:?}", file.content());
        }
    }
}

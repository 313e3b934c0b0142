//! A disk with a volatile write cache, that can be slow, refuse to sync, and lose its power.
//!
//! What was written is durable only when a flush that began after it has ended. Until then it lies in the cache, which a
//! power cut loses: all of it, none of it, or any of its sectors, as the seed says. That is the worst that a disk may do
//! which keeps its word, and what `kill -9` cannot show: the page cache of the host survives it.
//!
//! From the cut to the next `power_on` every request is held back, so that nobody is told of a write or a flush that did
//! not happen; then it fails.

use crate::seeded::Seeded;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub const SECTOR: u64 = 512;

/// What of the write cache a power cut spares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spared {
    Nothing,
    /// Each sector with the chance of a coin.
    Some,
    Everything,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Power {
    #[default]
    On,
    /// Requests wait.
    Cut,
    /// Requests fail, until the power is on again.
    Off,
}

#[derive(Debug, Default)]
struct State {
    /// Sectors that were written and not flushed.
    cache: BTreeMap<u64, Box<[u8; SECTOR as usize]>>,
    power: Power,
    delay: Duration,
    flushes_fail: bool,
    flushes: u64,
}

/// A disk; its flushed content is a file.
#[derive(Debug)]
pub struct Disk {
    pub size: u64,
    media: File,
    state: Mutex<State>,
    changed: Condvar,
}

impl Disk {
    /// `media` is as large as the disk.
    pub fn new(media: File, size: u64) -> Self {
        Self { size, media, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until the disk has power or has none for good, and for as long as it is slow.
    fn powered(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if !state.delay.is_zero() {
            let delay = state.delay;
            drop(state);
            std::thread::sleep(delay);
            state = self.lock();
        }
        while state.power == Power::Cut {
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        match state.power {
            Power::Off => Err(io::Error::other("the disk has no power")),
            _ => Ok(state),
        }
    }

    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let state = self.powered()?;
        let length = (length as u64).min(self.size.saturating_sub(offset)) as usize;
        let mut bytes = vec![0; length];
        self.media.read_exact_at(&mut bytes, offset)?;
        let end = offset + length as u64;
        for (sector, data) in state.cache.range(offset / SECTOR..end.div_ceil(SECTOR)) {
            let at = sector * SECTOR;
            let (from, to) = (at.max(offset), (at + SECTOR).min(end));
            bytes[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&data[(from - at) as usize..(to - at) as usize]);
        }
        Ok(bytes)
    }

    /// Into the cache. Parts of sectors are completed from what is there.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.powered()?;
        let end = offset + bytes.len() as u64;
        if end > self.size {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "behind the end of the disk"));
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let at = sector * SECTOR;
            let (from, to) = (at.max(offset), (at + SECTOR).min(end));
            let whole = to - from == SECTOR;
            let data = match state.cache.entry(sector) {
                std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let mut data = Box::new([0; SECTOR as usize]);
                    if !whole {
                        self.media.read_exact_at(&mut data[..], at)?;
                    }
                    place.insert(data)
                }
            };
            data[(from - at) as usize..(to - at) as usize]
                .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
        }
        Ok(())
    }

    /// Everything that was written before is durable when this returns.
    pub fn flush(&self) -> io::Result<()> {
        let mut state = self.powered()?;
        if state.flushes_fail {
            return Err(io::Error::other("the disk cannot flush"));
        }
        let cache = std::mem::take(&mut state.cache);
        state.flushes += 1;
        self.store(cache.iter().map(|(sector, data)| (*sector, &data[..])))
    }

    /// Neighbours in one write.
    fn store<'a>(&self, sectors: impl Iterator<Item = (u64, &'a [u8])>) -> io::Result<()> {
        let mut run: Vec<u8> = Vec::new();
        let mut first = 0;
        for (sector, data) in sectors {
            if !run.is_empty() && sector != first + run.len() as u64 / SECTOR {
                self.media.write_all_at(&run, first * SECTOR)?;
                run.clear();
            }
            if run.is_empty() {
                first = sector;
            }
            run.extend_from_slice(data);
        }
        self.media.write_all_at(&run, first * SECTOR)
    }

    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    pub fn set_flushes_fail(&self, fail: bool) {
        self.lock().flushes_fail = fail;
    }

    pub fn flushes(&self) -> u64 {
        self.lock().flushes
    }

    /// The power goes, at this instant; how many sectors were lost. Requests wait until [`Self::fail`].
    pub fn cut(&self, spared: Spared, seeded: &mut Seeded) -> io::Result<usize> {
        let mut state = self.lock();
        state.power = Power::Cut;
        let mut cache = std::mem::take(&mut state.cache);
        let before = cache.len();
        match spared {
            Spared::Nothing => cache.clear(),
            Spared::Some => cache.retain(|_, _| seeded.one_in(2)),
            Spared::Everything => {}
        }
        self.store(cache.iter().map(|(sector, data)| (*sector, &data[..])))?;
        Ok(before - cache.len())
    }

    /// What waits for the disk is told that it failed.
    pub fn fail(&self) {
        self.lock().power = Power::Off;
        self.changed.notify_all();
    }

    /// A new start, with what survived.
    pub fn power_on(&self) {
        let mut state = self.lock();
        let flushes = state.flushes;
        *state = State { flushes, ..State::default() };
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, SECTOR, Spared};
    use crate::seeded::Seeded;

    const SIZE: u64 = 64 * SECTOR;

    fn disk() -> Disk {
        let media = tempfile::tempfile().unwrap();
        media.set_len(SIZE).unwrap();
        Disk::new(media, SIZE)
    }

    fn lose_power(disk: &Disk, spared: Spared) -> usize {
        let lost = disk.cut(spared, &mut Seeded::new(7)).unwrap();
        disk.fail();
        disk.power_on();
        lost
    }

    #[test]
    fn what_was_written_is_read_back_before_and_after_a_flush() {
        let disk = disk();
        disk.write(700, b"across sectors, and not at their start").unwrap();
        let expected = [&[0; 4][..], b"across sectors, and not at their start", &[0; 4]].concat();
        assert_eq!(disk.read(696, expected.len()).unwrap(), expected);
        disk.flush().unwrap();
        assert_eq!(disk.read(696, expected.len()).unwrap(), expected);
        disk.write(702, b"X").unwrap();
        assert_eq!(disk.read(700, 4).unwrap(), b"acXo");
    }

    #[test]
    fn a_power_cut_loses_what_was_not_flushed_and_nothing_else() {
        let disk = disk();
        disk.write(0, &[1; 1024]).unwrap();
        disk.flush().unwrap();
        disk.write(512, &[2; 1024]).unwrap();
        assert_eq!(lose_power(&disk, Spared::Nothing), 2);
        assert_eq!(disk.read(0, 2048).unwrap(), [vec![1; 1024], vec![0; 1024]].concat());
    }

    #[test]
    fn a_power_cut_may_spare_any_of_the_sectors_or_all() {
        let disk = disk();
        disk.write(0, &[1; 32 * SECTOR as usize]).unwrap();
        let lost = lose_power(&disk, Spared::Some);
        assert!((1..32).contains(&lost), "{lost}");
        let ones = disk.read(0, SIZE as usize).unwrap().iter().filter(|b| **b == 1).count();
        assert_eq!(ones, (32 - lost) * SECTOR as usize);
        disk.write(0, &[2; SIZE as usize]).unwrap();
        assert_eq!(lose_power(&disk, Spared::Everything), 0);
        assert_eq!(disk.read(0, SIZE as usize).unwrap(), vec![2; SIZE as usize]);
    }

    #[test]
    fn a_flush_that_fails_keeps_nothing_and_a_write_behind_the_end_is_refused() {
        let disk = disk();
        disk.write(0, b"lost").unwrap();
        disk.set_flushes_fail(true);
        assert!(disk.flush().is_err());
        lose_power(&disk, Spared::Nothing);
        assert_eq!(disk.read(0, 4).unwrap(), [0; 4]);
        assert!(disk.flush().is_ok());
        assert!(disk.write(SIZE - 1, b"ab").is_err());
    }

    #[test]
    fn requests_at_a_cut_wait_and_then_fail() {
        let disk = disk();
        disk.write(0, b"kept").unwrap();
        disk.flush().unwrap();
        disk.cut(Spared::Nothing, &mut Seeded::new(1)).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| disk.flush());
            disk.fail();
            assert!(waiting.join().unwrap().is_err());
        });
        assert!(disk.read(0, 4).is_err());
        disk.power_on();
        assert_eq!(disk.read(0, 4).unwrap(), b"kept");
    }
}

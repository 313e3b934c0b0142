//! Which leader epoch began at which offset (Kafka's `LeaderEpochFileCache`), and its file.
//!
//! Pure. Invariant: epochs and start offsets both rise from entry to entry.

/// One leader epoch: the first offset written in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// The epochs of one log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochStart>,
}

/// Kafka's mark for "no epoch" and "no offset".
const UNDEFINED: i64 = -1;

impl LeaderEpochs {
    /// The entries, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// Records that `epoch` begins at `start_offset`; entries this contradicts are dropped.
    /// Returns whether anything changed. Known and negative epochs change nothing.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| latest.epoch >= epoch) {
            return false;
        }
        while self.latest().is_some_and(|latest| latest.start_offset >= start_offset) {
            self.entries.pop();
        }
        self.entries.push(EpochStart { epoch, start_offset });
        true
    }

    /// The epoch that `offset` was written in.
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// Kafka's answer to OffsetForLeaderEpoch: the largest known epoch up to `epoch` and the
    /// offset behind its last record, or (-1, -1).
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> (i32, i64) {
        if epoch == UNDEFINED as i32 {
            return (UNDEFINED as i32, UNDEFINED);
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch) {
            return (epoch, log_end_offset);
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let Some(higher) = self.entries.get(after) else {
            return (UNDEFINED as i32, UNDEFINED);
        };
        match after.checked_sub(1) {
            Some(floor) => (self.entries[floor].epoch, higher.start_offset),
            None => (epoch, higher.start_offset),
        }
    }

    /// Drops epochs that begin at or behind `end_offset`. Returns whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Drops epochs that end before `start_offset`; the one it lies in then begins there.
    /// Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let after = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(floor) = after.checked_sub(1) else { return false };
        if floor == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..floor);
        self.entries[0].start_offset = start_offset;
        true
    }

    /// The content of `leader-epoch-checkpoint`.
    pub fn to_file(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            text.push_str(&format!("{} {}\n", entry.epoch, entry.start_offset));
        }
        text
    }

    /// Reads what [`LeaderEpochs::to_file`] or Kafka wrote; `None` if it is malformed.
    pub fn from_file(text: &str) -> Option<LeaderEpochs> {
        let mut lines = text.lines();
        if lines.next()?.trim() != "0" {
            return None;
        }
        let count: usize = lines.next()?.trim().parse().ok()?;
        let mut epochs = LeaderEpochs::default();
        for line in lines.by_ref().take(count) {
            let (epoch, start_offset) = line.trim().split_once(' ')?;
            let entry = EpochStart {
                epoch: epoch.parse().ok()?,
                start_offset: start_offset.trim().parse().ok()?,
            };
            epochs.entries.push(entry);
        }
        let whole = epochs.entries.len() == count && lines.next().is_none();
        let rising = epochs.entries.windows(2).all(|pair| {
            pair[0].epoch < pair[1].epoch && pair[0].start_offset <= pair[1].start_offset
        });
        (whole && rising).then_some(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        assert!(epochs.assign(2, 0));
        assert!(epochs.assign(5, 100));
        assert!(epochs.assign(9, 250));
        epochs
    }

    #[test]
    fn end_offsets_are_answered_as_kafka_does() {
        let answer = |epoch| epochs().end_offset_for(epoch, 300);
        assert_eq!(answer(-1), (-1, -1));
        assert_eq!(answer(1), (1, 0));
        assert_eq!(answer(2), (2, 100));
        assert_eq!(answer(4), (2, 100));
        assert_eq!(answer(5), (5, 250));
        assert_eq!(answer(9), (9, 300));
        assert_eq!(answer(10), (-1, -1));
        assert_eq!(LeaderEpochs::default().end_offset_for(0, 0), (-1, -1));
    }

    #[test]
    fn an_offset_knows_its_epoch() {
        assert_eq!(epochs().epoch_of(-1), None);
        assert_eq!(epochs().epoch_of(99), Some(2));
        assert_eq!(epochs().epoch_of(100), Some(5));
        assert_eq!(epochs().epoch_of(1 << 40), Some(9));
    }

    #[test]
    fn old_and_negative_epochs_change_nothing_and_contradicted_ones_go() {
        let mut e = epochs();
        assert!(!e.assign(9, 400));
        assert!(!e.assign(3, 400));
        assert!(!e.assign(-1, 400));
        assert!(e.assign(11, 100));
        assert_eq!(e.entries().iter().map(|entry| entry.epoch).collect::<Vec<_>>(), [2, 11]);
    }

    #[test]
    fn truncation_keeps_the_epoch_that_the_start_lies_in() {
        let mut e = epochs();
        assert!(e.truncate_from_start(120));
        assert_eq!(e.entries()[0], EpochStart { epoch: 5, start_offset: 120 });
        assert!(!e.truncate_from_start(120));
        assert!(e.truncate_from_end(250));
        assert_eq!(e.entries().len(), 1);
        assert!(!e.truncate_from_end(121));
        assert!(e.truncate_from_end(120));
    }

    #[test]
    fn the_file_is_kafkas() {
        let text = "0\n3\n2 0\n5 100\n9 250\n";
        assert_eq!(epochs().to_file(), text);
        assert_eq!(LeaderEpochs::from_file(text), Some(epochs()));
        assert_eq!(LeaderEpochs::from_file("0\n0\n"), Some(LeaderEpochs::default()));
        for bad in
            ["", "1\n0\n", "0\n2\n1 0\n", "0\n1\n1 0\n2 3\n", "0\n1\nx 0\n", "0\n2\n5 0\n2 3\n"]
        {
            assert_eq!(LeaderEpochs::from_file(bad), None, "{bad:?}");
        }
    }
}

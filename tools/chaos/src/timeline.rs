//! What happened when: records per second, faults, and how long each partition took nothing.

use crate::fault::Fault;
use std::collections::BTreeMap;

pub const SECOND_NS: u64 = 1_000_000_000;

#[derive(Debug, Default, Clone, Copy)]
pub struct Second {
    pub acknowledged: u32,
    pub read: u32,
}

/// A fault as it was.
#[derive(Debug, Clone)]
pub struct Happened {
    pub name: &'static str,
    pub told: String,
    /// Nanoseconds since the run began.
    pub from: u64,
    pub to: u64,
    /// The longest time for which a partition acknowledged nothing, counted from an acknowledgement before to one after.
    pub worst_gap: u64,
}

#[derive(Debug, Default)]
pub struct Timeline {
    /// The time of the host's clock at which the run began.
    pub began: u64,
    pub seconds: Vec<Second>,
    pub faults: Vec<Happened>,
    last_acknowledged: BTreeMap<String, u64>,
    worst_gap: u64,
}

impl Timeline {
    pub fn new(began: u64) -> Self {
        Self { began, ..Self::default() }
    }

    fn second(&mut self, time: u64) -> &mut Second {
        let index = (time.saturating_sub(self.began) / SECOND_NS) as usize;
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    pub fn acknowledged(&mut self, partition: &str, time: u64) {
        self.second(time).acknowledged += 1;
        match self.last_acknowledged.get_mut(partition) {
            Some(last) => {
                self.worst_gap = self.worst_gap.max(time.saturating_sub(*last));
                *last = time.max(*last);
            }
            None => drop(self.last_acknowledged.insert(partition.to_owned(), time)),
        }
    }

    pub fn read(&mut self, records: usize, time: u64) {
        self.second(time).read += records as u32;
    }

    /// A slot begins: gaps are counted anew.
    pub fn begin_slot(&mut self) {
        self.worst_gap = 0;
    }

    /// A slot ends, with the fault it had; partitions that took nothing in the last `quiet` nanoseconds.
    pub fn end_slot(
        &mut self,
        fault: &Fault,
        from: u64,
        to: u64,
        now: u64,
        quiet: u64,
    ) -> Vec<String> {
        let began = self.began;
        self.faults.push(Happened {
            name: fault.name(),
            told: fault.to_string(),
            from: from.saturating_sub(began),
            to: to.saturating_sub(began),
            worst_gap: self.worst_gap,
        });
        let stuck = |last: &u64| now.saturating_sub(*last) > quiet;
        let partitions = self.last_acknowledged.iter().filter(|(_, last)| stuck(last));
        partitions.map(|(name, _)| name.clone()).collect()
    }

    pub fn total_acknowledged(&self) -> u64 {
        self.seconds.iter().map(|second| u64::from(second.acknowledged)).sum()
    }

    /// By kind of fault: how often it came, and the median and the worst of its worst gaps.
    pub fn gaps(&self) -> Vec<(&'static str, usize, u64, u64)> {
        let mut kinds: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
        for fault in &self.faults {
            kinds.entry(fault.name).or_default().push(fault.worst_gap);
        }
        let row = |(name, mut gaps): (&'static str, Vec<u64>)| {
            gaps.sort_unstable();
            (name, gaps.len(), gaps[gaps.len() / 2], gaps[gaps.len() - 1])
        };
        kinds.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{SECOND_NS, Timeline};
    use crate::fault::Fault;

    #[test]
    fn the_worst_gap_of_a_slot_is_that_of_one_partition_from_acknowledgement_to_acknowledgement() {
        let mut timeline = Timeline::new(100);
        timeline.acknowledged("t-0", 100);
        timeline.acknowledged("t-1", 110);
        timeline.begin_slot();
        timeline.acknowledged("t-1", 150);
        timeline.acknowledged("t-0", 400);
        assert!(timeline.end_slot(&Fault::Calm, 110, 120, 450, 500).is_empty());
        assert_eq!(timeline.faults[0].worst_gap, 300);
        assert_eq!(timeline.gaps(), [("calm", 1, 300, 300)]);
    }

    #[test]
    fn a_partition_that_takes_nothing_any_more_is_told() {
        let mut timeline = Timeline::new(0);
        timeline.acknowledged("t-0", SECOND_NS);
        timeline.acknowledged("t-1", 9 * SECOND_NS);
        let stuck = timeline.end_slot(&Fault::Calm, 0, 1, 10 * SECOND_NS, 5 * SECOND_NS);
        assert_eq!(stuck, ["t-0"]);
        assert_eq!(timeline.total_acknowledged(), 2);
    }
}

//! How many tests passed and failed, added up over everything that a chore runs.
//!
//! Two kinds of lines are understood: libtest's `test result: ok. 12 passed; 0 failed; ...` and our own tools'
//! last line `12 passed, 0 failed`. A command that fails without saying so counts as one failure, so a crash or a
//! compile error never ends in a green line.

use anyhow::Result;
use std::fmt;
use std::process::Command;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    pub fn green(&self) -> bool {
        self.failed == 0
    }

    /// What a line of output says about tests.
    pub fn of_line(line: &str) -> Option<Tally> {
        let counts = match line.strip_prefix("test result: ") {
            Some(rest) => rest.split_once(". ")?.1.split(';'),
            None => line.split(';'),
        };
        let counts: Vec<&str> = counts.flat_map(|part| part.split(',')).map(str::trim).collect();
        let [passed, failed, ..] = counts[..] else {
            return None;
        };
        let own = !line.starts_with("test result: ");
        if own && counts.len() != 2 {
            return None;
        }
        Some(Tally {
            passed: passed.strip_suffix(" passed")?.parse().ok()?,
            failed: failed.strip_suffix(" failed")?.parse().ok()?,
        })
    }

    /// Runs a command and adds what its lines count.
    pub fn run(&mut self, command: &mut Command) -> Result<bool> {
        let mut seen = Tally::default();
        let green = crate::step::watched(command, |line| {
            if let Some(counted) = Tally::of_line(line) {
                seen.add(counted);
            }
        })?;
        if !green && seen.failed == 0 {
            seen.failed = 1;
        }
        self.add(seen);
        Ok(green)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn lines_of_libtest_and_of_our_tools_are_counted() {
        let libtest =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::of_line(libtest), Some(Tally { passed: 12, failed: 3 }));
        assert_eq!(Tally::of_line("7 passed, 0 failed"), Some(Tally { passed: 7, failed: 0 }));
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in [
            "",
            "test a ... ok",
            "12 passed",
            "3 passed, 1 failed, 2 skipped",
            "x passed, y failed",
        ] {
            assert_eq!(Tally::of_line(line), None, "{line}");
        }
    }
}

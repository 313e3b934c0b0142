//! Names of the files in a partition directory, as Kafka's `LogFileUtils` makes them.

use std::path::{Path, PathBuf};

pub(crate) const DELETED_SUFFIX: &str = ".deleted";
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";
pub(crate) const SWAP_SUFFIX: &str = ".swap";
/// Suffix of a partition directory that is being deleted.
pub(crate) const DELETED_DIR_SUFFIX: &str = "-delete";
/// What a directory is called whose topic nothing knows, and that is kept for an operator to judge.
pub(crate) const STRAY_DIR_SUFFIX: &str = "-stray";
pub(crate) const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// The files that carry a segment's base offset in their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    Log,
    Index,
    TimeIndex,
    TxnIndex,
    Snapshot,
}

impl FileKind {
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::Index,
        FileKind::TimeIndex,
        FileKind::TxnIndex,
        FileKind::Snapshot,
    ];

    pub fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::Index => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::Snapshot => ".snapshot",
        }
    }
}

/// `<20-digit base offset><suffix>` in `dir`.
pub(crate) fn segment_path(dir: &Path, base_offset: i64, kind: FileKind) -> PathBuf {
    dir.join(format!("{base_offset:020}{}", kind.suffix()))
}

/// `path` with `suffix` behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Base offset and kind of a file without further suffix.
pub(crate) fn parse(name: &str) -> Option<(i64, FileKind)> {
    let (digits, rest) = name.split_at_checked(20)?;
    let kind = FileKind::ALL.into_iter().find(|kind| kind.suffix() == rest)?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_taken_for_segments() {
        let path = segment_path(Path::new("/d/t-0"), 368_769, FileKind::TimeIndex);
        assert_eq!(path, Path::new("/d/t-0/00000000000000368769.timeindex"));
        assert_eq!(parse("00000000000000368769.timeindex"), Some((368_769, FileKind::TimeIndex)));
        for name in [
            "00000000000000368769.log.deleted",
            "0000000000000036876.log",
            "+0000000000000368769.log",
            "99999999999999999999.log",
            "partition.metadata",
            "äääääääääää.log",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}

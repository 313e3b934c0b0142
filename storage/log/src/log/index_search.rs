//! Binary search in an index file, without reading all of it.

use std::path::Path;

use runtime::fs::File;

use super::error::LogError;
use super::{offset_index, time_index};

/// The last stretch of a search is read at once.
const BLOCK_ENTRIES: usize = 256;

/// Position for `relative_offset` from the first `index_bytes` of an offset index: of the last
/// entry at or before it, or 0.
pub(crate) async fn position_for(
    file: &File,
    path: &Path,
    index_bytes: u64,
    relative_offset: i64,
) -> Result<u64, LogError> {
    let before = |entry: &[u8]| i64::from(offset_index::entry(entry, 0).0) <= relative_offset;
    let found = last_entry(file, path, index_bytes, offset_index::ENTRY_BYTES, before).await?;
    Ok(found.map_or(0, |entry| u64::from(offset_index::entry(&entry, 0).1)))
}

/// The last entry of a time index at or before `timestamp`: timestamp and relative offset.
pub(crate) async fn time_entry_for(
    file: &File,
    path: &Path,
    index_bytes: u64,
    timestamp: i64,
) -> Result<Option<(i64, i32)>, LogError> {
    let before = |entry: &[u8]| time_index::entry(entry, 0).0 <= timestamp;
    let found = last_entry(file, path, index_bytes, time_index::ENTRY_BYTES, before).await?;
    Ok(found.map(|entry| time_index::entry(&entry, 0)))
}

async fn last_entry(
    file: &File,
    path: &Path,
    index_bytes: u64,
    entry_bytes: usize,
    before: impl Fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, LogError> {
    let read = async |first: usize, count: usize| {
        let wanted = count * entry_bytes;
        let bytes = file.read_at((first * entry_bytes) as u64, wanted).await;
        let bytes = bytes.map_err(LogError::io("read", path))?;
        if bytes.len() < wanted {
            let found = (first * entry_bytes + bytes.len()) as u64;
            let file = path.to_path_buf();
            return Err(LogError::Truncated { file, expected: index_bytes, found });
        }
        Ok(bytes)
    };
    let (mut low, mut high) = (0, index_bytes as usize / entry_bytes);
    let mut found = None;
    while high - low > BLOCK_ENTRIES {
        let middle = low + (high - low) / 2;
        let entry = read(middle, 1).await?;
        if before(&entry) {
            found = Some(entry.to_vec());
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if high > low {
        let block = read(low, high - low).await?;
        let entries = block.chunks_exact(entry_bytes);
        found = entries.take_while(|entry| before(entry)).last().map(<[u8]>::to_vec).or(found);
    }
    Ok(found)
}

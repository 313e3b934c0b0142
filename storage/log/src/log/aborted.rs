//! Which aborted transactions a reader of committed records must leave out
//! (`UnifiedLog.collectAbortedTransactions` of Kafka).

use super::error::LogError;
use super::file_names::FileKind;
use super::partition_log::Log;
use super::txn_index::{AbortedTransaction, ENTRY_BYTES};

impl Log {
    /// The aborted transactions that touch `offset..offset_end`, in order of their markers.
    pub async fn aborted_transactions(
        &self,
        offset: i64,
        offset_end: i64,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut found = Vec::new();
        let end_offset = self.end_offset();
        let mut at = offset.max(self.log_start_offset());
        while at < end_offset {
            let base = self.find(at).await?.base_offset;
            for entry in self.txn_entries(base).await? {
                if entry.last_offset >= offset && entry.first_offset < offset_end {
                    found.push(entry);
                }
                if entry.last_stable_offset >= offset_end {
                    return Ok(found);
                }
            }
            match self.inner.borrow().segment_after(base) {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(found)
    }

    async fn txn_entries(&self, base: i64) -> Result<Vec<AbortedTransaction>, LogError> {
        let (active, pending) = {
            let inner = self.inner.borrow();
            let active = inner.state.active;
            let is_active = active.base_offset == base;
            (
                is_active.then_some(active.txn_index_bytes as usize),
                if is_active { inner.pending.txn_index.clone() } else { Vec::new() },
            )
        };
        let written = active.map(|bytes| bytes - pending.len());
        let mut bytes = match written {
            Some(0) => Vec::new(),
            written => self.read_txn_index(base, written).await?,
        };
        bytes.extend_from_slice(&pending);
        bytes
            .chunks(ENTRY_BYTES)
            .map(|entry| {
                AbortedTransaction::parse(entry).ok_or_else(|| LogError::Corrupt {
                    file: self.path(base, FileKind::TxnIndex),
                    position: 0,
                    reason: "it is not a list of aborted transactions".to_owned(),
                })
            })
            .collect()
    }

    async fn read_txn_index(&self, base: i64, bytes: Option<usize>) -> Result<Vec<u8>, LogError> {
        let path = self.path(base, FileKind::TxnIndex);
        let key = (self.id, base, FileKind::TxnIndex);
        let file = match self.store.files.open(key, &path, false).await {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            file => file?,
        };
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => file.len().await.map_err(LogError::io("stat", &path))? as usize,
        };
        let read = file.read_at(0, bytes).await.map_err(LogError::io("read", &path))?;
        Ok(read.to_vec())
    }
}

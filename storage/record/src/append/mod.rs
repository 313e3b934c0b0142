//! What Kafka's broker accepts, corrects and refuses when a client produces one batch
//! (`ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`).
//!
//! [`validate_for_append`] is the only door through which client bytes reach a partition. It reads
//! the bytes where they lie and answers in which form they are stored: as sent, as sent with
//! corrected timestamp fields, or rewritten. The order of the checks is Kafka's, because a batch
//! with two faults must get the error that Kafka gives.
//!
//! **What is decompressed.** Kafka walks the records of every batch, compressed or not: for
//! undecodable data, counts, offset deltas, record timestamps out of range, and to correct a false
//! `maxTimestamp`. Without the walk a client could store bytes that no consumer can read, so
//! [`CompressedCheck::Full`] does the same, into a buffer that is kept; the stored bytes stay the
//! client's. [`CompressedCheck::HeaderOnly`] trusts the inside of a batch that is stored as sent on
//! a topic that is not compacted, if its header is plausible: for clusters whose clients are all
//! known. Uncompressed batches are always walked, in one pass, without allocation.
//!
//! Invariants: `Validated::header` describes the bytes as they will be stored; nothing behind
//! `header.size` bytes of the input belongs to the batch (Kafka accepts stray bytes there, and so
//! do we: they are not stored).

mod judge;
mod refusal;
mod rules;
mod validated;

pub use judge::{validate_for_append, validate_form};
pub use refusal::{BatchRefusal, RECORD_ERRORS_MAX, RecordError, RecordErrorFault, RefusalKind};
pub use rules::{AppendRules, CompressedCheck, Scratch};
pub use validated::{Stored, Validated};

//! The classic consumer group coordinator and its committed offsets, as a pure state machine.
//!
//! One [`GroupCoordinator`] stands beside each `__consumer_offsets` partition and lives on the shard
//! that leads that partition. It performs no I/O, reads no clock and draws no random number: the
//! shell passes [`Event`]s with a [`Clock`] in, and carries out the [`Effects`] that come back.
//!
//! Contract with the shell:
//! - [`Effects::appends`] are written to the partition in order. `Appended(ticket)` reports that all
//!   appends up to the ticket are committed; `AppendFailed` reports that the ticket and every later
//!   one never will be. A refused append is reported before the next event is handed in.
//! - [`Effects::responses`] go out at once. A response that depends on records which are not yet
//!   committed is not among them: it is kept here and released by `Appended`.
//! - [`GroupCoordinator::next_deadline`] is the only timer. When it has passed, hand in `Event::Tick`.
//! - At load every record of the partition is given to [`GroupCoordinator::replay`] in log order,
//!   then [`GroupCoordinator::finish_load`] arms the session timers.
//!
//! Semantics and record bytes follow Apache Kafka 4.3 (`GroupMetadataManager`'s classic part,
//! `ClassicGroup`, `OffsetMetadataManager`; KIP-62, 211, 345, 394, 814).

mod appends;
mod clock;
mod commit;
mod coordinator;
mod deadlines;
mod delete;
mod describe;
mod effects;
mod error;
mod expiry;
mod fetch;
mod group;
mod join;
mod load;
mod member;
mod membership;
mod offsets;
mod partitioner;
mod protocols;
mod rebalance;
pub mod record;
mod request;
mod response;
mod settings;
mod static_member;
mod subscription;
mod sync;

pub use clock::Clock;
pub use coordinator::{GroupCoordinator, Stats};
pub use effects::{Append, AppendFailure, Effects, Event, Record, RequestToken, Ticket};
pub use error::{GroupError, RecordError};
pub use group::GroupState;
pub use offsets::CommittedOffset;
pub use partitioner::partition_of;
pub use request::*;
pub use response::*;
pub use settings::Settings;

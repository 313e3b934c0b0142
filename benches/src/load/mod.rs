//! The load generator: agents, each with one connection, driven by one spinning thread.
//!
//! Nothing here sleeps: the thread owns a CPU of its own, so a send happens within a microsecond
//! of its intended time and an answer is seen as soon as it is there. Latencies count from the
//! *intended* time, so a broker that stalls pays for every record that should have been sent
//! meanwhile (no coordinated omission).

mod batch_maker;
mod consumer;
mod engine;
mod open_loop;
mod payload;
mod recorder;
mod saturate;

pub use batch_maker::{BatchTemplate, ProducerIdentity};
pub use consumer::Consumer;
pub use engine::{Agent, Engine};
pub use open_loop::{OpenLoop, OpenLoopProducer};
pub use payload::Payload;
pub use recorder::{Recorder, Window};
pub use saturate::{Saturate, SaturatingProducer};

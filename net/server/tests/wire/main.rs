//! The server on real sockets (or simulated ones), against a service whose calls a test steers.

mod harness;

mod deadlines;
mod limits;
mod order;
mod refusals;
mod stop;

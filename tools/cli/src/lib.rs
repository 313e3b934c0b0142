//! The client side of the `millrace` program: topics, produce, consume, groups, where data lives.
//!
//! The broker's main embeds [`Command`] among its own commands and gives it to [`run`]. Results go to standard output,
//! as tables or JSON; everything else (errors, progress) to standard error, so that output can be piped.

// A command-line client: no shard, no simulated world, so plain input, output and clocks are right here.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod cluster;
mod command;
mod consume;
mod group;
mod output;
mod place;
mod plan;
mod produce;
mod remove;
mod topic;
mod wait;

pub use command::{Command, run};
pub use wait::wait_for_nodes;

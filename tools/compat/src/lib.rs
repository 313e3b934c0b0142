//! `cargo xtask compat`: real clients, of many makers, against a fresh node.
//!
//! Every client is installed by its ordinary package manager into a cache, runs with its defaults, and gets a node of
//! its own on an empty directory. The scenarios are written once (`scenarios`, `membership`); the programs in
//! `clients/` show how each library does a thing. The same run against Apache Kafka (`--broker kafka`) says which
//! failures are the client's own. The results become the matrix in the README (`--update`).
//!
//! A library for `chaos`, which installs and watches its client programs in the same way.

// A tool for the outside of the node: real processes, files and clocks are its subject.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod args;
pub mod cache;
mod clients;
mod cluster_changes;
mod cluster_tools;
mod differential;
mod failover;
pub mod jars;
mod matrix;
mod membership;
mod node;
mod outcome;
mod own_client;
pub mod process;
mod program;
pub mod run;
mod scenarios;
mod segment_files;
pub mod toolchain;
mod tools;

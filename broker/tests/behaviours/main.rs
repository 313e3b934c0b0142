//! What clients rely on and other makers' brokers got wrong, asked of a whole node over the wire: one file per subject.
//! `net/BEHAVIOURS.md` lists all of it, with what is proven elsewhere.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

#[path = "../node/mod.rs"]
mod node;

mod admin;
mod fetch;
mod fetch_sessions;
mod groups;
mod handshake;
mod metadata;
mod offsets;
mod produce;
mod questions;

use tempfile::TempDir;

use node::Node;

/// A node on a fresh directory.
fn fresh(settings: &[&str]) -> (TempDir, Node) {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::start(data.path(), 2, settings);
    (data, node)
}

//! `cargo xtask tidy`: the rules of the house that a program can check.
//!
//! Each check looks at one kind of thing and returns its findings as sentences with a place; no finding means it
//! passed. A rule without a check is a wish, so new rules come here as code.

mod arrows;
mod behaviours;
mod documents;
mod files;
mod format;
mod names;
mod run;
mod sizes;
mod tree;

pub use run::{Args, run};

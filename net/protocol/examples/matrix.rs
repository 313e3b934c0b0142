//! Prints the API matrix of `net/PROTOCOL.md`; `--check` says whether the document holds it,
//! `--write` puts it there.

#![allow(clippy::disallowed_methods, reason = "a tool for the repository, not part of a node")]

use std::path::Path;
use std::process::ExitCode;

fn main() -> std::io::Result<ExitCode> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    let document = std::fs::read_to_string(&path)?;
    let current = protocol::matrix::replace_in(&document)
        .ok_or_else(|| std::io::Error::other("the marks of the matrix are missing"))?;
    match std::env::args().nth(1).as_deref() {
        Some("--check") if document != current => return Ok(ExitCode::FAILURE),
        Some("--check") => {}
        Some("--write") => std::fs::write(&path, current)?,
        _ => print!("{}", protocol::matrix::markdown()),
    }
    Ok(ExitCode::SUCCESS)
}

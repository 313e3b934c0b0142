//! What the checks look at: the files that git knows or would take, and cargo's view of the crates.

use crate::step;
use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};

pub struct Tree {
    /// Paths from the root, with `/`, sorted.
    pub files: Vec<String>,
    pub metadata: Metadata,
}

/// A source file of ours with its text.
pub struct Source<'a> {
    pub path: &'a str,
    pub text: String,
}

impl Tree {
    pub fn read() -> Result<Self> {
        let mut git = step::command("git");
        let list = step::output(git.args(["ls-files", "-co", "--exclude-standard"]))?;
        let mut files: Vec<String> = list.lines().map(str::to_owned).collect();
        files.retain(|path| step::root().join(path).is_file());
        files.sort();
        let metadata = MetadataCommand::new().current_dir(step::root()).exec();
        Ok(Self { files, metadata: metadata.context("cargo metadata")? })
    }

    pub fn text(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(step::root().join(path))
            .with_context(|| format!("cannot read {path}"))
    }

    /// Every Rust file of the workspace, the programs of other makers' clients included.
    pub fn sources(&self) -> impl Iterator<Item = Result<Source<'_>>> {
        let paths = self.files.iter().filter(|path| path.ends_with(".rs"));
        paths.map(|path| Ok(Source { path, text: self.text(path)? }))
    }
}

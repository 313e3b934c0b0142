//! Where installed clients are kept between runs: a folder per client and per state of what it is made from.
//!
//! `$XDG_CACHE_HOME/millrace-compat` (default `~/.cache`). A folder counts only with its `.complete` file, so an
//! installation that was cut off is done again. A changed manifest or program gets a folder of its own; older ones of
//! the same client are removed then.

use anyhow::{Context, Result};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

pub struct Cache {
    root: PathBuf,
}

impl Cache {
    pub fn open() -> Result<Self> {
        let base = match std::env::var_os("XDG_CACHE_HOME") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir),
            _ => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
        };
        Ok(Self { root: base.join("millrace-compat") })
    }

    /// The folder of `name` made from `sources` (files or folders); `install` fills it if it is not there yet.
    pub fn folder(
        &self,
        name: &str,
        sources: &[PathBuf],
        install: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        for source in sources {
            hash(source, &mut hasher)?;
        }
        let folder = self.root.join(format!("{name}-{:016x}", hasher.finish()));
        let complete = folder.join(".complete");
        if complete.exists() {
            return Ok(folder);
        }
        self.remove_all_of(name)?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        eprintln!("installing {name} into {}", folder.display());
        install(&folder).with_context(|| format!("cannot install {name}"))?;
        fs::write(complete, "")?;
        Ok(folder)
    }

    fn remove_all_of(&self, name: &str) -> Result<()> {
        for entry in fs::read_dir(&self.root).into_iter().flatten() {
            let entry = entry?;
            let old = entry.file_name().to_string_lossy().into_owned();
            let (prefix, hash) = old.rsplit_once('-').unwrap_or((&old, ""));
            if prefix == name && hash.len() == 16 {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

fn hash(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    if path.is_dir() {
        let mut names: Vec<PathBuf> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        names.sort();
        return names.iter().try_for_each(|name| hash(name, hasher));
    }
    hasher.write(path.file_name().unwrap_or_default().as_encoded_bytes());
    hasher.write(&fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    Ok(())
}

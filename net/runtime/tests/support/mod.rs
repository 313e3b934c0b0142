//! A directory of its own for each test, in either world.

use std::path::{Path, PathBuf};

pub struct Dir {
    path: PathBuf,
    #[cfg(not(simulation))]
    _keep: tempfile::TempDir,
}

impl Dir {
    pub async fn new() -> Dir {
        #[cfg(not(simulation))]
        {
            let keep = tempfile::tempdir().expect("a temporary directory");
            Dir { path: keep.path().to_owned(), _keep: keep }
        }
        #[cfg(simulation)]
        {
            let path = PathBuf::from("/test");
            runtime::fs::create_dir_all(&path).await.expect("the simulated disk takes it");
            Dir { path }
        }
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

//! A directory per test, in whichever world the runtime is built for, and images of directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use runtime::fs::{self, File, OpenOptions};

/// A directory that vanishes with the value (in the simulated world: with the world).
pub struct Scratch {
    #[cfg(not(simulation))]
    dir: tempfile::TempDir,
    #[cfg(simulation)]
    dir: PathBuf,
}

impl Scratch {
    #[cfg(not(simulation))]
    pub fn new() -> Scratch {
        Scratch { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    #[cfg(simulation)]
    pub fn new() -> Scratch {
        Scratch { dir: PathBuf::from("/scratch") }
    }

    pub fn path(&self) -> PathBuf {
        #[cfg(not(simulation))]
        return self.dir.path().to_path_buf();
        #[cfg(simulation)]
        return self.dir.clone();
    }
}

/// The files of one directory, by name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// Without what is being removed in the background.
#[allow(dead_code, reason = "not every test file uses it")]
pub async fn take_image(dir: &Path) -> Image {
    let mut image = Image::new();
    for entry in fs::read_dir(dir).await.expect("directory lists") {
        if !entry.is_dir && !entry.name.ends_with(".deleted") {
            let bytes = fs::read(&dir.join(&entry.name)).await.expect("file reads");
            image.insert(entry.name, bytes.to_vec());
        }
    }
    image
}

#[allow(dead_code, reason = "not every test file uses it")]
pub async fn put_image(dir: &Path, image: &Image) {
    if fs::exists(dir).await.expect("looks") {
        fs::remove_dir_all(dir).await.expect("directory is removed");
    }
    fs::create_dir_all(dir).await.expect("directory is created");
    for (name, bytes) in image {
        let file = File::open(dir.join(name), &OpenOptions::REPLACE).await.expect("file opens");
        file.write_all_at(0, Bytes::copy_from_slice(bytes)).await.expect("file is written");
    }
}

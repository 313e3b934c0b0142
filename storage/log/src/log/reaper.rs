//! Removes deleted files, slowly: freeing a large file in one go holds the file system's journal
//! for so long that synced writes beside it stall.
//!
//! One background task per shard. A file waits for the delay first (readers may still use it), is
//! cut down in steps, and removed. Whatever is left at a stop is found again by its suffix.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::fs::{self, File, OpenOptions};
use runtime::sync::Notify;
use runtime::task::{self, Class};
use runtime::time::{self, Instant, timeout};

/// Bytes freed at once.
const STEP_BYTES: u64 = 2 << 20;
/// Pause after each step and each file.
const STEP_PAUSE: Duration = Duration::from_millis(2);

struct Doomed {
    path: PathBuf,
    is_dir: bool,
}

#[derive(Default)]
pub(crate) struct Reaper {
    /// By when they are due; the number tells those of one moment apart.
    queue: RefCell<BTreeMap<(Instant, u64), Doomed>>,
    number: Cell<u64>,
    added: Rc<Notify>,
    /// Ends with this value.
    task: RefCell<Option<task::Task<()>>>,
}

impl Reaper {
    pub fn start() -> Rc<Reaper> {
        let added = Rc::new(Notify::new());
        let reaper = Rc::new(Reaper { added: Rc::clone(&added), ..Reaper::default() });
        let run = run(Rc::downgrade(&reaper), added);
        *reaper.task.borrow_mut() = Some(task::spawn(Class::Background, run));
        reaper
    }

    pub fn add_file(&self, path: PathBuf, delay: Duration) {
        self.add(Doomed { path, is_dir: false }, delay);
    }

    pub fn add_dir(&self, path: PathBuf, delay: Duration) {
        self.add(Doomed { path, is_dir: true }, delay);
    }

    pub fn waiting(&self) -> usize {
        self.queue.borrow().len()
    }

    fn add(&self, doomed: Doomed, delay: Duration) {
        let number = self.number.replace(self.number.get() + 1);
        self.queue.borrow_mut().insert((Instant::now() + delay, number), doomed);
        self.added.notify_one();
    }
}

async fn run(reaper: Weak<Reaper>, added: Rc<Notify>) {
    loop {
        let Some(strong) = reaper.upgrade() else { return };
        let next = strong.queue.borrow().first_key_value().map(|((due, _), _)| *due);
        drop(strong);
        let Some(due) = next else {
            added.notified().await;
            continue;
        };
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            // What was added meanwhile may be due before.
            let _ = timeout(wait, added.notified()).await;
            continue;
        }
        let Some(strong) = reaper.upgrade() else { return };
        let doomed = strong.queue.borrow_mut().pop_first();
        drop(strong);
        if let Some((_, Doomed { path, is_dir })) = doomed {
            let removed = if is_dir { remove_dir(&path).await } else { remove_file(&path).await };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "a deleted file stays");
            }
        }
    }
}

async fn remove_dir(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir).await? {
        if !entry.is_dir {
            remove_file(&dir.join(&entry.name)).await?;
        }
    }
    fs::remove_dir_all(dir).await
}

async fn remove_file(path: &Path) -> std::io::Result<()> {
    let options = OpenOptions { write: true, ..OpenOptions::default() };
    let file = match File::open(path, &options).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut left = file.len().await?;
    while left > STEP_BYTES {
        left -= STEP_BYTES;
        file.set_len(left).await?;
        time::sleep(STEP_PAUSE).await;
    }
    drop(file);
    fs::remove_file(path).await?;
    time::sleep(STEP_PAUSE).await;
    Ok(())
}

//! The writing end of a stream. Owned by one shard; one task writes, others may seal.
//!
//! Group commit has no timer: [`Wal::seal`] queues frames at any time, [`Wal::write_queued`] writes
//! all that is queued and returns when it is durable. A caller that loops over it gets one write at
//! low load, and batches exactly what arrived during the write in flight under load.
//!
//! Files are made ready by a background task, ahead of need; only when frames come faster than it
//! can zero a new file does a write wait for it. A write never makes a file grow.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::fs::{self, DirectFile};
use runtime::mutant;
use runtime::sync::Notify;
use runtime::task;

use super::file_pool::{FilePool, Preparation, WalFile, file_path};
use super::frame::FrameHeader;
use super::reader::WalReader;
use super::stream_identity::StreamIdentity;
use super::write_queue::{State, WalStats};
use super::{FrameBuilder, FrameTag, ReplayPoint, SealedFrame, WalError, WalOptions, WalPosition};

/// Pause before a file that could not be prepared (full disk) is tried again.
const PREPARE_RETRY: Duration = Duration::from_secs(1);

/// Whether others on the shard wait while a write is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Alone,
    Others,
}

/// A stream that can be written.
pub struct Wal {
    dir: PathBuf,
    options: WalOptions,
    identity: StreamIdentity,
    /// Where the first frame of this epoch lies, or will.
    begin: WalPosition,
    state: RefCell<State>,
    writing: Cell<bool>,
    preparing: Cell<bool>,
    /// The background task has something to do.
    wanted: Rc<Notify>,
    /// A preparation ended.
    prepared: Notify,
    tender: RefCell<Option<task::Task<()>>>,
}

impl Wal {
    /// Continues the stream that `reader` has read to its end, under a new epoch.
    ///
    /// The new epoch is durable when this returns, and so is the file the first frame goes to.
    /// Panics if the reader has not reached the end.
    pub async fn start(reader: WalReader, options: WalOptions) -> Result<Rc<Wal>, WalError> {
        options.check();
        assert!(reader.ended, "the WAL in {} was not read to its end", reader.dir.display());
        let dir = reader.dir.clone();
        fs::create_dir_all(&dir).await.map_err(WalError::io("create", &dir))?;
        if reader.identity.is_none()
            && let Some(parent) = dir.parent()
        {
            fs::sync_dir(parent).await.map_err(WalError::io("sync", parent))?;
        }
        let identity = match reader.identity {
            Some(StreamIdentity { stream, epoch }) => {
                StreamIdentity { stream, epoch: epoch.max(reader.epoch_seen) + 1 }
            }
            None => StreamIdentity { stream: runtime::random::u64(), epoch: 1 },
        };
        identity.store(&dir).await?;
        let state = State {
            pool: Self::adopt_files(&reader, &options).await?,
            next_sequence: reader.next.sequence,
            queue: VecDeque::new(),
            durable: reader.next,
            failed: None,
            stats: WalStats::default(),
        };
        let wal = Rc::new(Wal {
            dir,
            options,
            identity,
            begin: reader.next,
            state: RefCell::new(state),
            writing: Cell::new(false),
            preparing: Cell::new(false),
            wanted: Rc::new(Notify::new()),
            prepared: Notify::new(),
            tender: RefCell::new(None),
        });
        while wal.state.borrow().pool.get(reader.next.file).is_none() {
            wal.prepare_next().await?;
        }
        wal.repeat_last_write(&reader).await?;
        wal.state.borrow_mut().pool.plan_ahead();
        let tender =
            task::spawn(task::Class::Latency, tend(Rc::downgrade(&wal), Rc::clone(&wal.wanted)));
        *wal.tender.borrow_mut() = Some(tender);
        Ok(wal)
    }

    /// Opens an empty stream in `dir`, or panics if there is one that was not read.
    pub async fn create(dir: &Path, options: WalOptions) -> Result<Rc<Wal>, WalError> {
        let mut reader = WalReader::open(dir, ReplayPoint::START, options.backend).await?;
        assert!(reader.next().await?.is_none(), "the WAL in {} is not empty", dir.display());
        Wal::start(reader, options).await
    }

    /// What the last life wrote last can be read, but a process that was killed did not wait for it to be durable.
    /// Readers get it from now on, so it is written once more. Everything before it was durable when it was written.
    async fn repeat_last_write(&self, reader: &WalReader) -> Result<(), WalError> {
        let Some((_, begin, end)) = reader.last_write else {
            return Ok(());
        };
        let path = file_path(&reader.dir, begin.file);
        let handle = match self.state.borrow().pool.get(begin.file) {
            Some(file) => file.handle.clone(),
            None => None,
        };
        let Some(handle) = handle.filter(|_| end.offset > begin.offset) else {
            return Ok(());
        };
        let bytes = handle.read_at(begin.offset, (end.offset - begin.offset) as usize).await;
        let bytes = bytes.map_err(WalError::io("read", &path))?.freeze();
        let written = handle.write_durable(begin.offset, vec![bytes]).await;
        written.map_err(WalError::io("write", &path))
    }

    async fn adopt_files(reader: &WalReader, options: &WalOptions) -> Result<FilePool, WalError> {
        let end = reader.next;
        let mut pool = FilePool::new(options.clone(), end.file, end.offset);
        for (&number, &bytes) in &reader.files {
            let path = file_path(&reader.dir, number);
            let handle = DirectFile::open(&path, bytes, options.backend).await;
            let handle = Some(Rc::new(handle.map_err(WalError::io("open", &path))?));
            pool.adopt(number, WalFile { path, bytes, handle }, reader.from.file);
        }
        Ok(pool)
    }

    /// `position` of this stream as a point from which a later start may read.
    ///
    /// From where this epoch begins, only its frames count; what is older lies behind a torn tail. Before, every frame
    /// was read when the stream was continued, and is the one that belongs there.
    pub fn replay_point(&self, position: WalPosition) -> ReplayPoint {
        let epoch_min = if position >= self.begin { self.identity.epoch } else { 0 };
        ReplayPoint { position, epoch_min }
    }

    /// Gives the payload its place in the stream and queues it. Cheap: one pass for the checksum, if it is not known.
    ///
    /// Nothing is durable until [`Wal::write_queued`] returns a later position. Fails with
    /// [`WalError::FrameTooLarge`] above the size of a file, or with the error that closed the stream.
    pub fn seal(&self, payload: FrameBuilder, tag: FrameTag) -> Result<SealedFrame, WalError> {
        let mut state = self.state.borrow_mut();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let bytes = payload.frame_bytes() as u64;
        if bytes > self.options.file_bytes {
            return Err(WalError::FrameTooLarge { bytes, bytes_max: self.options.file_bytes });
        }
        let file_before = state.pool.number;
        let (file, offset) = state.pool.place(bytes);
        if file != file_before {
            self.wanted.notify_one();
        }
        let position = WalPosition { sequence: state.next_sequence, file, offset };
        state.next_sequence += 1;
        let chunk = state.chunk_for(position, bytes);
        let checksum = payload.checksum();
        let header = FrameHeader {
            stream: self.identity.stream,
            epoch: self.identity.epoch,
            position,
            write_first: chunk.first_sequence,
            payload_bytes: payload.len() as u32,
            payload_checksum: checksum,
            tag,
        };
        let (frame, payload) = payload.finish(&header);
        chunk.frames.push(frame.clone());
        chunk.bytes += bytes;
        chunk.end = header.end();
        Ok(SealedFrame { position, payload, checksum, frame })
    }

    /// Writes everything that was queued when it was called; returns up to where the stream is
    /// durable (exclusive: the position of the frame that comes next).
    ///
    /// One task calls this in a loop. After [`WalError::Failed`] every call fails the same way;
    /// the caller stops acknowledging and ends the process. Dropping the future in the middle of
    /// a write closes the stream too, since nobody knows any more what is durable.
    pub async fn write_queued(&self) -> Result<WalPosition, WalError> {
        self.write_all_queued(Company::Others).await
    }

    /// As [`Wal::write_queued`], when nobody waits for anything but this write: the first poll may
    /// hold the shard up until the disk is done ([`DirectFile::write_durable_alone`]).
    pub async fn write_queued_alone(&self) -> Result<WalPosition, WalError> {
        self.write_all_queued(Company::Alone).await
    }

    async fn write_all_queued(&self, company: Company) -> Result<WalPosition, WalError> {
        assert!(!self.writing.get(), "two tasks write the WAL in {}", self.dir.display());
        let guard = WriteGuard::new(self);
        let chunks = self.state.borrow().queue.len();
        for _ in 0..chunks {
            self.check_open()?;
            self.write_first_chunk(company).await?;
        }
        guard.done();
        self.check_open()?;
        Ok(self.durable_end())
    }

    async fn write_first_chunk(&self, company: Company) -> Result<(), WalError> {
        let file_number = self.state.borrow().queue.front().map(|chunk| chunk.file);
        let Some(file_number) = file_number else {
            return Ok(());
        };
        let file = match self.file_for(file_number).await {
            Ok(file) => file,
            Err(error) => return Err(self.fail(error)),
        };
        let Some(chunk) = self.state.borrow_mut().queue.pop_front() else {
            return Ok(());
        };
        let handle = file.handle.expect("files that are written are open");
        let frames = chunk.frames.len() as u64;
        let written = match company {
            _ if mutant::is("wal-write-not-awaited") => {
                let write = async move { handle.write_durable(chunk.offset, chunk.frames).await };
                task::spawn(task::Class::Latency, write).detach();
                Ok(())
            }
            Company::Alone => handle.write_durable_alone(chunk.offset, chunk.frames).await,
            Company::Others => handle.write_durable(chunk.offset, chunk.frames).await,
        };
        if let Err(error) = written
            && !mutant::is("wal-error-ignored")
        {
            let message = error.to_string();
            let offset = chunk.offset;
            return Err(self.fail(WalError::Failed { file: file.path, offset, message }));
        }
        let mut state = self.state.borrow_mut();
        assert!(
            state.durable.sequence == chunk.first_sequence,
            "wrote from frame {} but the stream is durable up to {}",
            chunk.first_sequence,
            state.durable.sequence
        );
        state.durable = chunk.end;
        state.stats.writes += 1;
        state.stats.frames += frames;
        state.stats.written_bytes += chunk.bytes;
        Ok(())
    }

    /// Whether frames wait for [`Wal::write_queued`].
    pub fn has_queued(&self) -> bool {
        !self.state.borrow().queue.is_empty()
    }

    /// Bytes that wait for [`Wal::write_queued`]; the caller bounds them.
    pub fn queued_bytes(&self) -> u64 {
        self.state.borrow().queue.iter().map(|chunk| chunk.bytes).sum()
    }

    /// Everything before this position is durable.
    pub fn durable_end(&self) -> WalPosition {
        self.state.borrow().durable
    }

    /// Bytes in files that hold frames which were not released; decides when to checkpoint.
    pub fn live_bytes(&self) -> u64 {
        self.state.borrow().pool.live_bytes()
    }

    /// What the stream has done since its start.
    pub fn stats(&self) -> WalStats {
        self.state.borrow().stats
    }

    /// The error that closed the stream, if it is closed.
    pub fn failure(&self) -> Option<WalError> {
        self.state.borrow().failed.clone()
    }

    /// Frames before `position` are not needed any more: a checkpoint that starts there is durable.
    /// Files wholly before it are recycled or deleted in the background.
    pub fn release_before(&self, position: WalPosition) {
        let mut state = self.state.borrow_mut();
        let file = position.file.min(state.durable.file);
        state.pool.release_before(file);
        drop(state);
        self.wanted.notify_one();
    }

    /// Waits until the files ahead are ready and the released ones are gone; for an orderly stop.
    pub async fn settle(&self) -> Result<(), WalError> {
        loop {
            if self.preparing.get() {
                self.prepared.notified().await;
            } else if !self.prepare_next().await? {
                return Ok(());
            }
        }
    }

    fn check_open(&self) -> Result<(), WalError> {
        match &self.state.borrow().failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Closes the stream for ever; returns the error that did it.
    fn fail(&self, error: WalError) -> WalError {
        let mut state = self.state.borrow_mut();
        state.queue.clear();
        state.failed.get_or_insert(error).clone()
    }

    /// The open file with this number, made ready here if the background task is not at it. A full
    /// disk is waited out: what comes to this file is not acknowledged yet, and nothing is broken.
    async fn file_for(&self, number: u64) -> Result<WalFile, WalError> {
        let mut waited = false;
        loop {
            if let Some(file) = self.state.borrow().pool.get(number) {
                return Ok(file.clone());
            }
            if !waited {
                waited = true;
                self.state.borrow_mut().stats.file_waits += 1;
            }
            if self.preparing.get() {
                self.prepared.notified().await;
                continue;
            }
            match self.prepare_next().await {
                Ok(_) => self.wanted.notify_one(),
                Err(error) if error.is_disk_full() => runtime::time::sleep(PREPARE_RETRY).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes what is doomed and makes one planned file ready; `false` if all is ready.
    async fn prepare_next(&self) -> Result<bool, WalError> {
        let _guard = PreparingGuard::new(self);
        loop {
            let doomed = self.state.borrow_mut().pool.next_doomed();
            let Some(file) = doomed else { break };
            drop(file.handle);
            fs::remove_file(&file.path).await.map_err(WalError::io("delete", &file.path))?;
        }
        let preparation = self.state.borrow_mut().pool.next_preparation();
        let Some(preparation) = preparation else {
            return Ok(false);
        };
        let recycled = preparation.recycled.is_some();
        let number = preparation.number;
        let file = self.make_ready(preparation).await?;
        let mut state = self.state.borrow_mut();
        state.pool.supply(number, file);
        state.stats.files_recycled += u64::from(recycled);
        state.stats.files_created += u64::from(!recycled);
        Ok(true)
    }

    /// Renames or creates the file; its name is durable when this returns.
    async fn make_ready(&self, preparation: Preparation) -> Result<WalFile, WalError> {
        let path = file_path(&self.dir, preparation.number);
        let file = match preparation.recycled {
            Some(file) => file,
            None => self.create_file(preparation.bytes).await?,
        };
        fs::rename(&file.path, &path).await.map_err(WalError::io("rename", &file.path))?;
        fs::sync_dir(&self.dir).await.map_err(WalError::io("sync", &self.dir))?;
        Ok(WalFile { path, ..file })
    }

    /// A new file full of zeroes, under a name that recovery ignores.
    async fn create_file(&self, bytes: u64) -> Result<WalFile, WalError> {
        let path = self.dir.join("new.tmp");
        if fs::exists(&path).await.map_err(WalError::io("look for", &path))? {
            fs::remove_file(&path).await.map_err(WalError::io("delete", &path))?;
        }
        match DirectFile::open(&path, bytes, self.options.backend).await {
            Ok(handle) => Ok(WalFile { path, bytes, handle: Some(Rc::new(handle)) }),
            Err(error) => {
                // Half a file on a full disk would keep the rest of the node from its last bytes.
                let _ = fs::remove_file(&path).await;
                Err(WalError::io("create", &path)(error))
            }
        }
    }
}

/// Keeps files ready until the stream is dropped.
async fn tend(wal: Weak<Wal>, wanted: Rc<Notify>) {
    let mut refused = false;
    loop {
        let Some(strong) = wal.upgrade() else { return };
        // A writer that is out of files prepares one itself; both at once would race for a number.
        let outcome = if strong.preparing.get() { Ok(false) } else { strong.prepare_next().await };
        drop(strong);
        match outcome {
            Ok(true) => refused = false,
            Ok(false) => wanted.notified().await,
            Err(error) => {
                if !refused {
                    tracing::warn!(%error, "no WAL file can be made ready; tried again until one is");
                }
                refused = true;
                runtime::time::sleep(PREPARE_RETRY).await;
            }
        }
    }
}

/// Marks a write in progress; poisons the stream if the write is abandoned.
struct WriteGuard<'a> {
    wal: &'a Wal,
    finished: bool,
}

impl<'a> WriteGuard<'a> {
    fn new(wal: &'a Wal) -> WriteGuard<'a> {
        wal.writing.set(true);
        WriteGuard { wal, finished: false }
    }

    fn done(mut self) {
        self.finished = true;
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        self.wal.writing.set(false);
        if !self.finished {
            let end = self.wal.durable_end();
            self.wal.fail(WalError::Failed {
                file: file_path(&self.wal.dir, end.file),
                offset: end.offset,
                message: "the write was abandoned".to_owned(),
            });
        }
    }
}

struct PreparingGuard<'a>(&'a Wal);

impl<'a> PreparingGuard<'a> {
    fn new(wal: &'a Wal) -> PreparingGuard<'a> {
        assert!(!wal.preparing.replace(true), "two preparations at once");
        PreparingGuard(wal)
    }
}

impl Drop for PreparingGuard<'_> {
    fn drop(&mut self) {
        self.0.preparing.set(false);
        self.0.prepared.notify_waiters();
    }
}

//! Reads a stream back, from a position to its end, and tells a torn tail from corruption.
//!
//! Runs before the stream is written again, on whichever shard replays it (after a change of the
//! number of shards that need not be the shard that wrote it). Reads past the page cache.
//!
//! The end of the log is the first place without a valid next frame, unless some later frame
//! testifies that the missing frame had been durable: a header whose `write_first` is above the
//! missing sequence was written only after the write with the missing frame had completed. Frames
//! of the same torn write do not testify, whichever of their sectors arrived. Searched are the rest
//! of the file, the next file (the missing frame may be its first), and the first frame of every
//! file behind that (a file is entered through its first frame).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use runtime::fs::{self, DirectFile, WriteBackend};

use super::error::Found;
use super::file_pool::{file_number, file_path};
use super::frame::{FrameHeader, HEADER_BYTES};
use super::stream_identity::StreamIdentity;
use super::{FRAME_ALIGNMENT, FrameTag, ReplayPoint, WalError, WalPosition};

/// Bytes read at once; a larger frame is read whole.
const WINDOW_BYTES: u64 = 1 << 20;

/// A frame found by the reader.
#[derive(Clone, Debug)]
pub struct RecoveredFrame {
    pub position: WalPosition,
    pub tag: FrameTag,
    /// Slice of a read window of up to 1 MiB (or of the frame itself, if it is larger).
    pub payload: Bytes,
}

/// Reads one stream in order.
pub struct WalReader {
    pub(super) dir: PathBuf,
    pub(super) identity: Option<StreamIdentity>,
    /// Number and size of each file in the directory.
    pub(super) files: BTreeMap<u64, u64>,
    pub(super) from: WalPosition,
    /// Where the next frame should be; the end of the log once `ended`.
    pub(super) next: WalPosition,
    pub(super) epoch_seen: u64,
    /// The last write that was read: its first sequence, and where the part of it that was read
    /// begins and ends. A write lies in one file.
    pub(super) last_write: Option<(u64, WalPosition, WalPosition)>,
    pub(super) ended: bool,
    backend: WriteBackend,
    window: Option<Window>,
}

struct Window {
    number: u64,
    file: DirectFile,
    offset: u64,
    bytes: Bytes,
}

enum Place {
    Frame(FrameHeader, Bytes),
    Nothing(Found),
}

impl WalReader {
    /// Opens the stream in `dir`, which may be empty or absent, to be read from `from`.
    ///
    /// `from` is [`ReplayPoint::START`] or a point that a checkpoint kept. Fails with
    /// [`WalError::MissingFile`] when the file it lies in is gone.
    pub async fn open(
        dir: &Path,
        from: ReplayPoint,
        backend: WriteBackend,
    ) -> Result<WalReader, WalError> {
        let ReplayPoint { position: from, epoch_min } = from;
        let mut reader = WalReader {
            dir: dir.to_path_buf(),
            identity: None,
            files: BTreeMap::new(),
            from,
            next: from,
            epoch_seen: epoch_min,
            last_write: None,
            ended: false,
            backend,
            window: None,
        };
        if fs::exists(dir).await.map_err(WalError::io("look for", dir))? {
            reader.identity = StreamIdentity::load(dir).await?;
            for entry in fs::read_dir(dir).await.map_err(WalError::io("list", dir))? {
                if let Some(number) = file_number(&entry.name) {
                    reader.files.insert(number, entry.len);
                }
            }
        }
        reader.check_files()?;
        Ok(reader)
    }

    /// Where the next frame is expected; after the last frame, the end of the log.
    pub fn position(&self) -> WalPosition {
        self.next
    }

    /// The next frame, or `None` at the end of the log.
    ///
    /// Fails with [`WalError::Corrupt`] if a frame that had been durable cannot be read.
    pub async fn next(&mut self) -> Result<Option<RecoveredFrame>, WalError> {
        while !self.ended {
            match self.place_at(self.next).await? {
                Place::Frame(header, payload) => {
                    self.next = header.end();
                    self.epoch_seen = header.epoch;
                    let begin = match self.last_write {
                        Some((first, begin, _)) if first == header.write_first => begin,
                        _ => header.position,
                    };
                    self.last_write = Some((header.write_first, begin, header.end()));
                    let position = header.position;
                    return Ok(Some(RecoveredFrame { position, tag: header.tag, payload }));
                }
                Place::Nothing(found) => self.leave_file(found).await?,
            }
        }
        Ok(None)
    }

    fn check_files(&self) -> Result<(), WalError> {
        let missing = |reason| {
            Err(WalError::MissingFile { file: file_path(&self.dir, self.from.file), reason })
        };
        if self.identity.is_none() {
            if !self.files.is_empty() {
                return missing("there are files but no stream identity");
            }
            if self.from != WalPosition::START {
                return missing("the checkpoint names a stream that is not there");
            }
        } else if !self.files.contains_key(&self.from.file)
            && (self.from != WalPosition::START || !self.files.is_empty())
        {
            return missing("the log must be replayed from it");
        }
        Ok(())
    }

    /// No frame where one was expected: goes on in the next file, or ends, or finds corruption.
    async fn leave_file(&mut self, found: Found) -> Result<(), WalError> {
        let missing = self.next;
        let next_file =
            WalPosition { sequence: missing.sequence, file: missing.file + 1, offset: 0 };
        let found_next = match self.place_at(next_file).await? {
            Place::Frame(..) => {
                self.next = next_file;
                return Ok(());
            }
            Place::Nothing(found) => found,
        };
        if runtime::mutant::is("corruption-taken-for-the-end") {
            self.ended = true;
            return Ok(());
        }
        if let Some(witness) = self.find_witness(missing).await? {
            return Err(self.corrupt(missing, found, witness));
        }
        if let Some(witness) = self.find_witness_beyond(missing.file).await? {
            // The frame was in this file, or was the first of the next one if it did not fit here.
            let next_has_another = matches!(found_next, Found::OtherFrame { .. });
            let nothing_here =
                matches!(found, Found::EndOfFile | Found::NoFrame | Found::OtherPlace { .. });
            return Err(if nothing_here && !next_has_another {
                self.corrupt(next_file, found_next, witness)
            } else {
                self.corrupt(missing, found, witness)
            });
        }
        self.ended = true;
        self.window = None;
        Ok(())
    }

    fn corrupt(&self, missing: WalPosition, found: Found, witness: WalPosition) -> WalError {
        WalError::Corrupt {
            file: file_path(&self.dir, missing.file),
            offset: missing.offset,
            expected_sequence: missing.sequence,
            found,
            later_file: file_path(&self.dir, witness.file),
            later_offset: witness.offset,
            later_sequence: witness.sequence,
        }
    }

    /// What lies at `position`: the frame with its sequence, or something else.
    async fn place_at(&mut self, position: WalPosition) -> Result<Place, WalError> {
        let WalPosition { sequence, file, offset } = position;
        let size = self.files.get(&file).copied().unwrap_or(0);
        if offset + FRAME_ALIGNMENT as u64 > size {
            return Ok(Place::Nothing(Found::EndOfFile));
        }
        let block = self.read(file, offset, FRAME_ALIGNMENT as u64).await?;
        let header = match self.parse_own(&block, file, offset) {
            Ok(header) => header,
            Err(found) => return Ok(Place::Nothing(found)),
        };
        if header.position.sequence != sequence || header.epoch < self.epoch_seen {
            return Ok(Place::Nothing(Found::OtherFrame {
                sequence: header.position.sequence,
                epoch: header.epoch,
            }));
        }
        if offset + header.frame_bytes() > size {
            return Ok(Place::Nothing(Found::Length { bytes: header.frame_bytes() }));
        }
        let frame = self.read(file, offset, header.frame_bytes()).await?;
        let payload = frame.slice(HEADER_BYTES..HEADER_BYTES + header.payload_bytes as usize);
        let computed = crc32c::crc32c(&payload);
        if computed != header.payload_checksum {
            let expected = header.payload_checksum;
            return Ok(Place::Nothing(Found::PayloadChecksum { expected, found: computed }));
        }
        Ok(Place::Frame(header, payload))
    }

    fn parse_own(&self, block: &[u8], file: u64, offset: u64) -> Result<FrameHeader, Found> {
        let header = FrameHeader::parse(block)?;
        let stream = self.identity.map_or(0, |identity| identity.stream);
        header.check_place(stream, file, offset)?;
        Ok(header)
    }

    /// A frame behind `missing` in its file that was written only after it had become durable.
    async fn find_witness(
        &mut self,
        missing: WalPosition,
    ) -> Result<Option<WalPosition>, WalError> {
        let unit = FRAME_ALIGNMENT as u64;
        let size = self.files.get(&missing.file).copied().unwrap_or(0);
        let mut offset = missing.offset + unit;
        while offset + unit <= size {
            let bytes = self.read(missing.file, offset, WINDOW_BYTES.min(size - offset)).await?;
            for block in bytes.chunks_exact(FRAME_ALIGNMENT) {
                if let Some(found) = self.testimony(block, missing.file, offset) {
                    return Ok(Some(found));
                }
                offset += unit;
            }
        }
        Ok(None)
    }

    /// The same for the files behind `number`: all of the next one, whose first frame may be the
    /// one that is missing, and the first frames of those behind it.
    async fn find_witness_beyond(&mut self, number: u64) -> Result<Option<WalPosition>, WalError> {
        let later: Vec<u64> = self.files.range(number + 1..).map(|(n, _)| *n).collect();
        for later in later {
            if self.files[&later] < FRAME_ALIGNMENT as u64 {
                continue;
            }
            let block = self.read(later, 0, FRAME_ALIGNMENT as u64).await?;
            if let Some(found) = self.testimony(&block, later, 0) {
                return Ok(Some(found));
            }
            if later == number + 1 {
                let start = WalPosition { file: later, offset: 0, ..self.next };
                if let Some(found) = self.find_witness(start).await? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Whether `block` is the header of such a frame.
    fn testimony(&self, block: &[u8], file: u64, offset: u64) -> Option<WalPosition> {
        let header = self.parse_own(block, file, offset).ok()?;
        (header.write_first > self.next.sequence).then_some(header.position)
    }

    /// `len` bytes at `offset` of a file, within its size; sliced out of a larger read.
    async fn read(&mut self, number: u64, offset: u64, len: u64) -> Result<Bytes, WalError> {
        let path = file_path(&self.dir, number);
        let size = self.files[&number];
        if self.window.as_ref().is_none_or(|window| window.number != number) {
            let file = DirectFile::open(&path, size, self.backend).await;
            let file = file.map_err(WalError::io("open", &path))?;
            self.window = Some(Window { number, file, offset: 0, bytes: Bytes::new() });
        }
        let window = self.window.as_mut().expect("opened above");
        let held = window.offset..window.offset + window.bytes.len() as u64;
        if offset < held.start || offset + len > held.end {
            // Sizes of files are multiples of the alignment unless a crash cut one short.
            let aligned = size - size % FRAME_ALIGNMENT as u64;
            let wanted = WINDOW_BYTES.max(len).min(aligned - offset);
            let bytes = window.file.read_at(offset, wanted as usize).await;
            window.bytes = bytes.map_err(WalError::io("read", &path))?.freeze();
            window.offset = offset;
            if (window.bytes.len() as u64) < len {
                return Err(WalError::MissingFile { file: path, reason: "it became shorter" });
            }
        }
        let start = (offset - window.offset) as usize;
        Ok(window.bytes.slice(start..start + len as usize))
    }
}

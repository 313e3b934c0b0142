//! Where a connection's bytes wait until they are whole frames.
//!
//! A connection without a begun frame owns no memory: it reads into a chunk that all connections
//! of the shard share, and keeps the part that it filled. Requests are slices of that part. What is
//! left behind the last whole frame is copied into a buffer of the connection's own, which grows
//! with the bytes that have arrived and not with the length that the client declared.
//!
//! Invariants: a buffer's capacity is at most `GROWTH` times the bytes present when it was taken
//! plus `GROWTH_FLOOR`, or the length of a frame that this connection has completed before;
//! everything here is charged to the account of its connection.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io, mem,
    task::{Poll, ready},
};

use bytes::BytesMut;

use crate::{
    byte_budget::{Account, Want},
    frame::{FrameError, FrameSplitter, LENGTH_BYTES},
};

/// The shared chunk is replaced, or reused when no request holds it any more, at this size.
const CHUNK_BYTES: usize = 128 << 10;
/// Least room for one read from a socket.
const READ_BYTES_MIN: usize = 16 << 10;
/// Buffers at least this large come from the pool and go back to it.
const POOLED_BYTES_MIN: usize = 64 << 10;
/// Larger buffers are left to the allocator.
const POOLED_BYTES_MAX: usize = 2 << 20;
/// What the pool keeps at most, in buffers and in bytes.
const POOL_LENGTH_MAX: usize = 32;
const POOL_BYTES_MAX: usize = 8 << 20;
const GROWTH: usize = 8;
const GROWTH_FLOOR: usize = 512;
/// How far a completed frame lets the next one of its connection reserve at once.
const REMEMBERED_FRAME_MAX: usize = POOLED_BYTES_MAX;

/// Read memory of one shard.
#[derive(Debug, Default)]
pub struct ReadPool {
    chunk: RefCell<BytesMut>,
    retired: RefCell<Retired>,
}

/// Buffers that requests may still refer to; each is reused once nothing does.
#[derive(Debug, Default)]
struct Retired {
    buffers: VecDeque<(BytesMut, usize)>,
    bytes: usize,
}

impl ReadPool {
    fn poll_read_chunk(
        &self,
        read: impl FnOnce(&mut BytesMut) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<BytesMut>> {
        let mut chunk = self.chunk.borrow_mut();
        if chunk.capacity() < READ_BYTES_MIN {
            chunk.reserve(CHUNK_BYTES);
        }
        ready!(read(&mut chunk))?;
        Poll::Ready(Ok(chunk.split()))
    }

    fn take(&self, capacity: usize) -> BytesMut {
        if capacity >= POOLED_BYTES_MIN {
            let mut retired = self.retired.borrow_mut();
            let free = |(buffer, _): &mut (BytesMut, usize)| buffer.try_reclaim(capacity);
            if let Some(place) = retired.buffers.iter_mut().position(free) {
                let (buffer, size) = retired.buffers.remove(place).expect("a place just found");
                retired.bytes -= size;
                return buffer;
            }
        }
        BytesMut::with_capacity(capacity)
    }

    /// Takes back a buffer that once had `capacity`, whatever still refers to it. What it holds is
    /// dropped: whoever takes it next must not find it there.
    fn retire(&self, mut buffer: BytesMut, capacity: usize) {
        if !(POOLED_BYTES_MIN..=POOLED_BYTES_MAX).contains(&capacity) {
            return;
        }
        buffer.clear();
        let mut retired = self.retired.borrow_mut();
        retired.bytes += capacity;
        retired.buffers.push_back((buffer, capacity));
        while retired.bytes > POOL_BYTES_MAX || retired.buffers.len() > POOL_LENGTH_MAX {
            let Some((_, size)) = retired.buffers.pop_front() else {
                break;
            };
            retired.bytes -= size;
        }
    }
}

/// The received and not yet parsed bytes of one connection.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    data: BytesMut,
    /// Capacity of the connection's own buffer; 0 while `data` is a part of the shared chunk.
    own_capacity: usize,
    /// What of the own buffer is charged but not filled.
    slack: usize,
    longest_frame: usize,
}

impl ReadBuffer {
    /// Bytes received of the begun frame.
    pub fn begun_bytes(&self) -> usize {
        self.data.len()
    }

    /// Takes the next whole frame, whose bytes plus length field stay charged to the account until the
    /// caller releases them.
    pub fn split(&mut self, splitter: &FrameSplitter) -> Result<Option<BytesMut>, FrameError> {
        let frame = splitter.split(&mut self.data)?;
        if let Some(frame) = &frame {
            self.longest_frame = self.longest_frame.max(frame.len() + LENGTH_BYTES);
        }
        Ok(frame)
    }

    /// What must be admitted before the next read, after `split` found no whole frame; absent if
    /// there is room that is charged already.
    pub fn want(&self, splitter: &FrameSplitter) -> Result<Option<Want>, FrameError> {
        let present = self.data.len();
        if present == 0 {
            return Ok(Some(Want::Fresh));
        }
        let wanted = splitter.wanted(&self.data)?;
        let is_enough = wanted <= present + self.slack;
        let is_worthwhile = self.slack >= present.min(READ_BYTES_MIN);
        if self.slack > 0 && (is_enough || is_worthwhile) {
            return Ok(None);
        }
        let remembered = self.longest_frame.min(REMEMBERED_FRAME_MAX);
        let allowed = (present * GROWTH + GROWTH_FLOOR).max(remembered);
        let capacity = wanted.max(POOLED_BYTES_MIN).min(allowed);
        Ok(Some(Want::Growth(capacity - present)))
    }

    /// Moves what is here into a buffer of the connection's own with room for `growth` more.
    pub fn grow(&mut self, growth: usize, pool: &ReadPool, account: &Account) {
        let present = self.data.len();
        let mut buffer = pool.take(present + growth);
        buffer.extend_from_slice(&self.data);
        mem::swap(&mut self.data, &mut buffer);
        pool.retire(buffer, mem::replace(&mut self.own_capacity, present + growth));
        account.charge(growth);
        account.release(mem::replace(&mut self.slack, growth));
    }

    /// Gives back the memory of a buffer that holds nothing.
    pub fn give_back_if_empty(&mut self, pool: &ReadPool, account: &Account) {
        if self.data.is_empty() {
            self.give_back(pool, account);
        }
    }

    /// Reads once, with `read` appending to the buffer it is given. The number of bytes, 0 at end.
    pub fn poll_fill(
        &mut self,
        pool: &ReadPool,
        account: &Account,
        read: impl FnOnce(&mut BytesMut) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.own_capacity == 0 {
            assert!(self.data.is_empty(), "grow comes before poll_fill");
            self.data = ready!(pool.poll_read_chunk(read))?;
            account.charge(self.data.len());
            return Poll::Ready(Ok(self.data.len()));
        }
        let count = ready!(read(&mut self.data))?;
        let filled_slack = count.min(self.slack);
        self.slack -= filled_slack;
        account.charge(count - filled_slack);
        Poll::Ready(Ok(count))
    }

    /// Drops everything that is not a split frame.
    pub fn clear(&mut self, pool: &ReadPool, account: &Account) {
        account.release(self.data.len());
        self.data.clear();
        self.give_back(pool, account);
    }

    fn give_back(&mut self, pool: &ReadPool, account: &Account) {
        let buffer = mem::take(&mut self.data);
        pool.retire(buffer, mem::take(&mut self.own_capacity));
        account.release(mem::take(&mut self.slack));
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::{byte_budget::ByteBudget, connection_info::ConnectionId};

    const SPLITTER_MAX: usize = 100 << 20;

    fn account() -> Account {
        Account::new(&Rc::new(ByteBudget::new(1 << 30, Arc::default())), ConnectionId(1))
    }

    struct Stream<'a> {
        bytes: &'a [u8],
        per_read: usize,
    }

    impl Stream<'_> {
        fn read(&mut self, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0, "there is always room to read");
            let (now, later) = self.bytes.split_at(room.min(self.per_read).min(self.bytes.len()));
            buffer.extend_from_slice(now);
            self.bytes = later;
            Poll::Ready(Ok(now.len()))
        }
    }

    #[test]
    fn a_buffer_that_was_outgrown_comes_back_empty() {
        let account = account();
        let splitter = FrameSplitter::new(SPLITTER_MAX);
        let (pool, mut buffer) = (ReadPool::default(), ReadBuffer::default());
        let lengths = [130_000, 66_000, 64_186, 90_000, 70_000].repeat(20);
        let bytes = lengths.iter().flat_map(|&l| frame(l, l as u8)).collect::<Vec<_>>();
        let mut stream = Stream { bytes: &bytes, per_read: 70_000 };
        let mut seen = Vec::new();
        loop {
            // nothing refers to a frame any more when the next one grows into its memory
            while let Some(frame) = buffer.split(&splitter).expect("good frames") {
                account.release(frame.len() + LENGTH_BYTES);
                assert!(frame.iter().all(|&b| b == frame.len() as u8));
                seen.push(frame.len());
            }
            make_room(&mut buffer, &splitter, &pool, &account);
            if fill(&mut buffer, &pool, &account, &mut stream) == 0 {
                break;
            }
        }
        buffer.clear(&pool, &account);
        assert_eq!(seen, lengths);
        assert_eq!(account.held(), 0);
    }

    fn make_room(
        buffer: &mut ReadBuffer,
        splitter: &FrameSplitter,
        pool: &ReadPool,
        account: &Account,
    ) {
        buffer.give_back_if_empty(pool, account);
        if let Some(Want::Growth(growth)) = buffer.want(splitter).expect("good frames") {
            buffer.grow(growth, pool, account);
        }
    }

    fn fill(
        buffer: &mut ReadBuffer,
        pool: &ReadPool,
        account: &Account,
        stream: &mut Stream<'_>,
    ) -> usize {
        match buffer.poll_fill(pool, account, |b| stream.read(b)) {
            Poll::Ready(read) => read.expect("no errors"),
            Poll::Pending => panic!("the stream always has an answer"),
        }
    }

    fn frame(length: usize, fill: u8) -> Vec<u8> {
        [&(length as i32).to_be_bytes()[..], &vec![fill; length]].concat()
    }

    /// Reads a stream to its end and answers every frame as soon as it is split.
    fn frames(bytes: &[u8], per_read: usize, account: &Account) -> Vec<BytesMut> {
        let splitter = FrameSplitter::new(SPLITTER_MAX);
        let (pool, mut buffer) = (ReadPool::default(), ReadBuffer::default());
        let mut stream = Stream { bytes, per_read };
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = buffer.split(&splitter).expect("good frames") {
                account.release(frame.len() + LENGTH_BYTES);
                frames.push(frame);
            }
            let before = account.held();
            make_room(&mut buffer, &splitter, &pool, account);
            let (held, present) = (account.held(), buffer.begun_bytes());
            let allowed = (present * GROWTH + GROWTH_FLOOR).max(buffer.longest_frame);
            assert!(held <= allowed.max(before), "{held} bytes held for {present} present");
            if fill(&mut buffer, &pool, account, &mut stream) == 0 {
                buffer.clear(&pool, account);
                return frames;
            }
        }
    }

    #[test]
    fn frames_of_all_sizes_survive_reads_of_all_sizes_and_leave_nothing_charged() {
        let lengths = [0, 1, 3, 100, 511, 4096, 65_532, 65_536, 200_000, 1 << 20, 5, 3 << 20, 7];
        let bytes: Vec<u8> =
            lengths.iter().enumerate().flat_map(|(i, &l)| frame(l, i as u8)).collect();
        for per_read in [997, 4096, 70_001, 1 << 20, usize::MAX] {
            let account = account();
            let frames = frames(&bytes, per_read, &account);
            assert_eq!(frames.len(), lengths.len());
            for (i, frame) in frames.iter().enumerate() {
                assert_eq!(frame.len(), lengths[i]);
                assert!(frame.iter().all(|&b| b == i as u8), "frame {i}, reads of {per_read}");
            }
            assert_eq!(account.held(), 0, "reads of {per_read}");
        }
    }

    #[test]
    fn a_declared_length_reserves_no_more_than_eight_times_what_arrived() {
        let account = account();
        let declared = (90i32 << 20).to_be_bytes();
        assert!(frames(&[&declared[..], &[0; 6000]].concat(), 1, &account).is_empty());
    }

    #[test]
    fn an_idle_connection_holds_no_memory() {
        let (pool, account) = (ReadPool::default(), account());
        let splitter = FrameSplitter::new(SPLITTER_MAX);
        let mut buffer = ReadBuffer::default();
        let bytes = frame(300_000, 1);
        let mut stream = Stream { bytes: &bytes, per_read: 100_000 };
        while !stream.bytes.is_empty() {
            make_room(&mut buffer, &splitter, &pool, &account);
            fill(&mut buffer, &pool, &account, &mut stream);
        }
        let frame = buffer.split(&splitter).expect("good frames").expect("whole");
        account.release(frame.len() + LENGTH_BYTES);
        make_room(&mut buffer, &splitter, &pool, &account);
        assert_eq!((buffer.own_capacity, buffer.data.capacity(), account.held()), (0, 0, 0));
    }

    #[test]
    fn a_retired_buffer_is_reused_only_when_no_request_refers_to_it() {
        let pool = ReadPool::default();
        let mut buffer = pool.take(POOLED_BYTES_MIN);
        buffer.extend_from_slice(b"request");
        let request = buffer.split().freeze();
        pool.retire(buffer, POOLED_BYTES_MIN);
        let other = pool.take(POOLED_BYTES_MIN);
        assert_ne!(other.as_ptr(), request.as_ptr());
        let place = request.as_ptr();
        drop(request);
        assert_eq!(pool.take(POOLED_BYTES_MIN).as_ptr(), place);
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_bytes() {
        let pool = ReadPool::default();
        for _ in 0..100 {
            pool.retire(BytesMut::with_capacity(1 << 20), 1 << 20);
        }
        let retired = pool.retired.borrow();
        assert_eq!(retired.bytes, POOL_BYTES_MAX);
        assert_eq!(retired.buffers.len(), POOL_BYTES_MAX >> 20);
    }
}

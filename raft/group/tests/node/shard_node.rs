//! A shard on the in-memory WAL, driven by hand.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use raft_group::*;
use storage::wal::WalError;

use super::recorder::{Heard, Recorder, Sent};

pub const GROUP: RaftGroupId = RaftGroupId(7);
pub const ME: ReplicaId = ReplicaId(1);

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls a future for as long as it wakes itself.
pub fn poll_while_woken<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    loop {
        flag.0.store(false, Ordering::Relaxed);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        if !flag.0.load(Ordering::Relaxed) {
            return None;
        }
    }
}

pub struct Node {
    pub shard: Rc<RaftShard<MemoryWal>>,
    pub wal: Rc<MemoryWal>,
    pub heard: Rc<RefCell<Heard>>,
    pub sent: Sent,
    run: Pin<Box<dyn Future<Output = Result<(), WalError>>>>,
    pub result: Option<Result<(), WalError>>,
    shown_frames: Cell<usize>,
    shown_lines: Cell<usize>,
}

impl Node {
    pub fn with(options: RaftOptions, wal: MemoryWal) -> Node {
        let wal = Rc::new(wal);
        let shard = RaftShard::new(options, Rc::clone(&wal));
        let recorder = Recorder::default();
        let heard = Rc::clone(&recorder.0);
        let sent = Sent::default();
        let run = {
            let (shard, sent) = (Rc::clone(&shard), sent.clone());
            Box::pin(async move { shard.run(recorder, sent).await })
        };
        Node {
            shard,
            wal,
            heard,
            sent,
            run,
            result: None,
            shown_frames: Cell::new(0),
            shown_lines: Cell::new(0),
        }
    }

    /// An empty node whose writes are completed by hand.
    pub fn new() -> Node {
        Node::with(RaftOptions::new(ME, 0), MemoryWal::in_steps())
    }

    /// A node that leads [`GROUP`] alone and is ready.
    pub fn ready() -> Node {
        let mut node = Node::new();
        node.shard.create_group(GROUP, Membership::of_voters([ME])).unwrap();
        node.finish();
        node
    }

    /// What a restart makes of the WAL, with the groups it finds.
    pub fn restart(options: RaftOptions, wal: MemoryWal) -> Node {
        Node::restart_from(options, wal, Vec::new())
    }

    pub fn restart_from(
        options: RaftOptions,
        wal: MemoryWal,
        checkpoint: Vec<GroupCheckpoint>,
    ) -> Node {
        let groups = replay(options.stream, &wal, checkpoint, None).unwrap();
        let node = Node::with(options, wal);
        for group in groups {
            node.shard.add_group(group).unwrap();
        }
        node
    }

    /// Lets the commit loop do all it can without a write ending.
    pub fn run(&mut self) {
        if self.result.is_none() {
            self.result = poll_while_woken(self.run.as_mut());
        }
    }

    /// Ends the write in flight.
    pub fn write(&mut self) {
        self.wal.complete_write();
        self.run();
    }

    /// Runs until nothing is left to write.
    pub fn finish(&mut self) {
        self.run();
        while self.wal.is_writing() {
            self.write();
        }
    }

    pub fn append(&self, payload: &str) -> WindowTicket {
        self.append_to(GROUP, payload, Durability::Disk)
    }

    pub fn append_to(
        &self,
        group: RaftGroupId,
        payload: &str,
        durability: Durability,
    ) -> WindowTicket {
        let mut window = self.shard.open_window(group, durability).unwrap();
        window.append(payload.as_bytes()).unwrap();
        window.ticket()
    }

    pub fn applied_text(&self) -> Vec<String> {
        let heard = self.heard.borrow();
        let normal = heard.applied.iter().filter(|entry| entry.kind == EntryKind::Inline);
        normal.map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap()).collect()
    }

    /// Frames sealed and things heard since the last call, as text.
    pub fn news(&self) -> String {
        let mut text = String::new();
        let frames = self.wal.frames();
        for frame in &frames[self.shown_frames.get()..] {
            let kind = FrameKind::from_byte(frame.tag.kind).unwrap();
            let (owner, major, minor) = (frame.tag.owner, frame.tag.major, frame.tag.minor);
            text += &format!("  frame {owner} {kind:?} {major}/{minor}\n");
        }
        self.shown_frames.set(frames.len());
        let heard = self.heard.borrow();
        for line in &heard.lines[self.shown_lines.get()..] {
            text += &format!("  {line}\n");
        }
        self.shown_lines.set(heard.lines.len());
        text
    }
}

/// Groups in the frames of `wal` from `from` on.
pub fn replay(
    stream: u16,
    wal: &MemoryWal,
    checkpoint: Vec<GroupCheckpoint>,
    from: Option<storage::wal::WalPosition>,
) -> Result<Vec<RecoveredGroup>, RecoveryError> {
    let mut replay = StreamReplay::new(stream, checkpoint);
    for frame in wal.frames() {
        if from.is_none_or(|from| frame.position >= from) {
            replay.frame(frame.tag, frame.position, frame.payload)?;
        }
    }
    replay.finish()
}

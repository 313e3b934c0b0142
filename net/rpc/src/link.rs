//! The connection that this shard makes to a peer shard, made again whenever something is to be sent.
//!
//! One task per link. Without anything to send there is no connection attempt. A lost connection
//! loses what was queued: messages silently, calls with an error. During the pause after a failure
//! messages are refused at once and calls wait for the next attempt.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_lite::future::or;
use runtime::net::TcpStream;
use runtime::sync::oneshot;
use runtime::time::{Instant, sleep_until, timeout};

use crate::frame::{Body, Frame, FrameKind, FrameReader, OutFrame};
use crate::handshake::{Connected, dial, introduce};
use crate::hello::Identity;
use crate::outbox::Outbox;
use crate::shared::Shared;
use crate::{CallError, CallFailure, Ended, FrameError, Options, PeerId, SendError};

pub(crate) type Answer = Result<Bytes, CallError>;

pub(crate) struct Link {
    pub peer: PeerId,
    pub outbox: Outbox,
    /// Calls that wait for their answers.
    calls: RefCell<BTreeMap<u64, oneshot::Sender<Answer>>>,
    last_call: Cell<u64>,
    /// Who is on the other side, while there is a connection.
    pub remote: Cell<Option<Identity>>,
    /// No attempt is made before.
    resume_at: Cell<Option<Instant>>,
    pause: Cell<Duration>,
    /// Messages that were refused or lost here.
    pub dropped: Cell<u64>,
}

impl Link {
    pub fn new(peer: PeerId, options: &Options) -> Link {
        Link {
            peer,
            outbox: Outbox::new(options.queue_bytes_max),
            calls: RefCell::default(),
            last_call: Cell::new(0),
            remote: Cell::new(None),
            resume_at: Cell::new(None),
            pause: Cell::new(options.backoff_min),
            dropped: Cell::new(0),
        }
    }

    /// Queues a message.
    pub fn send(&self, kind: u16, body: Body, bytes: usize) -> Result<(), SendError> {
        let node = self.peer.node;
        let checked = match self.resume_at.get() {
            Some(resume_at) if Instant::now() < resume_at => Err(SendError::Unreachable(node)),
            _ => self.check_room(bytes),
        };
        if checked.is_err() {
            self.dropped.set(self.dropped.get() + 1);
            return checked;
        }
        self.outbox.push(OutFrame::new(FrameKind::Message, kind, 0, body));
        Ok(())
    }

    /// Queues a call. Its answer, or that there will be none, comes by the receiver.
    pub fn call(
        &self,
        method: u16,
        body: Vec<Bytes>,
        bytes: usize,
    ) -> Result<(u64, oneshot::Receiver<Answer>), SendError> {
        self.check_room(bytes)?;
        let call = self.last_call.get() + 1;
        self.last_call.set(call);
        let (sender, receiver) = oneshot::channel();
        self.calls.borrow_mut().insert(call, sender);
        self.outbox.push(OutFrame::new(FrameKind::Call, method, call, body));
        Ok((call, receiver))
    }

    /// Nobody waits for this answer any more.
    pub fn forget(&self, call: u64) {
        self.calls.borrow_mut().remove(&call);
    }

    fn check_room(&self, bytes: usize) -> Result<(), SendError> {
        let theirs = self.remote.get().map_or(usize::MAX, |it| it.frame_bytes_max as usize);
        if bytes > theirs {
            return Err(SendError::TooLarge { bytes, bytes_max: theirs });
        }
        if !self.outbox.has_room(bytes) {
            let (node, queued_bytes) = (self.peer.node, self.outbox.bytes());
            return Err(SendError::Full { node, queued_bytes });
        }
        Ok(())
    }

    /// The task of the link; ends when it is dropped.
    pub async fn run(self: Rc<Link>, shared: Rc<Shared>) {
        loop {
            self.outbox.filled().await;
            if let Some(resume_at) = self.resume_at.get() {
                sleep_until(resume_at).await;
            }
            let mut connected_at = None;
            let ended = match self.connect(&shared).await {
                Ok(connected) => {
                    connected_at = Some(Instant::now());
                    self.exchange(&shared, connected).await
                }
                Err(ended) => ended,
            };
            self.remote.set(None);
            self.note(&shared, &ended);
            self.back_off(&shared.options, connected_at);
            self.fail(&ended, connected_at.is_some());
            shared.handler.unreachable(self.peer);
        }
    }

    async fn connect(&self, shared: &Shared) -> Result<Connected, Ended> {
        let Some(node) = shared.node(self.peer.node) else { return Err(Ended::Closed) };
        let connecting = async {
            let stream = dial(&node.address.host, node.address.port).await?;
            introduce(shared, stream, self.peer.node, self.peer.shard, false).await
        };
        let connected = timeout(shared.options.connect_timeout, connecting).await;
        let connected = connected.map_err(|_| Ended::ConnectTimeout)?;
        if let Err(Ended::Refused(refusal)) = &connected {
            node.refused.set(Some(*refusal));
        }
        connected
    }

    /// Writes and reads until the connection ends.
    async fn exchange(&self, shared: &Shared, connected: Connected) -> Ended {
        let Connected { stream, leftover, reply } = connected;
        self.remote.set(Some(reply.identity));
        self.resume_at.set(None);
        let heard = shared.met(&reply.identity);
        shared.handler.connected(self.peer);
        let options = &shared.options;
        let mut reader = FrameReader::new(leftover, options.frame_bytes_max);
        let wanted = |call| self.calls.borrow().contains_key(&call);
        let writing = write_frames(&self.outbox, &stream, options.beat_interval, wanted);
        let reading = async {
            loop {
                let read = reader.next(&stream, options.silence_max, &heard).await;
                if let Err(ended) = read.and_then(|frame| Ok(self.take_answer(frame)?)) {
                    return ended;
                }
            }
        };
        or(writing, reading).await
    }

    fn take_answer(&self, frame: Frame) -> Result<(), FrameError> {
        let answer = match frame.kind {
            FrameKind::Beat => return Ok(()),
            FrameKind::Answer => Ok(frame.body),
            FrameKind::Failure => Err(read_failure(frame.body)?.into()),
            kind => return Err(FrameError::Unexpected(kind as u8)),
        };
        if frame.call == 0 || frame.call > self.last_call.get() {
            return Err(FrameError::UnknownCall(frame.call));
        }
        let waiting = self.calls.borrow_mut().remove(&frame.call);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
        Ok(())
    }

    fn note(&self, shared: &Shared, ended: &Ended) {
        let Some(node) = shared.node(self.peer.node) else { return };
        if ended.is_misbehaviour() {
            shared.refusals.note(&node.address.to_string(), ended);
        } else {
            tracing::debug!(peer = %self.peer, address = %node.address, "connection ended: {ended}");
        }
    }

    /// Sets when the next attempt may be made: soon after a connection that was good for a while.
    fn back_off(&self, options: &Options, connected_at: Option<Instant>) {
        if connected_at.is_some_and(|at| at.elapsed() >= options.backoff_max) {
            self.pause.set(options.backoff_min);
        }
        let pause = self.pause.get();
        let half = pause / 2;
        let random = runtime::random::below(half.as_nanos() as u64 + 1);
        self.resume_at.set(Some(Instant::now() + half + Duration::from_nanos(random)));
        self.pause.set((pause * 2).min(options.backoff_max));
    }

    /// Drops what is queued and answers all calls. Those that were never written can be repeated.
    pub fn fail(&self, ended: &Ended, was_connected: bool) {
        let unsent: BTreeSet<u64> = self.outbox.queued_calls();
        self.dropped.set(self.dropped.get() + self.outbox.queued_messages());
        self.outbox.clear();
        let calls = std::mem::take(&mut *self.calls.borrow_mut());
        for (call, waiting) in calls {
            let error = match ended {
                Ended::Refused(refusal) => CallError::Refused(*refusal),
                _ if was_connected && !unsent.contains(&call) => CallError::Lost(ended.to_string()),
                _ => CallError::Unreachable(ended.to_string()),
            };
            let _ = waiting.send(Err(error));
        }
    }
}

/// Writes what an outbox holds, and beats when it holds nothing.
pub(crate) async fn write_frames(
    outbox: &Outbox,
    stream: &TcpStream,
    beat_interval: Duration,
    wanted: impl Fn(u64) -> bool,
) -> Ended {
    let mut pieces = Vec::new();
    loop {
        let taken = outbox.take(&mut pieces, &wanted);
        if pieces.is_empty() {
            if timeout(beat_interval, outbox.filled()).await.is_ok() {
                continue;
            }
            pieces.extend(OutFrame::new(FrameKind::Beat, 0, 0, Vec::new()).pieces);
        }
        if let Err(error) = stream.write_all(&mut pieces).await {
            return error.into();
        }
        outbox.written(taken);
    }
}

/// The body of a failure.
pub(crate) fn read_failure(mut body: Bytes) -> Result<CallFailure, FrameError> {
    if body.len() < 2 {
        return Err(FrameError::ShortFailure);
    }
    let code = body.get_u16_le();
    Ok(CallFailure::new(code, String::from_utf8_lossy(&body)))
}

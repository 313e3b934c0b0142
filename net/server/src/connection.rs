//! One connection: a single task that reads, calls and writes.
//!
//! The reading half and the writing half are two futures in one task, polled in turns together with
//! the calls in progress. So a request whose call answers at once costs one wake-up: read, call,
//! write. Each half waits for the other by being polled again (`progress`), not by a waker. In a
//! turn the reading half reads the socket once at most, starts all whole requests, and then the
//! writing half sends every answer that is ready in one write.
//!
//! Rules: nothing is read while requests of the connection wait to be started, while the shard's
//! byte budget is used up, while too many answers are unsent or while the connection is muted.
//! Lives on the shard that accepted it; ends when the writing half does, and then still polls the
//! calls that it started to their end.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use protocol::RequestHeader;
use runtime::{
    task::yield_if_needed,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use crate::{
    answers::Answers,
    byte_budget::{Account, Want},
    call_queue::{CallQueue, CallSlots},
    call_waker::CallWaker,
    close_reason::CloseReason,
    connection_info::ConnectionInfo,
    connection_limits::Place,
    frame::LENGTH_BYTES,
    read_buffer::ReadBuffer,
    service::{Pipelining, Reply, Request, Service},
    shard_state::ShardState,
    transport::Transport,
    vitals::Vitals,
};

/// Turns, and requests per turn, until other tasks of the shard get theirs.
const TURNS_MAX: usize = 16;
const REQUESTS_PER_TURN_MAX: usize = 64;

/// Requests up to this size that may wait long are copied out of the shared read memory, so that a
/// parked long poll holds its own bytes and not a whole chunk.
const COPIED_REQUEST_BYTES_MAX: usize = 4 << 10;

/// How long the client may take to see the end of a connection that it still writes to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READ_BYTES: usize = 4 << 10;

/// What one connection consists of. `S` answers, `start` makes its calls of type `F`.
pub struct Connection<S, C, F> {
    pub shard: Rc<ShardState>,
    pub service: Rc<S>,
    pub start: Rc<C>,
    pub info: Rc<ConnectionInfo>,
    pub vitals: Rc<Vitals>,
    pub transport: Transport,
    pub place: Place,
    pub slots: Rc<CallSlots<F>>,
}

impl<S, C, F> Connection<S, C, F>
where
    S: Service,
    C: Fn(Rc<S>, Rc<ConnectionInfo>, Request) -> F,
    F: Future<Output = Reply>,
{
    /// Serves the connection from its first byte until it is closed and all its calls are done.
    pub async fn serve(self) {
        let slots = Rc::clone(&self.slots);
        let calls_max = self.shard.options.calls_max;
        let line = Line {
            account: Account::new(&self.shard.budget, self.info.id),
            connection: self,
            calls: RefCell::new(CallQueue::new(slots, calls_max)),
            call_waker: RefCell::default(),
            answers: RefCell::default(),
            muted_until: Cell::new(None),
            reading_ended: RefCell::default(),
            progress: Cell::new(false),
        };
        let reason = line.run().await;
        line.end(&reason);
        line.finish_calls().await;
        if reason.follows_answers() {
            line.linger().await;
        }
        line.leave();
    }
}

/// A connection at work.
struct Line<S, C, F> {
    connection: Connection<S, C, F>,
    account: Account,
    calls: RefCell<CallQueue<F>>,
    /// Present once a call was started.
    call_waker: RefCell<Option<CallWaker>>,
    answers: RefCell<Answers>,
    muted_until: Cell<Option<Instant>>,
    /// Why nothing more is read.
    reading_ended: RefCell<Option<CloseReason>>,
    /// Something changed that the other half may wait for.
    progress: Cell<bool>,
}

impl<S, C, F> Line<S, C, F>
where
    S: Service,
    C: Fn(Rc<S>, Rc<ConnectionInfo>, Request) -> F,
    F: Future<Output = Reply>,
{
    async fn run(&self) -> CloseReason {
        let mut reading = pin!(self.read_requests());
        let mut writing = pin!(self.write_answers());
        let mut reading_done = false;
        poll_fn(|cx| {
            self.connection.vitals.set_waker(cx);
            self.poll_calls(cx);
            for _ in 0..TURNS_MAX {
                if let Some(reason) = self.connection.vitals.take_verdict() {
                    return Poll::Ready(reason);
                }
                self.progress.set(false);
                if !reading_done {
                    reading_done = reading.as_mut().poll(cx).is_ready();
                }
                self.queue_answers();
                if let Poll::Ready(reason) = writing.as_mut().poll(cx) {
                    return Poll::Ready(reason);
                }
                if !self.progress.get() {
                    return Poll::Pending;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// The reading half. Ends with the reason in `reading_ended`; what was started is answered.
    async fn read_requests(&self) {
        let mut buffer = ReadBuffer::default();
        let reason = loop {
            if let Err(reason) = self.start_requests(&mut buffer).await {
                break reason;
            }
            self.end_turn().await;
            match self.receive(&mut buffer).await {
                Ok(0) => break CloseReason::Client,
                Ok(_) => {}
                Err(reason) => break reason,
            }
        };
        let Connection { shard, vitals, info, .. } = &self.connection;
        buffer.clear(&shard.pool, &self.account);
        vitals.begun_frame.set(None);
        info.set_gone(); // long polls need not go on
        *self.reading_ended.borrow_mut() = Some(reason);
        self.progress.set(true);
    }

    /// Starts every whole request in `buffer` as soon as it may start.
    async fn start_requests(&self, buffer: &mut ReadBuffer) -> Result<(), CloseReason> {
        let Connection { shard, vitals, .. } = &self.connection;
        let received = vitals.active.get();
        let mut started = 0;
        while let Some(frame) = buffer.split(&shard.splitter)? {
            vitals.begun_frame.set(None);
            self.account.end_overdraft();
            self.start_request(frame.freeze(), received).await?;
            started += 1;
            if started % REQUESTS_PER_TURN_MAX == 0 {
                self.end_turn().await;
            }
            yield_if_needed().await;
        }
        buffer.give_back_if_empty(&shard.pool, &self.account);
        Ok(())
    }

    async fn start_request(&self, frame: Bytes, received: Instant) -> Result<(), CloseReason> {
        let Connection { shard, service, start, info, .. } = &self.connection;
        let request_bytes = frame.len() + LENGTH_BYTES;
        let pipelining = match frame.first_chunk() {
            Some(api_key) => service.pipelining(i16::from_be_bytes(*api_key)),
            None => Pipelining::Barrier,
        };
        let may_wait_long = pipelining == Pipelining::Barrier;
        let mut body = match may_wait_long && frame.len() <= COPIED_REQUEST_BYTES_MAX {
            true => Bytes::copy_from_slice(&frame),
            false => frame,
        };
        let header = RequestHeader::parse(&mut body)?;
        self.may_start(pipelining).await;
        let request = Request { header, body, received };
        let mut call = Some(start(Rc::clone(service), Rc::clone(info), request));
        shard.counters.requests.add(1);
        poll_fn(|cx| {
            let call = call.take().expect("polled once");
            self.renew_call_waker(cx);
            let waker = self.call_waker.borrow();
            let waker = waker.as_ref().expect("just renewed").waker();
            let cx = &mut Context::from_waker(waker);
            let answered = self.calls.borrow_mut().start(call, pipelining, request_bytes, cx);
            self.account.release(answered);
            Poll::Ready(())
        })
        .await;
        self.queue_answers();
        Ok(())
    }

    /// Waits until a request of this kind may be started.
    async fn may_start(&self, pipelining: Pipelining) {
        loop {
            poll_fn(|_| match self.has_room_for_call(pipelining) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            match self.muted_until.take() {
                Some(until) => sleep_until(until).await,
                None => return,
            }
        }
    }

    fn has_room_for_call(&self, pipelining: Pipelining) -> bool {
        let Connection { shard, vitals, .. } = &self.connection;
        let unsent = vitals.unsent.get();
        self.calls.borrow().may_start(pipelining)
            && unsent < shard.options.unsent_bytes_max
            && !(unsent > 0 && shard.is_pressed())
            && self.answers.borrow().end().is_none()
    }

    /// Reads once when there is something and room for it. 0 at the end of the stream.
    async fn receive(&self, buffer: &mut ReadBuffer) -> Result<usize, CloseReason> {
        let Connection { shard, vitals, transport, .. } = &self.connection;
        match buffer.want(&shard.splitter)? {
            None => self.set_begun_frame(buffer),
            Some(want @ Want::Fresh) => self.may_take(want).await,
            Some(want @ Want::Growth(growth)) => {
                self.may_take(want).await;
                buffer.grow(growth, &shard.pool, &self.account);
                self.set_begun_frame(buffer);
            }
        }
        let count = poll_fn(|cx| {
            if shard.is_stopping() {
                return Poll::Ready(Err(CloseReason::Stopped));
            }
            let read = |into: &mut BytesMut| transport.poll_read(into, cx);
            let count = ready!(buffer.poll_fill(&shard.pool, &self.account, read))?;
            Poll::Ready(Ok(count))
        })
        .await?;
        vitals.active.set(Instant::now());
        shard.counters.bytes_in.add(count);
        Ok(count)
    }

    /// Waits for the shard's memory. The deadline of a begun frame starts anew if it had to.
    async fn may_take(&self, want: Want) {
        let Connection { shard, vitals, .. } = &self.connection;
        poll_fn(|cx| {
            let admitted = self.account.poll_admit(want, cx);
            if admitted.is_pending() {
                vitals.begun_frame.set(None);
            }
            if shard.is_stopping() { Poll::Ready(()) } else { admitted }
        })
        .await;
    }

    fn set_begun_frame(&self, buffer: &ReadBuffer) {
        let begun_frame = &self.connection.vitals.begun_frame;
        let since = begun_frame.get().map_or_else(Instant::now, |(since, _)| since);
        begun_frame.set(Some((since, buffer.begun_bytes())));
    }

    /// Lets the writing half and the calls have their turn.
    async fn end_turn(&self) {
        let mut ended = false;
        poll_fn(|_| match std::mem::replace(&mut ended, true) {
            true => Poll::Ready(()),
            false => {
                self.progress.set(true);
                Poll::Pending
            }
        })
        .await;
    }

    /// True if calls have to be polled to get to know a new waker.
    fn renew_call_waker(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.call_waker.borrow_mut();
        let is_new = !waker.as_ref().is_some_and(|waker| waker.is_of(cx));
        if is_new {
            *waker = Some(CallWaker::new(cx));
        }
        is_new
    }

    /// Polls the calls in progress if one of them was woken. Takes the flag whenever the task runs: set, it promises
    /// a run that is still to come, and a wake that finds it set does nothing.
    fn poll_calls(&self, cx: &Context<'_>) {
        let was_woken = self.call_waker.borrow().as_ref().is_some_and(CallWaker::take_woken);
        if self.calls.borrow().running() == 0 {
            return;
        }
        let is_new = self.renew_call_waker(cx);
        if was_woken || is_new {
            let waker = self.call_waker.borrow();
            let waker = waker.as_ref().expect("just renewed").waker();
            let answered = self.calls.borrow_mut().poll(&mut Context::from_waker(waker));
            self.account.release(answered);
        }
    }

    /// Moves the answers whose turn it is to the writing half.
    fn queue_answers(&self) {
        let Connection { shard, vitals, .. } = &self.connection;
        let mut calls = self.calls.borrow_mut();
        while let Some(reply) = calls.pop() {
            self.progress.set(true);
            self.mute(reply.mute);
            let bytes = self.answers.borrow_mut().push(reply.outcome);
            if bytes > 0 && vitals.unsent.get() == 0 {
                vitals.active.set(Instant::now());
            }
            vitals.unsent.set(vitals.unsent.get() + bytes);
            shard.counters.unsent_bytes.add(bytes);
        }
        self.count_calls(calls.running());
    }

    fn mute(&self, duration: Duration) {
        if !duration.is_zero() {
            let until = Instant::now() + duration;
            let later = self.muted_until.get().map_or(until, |other| other.max(until));
            self.muted_until.set(Some(later));
            self.connection.shard.counters.mutes.add(1);
        }
    }

    fn count_calls(&self, running: usize) {
        let Connection { shard, vitals, .. } = &self.connection;
        shard.counters.calls_in_flight.add(running);
        shard.counters.calls_in_flight.subtract(vitals.calls.replace(running));
    }

    fn count_sent(&self, bytes: usize) {
        let Connection { shard, vitals, .. } = &self.connection;
        vitals.unsent.set(vitals.unsent.get() - bytes);
        shard.counters.unsent_bytes.subtract(bytes);
    }

    /// The writing half. Ends the connection.
    async fn write_answers(&self) -> CloseReason {
        let Connection { shard, vitals, transport, .. } = &self.connection;
        let mut batch = Vec::new();
        loop {
            if let Err(reason) = poll_fn(|_| self.poll_answers()).await {
                return reason;
            }
            let bytes = self.answers.borrow_mut().take_batch(&mut batch);
            if let Err(error) = transport.write_all(&mut batch).await {
                return error.into();
            }
            self.count_sent(bytes);
            if vitals.unsent.get() > 0 {
                vitals.active.set(Instant::now());
            }
            shard.counters.bytes_out.add(bytes);
            self.progress.set(true);
        }
    }

    /// Ready when there is something to write, or with the reason why there will be nothing more.
    fn poll_answers(&self) -> Poll<Result<(), CloseReason>> {
        let answers = self.answers.borrow();
        if !answers.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = answers.end() {
            return Poll::Ready(Err(CloseReason::Service(reason.clone())));
        }
        if self.calls.borrow().is_empty()
            && let Some(reason) = self.reading_ended.borrow_mut().take()
        {
            return Poll::Ready(Err(reason));
        }
        Poll::Pending
    }

    fn end(&self, reason: &CloseReason) {
        let Connection { shard, info, transport, .. } = &self.connection;
        match reason.follows_answers() {
            true => transport.end_writing(),
            false => transport.shut_down(),
        }
        info.set_gone();
        shard.counters.count_closed(reason);
        match reason {
            CloseReason::Frame(_) if shard.may_log() => {
                warn!(peer = %info.peer, listener = %info.listener, "closed: {reason}");
            }
            _ => debug!(peer = %info.peer, listener = %info.listener, "closed: {reason}"),
        }
    }

    /// Reads and drops what the client still sends, until it has seen the end or `LINGER` is over: a socket that is
    /// closed with unread input resets the connection, and that can destroy answers on their way.
    async fn linger(&self) {
        let Connection { shard, vitals, transport, .. } = &self.connection;
        let mut dropped = BytesMut::with_capacity(LINGER_READ_BYTES);
        let drain = poll_fn(|cx| {
            vitals.set_waker(cx);
            loop {
                dropped.clear();
                match ready!(transport.poll_read(&mut dropped, cx)) {
                    Ok(1..) if !shard.is_abandoned() => {}
                    _ => return Poll::Ready(()),
                }
            }
        });
        if !shard.is_abandoned() {
            let _ = timeout(LINGER, drain).await;
        }
        transport.shut_down();
    }

    /// Polls what was started to its end: an effect is never cut short because a client left.
    async fn finish_calls(&self) {
        let Connection { shard, vitals, .. } = &self.connection;
        drop(self.answers.take());
        self.count_sent(vitals.unsent.get());
        poll_fn(|cx| {
            vitals.set_waker(cx);
            self.poll_calls(cx);
            let running = self.calls.borrow().running();
            self.count_calls(running);
            match running == 0 || shard.is_abandoned() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        self.count_calls(0);
    }

    fn leave(self) {
        let Line { connection: Connection { shard, service, info, place, .. }, account, .. } = self;
        drop((account, place));
        service.closed(&info);
        shard.leave(info.id);
    }
}

//! Connections that this node accepted: greeted where the kernel put them, handed to the shard that
//! the hello asks for, served there.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_lite::future::or;
use runtime::net::{DetachedStream, TcpStream};
use runtime::shards::ShardId;
use runtime::task::{Class, spawn, yield_if_needed};
use runtime::time::timeout;

use crate::frame::{Frame, FrameKind, FrameReader, OutFrame, body_bytes};
use crate::handshake::{greet, reply};
use crate::hello::Hello;
use crate::link::write_frames;
use crate::outbox::Outbox;
use crate::shared::{Inbound, Shared};
use crate::{CallFailure, Ended, FrameError, PeerId, Refusal};

/// A greeted connection on its way to the shard that it asks for; give it to
/// [`crate::Peers::adopt`] there. Dropping it closes the connection.
pub struct HandedOver {
    stream: DetachedStream,
    leftover: BytesMut,
    hello: Hello,
    address: SocketAddr,
}

/// How connections for other shards get there.
pub(crate) type HandOver = Rc<dyn Fn(ShardId, HandedOver)>;

/// Finds out who connected, in a task of its own. Too many that do not say it: the oldest ends.
pub(crate) fn welcome(
    shared: &Rc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    hand_over: HandOver,
) {
    let number = shared.number();
    let task = {
        let shared = Rc::clone(shared);
        spawn(Class::Latency, async move {
            greet_and_route(&shared, stream, address, hand_over).await;
            let this = shared.greeting.borrow_mut().remove(&number);
            if let Some(this) = this {
                this.detach();
            }
        })
    };
    let oldest = {
        let mut greeting = shared.greeting.borrow_mut();
        greeting.insert(number, task);
        if greeting.len() > shared.options.greeting_max { greeting.pop_first() } else { None }
    };
    drop(oldest);
}

async fn greet_and_route(
    shared: &Rc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    hand_over: HandOver,
) {
    let mut leftover = BytesMut::new();
    let greeted = greet(shared, &stream, &mut leftover);
    let hello = match timeout(shared.options.hello_timeout, greeted).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(ended)) => return note(shared, address, &ended),
        Err(_) => return note(shared, address, &Ended::Refused(Refusal::HelloTimeout)),
    };
    if hello.wanted_shard == shared.options.shard {
        return adopt(shared, stream, leftover, hello, address);
    }
    match stream.detach() {
        Ok(stream) => {
            hand_over(hello.wanted_shard, HandedOver { stream, leftover, hello, address });
        }
        Err(error) => tracing::warn!(%address, %error, "a connection cannot change its shard"),
    }
}

/// Takes in a connection that another shard greeted.
pub(crate) fn adopt_handed(shared: &Rc<Shared>, handed: HandedOver) {
    let HandedOver { stream, leftover, hello, address } = handed;
    adopt(shared, TcpStream::attach(stream), leftover, hello, address);
}

fn adopt(
    shared: &Rc<Shared>,
    stream: TcpStream,
    leftover: BytesMut,
    hello: Hello,
    address: SocketAddr,
) {
    let known = shared.directory(hello.identity.peer.node);
    let mut verdict = hello.judge(&shared.identity(), known);
    if verdict.is_ok() && hello.wanted_shard != shared.options.shard {
        verdict = Err(Refusal::NoSuchShard);
    }
    if verdict.is_ok() && !hello.one_call {
        shared.replace_inbound(hello.identity.peer);
    }
    if verdict.is_ok() && shared.inbound.borrow().len() >= shared.options.inbound_max {
        verdict = Err(Refusal::TooManyConnections);
    }
    let number = shared.number();
    let task = {
        let shared = Rc::clone(shared);
        spawn(Class::Latency, async move {
            let ended = serve(&shared, stream, leftover, &hello, verdict).await;
            note(&shared, address, &ended);
            let this = shared.inbound.borrow_mut().remove(&number);
            if let Some(this) = this.and_then(|this| this.task) {
                this.detach();
            }
        })
    };
    match verdict {
        Ok(_) => {
            let connection =
                Inbound { identity: hello.identity, one_call: hello.one_call, task: Some(task) };
            shared.inbound.borrow_mut().insert(number, connection);
        }
        // Ends by itself within the time that a reply may take.
        Err(_) => task.detach(),
    }
}

fn note(shared: &Shared, address: SocketAddr, ended: &Ended) {
    if ended.is_misbehaviour() {
        shared.refusals.note(&address.ip().to_string(), ended);
    } else {
        tracing::debug!(%address, "accepted connection ended: {ended}");
    }
}

async fn serve(
    shared: &Rc<Shared>,
    stream: TcpStream,
    leftover: BytesMut,
    hello: &Hello,
    verdict: Result<u16, Refusal>,
) -> Ended {
    match timeout(shared.options.hello_timeout, reply(shared, &stream, verdict)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error.into(),
        Err(_) => return Ended::Silent,
    }
    if let Err(refusal) = verdict {
        return Ended::Refused(refusal);
    }
    let heard = shared.met(&hello.identity);
    let options = &shared.options;
    let answers = Rc::new(Outbox::new(options.answer_queue_bytes_max));
    let calls = Calls {
        shared: Rc::clone(shared),
        from: hello.identity.peer,
        answer_bytes_max: options.frame_bytes_max.min(hello.identity.frame_bytes_max as usize),
        answers: Rc::clone(&answers),
        running: Rc::default(),
    };
    let mut reader = FrameReader::new(leftover, options.frame_bytes_max);
    let reading = async {
        loop {
            let read = reader.next(&stream, options.silence_max, &heard).await;
            if let Err(ended) = read.and_then(|frame| calls.take(frame)) {
                return ended;
            }
            if let Some(room) = shared.handler.room() {
                room.await;
            }
            yield_if_needed().await;
        }
    };
    or(reading, write_frames(&answers, &stream, options.beat_interval, |_| true)).await
}

/// What one connection brings, and the answers to it.
struct Calls {
    shared: Rc<Shared>,
    from: PeerId,
    answers: Rc<Outbox>,
    answer_bytes_max: usize,
    running: Rc<Cell<usize>>,
}

impl Calls {
    fn take(&self, frame: Frame) -> Result<(), Ended> {
        match frame.kind {
            FrameKind::Beat => {}
            FrameKind::Message => {
                self.shared.handler.message(self.from, frame.method, frame.body, frame.sum)?;
            }
            FrameKind::Call => self.start(frame),
            kind => return Err(FrameError::Unexpected(kind as u8).into()),
        }
        Ok(())
    }

    fn start(&self, frame: Frame) {
        if self.running.get() >= self.shared.options.calls_running_max {
            let busy = CallFailure::new(CallFailure::BUSY, "too many calls at once");
            return answer(&self.answers, self.answer_bytes_max, frame.call, Err(busy));
        }
        self.running.set(self.running.get() + 1);
        let work = self.shared.handler.call(self.from, frame.method, frame.body);
        let (answers, running) = (Rc::clone(&self.answers), Rc::clone(&self.running));
        let (call, bytes_max) = (frame.call, self.answer_bytes_max);
        let task = spawn(Class::Latency, async move {
            let result = work.await;
            running.set(running.get() - 1);
            answer(&answers, bytes_max, call, result);
        });
        task.detach();
    }
}

fn answer(answers: &Outbox, bytes_max: usize, call: u64, result: Result<Vec<Bytes>, CallFailure>) {
    let result = result.and_then(|body| {
        let bytes = body_bytes(&body);
        if bytes > bytes_max {
            let reason = format!("an answer of {bytes} bytes is above the limit of {bytes_max}");
            return Err(CallFailure::new(CallFailure::TOO_LARGE, reason));
        }
        if !answers.has_room(bytes) {
            return Err(CallFailure::new(CallFailure::BUSY, "too many answers wait"));
        }
        Ok(body)
    });
    answers.push(match result {
        Ok(body) => OutFrame::new(FrameKind::Answer, 0, call, body),
        Err(failure) => OutFrame::new(FrameKind::Failure, 0, call, vec![write_failure(&failure)]),
    });
}

/// The body of a failure.
fn write_failure(failure: &CallFailure) -> Bytes {
    let reason = failure.reason.as_bytes();
    let reason = &reason[..reason.len().min(CallFailure::REASON_BYTES_MAX)];
    let mut body = BytesMut::with_capacity(2 + reason.len());
    body.put_u16_le(failure.code);
    body.put_slice(reason);
    body.freeze()
}

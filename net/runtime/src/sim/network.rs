//! The simulated network: connections, delays, cuts.
//!
//! A connection is two pipes. A pipe holds segments on their way, in order; one event at a time
//! delivers the one at the head. A segment that cannot pass is tried again with growing pauses, as
//! TCP retransmits, and holds back those behind it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::kernel::{Event, Kernel, Place};
use super::net::TcpStream;

/// First pause before a lost segment is sent again.
const RETRANSMIT_NS: u64 = 200_000_000;
/// The longest pause.
const RETRANSMIT_NS_MAX: u64 = 5_000_000_000;

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetworkFaults {
    /// How long a segment takes between nodes (a tenth of it within one).
    pub latency: Range<Duration>,
    /// Chance of a segment to be lost and sent again.
    pub loss: f64,
    /// Chance of a segment to end its connection with a reset, at both ends.
    pub reset: f64,
    /// How long a sender tries before its end of the connection fails.
    pub tcp_timeout: Duration,
}

impl Default for NetworkFaults {
    fn default() -> Self {
        NetworkFaults {
            latency: Duration::from_micros(20)..Duration::from_micros(300),
            loss: 0.0,
            reset: 0.0,
            tcp_timeout: Duration::from_secs(60),
        }
    }
}

#[derive(Default)]
pub(super) struct Network {
    pub faults: NetworkFaults,
    /// Directions in which nothing passes.
    pub cuts: BTreeSet<(usize, usize)>,
    /// Sockets that listen on a port of a node; several share one.
    pub listeners: BTreeMap<(usize, u16), Vec<Weak<RefCell<Backlog>>>>,
    pub connections: Vec<Weak<RefCell<Connection>>>,
    /// Streams between two shards of a node.
    pub detached: BTreeMap<u64, TcpStream>,
}

/// Connections made and not yet accepted.
pub(super) struct Backlog {
    pub waiting: VecDeque<Rc<RefCell<Connection>>>,
    pub limit: usize,
    pub waker: Option<Waker>,
    pub open: bool,
}

/// One end of a connection.
pub(super) struct End {
    pub place: Place,
    pub addr: SocketAddr,
    pub error: Option<io::ErrorKind>,
    /// The stream was dropped.
    pub closed: bool,
    /// The machine lost its power: nobody is there to say anything.
    pub silent: bool,
    pub read_shut: bool,
    pub write_shut: bool,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

enum Segment {
    Bytes(Bytes),
    Fin,
    Reset,
}

/// The way from one end to the other.
#[derive(Default)]
pub(super) struct Pipe {
    segments: VecDeque<(u64, Segment)>,
    /// Bytes in `segments`.
    in_flight: usize,
    /// Bytes that have arrived and were not read.
    pub arrived: BytesMut,
    pub fin: bool,
    delivering: bool,
    /// Since when the head could not pass, and the next pause.
    stuck: Option<(u64, u64)>,
}

/// Both ends; `pipes[i]` leads from `ends[i]` to the other.
pub(super) struct Connection {
    pub ends: [End; 2],
    pub pipes: [Pipe; 2],
    pub window: usize,
}

impl End {
    pub fn new(place: Place, addr: SocketAddr) -> End {
        End {
            place,
            addr,
            error: None,
            closed: false,
            silent: false,
            read_shut: false,
            write_shut: false,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Connection {
    /// Room for more bytes from `side`.
    pub fn room(&self, side: usize) -> usize {
        let pipe = &self.pipes[side];
        self.window.saturating_sub(pipe.in_flight + pipe.arrived.len())
    }

    fn fail(&mut self, side: usize, error: io::ErrorKind) {
        let end = &mut self.ends[side];
        end.error.get_or_insert(error);
        end.wake();
        self.pipes[side].segments.clear();
        self.pipes[side].in_flight = 0;
        self.pipes[1 - side].arrived.clear();
    }
}

/// The time one way takes, now.
pub(super) fn delay(kernel: &Kernel, from: usize, to: usize) -> u64 {
    let faults = kernel.network.borrow().faults.clone();
    let range = faults.latency.start.as_nanos() as u64..faults.latency.end.as_nanos() as u64;
    let mut time = kernel.rng.borrow_mut().within(&range);
    if from == to {
        return time / 10;
    }
    let mut pause = RETRANSMIT_NS;
    while kernel.chance(faults.loss) && pause < RETRANSMIT_NS_MAX {
        time += pause;
        pause *= 2;
    }
    time
}

/// Whether something sent from a node now reaches the other one's machine.
pub(super) fn passes(kernel: &Kernel, from: usize, to: usize) -> bool {
    let powered = kernel.nodes.borrow()[to].powered;
    powered && (from == to || !kernel.network.borrow().cuts.contains(&(from, to)))
}

/// Puts bytes on their way in pieces of any size.
pub(super) fn send(
    kernel: &Rc<Kernel>,
    connection: &Rc<RefCell<Connection>>,
    side: usize,
    mut bytes: Bytes,
) {
    while !bytes.is_empty() {
        let piece = 1 + kernel.below(if kernel.chance(0.2) { 64 } else { 65_536 }) as usize;
        let piece = bytes.split_to(piece.min(bytes.len()));
        push(kernel, connection, side, Segment::Bytes(piece));
    }
}

/// Ends one direction.
pub(super) fn send_fin(kernel: &Rc<Kernel>, connection: &Rc<RefCell<Connection>>, side: usize) {
    push(kernel, connection, side, Segment::Fin);
}

/// Ends both at once.
pub(super) fn send_reset(kernel: &Rc<Kernel>, connection: &Rc<RefCell<Connection>>, side: usize) {
    push(kernel, connection, side, Segment::Reset);
}

fn push(kernel: &Rc<Kernel>, connection: &Rc<RefCell<Connection>>, side: usize, segment: Segment) {
    let (from, to) = {
        let connection = connection.borrow();
        (connection.ends[side].place.node, connection.ends[1 - side].place.node)
    };
    let time = kernel.now() + delay(kernel, from, to);
    let mut c = connection.borrow_mut();
    let pipe = &mut c.pipes[side];
    let time = pipe.segments.back().map_or(time, |(last, _)| time.max(*last));
    if let Segment::Bytes(bytes) = &segment {
        pipe.in_flight += bytes.len();
    }
    pipe.segments.push_back((time, segment));
    if !pipe.delivering {
        pipe.delivering = true;
        drop(c);
        schedule(kernel, connection, side, time);
    }
}

fn schedule(kernel: &Rc<Kernel>, connection: &Rc<RefCell<Connection>>, side: usize, time: u64) {
    let connection = Rc::clone(connection);
    kernel.at(time, Event::Call(Box::new(move |kernel| deliver(kernel, &connection, side))));
}

/// Delivers the segment at the head of a pipe, or finds out why it cannot.
fn deliver(kernel: &Rc<Kernel>, connection: &Rc<RefCell<Connection>>, side: usize) {
    let (from, to) = {
        let c = connection.borrow();
        (c.ends[side].place, c.ends[1 - side].place)
    };
    if !passes(kernel, from.node, to.node) {
        return retransmit(kernel, connection, side);
    }
    let faults = kernel.network.borrow().faults.clone();
    let broken = from.node != to.node && kernel.chance(faults.reset);
    let mut c = connection.borrow_mut();
    c.pipes[side].stuck = None;
    c.pipes[side].delivering = false;
    let Some((_, segment)) = c.pipes[side].segments.pop_front() else { return };
    if broken {
        c.fail(0, io::ErrorKind::ConnectionReset);
        c.fail(1, io::ErrorKind::ConnectionReset);
        return;
    }
    let gone = c.ends[1 - side].closed || c.ends[1 - side].silent;
    match segment {
        Segment::Bytes(bytes) => {
            c.pipes[side].in_flight = c.pipes[side].in_flight.saturating_sub(bytes.len());
            if gone {
                // Nobody is there: the machine answers with a reset.
                if passes(kernel, to.node, from.node) {
                    c.fail(side, io::ErrorKind::ConnectionReset);
                }
            } else if c.ends[1 - side].error.is_none() && !c.ends[1 - side].read_shut {
                c.pipes[side].arrived.extend_from_slice(&bytes);
                if let Some(waker) = c.ends[1 - side].reader.take() {
                    waker.wake();
                }
            }
        }
        Segment::Fin => {
            c.pipes[side].fin = true;
            if let Some(waker) = c.ends[1 - side].reader.take() {
                waker.wake();
            }
        }
        Segment::Reset => c.fail(1 - side, io::ErrorKind::ConnectionReset),
    }
    if let Some((time, _)) = c.pipes[side].segments.front() {
        let time = *time;
        c.pipes[side].delivering = true;
        drop(c);
        schedule(kernel, connection, side, time);
    }
}

fn retransmit(kernel: &Rc<Kernel>, connection: &Rc<RefCell<Connection>>, side: usize) {
    let now = kernel.now();
    let timeout = kernel.network.borrow().faults.tcp_timeout.as_nanos() as u64;
    let mut c = connection.borrow_mut();
    if c.ends[side].silent {
        // The sender's machine has lost its power, and with it what it had not got rid of.
        c.pipes[side].segments.clear();
        c.pipes[side].delivering = false;
        return;
    }
    let (since, pause) = c.pipes[side].stuck.unwrap_or((now, RETRANSMIT_NS));
    if now - since >= timeout {
        c.pipes[side].delivering = false;
        c.fail(side, io::ErrorKind::TimedOut);
        return;
    }
    c.pipes[side].stuck = Some((since, (pause * 2).min(RETRANSMIT_NS_MAX)));
    drop(c);
    schedule(kernel, connection, side, now + pause);
}

/// Has the connections of a life fall silent, as when the power goes.
pub(super) fn silence(kernel: &Rc<Kernel>, place: Place) {
    let connections = {
        let mut network = kernel.network.borrow_mut();
        network.connections.retain(|c| c.strong_count() > 0);
        network.connections.clone()
    };
    for connection in connections.iter().filter_map(Weak::upgrade) {
        for side in 0..2 {
            let mut c = connection.borrow_mut();
            if c.ends[side].place == place {
                c.ends[side].silent = true;
                c.pipes[side].segments.clear();
                c.pipes[side].in_flight = 0;
            }
        }
    }
}

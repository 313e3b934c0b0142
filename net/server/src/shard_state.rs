//! What the connections of one shard share: options, memory, counters and the list of themselves.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use runtime::{sync::Notify, time::Instant};

use crate::{
    byte_budget::ByteBudget,
    close_reason::CloseReason,
    connection_info::ConnectionId,
    counters::Counters,
    frame::FrameSplitter,
    options::Options,
    read_buffer::ReadPool,
    vitals::{Deadlines, Pressure, Vitals},
};

/// Refusals of bad input that are logged per second; the rest is counted.
const LOG_LINES_PER_SECOND: u32 = 10;

/// The server's state on one shard.
pub struct ShardState {
    pub options: Options,
    pub splitter: FrameSplitter,
    pub deadlines: Deadlines,
    pub budget: Rc<ByteBudget>,
    pub pool: ReadPool,
    pub counters: Arc<Counters>,
    /// As configured now; may change while the server runs.
    pub accepts_per_second: Cell<u32>,
    connections: RefCell<BTreeMap<ConnectionId, Rc<Vitals>>>,
    next_id: Cell<u64>,
    stopping: Cell<bool>,
    abandoned: Cell<bool>,
    /// Told when the first connection opens, the last one closes, or the server stops.
    pub changed: Notify,
    log_second: Cell<Option<(Instant, u32)>>,
}

impl ShardState {
    pub fn new(options: Options) -> Rc<ShardState> {
        let counters = Arc::<Counters>::default();
        Rc::new(ShardState {
            splitter: FrameSplitter::new(options.frame_bytes_max),
            deadlines: Deadlines::new(&options),
            budget: Rc::new(ByteBudget::new(options.request_bytes_max, counters.clone())),
            pool: ReadPool::default(),
            counters,
            accepts_per_second: Cell::new(options.accepts_per_second),
            connections: RefCell::default(),
            next_id: Cell::new(0),
            stopping: Cell::new(false),
            abandoned: Cell::new(false),
            changed: Notify::new(),
            log_second: Cell::new(None),
            options,
        })
    }

    /// Lists a new connection; it is listed until `leave`.
    pub fn enter(&self) -> (ConnectionId, Rc<Vitals>) {
        let id = ConnectionId(self.next_id.replace(self.next_id.get() + 1));
        let vitals = Rc::new(Vitals::new(Instant::now()));
        let mut connections = self.connections.borrow_mut();
        connections.insert(id, Rc::clone(&vitals));
        self.counters.connections.add(1);
        if connections.len() == 1 {
            self.changed.notify_waiters();
        }
        (id, vitals)
    }

    pub fn leave(&self, id: ConnectionId) {
        let mut connections = self.connections.borrow_mut();
        connections.remove(&id).expect("a listed connection leaves once");
        self.counters.connections.subtract(1);
        if connections.is_empty() {
            self.changed.notify_waiters();
        }
    }

    pub fn has_connections(&self) -> bool {
        !self.connections.borrow().is_empty()
    }

    /// True once the server takes nothing new.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// True once a stop does not wait for calls any more.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Takes nothing new; connections end when what they accepted is answered.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.changed.notify_waiters();
        self.connections.borrow().values().for_each(|vitals| vitals.wake());
    }

    /// Ends all connections now.
    pub fn abandon(&self) {
        self.abandoned.set(true);
        for vitals in self.connections.borrow().values() {
            vitals.condemn(CloseReason::Abandoned);
        }
    }

    /// Whether unsent answers take so much memory that slow readers are not served.
    pub fn is_pressed(&self) -> bool {
        self.counters.unsent_bytes.get() > self.options.unsent_bytes_shard_max as u64
    }

    /// Condemns every connection that is past a deadline.
    pub fn sweep(&self) {
        let now = Instant::now();
        let pressure =
            Pressure { requests: self.budget.is_exhausted(), answers: self.is_pressed() };
        for vitals in self.connections.borrow().values() {
            if let Some(reason) = vitals.overdue(now, &self.deadlines, pressure) {
                vitals.condemn(reason);
            }
        }
    }

    /// Whether one more line about bad input may be logged now.
    pub fn may_log(&self) -> bool {
        let now = Instant::now();
        let (second, lines) = match self.log_second.get() {
            Some((start, lines))
                if now.saturating_duration_since(start) < Duration::from_secs(1) =>
            {
                (start, lines + 1)
            }
            _ => (now, 1),
        };
        self.log_second.set(Some((second, lines)));
        lines <= LOG_LINES_PER_SECOND
    }
}

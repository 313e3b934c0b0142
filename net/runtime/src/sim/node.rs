//! Nodes of a world: lives, crashes, clocks.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::disk::Disk;
use super::disk_faults::DiskFaults;
use super::kernel::{Kernel, Place};
use super::mailbox::Mailbox;
use crate::shards::{self, Context, ShardId};
use crate::sync::Notify;
use crate::task::Class;

/// Milliseconds since the Unix epoch at virtual time zero: 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// How a node ends without being asked.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ends; what it wrote stays in the page cache.
    Kill,
    /// The machine ends; see the fault model of [`crate::sim`].
    PowerCut,
}

/// What the kernel knows of a node.
pub(super) struct Node {
    pub name: String,
    pub incarnation: u64,
    pub running: bool,
    /// False from a power cut to the next start: the machine answers nothing.
    pub powered: bool,
    pub disk: Rc<RefCell<Disk>>,
    pub clock: Clock,
    pub stop: Rc<Notify>,
    /// Whether this life waits for `stop`.
    pub stop_is_awaited: Cell<bool>,
    /// Notified when a life ends.
    pub ended: Rc<Notify>,
    shards_left: Rc<Cell<usize>>,
}

/// A node's wall clock.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Clock {
    offset_ms: i64,
    drift_ppm: i64,
}

impl Clock {
    pub fn wall_ms(&self, now_ns: u64) -> i64 {
        let ms = (now_ns / 1_000_000) as i64;
        EPOCH_MS + ms + ms * self.drift_ppm / 1_000_000 + self.offset_ms
    }
}

impl Node {
    fn new(name: &str, faults: DiskFaults) -> Node {
        Node {
            name: name.to_owned(),
            incarnation: 0,
            running: false,
            powered: true,
            disk: Rc::new(RefCell::new(Disk::new(faults))),
            clock: Clock::default(),
            stop: Rc::default(),
            stop_is_awaited: Cell::default(),
            ended: Rc::default(),
            shards_left: Rc::default(),
        }
    }
}

/// A node of a world. Cloning names the same node.
#[derive(Clone)]
pub struct NodeHandle {
    pub(super) kernel: Rc<Kernel>,
    pub(super) index: usize,
}

pub(super) fn add(kernel: &Rc<Kernel>, name: &str, faults: DiskFaults) -> NodeHandle {
    let mut nodes = kernel.nodes.borrow_mut();
    nodes.push(Node::new(name, faults));
    NodeHandle { kernel: Rc::clone(kernel), index: nodes.len() - 1 }
}

impl NodeHandle {
    /// Starts a life of the node with `count` shards, each running `main`. The life ends when every
    /// `main` has returned, or with a crash.
    ///
    /// # Panics
    /// If the node runs.
    pub fn start<M, F, Fut>(&self, count: usize, main: F)
    where
        M: Send + 'static,
        F: Fn(Context<M>) -> Fut + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        assert!(!self.is_running(), "{} runs already", self.name());
        let (place, left) = {
            let mut nodes = self.kernel.nodes.borrow_mut();
            let node = &mut nodes[self.index];
            node.incarnation += 1;
            node.running = true;
            node.powered = true;
            node.stop = Rc::default();
            node.stop_is_awaited = Cell::default();
            node.shards_left = Rc::new(Cell::new(count));
            let place = Place { node: self.index, incarnation: node.incarnation };
            (place, Rc::clone(&node.shards_left))
        };
        self.kernel.resume(self.index);
        for (index, mailbox) in Mailbox::mesh(count).into_iter().enumerate() {
            let mailbox = shards::Mailbox(mailbox);
            let context = Context { id: ShardId(index as u16), count, mailbox };
            let (main, left) = (main.clone(), Rc::clone(&left));
            let life = async move {
                main(context).await;
                left.set(left.get() - 1);
                if left.get() == 0 {
                    Kernel::current().doom(place, Crash::Kill);
                }
            };
            self.kernel.spawn(place, Class::Latency, Box::pin(life));
        }
    }

    /// The name given to [`super::World::add_node`].
    pub fn name(&self) -> String {
        self.kernel.nodes.borrow()[self.index].name.clone()
    }

    /// The node's address on the simulated network.
    pub fn ip(&self) -> IpAddr {
        address(self.index)
    }

    /// Whether a life is going on.
    pub fn is_running(&self) -> bool {
        self.kernel.nodes.borrow()[self.index].running
    }

    /// Lives so far, this one included.
    pub fn incarnation(&self) -> u64 {
        self.kernel.nodes.borrow()[self.index].incarnation
    }

    /// Asks the node to stop, as SIGTERM does: it ends the process at once unless the process waits for it, see
    /// [`crate::signal::stop_requested`].
    pub fn stop(&self) {
        let (stop, is_awaited) = {
            let node = &self.kernel.nodes.borrow()[self.index];
            (Rc::clone(&node.stop), node.stop_is_awaited.get())
        };
        match is_awaited {
            true => stop.notify_one(),
            false => self.kill(),
        }
    }

    /// Waits until no life is going on.
    pub async fn ended(&self) {
        while self.is_running() {
            let ended = Rc::clone(&self.kernel.nodes.borrow()[self.index].ended);
            ended.notified().await;
        }
    }

    /// Ends the process before any other task runs. Nothing happens if it does not run.
    pub fn kill(&self) {
        self.crash(Crash::Kill);
    }

    /// Ends the machine before any other task runs.
    pub fn power_cut(&self) {
        self.crash(Crash::PowerCut);
    }

    /// Either of them.
    pub fn crash(&self, crash: Crash) {
        let place = Place { node: self.index, incarnation: self.incarnation() };
        self.kernel.doom(place, crash);
    }

    /// Takes the CPU away from the node, as SIGSTOP or a hypervisor does: its disk finishes what it has, its connections
    /// stay, and what becomes due waits.
    pub fn pause(&self) {
        self.kernel.pause(self.index);
    }

    /// Ends a pause; nothing happens without one. The start of a life ends it, too.
    pub fn resume(&self) {
        self.kernel.resume(self.index);
    }

    /// Has the node crash when its disk's `n`-th changing operation from now begins (1 is the next).
    pub fn crash_at_disk_operation(&self, n: u64, crash: Crash) {
        self.with_disk(|disk| disk.crash_at(disk.operations() + n, crash));
    }

    /// Looks at the node's disk, which outlives its lives, or harms it.
    pub fn with_disk<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        let disk = Rc::clone(&self.kernel.nodes.borrow()[self.index].disk);
        f(&mut disk.borrow_mut())
    }

    /// Sets the wall clock `offset_ms` off and lets it gain `drift_ppm` millionths.
    pub fn set_clock(&self, offset_ms: i64, drift_ppm: i64) {
        self.kernel.nodes.borrow_mut()[self.index].clock = Clock { offset_ms, drift_ppm };
    }
}

/// The address of a node: 10.0.0.0/8 by number.
pub(super) fn address(node: usize) -> IpAddr {
    let [_, b, c, d] = (node as u32 + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, b, c, d))
}

/// The node with an address.
pub(super) fn at_address(ip: IpAddr) -> Option<usize> {
    let IpAddr::V4(v4) = ip else { return None };
    let [ten, b, c, d] = v4.octets();
    let number = u32::from_be_bytes([0, b, c, d]) as usize;
    (ten == 10 && number > 0).then(|| number - 1)
}

/// Ends a life: drops its tasks and does to disk and connections what the crash does.
pub(super) fn end_life(kernel: &Rc<Kernel>, place: Place, crash: Crash) {
    let (disk, ended) = {
        let mut nodes = kernel.nodes.borrow_mut();
        let node = &mut nodes[place.node];
        let this_life = node.incarnation == place.incarnation;
        // A machine without a running process can still lose its power.
        if !this_life || !(node.running || (crash == Crash::PowerCut && node.powered)) {
            return;
        }
        node.running = false;
        node.powered = crash == Crash::Kill;
        (Rc::clone(&node.disk), Rc::clone(&node.ended))
    };
    kernel.trace(place.node as u64 ^ (crash as u64) << 32);
    if crash == Crash::PowerCut {
        super::network::silence(kernel, place);
    }
    kernel.drop_tasks(place);
    if crash == Crash::PowerCut {
        disk.borrow_mut().power_cut(&mut kernel.rng.borrow_mut());
    }
    ended.notify_waiters();
}

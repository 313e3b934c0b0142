//! The world itself.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::disk_faults::DiskFaults;
use super::kernel::{Event, Kernel, Place};
use super::network::NetworkFaults;
use super::node::{self, Crash, NodeHandle};
use crate::task::Class;
use crate::time::Instant;

/// How a world is made.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// What everything follows from.
    pub seed: u64,
    /// The run fails after so many polls and events: something turns in circles.
    pub steps_max: u64,
    /// How the network behaves at first.
    pub network: NetworkFaults,
}

impl WorldOptions {
    /// A world of this seed without network faults.
    pub fn new(seed: u64) -> WorldOptions {
        WorldOptions { seed, steps_max: 200_000_000, network: NetworkFaults::default() }
    }
}

/// A simulated world. Clones, for use inside scenarios, name the same world; it ends with the one
/// that [`World::new`] gave.
pub struct World {
    kernel: Rc<Kernel>,
    driver: NodeHandle,
    owner: bool,
}

impl World {
    /// A world with no node but the driver, on which [`World::run`] runs.
    pub fn new(options: WorldOptions) -> World {
        let kernel = Kernel::new(options.seed, options.steps_max);
        kernel.network.borrow_mut().faults = options.network;
        let driver = node::add(&kernel, "driver", DiskFaults::default());
        {
            let mut nodes = kernel.nodes.borrow_mut();
            nodes[0].running = true;
        }
        World { kernel, driver, owner: true }
    }

    /// A world of this seed without faults.
    pub fn with_seed(seed: u64) -> World {
        World::new(WorldOptions::new(seed))
    }

    /// Adds a machine with an empty disk; nothing runs on it yet.
    pub fn add_node(&self, name: &str, disk: DiskFaults) -> NodeHandle {
        node::add(&self.kernel, name, disk)
    }

    /// Every node that was added.
    pub fn nodes(&self) -> Vec<NodeHandle> {
        let count = self.kernel.nodes.borrow().len();
        (1..count).map(|index| NodeHandle { kernel: Rc::clone(&self.kernel), index }).collect()
    }

    /// The driver: a node without faults, for scenarios and clients.
    pub fn driver(&self) -> &NodeHandle {
        &self.driver
    }

    /// Runs the world until `scenario`, which runs on the driver, has ended.
    ///
    /// # Panics
    /// When a task panics, when everything waits for ever, when the steps run out. The seed is
    /// printed.
    pub fn run<T: 'static>(&self, scenario: impl Future<Output = T> + 'static) -> T {
        let _tell = TellSeed(self.kernel.seed);
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        let place = Place { node: 0, incarnation: 0 };
        let task = super::task::spawn_at(&self.kernel, place, Class::Latency, async move {
            *slot.borrow_mut() = Some(scenario.await);
        });
        self.kernel.run_until(|| result.borrow().is_some());
        drop(task);
        let output = result.borrow_mut().take();
        output.expect("run until it was there")
    }

    /// Calls `f` when `delay` of virtual time has passed.
    pub fn after(&self, delay: Duration, f: impl FnOnce() + 'static) {
        let time = self.kernel.now() + delay.as_nanos() as u64;
        self.kernel.at(time, Event::Call(Box::new(move |_| f())));
    }

    /// Cuts the power of every node but the driver.
    pub fn power_cut_all(&self) {
        for node in self.nodes() {
            node.crash(Crash::PowerCut);
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.kernel.now())
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.kernel.seed
    }

    /// A number that two runs share if and only if (but for chance) they did the same.
    pub fn trace_hash(&self) -> u64 {
        self.kernel.trace_hash()
    }

    /// Polls and events so far.
    pub fn steps(&self) -> u64 {
        self.kernel.steps()
    }

    /// A number in `0..bound` out of the world's seed, for scenarios.
    pub fn random_below(&self, bound: u64) -> u64 {
        self.kernel.below(bound)
    }

    /// Changes how the network behaves from now on.
    pub fn set_network(&self, faults: NetworkFaults) {
        self.kernel.network.borrow_mut().faults = faults;
    }

    /// Lets nothing pass from `from` to `to`.
    pub fn cut_one_way(&self, from: &NodeHandle, to: &NodeHandle) {
        self.kernel.network.borrow_mut().cuts.insert((from.index, to.index));
    }

    /// Lets nothing pass between two nodes.
    pub fn cut(&self, a: &NodeHandle, b: &NodeHandle) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Lets everything pass between two nodes.
    pub fn mend(&self, a: &NodeHandle, b: &NodeHandle) {
        let mut network = self.kernel.network.borrow_mut();
        network.cuts.remove(&(a.index, b.index));
        network.cuts.remove(&(b.index, a.index));
    }

    /// Lets everything pass.
    pub fn mend_all(&self) {
        self.kernel.network.borrow_mut().cuts.clear();
    }
}

impl Clone for World {
    fn clone(&self) -> World {
        World { kernel: Rc::clone(&self.kernel), driver: self.driver.clone(), owner: false }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.owner && !std::thread::panicking() {
            self.kernel.tear_down();
        }
    }
}

/// Prints the seed when a run fails.
struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulated run of seed {} failed", self.0);
        }
    }
}

/// The virtual time and the node whose task runs now; absent outside a task of a world.
pub fn here() -> Option<(Duration, String)> {
    let kernel = Kernel::try_current()?;
    let place = kernel.running()?;
    let name = kernel.nodes.try_borrow().ok()?.get(place.node)?.name.clone();
    Some((Duration::from_nanos(kernel.now()), name))
}

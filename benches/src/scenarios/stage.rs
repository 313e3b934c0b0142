//! A running node with what a scenario needs around it: topics, connections, timed runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::clock::now_ns;
use crate::host::{Snapshot, Usage, settle};
use crate::load::{Engine, ProducerIdentity, Recorder, Window};
use crate::rivals::{Durability, Node, System};
use crate::sample::Sample;
use crate::wire::{Admin, Connection};

/// How long and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Length of one measured window.
    pub seconds: f64,
    /// Load before the window opens, in every point.
    pub lead_in: f64,
    /// Load on a fresh JVM before its first point.
    pub warm_up: f64,
    /// Rates of scenario 1; empty for all.
    pub rates: Vec<u32>,
    /// Fewer and smaller points.
    pub quick: bool,
}

/// Where nodes live.
#[derive(Clone, Debug)]
pub struct Place {
    pub dir: PathBuf,
    pub address: SocketAddr,
    pub broker_cpus: String,
}

pub struct Stage<'a> {
    pub node: &'a Node,
    pub system: System,
    pub durability: Durability,
    pub settings: &'a Settings,
    pub place: &'a Place,
    pub admin: Admin,
    topics: u32,
}

impl<'a> Stage<'a> {
    pub fn new(
        node: &'a Node,
        system: System,
        durability: Durability,
        settings: &'a Settings,
        place: &'a Place,
    ) -> Result<Stage<'a>> {
        let admin = Admin::connect(node.address)?;
        Ok(Stage { node, system, durability, settings, place, admin, topics: 0 })
    }

    pub fn sample(&self, scenario: u8, point: &str) -> Sample {
        Sample::new(scenario, point, self.system, self.durability)
    }

    /// A new topic of this stage's durability that accepts records on every partition asked for.
    pub fn topic(&mut self, purpose: &str, partitions: i32) -> Result<String> {
        self.topics += 1;
        let durability = match self.durability {
            Durability::Memory => "memory",
            Durability::Synced => "synced",
        };
        let name = format!("bench-{purpose}-{durability}-{}-{}", self.topics, now_ns() / 1_000_000);
        let configs = self.system.topic_configs(self.durability);
        self.admin.create_topic(&name, partitions, &configs)?;
        self.admin.wait_for_leaders(&name, partitions)?;
        const PROBED_MAX: i32 = 64;
        for partition in (0..partitions).take(PROBED_MAX as usize).chain([partitions - 1]) {
            self.admin.produce_until_acknowledged(&name, partition, Duration::from_secs(60))?;
        }
        Ok(name)
    }

    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.node.address)
    }

    pub fn identity(&mut self) -> Result<ProducerIdentity> {
        let (id, epoch) = self.admin.init_producer_id()?;
        Ok(ProducerIdentity { id, epoch })
    }

    /// The window of the next run: it opens after the lead-in.
    pub fn window(&self, seconds: f64) -> Window {
        let start_ns = now_ns() + 200_000_000 + (self.settings.lead_in * 1e9) as u64;
        Window { start_ns, end_ns: start_ns + (seconds * 1e9) as u64 }
    }

    /// Runs the engine over the window and says what the node used in it.
    pub fn run(&self, engine: &mut Engine, recorder: &mut Recorder) -> Result<Usage> {
        let (pid, data) = (self.node.pid(), &self.place.dir);
        let mut start = Snapshot::default();
        let mut end = Snapshot::default();
        engine.run(
            recorder,
            || start = Snapshot::take(pid, data),
            || end = Snapshot::take(pid, data),
        )?;
        settle(Duration::from_secs_f64(self.settings.seconds));
        Ok(start.until(&end))
    }
}

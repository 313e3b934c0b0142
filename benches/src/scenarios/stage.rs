//! Running nodes with what a scenario needs around them: topics, connections, timed runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::clock::now_ns;
use crate::host::{Snapshot, Usage, settle};
use crate::load::{
    Consumer, Engine, OpenLoop, OpenLoopProducer, ProducerIdentity, Recorder, Window,
};
use crate::rivals::{Cluster, Departure, Durability, Place, System};
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
    /// Numbers of partitions in scenarios 10 and 14; empty for all.
    pub partitions: Vec<i32>,
    /// What happens to the leaders of scenario 14.
    pub departures: Vec<Departure>,
    /// Fewer and smaller points.
    pub quick: bool,
}

pub struct Stage<'a> {
    pub cluster: &'a Cluster,
    pub system: System,
    pub durability: Durability,
    pub settings: &'a Settings,
    pub place: &'a Place,
    pub admin: Admin,
    topics: u32,
}

impl<'a> Stage<'a> {
    pub fn new(
        cluster: &'a Cluster,
        system: System,
        durability: Durability,
        settings: &'a Settings,
        place: &'a Place,
    ) -> Result<Stage<'a>> {
        let admin = Admin::connect(cluster.address())?;
        Ok(Stage { cluster, system, durability, settings, place, admin, topics: 0 })
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
        self.admin.create_topic(&name, partitions, self.place.nodes, &configs)?;
        self.admin.wait_for_leaders(&name, partitions)?;
        const PROBED_MAX: i32 = 64;
        for partition in (0..partitions).take(PROBED_MAX as usize).chain([partitions - 1]) {
            self.admin.produce_until_acknowledged(&name, partition, Duration::from_secs(60))?;
        }
        Ok(name)
    }

    /// Partitions of a topic by the address of the node that leads them.
    pub fn leaders(&mut self, topic: &str) -> Result<BTreeMap<SocketAddr, Vec<i32>>> {
        self.admin.leaders(topic)
    }

    /// A producer at a fixed rate over all partitions of its topic, with a connection to each node
    /// that leads some of them.
    pub fn add_open_loop(&mut self, engine: &mut Engine, plan: &OpenLoop) -> Result<()> {
        let identity = self.identity()?;
        let by_leader = self.leaders(&plan.topic)?;
        let partitions: usize = by_leader.values().map(Vec::len).sum();
        for (leader, partitions_led) in by_leader {
            let share = partitions_led.len() as f64 / partitions as f64;
            let per_second = plan.per_second * share;
            let part = OpenLoop { partitions: partitions_led, per_second, ..plan.clone() };
            let producer = OpenLoopProducer::new(part, Connection::open(leader)?, Some(identity));
            engine.add(Box::new(producer))?;
        }
        Ok(())
    }

    /// A consumer of all partitions of a topic, with a connection to each node that leads some.
    pub fn add_consumer(
        &mut self,
        engine: &mut Engine,
        topic: &str,
        every_record: bool,
        end_ns: u64,
    ) -> Result<()> {
        for (leader, partitions) in self.leaders(topic)? {
            let connection = Connection::open(leader)?;
            let consumer = Consumer::new(connection, topic, partitions, every_record, end_ns);
            engine.add(Box::new(consumer))?;
        }
        Ok(())
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
        let (pids, data) = (self.cluster.pids(), &self.place.dir);
        let mut start = Snapshot::default();
        let mut end = Snapshot::default();
        engine.run(
            recorder,
            || start = Snapshot::take(&pids, data),
            || end = Snapshot::take(&pids, data),
        )?;
        settle(Duration::from_secs_f64(self.settings.seconds));
        Ok(start.until(&end))
    }
}

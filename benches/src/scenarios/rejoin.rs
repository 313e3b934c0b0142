//! Scenario 20: what producers notice of a replica that catches up.
//!
//! A node is killed and misses what saturating producers write in a window, more than logs keep for
//! it. Then it comes back while 2 000 records a second come in. Latencies count from its start until
//! all replicas are in sync, and are put beside those of the same load right afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use super::paced::steady;
use super::{Settings, Stage, ingest, warm_up};
use crate::clock::now_ns;
use crate::load::{Engine, Recorder};
use crate::rivals::{Cluster, Departure, Durability, Place, System};
use crate::sample::Sample;
use crate::wire::Admin;

/// Load goes on for so long after the node's start, whether it needs that long or not.
const WINDOW_SECONDS: f64 = 45.0;
const IN_SYNC_LIMIT: Duration = Duration::from_secs(300);
const TAKEN_OVER_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

pub fn run(
    system: System,
    durabilities: &[Durability],
    place: &Place,
    settings: &Settings,
) -> Result<Vec<Sample>> {
    durabilities.iter().map(|&level| run_one(system, level, place, settings)).collect()
}

fn run_one(
    system: System,
    durability: Durability,
    place: &Place,
    settings: &Settings,
) -> Result<Sample> {
    let dir = tempfile::Builder::new().prefix("rejoin-").tempdir_in(&place.dir)?;
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    cluster.start()?;
    cluster.ready()?;
    let mut bench = Rejoin { system, durability, place, settings };
    let done = bench.run(&mut cluster).with_context(|| cluster.log_tail())?;
    cluster.kill()?;
    Ok(done)
}

struct Rejoin<'a> {
    system: System,
    durability: Durability,
    place: &'a Place,
    settings: &'a Settings,
}

impl Rejoin<'_> {
    fn stage<'c>(&'c self, cluster: &'c Cluster) -> Result<Stage<'c>> {
        Stage::new(cluster, self.system, self.durability, self.settings, self.place)
    }

    fn run(&mut self, cluster: &mut Cluster) -> Result<Sample> {
        let mut stage = self.stage(cluster)?;
        if self.system == System::Kafka {
            warm_up(&mut stage, self.settings.warm_up)?;
        }
        let topic = stage.topic("rejoin", ingest::PARTITIONS)?;
        drop(stage);

        // the first node answers what the load asks
        let victim = cluster.members().last().context("no nodes")?.clone();
        cluster.take_away(victim.id, Departure::Kill)?;
        let victim_led = |stage: &mut Stage<'_>| {
            stage.leaders(&topic).map(|by_leader| by_leader.contains_key(&victim.address))
        };
        let (mut stage, gone) = (self.stage(cluster)?, Instant::now());
        // a node that is no broker any more but leads still is an error, too
        while victim_led(&mut stage).unwrap_or(true) {
            if gone.elapsed() > TAKEN_OVER_LIMIT {
                bail!("partitions of the node that was killed have no other leader");
            }
            std::thread::sleep(POLL);
        }
        for partition in 0..ingest::PARTITIONS {
            const LIMIT: Duration = Duration::from_secs(60);
            stage.admin.produce_until_acknowledged(&topic, partition, LIMIT)?;
        }
        let (written, _) = ingest::saturate(&mut stage, &topic, &ingest::SMALL_RECORDS)?;
        drop(stage);

        let mut sample = self.stage(cluster)?.sample(20, "a node that missed a backlog");
        let (latencies, in_sync_ms) =
            self.while_it_catches_up(cluster, &topic, victim.id, &mut sample)?;
        let quiet = self.paced(cluster, &topic)?;
        let quiet_us = |q: f64| quiet.produce.value_at_quantile(q) as f64 / 1e3;
        let p99_us = latencies.value_at_quantile(0.99) as f64 / 1e3;
        sample.latencies("produce", &latencies);
        sample.set("produce p50, quiet", quiet_us(0.5));
        sample.set("produce p99, quiet", quiet_us(0.99));
        sample.set("produce p99 over quiet", p99_us / quiet_us(0.99));
        sample.set("in sync again", in_sync_ms);
        sample.set("MB missed", written.acked_bytes as f64 / 1e6);
        Ok(sample)
    }

    /// Starts the node when the window opens. Latencies of what was due until all replicas were in
    /// sync, and how long that took.
    fn while_it_catches_up(
        &self,
        cluster: &mut Cluster,
        topic: &str,
        victim: u16,
        sample: &mut Sample,
    ) -> Result<(Histogram<u64>, f64)> {
        let mut engine = Engine::new()?;
        let mut stage = self.stage(cluster)?;
        let window = stage.window(WINDOW_SECONDS);
        stage.add_open_loop(&mut engine, &steady(topic, window.end_ns))?;
        drop(stage);
        let mut recorder = Recorder::new(window);
        recorder.timeline = Some(Vec::new());
        let (address, replicas) = (cluster.address(), cluster.members().len());
        let begun = AtomicU64::new(0);
        let mut started = Ok(());
        let in_sync_ns = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(address, topic, replicas, &begun));
            engine.run(
                &mut recorder,
                || {
                    started = cluster.start_one(victim);
                    begun.store(now_ns(), Ordering::Release);
                },
                || (),
            )?;
            watcher.join().expect("the watcher does not panic")
        })?;
        started?;
        cluster.ready()?;
        sample.errors = recorder.errors.clone();
        let timeline = recorder.timeline.unwrap_or_default();
        let mut latencies = Histogram::new(3)?;
        for (_, latency) in timeline.into_iter().filter(|(intended, _)| *intended < in_sync_ns) {
            latencies.record(latency)?;
        }
        Ok((latencies, (in_sync_ns - begun.into_inner()) as f64 / 1e6))
    }

    /// The same load with nothing to catch up.
    fn paced(&self, cluster: &Cluster, topic: &str) -> Result<Recorder> {
        let mut stage = self.stage(cluster)?;
        let window = stage.window(self.settings.seconds);
        let mut engine = Engine::new()?;
        stage.add_open_loop(&mut engine, &steady(topic, window.end_ns))?;
        let mut recorder = Recorder::new(window);
        stage.run(&mut engine, &mut recorder)?;
        Ok(recorder)
    }
}

/// When every partition had all its replicas in sync after `begun` was set.
fn watch(
    address: std::net::SocketAddr,
    topic: &str,
    replicas: usize,
    begun: &AtomicU64,
) -> Result<u64> {
    let mut admin = Admin::connect(address)?;
    let begin = Instant::now();
    loop {
        let placed = admin.placed(topic)?;
        let full = placed.iter().filter(|p| p.in_sync == replicas).count();
        if begun.load(Ordering::Acquire) > 0 && full == ingest::PARTITIONS as usize {
            return Ok(now_ns());
        }
        if begin.elapsed() > IN_SYNC_LIMIT {
            bail!("only {full} of {} partitions have all replicas in sync", ingest::PARTITIONS);
        }
        std::thread::sleep(POLL);
    }
}

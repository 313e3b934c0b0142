//! A run, from empty disks to the verdict.

use crate::args::Args;
use crate::cluster::Cluster;
use crate::load::{Clients, Load};
use crate::recorder::{Recorder, now};
use crate::report::Run;
use crate::schedule::{self, Step};
use crate::{sandbox, verdict};
use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Mount points; a file system in memory of our own lies on it.
const BASE: &str = "/mnt";
/// Load without a fault at the beginning and at the end.
const WARM_UP: Duration = Duration::from_secs(5);
/// A partition that acknowledged nothing for this long, at the end of a slot in which all was healed, is stuck.
const QUIET_NS: u64 = 5_000_000_000;
const WATCH: Duration = Duration::from_millis(200);
const TELL: Duration = Duration::from_secs(30);

/// Set by the first interrupt: no more faults, then the verdict as always. The second one ends everything.
fn interrupted() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

struct Running<'a> {
    args: &'a Args,
    cluster: Cluster,
    load: Load,
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    began: Instant,
    told: Instant,
}

pub fn run(args: &Args) -> Result<bool> {
    let stop = interrupted()?;
    sandbox::settle()?;
    let seed = args.seed.unwrap_or_else(|| now() / 1_000_000_000);
    let out = args.out.clone().unwrap_or_else(|| root().join(format!("target/chaos/{seed}")));
    std::fs::create_dir_all(&out)?;
    let steps = schedule::steps(args, seed);
    println!(
        "seed {seed}: {} nodes, durability {}, {} faults, {}",
        args.nodes,
        args.durability.name(),
        steps.len(),
        out.display()
    );
    crate::shell::run("mount", &["-t", "tmpfs", "chaos", BASE])?;
    let recorder = Arc::new(Recorder::create(&out.join("history.jsonl"))?);
    let mut cluster = Cluster::create(args, seed, &binary(), Path::new(BASE), &out)?;
    cluster.start()?;
    let clients = Clients::install(args)?;
    let load = Load::new(args, clients, cluster.bootstrap(), recorder.clone(), &out);
    let began = Instant::now();
    let mut running = Running { args, cluster, load, recorder, stop, began, told: began };
    running.load.create_topic()?;
    running.load.begin(args.rate)?;
    running.wait_until(Instant::now() + WARM_UP)?;
    for step in &steps {
        if running.stop.load(Ordering::Relaxed) {
            println!("interrupted; a second time ends without a verdict");
            break;
        }
        running.bring(step)?;
    }
    running.conclude(seed, &out)
}

impl Running<'_> {
    /// One slot: the fault, its end, and the rest for recovery.
    fn bring(&mut self, step: &Step) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(self.args.slot);
        self.recorder.begin_slot();
        let (from, clock) = (now(), self.began.elapsed().as_secs());
        println!("{clock:>6} s  {}", step.fault);
        self.cluster.inject(&step.fault)?;
        self.wait_until(Instant::now() + step.hold)?;
        self.cluster.heal(&step.fault)?;
        let to = now();
        self.cluster.wait_ready();
        self.cluster.settle(&step.fault);
        self.wait_until(end.max(Instant::now() + WARM_UP * 2))?;
        let stuck = self.recorder.end_slot(&step.fault, from, to, QUIET_NS);
        if !stuck.is_empty() {
            self.fail(format!("after {}, these partitions take nothing: {stuck:?}", step.fault));
        }
        Ok(())
    }

    fn fail(&mut self, why: String) {
        println!("        FAILED: {why}");
        self.cluster.failures.push(why);
    }

    /// Watches nodes and clients until then, and tells how it goes.
    fn wait_until(&mut self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            std::thread::sleep(WATCH);
            let before = self.cluster.failures.len();
            self.cluster.watch()?;
            for why in &self.cluster.failures[before..] {
                println!("        FAILED: {why}");
            }
            for why in self.load.ended() {
                self.fail(why);
            }
            if self.told.elapsed() > TELL {
                self.told = Instant::now();
                let counts = self.recorder.counts();
                println!(
                    "{:>6} s  {} acknowledged, {} unknown, {} refused",
                    self.began.elapsed().as_secs(),
                    counts.acknowledged,
                    counts.unknown,
                    counts.failed
                );
            }
        }
        Ok(())
    }

    /// Load ends, everything is read, nodes stop, the checker judges.
    fn conclude(mut self, seed: u64, out: &Path) -> Result<bool> {
        println!("{:>6} s  the last reading", self.began.elapsed().as_secs());
        let notes = self.load.finish();
        let read = self.load.read_all();
        let came_through = read.is_ok();
        if let Err(error) = read {
            self.fail(format!("{error:#}"));
        }
        self.cluster.stop()?;
        let counts = self.recorder.counts();
        let timeline = self.recorder.finish()?;
        println!("{:>6} s  the checker", self.began.elapsed().as_secs());
        let verdict = verdict::judge(&self.recorder.path, came_through)?;
        let run = Run {
            args: self.args,
            seed,
            timeline: &timeline,
            verdict: &verdict,
            failures: &self.cluster.failures,
            notes: &notes,
            unknown: counts.unknown,
            flushes: &self.cluster.flushes(),
        };
        run.write(out)?;
        print!("{}", run.summary());
        println!("{}", out.join("report.html").display());
        let passed = run.passed();
        println!("{} passed, {} failed", usize::from(passed), usize::from(!passed));
        Ok(passed)
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The binary that `cargo xtask chaos` has built, or the release build of this checkout.
fn binary() -> PathBuf {
    std::env::var_os("MILLRACE_BIN")
        .map_or_else(|| root().join("target/release/millrace"), PathBuf::from)
}

//! System calls, allocations, copies, context switches and CPU per produce request on the hot path.
//!
//! `strace -c -f` counts the calls of a node while a load runs, a preloaded library
//! (`hot_path/count.c`) what another node allocates and copies under the same load; a run with
//! neither gives CPU and switches. Counting is exact; nothing about time is taken from those runs.
//! What a node allocates and copies later on for a load, when it moves batches into segments, counts
//! for that load: the counters are read when they have come to rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::load::{
    BatchTemplate, Engine, OpenLoop, Payload, Recorder, Saturate, SaturatingProducer,
};
use crate::rivals::{Cluster, Durability, Place, System};
use crate::scenarios::{Settings, Stage, warm_up};
use crate::wire::Connection;

/// What a run of one shape cost, per acknowledged request.
pub struct Cost {
    pub shape: &'static str,
    pub requests: u64,
    pub cpu_us: f64,
    pub switches: f64,
    pub syscalls: BTreeMap<String, f64>,
    /// Allocations, bytes allocated, copies, bytes copied.
    pub memory: [f64; 4],
}

const SHAPES: [&str; 3] = ["ping 1 000/s with a consumer", "unbatched, saturated", "1 MiB batches"];

pub fn run(
    system: System,
    durability: Durability,
    place: &Place,
    settings: &Settings,
) -> Result<Vec<Cost>> {
    system.prepare()?;
    let dir = tempfile::Builder::new().prefix("hot-path-").tempdir_in(&place.dir)?;
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    cluster.start()?;
    cluster.ready()?;
    let mut stage = Stage::new(&cluster, system, durability, settings, place)?;
    warm_up(&mut stage, settings.warm_up.min(10.0))?;
    let mut costs = Vec::new();
    for shape in SHAPES {
        let (plain, usage) = load(&mut stage, shape)?;
        let tracer = Tracer::attach(&cluster.pids())?;
        let (traced, _) = load(&mut stage, shape)?;
        let total = (traced.all_requests as f64).max(1.0);
        let syscalls = tracer.counts()?;
        costs.push(Cost {
            shape,
            requests: plain.acked_requests,
            cpu_us: usage.broker_cpu_s * 1e6 / plain.acked_requests as f64,
            switches: usage.broker_switches as f64 / plain.acked_requests as f64,
            syscalls: syscalls.into_iter().map(|(n, c)| (n, c as f64 / total)).collect(),
            memory: [f64::NAN; 4],
        });
    }
    cluster.stop()?;
    count_memory(system, durability, place, settings, &mut costs)?;
    Ok(costs)
}

/// The same loads on a node that counts what it allocates and copies.
fn count_memory(
    system: System,
    durability: Durability,
    place: &Place,
    settings: &Settings,
    costs: &mut [Cost],
) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("hot-path-").tempdir_in(&place.dir)?;
    let counter = Counter::build(dir.path())?;
    let environment =
        [("LD_PRELOAD", counter.library.as_path()), ("HOT_PATH_COUNTS", counter.counts.as_path())];
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    cluster.start_in(&environment)?;
    cluster.ready()?;
    let mut stage = Stage::new(&cluster, system, durability, settings, place)?;
    warm_up(&mut stage, settings.warm_up.min(2.0))?;
    for cost in costs {
        let before = counter.settled()?;
        let (done, _) = load(&mut stage, cost.shape)?;
        let after = counter.settled()?;
        for (at, per_request) in cost.memory.iter_mut().enumerate() {
            *per_request = (after[at] - before[at]) as f64 / (done.all_requests as f64).max(1.0);
        }
    }
    cluster.stop()
}

/// `millrace.checkpoint.interval.ms` is ten seconds by default.
const SETTLED_SECONDS: u32 = 12;
const SETTLED_SECONDS_MAX: u32 = 120;
/// What a node allocates in a second in which nothing is asked of it is far below this.
const IDLE_PER_SECOND: u64 = 200;

/// The library to preload and the file it counts in.
struct Counter {
    library: PathBuf,
    counts: PathBuf,
}

impl Counter {
    fn build(dir: &Path) -> Result<Counter> {
        let counter = Counter { library: dir.join("count.so"), counts: dir.join("counts") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("hot_path/count.c");
        let built = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-fno-builtin", "-o"])
            .args([&counter.library, &source])
            .status()
            .context("a C compiler (cc) is needed to count allocations")?;
        if !built.success() {
            bail!("{} does not compile", source.display());
        }
        std::fs::write(&counter.counts, [0; 4096])?;
        Ok(counter)
    }

    /// What is counted when the node has had nothing to do for longer than its checkpoints are apart.
    fn settled(&self) -> Result<[u64; 4]> {
        let mut quiet = 0;
        for _ in 0..SETTLED_SECONDS_MAX {
            let before = self.read()?;
            std::thread::sleep(Duration::from_secs(1));
            let after = self.read()?;
            quiet = if after[0] - before[0] < IDLE_PER_SECOND { quiet + 1 } else { 0 };
            if quiet == SETTLED_SECONDS {
                return Ok(after);
            }
        }
        bail!("the node has not come to rest in {SETTLED_SECONDS_MAX} s");
    }

    fn read(&self) -> Result<[u64; 4]> {
        let bytes = std::fs::read(&self.counts)?;
        let mut counts = [0; 4];
        for (count, field) in counts.iter_mut().zip(bytes.chunks_exact(8)) {
            *count = u64::from_le_bytes(field.try_into().context("eight bytes")?);
        }
        Ok(counts)
    }
}

fn load(stage: &mut Stage<'_>, shape: &str) -> Result<(Recorder, crate::host::Usage)> {
    let topic = stage.topic("hot-path", 1)?;
    let window = stage.window(stage.settings.seconds);
    let mut engine = Engine::new()?;
    if shape == SHAPES[0] {
        let plan = OpenLoop {
            topic: topic.clone(),
            partitions: vec![],
            record_bytes: 256,
            per_second: 1_000.0,
            in_flight_max: 5,
            batch_bytes: 16 << 10,
            burst: 1,
            begin_ns: window.start_ns,
            end_ns: window.end_ns,
        };
        stage.add_open_loop(&mut engine, &plan)?;
        stage.add_consumer(&mut engine, &topic, true, window.end_ns)?;
    } else {
        let (connections, record, batch) =
            if shape == SHAPES[1] { (64, 100, 0) } else { (4, 1024, 1 << 20) };
        for _ in 0..connections {
            let template = BatchTemplate::fill(&mut Payload::new(3), record, batch)?;
            let plan = Saturate {
                topic: topic.clone(),
                partitions: vec![0],
                batches_per_request: 1,
                in_flight_max: 5,
                end_ns: window.end_ns,
            };
            let leader = stage.leaders(&topic)?.into_keys().next().context("no leader")?;
            let (connection, identity) = (Connection::open(leader)?, stage.identity()?);
            engine.add(Box::new(SaturatingProducer::new(plan, connection, identity, template)))?;
        }
    }
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    if !recorder.errors.is_empty() {
        bail!("{shape}: requests were refused, by code: {:?}", recorder.errors);
    }
    Ok((recorder, usage))
}

/// An strace attached to a running node.
struct Tracer {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Tracer {
    fn attach(pids: &[u32]) -> Result<Tracer> {
        let output = tempfile::NamedTempFile::new()?;
        let child = Command::new("strace")
            .args(["-c", "-f", "-qq", "-U", "calls,name"])
            .args(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]))
            .arg("-o")
            .arg(output.path())
            .stderr(Stdio::null())
            .spawn()
            .context("strace is needed to count system calls")?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(Tracer { child, output })
    }

    /// Detaches and reads the table.
    fn counts(mut self) -> Result<BTreeMap<String, u64>> {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).context("strace's id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.child.wait()?;
        let text = std::fs::read_to_string(self.output.path())?;
        let parse = |line: &str| {
            let mut words = line.split_whitespace();
            let calls = words.next()?.parse().ok()?;
            Some((words.next()?.to_owned(), calls))
        };
        let counts: BTreeMap<String, u64> =
            text.lines().filter_map(parse).filter(|(name, _)| name != "total").collect();
        if counts.is_empty() {
            bail!("strace counted nothing; may it trace?");
        }
        Ok(counts)
    }
}

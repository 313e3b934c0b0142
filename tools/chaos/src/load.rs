//! The client programs (`clients/README.md`): how they are installed, started, listened to and ended.

use crate::args::Args;
use crate::recorder::{OPS_PER_PROGRAM_MAX, Recorder};
use anyhow::{Context, Result, bail};
use compat::cache::Cache;
use compat::jars::Jars;
use compat::process::{Line, Process};
use compat::toolchain::{CARGO, must};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const TOPIC: &str = "chaos";
/// Mean bytes of a record are about this.
const SIZE: u64 = 300;
const GROUP: &str = "chaos-group";
/// Process numbers of a role: a producer takes the next one after a fatal error.
const PROCESSES_PER_ROLE: u32 = 1000;
/// The producers of the first library are the first role.
pub const LIBRDKAFKA_PRODUCERS: Range<u32> = PROCESSES_PER_ROLE..2 * PROCESSES_PER_ROLE;
/// Producers give a record up after 60 s and say so.
pub const END_PATIENCE: Duration = Duration::from_secs(100);
const READ_PATIENCE: Duration = Duration::from_secs(600);
const LISTEN: Duration = Duration::from_millis(50);

/// Libraries that a run uses.
pub struct Clients {
    rdkafka: Vec<OsString>,
    java: Option<Vec<OsString>>,
}

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "clients", name].iter().collect()
}

impl Clients {
    /// From the cache, or by cargo, Maven and javac.
    pub fn install(args: &Args) -> Result<Self> {
        let cache = Cache::open()?;
        let sources = ["Cargo.toml", "Cargo.lock", "src"].map(|f| folder("rdkafka").join(f));
        let built = cache.folder("chaos-rdkafka", &sources, |out| {
            let mut cargo = CARGO.command()?;
            cargo.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(&sources[0]);
            must(cargo.arg("--target-dir").arg(out).env_remove("RUSTFLAGS"))
        })?;
        let java = match args.no_java {
            true => None,
            false => {
                let jars = Jars::install(&cache)?;
                let load = jars.compile(&cache, "chaos-java", &[folder("java")])?.java("Load");
                let words = std::iter::once(load.get_program()).chain(load.get_args());
                Some(words.map(OsString::from).collect())
            }
        };
        let rdkafka = vec![built.join("debug/chaos-rdkafka").into_os_string()];
        Ok(Self { rdkafka, java })
    }

    fn libraries(&self) -> Vec<(&'static str, &[OsString])> {
        let rdkafka = Some(("librdkafka", self.rdkafka.as_slice()));
        rdkafka.into_iter().chain(self.java.as_deref().map(|java| ("Java", java))).collect()
    }
}

/// A running program whose lines become history.
struct Running {
    name: &'static str,
    /// Its listener; nothing when it was waited for.
    process: Option<JoinHandle<Result<Process>>>,
    /// Whether it may go on: when this is unset its input ends.
    go_on: Arc<AtomicBool>,
}

pub struct Load {
    bootstrap: String,
    partitions: u32,
    clients: Clients,
    recorder: Arc<Recorder>,
    running: Vec<Running>,
    roles: u32,
    /// Where the logs of programs go.
    out: PathBuf,
}

impl Load {
    pub fn new(
        args: &Args,
        clients: Clients,
        bootstrap: String,
        recorder: Arc<Recorder>,
        out: &Path,
    ) -> Self {
        let (partitions, out) = (args.partitions, out.to_path_buf());
        Self { bootstrap, partitions, clients, recorder, running: Vec::new(), roles: 0, out }
    }

    fn process_number(&mut self) -> u32 {
        self.roles += 1;
        self.roles * PROCESSES_PER_ROLE
    }

    fn start(&self, name: &'static str, words: &[OsString], roles: Value) -> Result<Running> {
        let request = json!({
            "bootstrap": self.bootstrap, "topic": TOPIC, "partitions": self.partitions,
            "size": SIZE, "roles": roles,
        });
        let (program, args) = words.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        let (recorder, first_op) = (self.recorder.clone(), self.recorder.add_program());
        let number = first_op / OPS_PER_PROGRAM_MAX;
        let log = File::create(self.out.join(format!("clients-{number}-{name}.log")))?;
        command.args(args).arg(request.to_string());
        let process = Process::start_logged(&mut command, Some(log))?;
        let go_on = Arc::new(AtomicBool::new(true));
        let open = go_on.clone();
        let listener = std::thread::spawn(move || listen(process, &recorder, first_op, &open));
        Ok(Running { name, process: Some(listener), go_on })
    }

    pub fn create_topic(&mut self) -> Result<()> {
        let roles = json!([{"role": "create", "replicas": 3}]);
        let words = self.clients.rdkafka.clone();
        self.start("librdkafka", &words, roles)?.end(END_PATIENCE)
    }

    /// Producers, followers and members of one group, of every library.
    pub fn begin(&mut self, rate: u64) -> Result<()> {
        let libraries: Vec<(&'static str, Vec<OsString>)> =
            self.clients.libraries().into_iter().map(|(n, words)| (n, words.to_vec())).collect();
        let share = rate / libraries.len() as u64;
        for (name, words) in &libraries {
            let [producer, consumer, member] = [(); 3].map(|()| self.process_number());
            let roles = json!([
                {"role": "producer", "process": producer, "rate": share},
                {"role": "consumer", "process": consumer},
                {"role": "member", "process": member, "group": GROUP},
            ]);
            let running = self.start(name, words, roles)?;
            self.running.push(running);
        }
        Ok(())
    }

    /// Programs that ended although nobody asked them to.
    pub fn ended(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for running in &mut self.running {
            if running.process.as_ref().is_some_and(JoinHandle::is_finished) {
                let why = match running.end(Duration::ZERO) {
                    Ok(()) => "without a reason".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                told.push(format!("the {} clients ended: {why}", running.name));
            }
        }
        self.running.retain(|running| running.process.is_some());
        told
    }

    /// No more records; what was sent is acknowledged or given up. What programs said of fatal errors is returned.
    pub fn finish(&mut self) -> Vec<String> {
        for running in &self.running {
            running.go_on.store(false, Ordering::Relaxed);
        }
        let ended = self.running.drain(..).map(|mut running| running.end(END_PATIENCE));
        ended.filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    }

    /// Every library reads everything from the start to the end.
    pub fn read_all(&mut self) -> Result<()> {
        let libraries: Vec<(&'static str, Vec<OsString>)> =
            self.clients.libraries().into_iter().map(|(n, words)| (n, words.to_vec())).collect();
        let mut readers = Vec::new();
        for (name, words) in &libraries {
            let process = self.process_number();
            let roles = json!([{"role": "reader", "process": process}]);
            readers.push(self.start(name, words, roles)?);
        }
        readers.iter_mut().try_for_each(|reader| {
            reader
                .end(READ_PATIENCE)
                .with_context(|| format!("{} cannot read to the end", reader.name))
        })
    }
}

impl Running {
    /// Waits for the program's own end; its complaint if it has one.
    fn end(&mut self, patience: Duration) -> Result<()> {
        let Some(listener) = self.process.take() else {
            return Ok(());
        };
        let end = Instant::now() + patience;
        while !listener.is_finished() && Instant::now() < end {
            std::thread::sleep(LISTEN);
        }
        if !listener.is_finished() {
            bail!("the {} clients do not end within {} s", self.name, patience.as_secs());
        }
        let Ok(process) = listener.join() else { bail!("listening to {} panicked", self.name) };
        let mut process = process?;
        let status = process.wait(Duration::from_secs(5))?;
        let errors = process.errors();
        let fatal = errors.lines().find(|line| line.starts_with("fatal:"));
        match (status.success(), fatal) {
            (true, None) => Ok(()),
            (true, Some(fatal)) => bail!("{fatal}"),
            (false, _) => bail!("{status}: {}", errors.lines().last().unwrap_or_default()),
        }
    }
}

fn listen(
    mut process: Process,
    recorder: &Recorder,
    first_op: u64,
    open: &AtomicBool,
) -> Result<Process> {
    let mut asked_to_end = false;
    loop {
        match process.line(LISTEN) {
            Line::Text(line) => recorder.note(first_op, &line)?,
            Line::NotYet => {}
            Line::Ended => return Ok(process),
        }
        if !asked_to_end && !open.load(Ordering::Relaxed) {
            process.end_input();
            asked_to_end = true;
        }
    }
}

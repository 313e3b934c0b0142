//! `millrace dev` and `millrace start`: configuration, limits, lock, shards, exit code.
#![allow(
    clippy::disallowed_methods,
    reason = "runs before and after the shards, in the process's main thread"
)]

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use config::{CpuLatency, NodeConfig, Realtime};
use runtime::shards;

use super::args::{DevArgs, StartArgs};
use super::{check, http, logs};
use crate::node::{self, Descriptors, NodeContext};

/// Runs a development broker until it is stopped; returns the exit code.
pub fn dev(args: DevArgs) -> i32 {
    let (dir, temporary) = match args.data {
        Some(dir) => (dir, false),
        None => (std::env::temp_dir().join(format!("millrace-dev-{}", std::process::id())), true),
    };
    let mut text = format!(
        "node.id=1\nprocess.roles=broker,controller\n\
         listeners=PLAINTEXT://127.0.0.1:{port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\nmillrace.log.level=warn\n",
        port = args.port
    );
    text.push_str(&format!("log.dirs={}\n", escape(&dir)));
    if let Some(shards) = args.shards {
        text.push_str(&format!("millrace.shards={shards}\n"));
    }
    let code = run_text(&text, &args.set, false);
    // What a failure left of a node that served is kept, to be looked at.
    if temporary && (code == 0 || !WAS_READY.load(Ordering::Relaxed)) {
        let _ = fs::remove_dir_all(&dir);
    }
    code
}

/// Runs a broker from a file until it is stopped; returns the exit code.
pub fn start(mut args: StartArgs) -> i32 {
    if args.standalone {
        args.set.push("millrace.quorum.standalone=true".to_owned());
    }
    match fs::read_to_string(&args.config) {
        Ok(text) => run_text(&text, &args.set, true),
        Err(e) => refuse(&format!("cannot read {}: {e}", args.config.display())),
    }
}

pub(super) fn refuse(sentence: &str) -> i32 {
    eprintln!("millrace: {sentence}");
    1
}

/// A path as a value in properties syntax.
pub(super) fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\")
}

/// The configuration of a file, with what is set over it.
pub(super) fn read_config(file: &Path, set: &[String]) -> Result<NodeConfig, String> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    let parsed = NodeConfig::from_properties(&with_settings(&text, set));
    parsed.map(|(config, _)| config).map_err(|e| e.to_string())
}

fn with_settings(text: &str, set: &[String]) -> String {
    let mut text = text.to_owned();
    for pair in set {
        text.push('\n');
        text.push_str(pair);
    }
    text
}

fn run_text(text: &str, set: &[String], warn: bool) -> i32 {
    let (config, warnings) = match NodeConfig::from_properties(&with_settings(text, set)) {
        Ok(parsed) => parsed,
        Err(e) => return refuse(&e.to_string()),
    };
    if let Err(e) = logs::install(config.log_format, &config.log_level) {
        return refuse(&e);
    }
    if warn {
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }
    match run(config) {
        Ok(()) => 0,
        Err(sentence) => refuse(&sentence),
    }
}

fn run(config: NodeConfig) -> Result<(), String> {
    let _lock = lock(&config.data_dir)?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if config.shards == 0 { cpus } else { config.shards };
    let options = shards::Options {
        count: shards,
        pin: config.pin_shards,
        spin: config.spin,
        cpu_latency: cpu_latency(config.cpu_latency),
        realtime: realtime(config.realtime),
        name: "shard".into(),
        ..Default::default()
    };
    check_addresses(&config)?;
    let metrics_listen = config.metrics_listen.clone();
    let context = NodeContext::new(config, shards, announce);
    share_descriptors(&context, &options);
    if let Some(listen) = metrics_listen {
        let address = resolve(&listen)?;
        http::serve(address, context.metrics.clone(), context.ready.clone())?;
    }
    let shared = context.clone();
    shards::run(options, move |shard| node::shard_main(shard, shared.clone()))
        .map_err(|e| e.to_string())?;
    match context.failure.get() {
        Some(reason) => Err(reason.clone()),
        None => Ok(()),
    }
}

fn cpu_latency(configured: CpuLatency) -> shards::CpuLatency {
    match configured {
        CpuLatency::OfHost => shards::CpuLatency::OfHost,
        CpuLatency::WhileWriting => shards::CpuLatency::WhileWriting,
        CpuLatency::AtMost(latency) => shards::CpuLatency::AtMost(latency),
    }
}

fn realtime(configured: Realtime) -> shards::Realtime {
    match configured {
        Realtime::Never => shards::Realtime::Never,
        Realtime::IfGranted => shards::Realtime::IfGranted,
        Realtime::Priority(priority) => shards::Realtime::Priority(priority),
    }
}

/// The shards raise the soft limit to the hard one, so the hard one counts.
fn share_descriptors(context: &NodeContext, options: &shards::Options) {
    // with fewer than the least the start is refused, which says enough
    let limit = check::limit("Max open files").map(|(_, hard)| hard);
    let Some(limit) = limit.filter(|limit| *limit >= options.descriptors_min) else { return };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let descriptors = Descriptors::share(limit, options.count);
    if let Some(shortage) = descriptors.shortage(limit, context.config.limits.connections_max) {
        tracing::warn!("{shortage}");
    }
    context.limit_descriptors(descriptors);
}

/// Shards share their addresses (SO_REUSEPORT), so the kernel would let a second broker share them too and hand it half
/// of the clients. A plain bind finds that out first. It is tried for a while: the kernel takes an io_uring apart after
/// its process is gone, and until then the sockets of a killed node listen on.
fn check_addresses(config: &NodeConfig) -> Result<(), String> {
    let started = std::time::Instant::now();
    let mut listeners = node::resolve_listeners(config)?;
    if let Some(peers) = &config.quorum.peer_listener {
        let host = if peers.host.is_empty() { "::" } else { peers.host.as_str() };
        let found = (host, peers.port).to_socket_addrs().ok().and_then(|mut found| found.next());
        let unknown = || format!("{peers}, where other nodes are met, cannot be resolved");
        let address = found.ok_or_else(unknown)?;
        listeners.push(server::Listener { name: "for other nodes".to_owned(), address });
    }
    for listener in listeners {
        let in_use = || {
            std::net::TcpListener::bind(listener.address)
                .is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse)
        };
        while in_use() {
            if started.elapsed() > LEFTOVER_SOCKETS_MAX {
                return Err(format!(
                    "{} of listener {} is in use; stop the process that uses it or change the port",
                    listener.address, listener.name
                ));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    Ok(())
}

/// How long sockets of a process that is gone are waited for.
const LEFTOVER_SOCKETS_MAX: std::time::Duration = std::time::Duration::from_secs(5);

fn resolve(listen: &str) -> Result<SocketAddr, String> {
    let resolved = listen.to_socket_addrs().ok().and_then(|mut a| a.next());
    resolved.ok_or_else(|| {
        format!("millrace.metrics.listen={listen} is not an address; write it as 127.0.0.1:9644")
    })
}

/// Whether this process has ever served.
static WAS_READY: AtomicBool = AtomicBool::new(false);

/// Prints the one line that says where to connect.
fn announce(context: &NodeContext) {
    WAS_READY.store(true, Ordering::Relaxed);
    let bound = context.bound.get().map(Vec::as_slice).unwrap_or_default();
    let reachable = |address: &SocketAddr| match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    let addresses: Vec<String> = bound.iter().map(|(_, address)| reachable(address)).collect();
    println!(
        "millrace is ready: bootstrap.servers={} data={} shards={}",
        addresses.join(","),
        context.config.data_dir.display(),
        context.metrics.shards.len(),
    );
}

/// Takes the directory for this process; the lock ends with the process.
pub(super) fn lock(dir: &Path) -> Result<fs::File, String> {
    let path: PathBuf = dir.join(".lock");
    let cannot = |e: std::io::Error| {
        format!("cannot use {}: {e}; check that it is a writable directory", dir.display())
    };
    fs::create_dir_all(dir).map_err(cannot)?;
    let file = fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(format!(
            "{} is in use by another process; stop it or choose another directory",
            dir.display()
        )),
    }
}

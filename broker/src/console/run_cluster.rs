//! `millrace dev -n 3`: a cluster for development, one process per node on this host.
//!
//! This process starts the nodes, says where they are, says that the cluster is ready when all of them know each other,
//! and waits for their end. Whoever ends it with SIGTERM or SIGINT ends all
//! nodes; a single node may be killed and started again by hand to see what the others do meanwhile.
#![allow(
    clippy::disallowed_methods,
    reason = "runs in the process's main thread, beside the processes that have shards"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::args::DevArgs;
use super::run_node::{escape, refuse};

/// Distance of a node's port for its peers from its port for clients: from the usual ports it stays below those that the
/// system gives to outgoing connections.
const PEER_PORT_DISTANCE: u16 = 1_000;

struct Running {
    node: u16,
    file: PathBuf,
    process: Child,
}

/// Runs a development cluster until it is stopped; returns the exit code.
pub fn dev(args: DevArgs) -> i32 {
    match run(args) {
        Ok(code) => code,
        Err(sentence) => refuse(&sentence),
    }
}

fn run(args: DevArgs) -> Result<i32, String> {
    let ports = ports(args.port, args.nodes)?;
    let (dir, temporary) = match &args.data {
        Some(dir) => (dir.clone(), false),
        None => (std::env::temp_dir().join(format!("millrace-dev-{}", std::process::id())), true),
    };
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGCHLD])
        .map_err(|e| format!("signals cannot be received: {e}"))?;
    let mut running = Vec::new();
    for node in 1..=args.nodes {
        match start(&args, &dir, node, &ports) {
            Ok(started) => running.push(started),
            Err(sentence) => {
                stop(&running);
                return Err(sentence);
            }
        }
    }
    for Running { node, file, process } in &running {
        let port = ports[usize::from(*node) - 1];
        let (pid, file) = (process.id(), file.display());
        println!("node {node}: process {pid}, clients 127.0.0.1:{port}, millrace start -c {file}");
    }
    let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    announce(addresses, &dir);
    let mut code = 0;
    while !running.is_empty() {
        for signal in signals.wait() {
            if signal != SIGCHLD {
                stop(&running);
            }
        }
        running.retain_mut(|one| match one.process.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                println!("node {} has ended: {status}", one.node);
                code = code.max(exit_code(status));
                false
            }
            Err(error) => {
                eprintln!("millrace: node {} cannot be watched: {error}", one.node);
                false
            }
        });
    }
    if temporary && code == 0 {
        let _ = fs::remove_dir_all(&dir);
    }
    Ok(code)
}

/// Prints the one line that says where to connect, when a topic can have a replica on each node. Until then a thread of its
/// own waits, while this one watches the nodes; should one never come, the line never does.
fn announce(addresses: Vec<String>, dir: &Path) {
    let line = format!(
        "millrace is ready: bootstrap.servers={} data={} nodes={}",
        addresses.join(","),
        dir.display(),
        addresses.len()
    );
    std::thread::spawn(move || {
        if cli::wait_for_nodes(&addresses, addresses.len(), None).is_ok() {
            println!("{line}");
        }
    });
}

fn exit_code(status: ExitStatus) -> i32 {
    // ended by a signal: somebody has tried what happens then
    status.code().unwrap_or(0)
}

/// One port per node, from `first` on, each with room for the port for its peers.
fn ports(first: u16, nodes: u16) -> Result<Vec<u16>, String> {
    if first == 0 {
        return Err("several nodes must know each other's ports; choose one with --port".to_owned());
    }
    let last =
        first.checked_add(nodes - 1).filter(|last| last.checked_add(PEER_PORT_DISTANCE).is_some());
    match last {
        Some(last) => Ok((first..=last).collect()),
        None => Err(format!(
            "--port {first} leaves no room for the ports of {nodes} nodes; choose one below {}",
            u16::MAX - PEER_PORT_DISTANCE - nodes
        )),
    }
}

fn start(args: &DevArgs, dir: &Path, node: u16, ports: &[u16]) -> Result<Running, String> {
    let home = dir.join(format!("node-{node}"));
    let file = home.join("server.properties");
    let cannot = |e: std::io::Error| format!("cannot write {}: {e}", file.display());
    fs::create_dir_all(&home).map_err(cannot)?;
    fs::write(&file, properties(args, &home, node, ports)).map_err(cannot)?;
    let program = std::env::current_exe().map_err(|e| format!("this program is not found: {e}"))?;
    let mut command = Command::new(program);
    // One node's word that it is ready says nothing of the others.
    command.arg("start").arg("--config").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    let process = command.spawn().map_err(|e| format!("node {node} cannot be started: {e}"))?;
    Ok(Running { node, file, process })
}

fn properties(args: &DevArgs, home: &Path, node: u16, ports: &[u16]) -> String {
    let port = ports[usize::from(node) - 1];
    let peer = |port: u16| port + PEER_PORT_DISTANCE;
    let voters: Vec<String> =
        (1..).zip(ports).map(|(id, port)| format!("{id}@127.0.0.1:{}", peer(*port))).collect();
    let replicas = ports.len().min(3);
    let mut text = format!(
        "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{peer}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         default.replication.factor={replicas}\noffsets.topic.replication.factor={replicas}\n\
         log.dirs={data}\nmillrace.log.level=warn\n",
        voters = voters.join(","),
        peer = peer(port),
        data = escape(&home.join("data")),
    );
    if let Some(shards) = args.shards {
        text.push_str(&format!("millrace.shards={shards}\n"));
    }
    for pair in &args.set {
        text.push_str(pair);
        text.push('\n');
    }
    text
}

fn stop(running: &[Running]) {
    for one in running {
        let pid = one.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_port_for_clients_and_one_for_its_peers() {
        assert_eq!(ports(9092, 3).unwrap(), [9092, 9093, 9094]);
        assert!(ports(0, 3).is_err());
        let refused = ports(64_535, 3).unwrap_err();
        assert!(refused.contains("below 64532"), "{refused}");
        assert!(ports(64_531, 3).is_ok());
    }
}

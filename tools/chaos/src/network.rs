//! A bridge with a network namespace per node, and cuts between them.
//!
//! A cut is a rule in the receiver's namespace that drops what comes from an address. It is silent, as a broken cable
//! is: the sender is told nothing, and connections that exist stall and go on when it heals. It works in one direction;
//! a partition is a cut on both sides. Clients live on the bridge's own address.

use crate::shell;
use anyhow::Result;
use std::net::Ipv4Addr;

/// Where clients are.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const RULE_PRIORITY: u32 = 10;

pub fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + node as u8)
}

fn namespace(node: usize) -> String {
    format!("node{node}")
}

/// What a program has to be started with to run in a node's namespace.
pub fn entry(node: usize) -> [String; 2] {
    ["nsenter".to_owned(), format!("--net=/run/netns/{}", namespace(node))]
}

pub fn build(nodes: &[usize]) -> Result<()> {
    shell::words("ip link add millrace0 type bridge")?;
    shell::words(&format!("ip addr add {CLIENTS}/24 dev millrace0"))?;
    shell::words("ip link set millrace0 up")?;
    for node in nodes {
        attach(*node)?;
    }
    Ok(())
}

fn attach(node: usize) -> Result<()> {
    let (name, address) = (namespace(node), address(node));
    for line in [
        format!("ip netns add {name}"),
        format!("ip link add veth{node} type veth peer name eth0 netns {name}"),
        format!("ip link set veth{node} master millrace0 up"),
        format!("ip -n {name} addr add {address}/24 dev eth0"),
        format!("ip -n {name} link set eth0 up"),
        format!("ip -n {name} link set lo up"),
        // The rule for the host's own addresses comes first by default; cuts have to come before it.
        format!("ip -n {name} rule add prio 100 lookup local"),
        format!("ip -n {name} rule del prio 0"),
    ] {
        shell::words(&line)?;
    }
    Ok(())
}

/// From here on `node` hears nothing from `from`.
pub fn cut(node: usize, from: Ipv4Addr) -> Result<()> {
    rule("add", node, from)
}

pub fn mend(node: usize, from: Ipv4Addr) -> Result<()> {
    rule("del", node, from)
}

fn rule(verb: &str, node: usize, from: Ipv4Addr) -> Result<()> {
    let name = namespace(node);
    shell::words(&format!(
        "ip -n {name} rule {verb} from {from} iif eth0 blackhole prio {RULE_PRIORITY}"
    ))
    .map(drop)
}

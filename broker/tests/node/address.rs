//! Addresses that nobody else takes while a node is away: what the system gives out with port 0 lies where it takes the ports
//! of outgoing connections from, and a node that starts again may find its own taken.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

static HOSTS: AtomicU16 = AtomicU16::new(0);
static PORTS: AtomicU16 = AtomicU16::new(0);

/// Below the ports of outgoing connections (`net.ipv4.ip_local_port_range`).
const PORTS_FROM: u16 = 20_000;
const PORTS_WITHIN: u16 = 12_000;

/// A loopback address of this process alone, another one each time: all its ports are free.
pub fn own_host() -> Ipv4Addr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // 127.0.0.1 and 127.0.1.1 are in use
    let last = u8::try_from(HOSTS.fetch_add(1, Ordering::Relaxed) + 2).expect("fewer than 254");
    Ipv4Addr::new(127, high, low, last)
}

/// A port of 127.0.0.1 that is free.
pub fn free_port() -> u16 {
    let first = std::process::id() as u16;
    let next =
        || PORTS_FROM + PORTS.fetch_add(1, Ordering::Relaxed).wrapping_add(first) % PORTS_WITHIN;
    let ports = std::iter::repeat_with(next).take(usize::from(PORTS_WITHIN));
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a port is free")
}

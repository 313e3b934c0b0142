//! `millrace cluster wait`: until the nodes of a cluster have found each other.
//!
//! A node serves as soon as it is registered itself. A topic with three replicas needs three nodes that are alive in the
//! eyes of whichever node is asked, so each is asked for what it knows.

use client::Client;
use std::thread::sleep;
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until each node, by its address, knows that `nodes` are alive, or until `patience` has passed: then names one
/// that does not.
pub fn wait_for_nodes(
    addresses: &[String],
    nodes: usize,
    patience: Option<Duration>,
) -> Result<(), String> {
    let begin = Instant::now();
    for address in addresses {
        while !knows(address, nodes) {
            if patience.is_some_and(|patience| begin.elapsed() > patience) {
                return Err(format!("{address} does not know of {nodes} nodes that are alive"));
            }
            sleep(LOOK_AGAIN);
        }
    }
    Ok(())
}

fn knows(address: &str, nodes: usize) -> bool {
    let live = Client::connect(address).and_then(|mut client| client.live_nodes());
    live.is_ok_and(|live| live.len() >= nodes)
}

//! What the simulated network promises.
#![cfg(simulation)]

use std::io::ErrorKind;
use std::time::Duration;

use bytes::BytesMut;
use runtime::net::TcpStream;
use runtime::sim::{DiskFaults, NetworkFaults, World};
use runtime::time::{sleep, timeout};

#[path = "support/echo.rs"]
mod echo;
use echo::{address, echo_shard, ping};

#[test]
fn a_killed_node_closes_its_connections_and_then_refuses() {
    let world = World::with_seed(12);
    let node = world.add_node("a", DiskFaults::default());
    node.start(2, echo_shard);
    world.run(async move {
        sleep(Duration::from_millis(1)).await;
        let stream = TcpStream::connect(address(&node)).await.unwrap();
        ping(&stream, 100).await.unwrap();
        node.kill();
        let mut buf = BytesMut::new();
        assert_eq!(stream.read(&mut buf).await.unwrap_or(0), 0);
        let refused = TcpStream::connect(address(&node)).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_node_without_power_is_silent_and_resets_when_it_is_back() {
    let world = World::with_seed(13);
    let node = world.add_node("a", DiskFaults::default());
    node.start(1, echo_shard);
    world.run(async move {
        sleep(Duration::from_millis(1)).await;
        let stream = TcpStream::connect(address(&node)).await.unwrap();
        ping(&stream, 100).await.unwrap();
        node.power_cut();
        node.ended().await;
        let silence = timeout(Duration::from_secs(10), ping(&stream, 10)).await;
        assert!(silence.is_err(), "neither bytes nor an error");
        node.start(1, echo_shard);
        let mut buf = BytesMut::new();
        let reset = stream.read(&mut buf).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        sleep(Duration::from_millis(1)).await;
        ping(&TcpStream::connect(address(&node)).await.unwrap(), 100).await.unwrap();
    });
}

#[test]
fn a_cut_stalls_and_mending_it_lets_everything_through() {
    let world = World::with_seed(14);
    let node = world.add_node("a", DiskFaults::default());
    node.start(1, echo_shard);
    let w = world.clone();
    world.run(async move {
        sleep(Duration::from_millis(1)).await;
        let stream = TcpStream::connect(address(&node)).await.unwrap();
        for one_way in [true, false] {
            if one_way {
                w.cut_one_way(&node, w.driver());
            } else {
                w.cut(&node, w.driver());
            }
            let mut pinging = Box::pin(long_ping(&stream, 50_000));
            assert!(timeout(Duration::from_secs(5), &mut pinging).await.is_err());
            w.mend(&node, w.driver());
            pinging.await.unwrap();
        }
        w.cut(&node, w.driver());
        let dead = ping(&stream, 10).await.unwrap_err();
        assert_eq!(dead.kind(), ErrorKind::TimedOut);
        let unreachable = TcpStream::connect(address(&node)).await.err().unwrap();
        assert_eq!(unreachable.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_bad_network_slows_or_breaks_connections_but_never_garbles_them() {
    let (mut whole, mut broken) = (0, 0);
    for seed in 0..30 {
        let world = World::with_seed(seed);
        world.set_network(NetworkFaults { loss: 0.05, reset: 0.0003, ..NetworkFaults::default() });
        let node = world.add_node("a", DiskFaults::default());
        node.start(1, echo_shard);
        let ok = world.run(async move {
            sleep(Duration::from_millis(1)).await;
            let Ok(stream) = TcpStream::connect(address(&node)).await else { return false };
            for len in [1, 100, 40_000, 3_000_000] {
                if long_ping(&stream, len).await.is_err() {
                    return false;
                }
            }
            true
        });
        if ok { whole += 1 } else { broken += 1 }
    }
    assert!(whole > 0 && broken > 0, "{whole} whole, {broken} broken");
}

/// Writes in parts, for a single write larger than all windows would wait for its own echo.
async fn long_ping(stream: &TcpStream, len: usize) -> std::io::Result<()> {
    let mut left = len;
    while left > 0 {
        let part = left.min(8_000);
        ping(stream, part).await?;
        left -= part;
    }
    Ok(())
}

//! A stop finishes what was accepted and takes nothing more.

use std::time::Duration;

use runtime::{
    block_on,
    net::TcpStream,
    task::{Class, spawn},
};

use crate::harness::{Api, Client, Site, until};

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_stop_answers_what_was_received_whole_and_closes() {
    block_on(async {
        let Site { service, server, counters, address } = Site::open();
        let connect = async || Client::connect(address).await;
        let (mut busy, mut idle, mut half) = (connect().await, connect().await, connect().await);
        service.close_gate(1);
        busy.send(Api::Echo, 1, b"").await;
        busy.send(Api::Echo, 2, b"").await;
        half.send_raw(&[0, 0, 0, 100, 0]).await;
        until("all have come", || counters.bytes_in.get() == 2 * 14 + 5).await;
        let stop = spawn(Class::Latency, server.stop(LONG));
        assert_eq!(idle.receive().await, None);
        assert_eq!(half.receive().await, None);
        service.open(1);
        busy.expect(&[1, 2]).await;
        assert_eq!(busy.receive().await, None);
        stop.await;
        assert_eq!(counters.connections.get(), 0);
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    });
}

#[test]
fn a_stop_ends_long_polls() {
    block_on(async {
        let Site { service, server, address, .. } = Site::open();
        let mut client = Client::connect(address).await;
        client.send(Api::UntilGone, 1, b"").await;
        until("it waits", || service.started() == [1]).await;
        server.stop(LONG).await;
        client.expect(&[1]).await;
    });
}

#[test]
fn a_stop_without_patience_drops_calls_that_do_not_end() {
    block_on(async {
        let Site { service, server, address, .. } = Site::open();
        let mut client = Client::connect(address).await;
        service.close_gate(1);
        client.send(Api::Echo, 1, b"").await;
        until("it waits", || service.started() == [1]).await;
        server.stop(Duration::from_millis(10)).await;
        assert_eq!(client.receive().await, None);
        assert!(service.finished().is_empty());
    });
}

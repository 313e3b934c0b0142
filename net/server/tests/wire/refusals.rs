//! Input that ends a connection, and that alone.

use runtime::block_on;
use server::{CloseReason, FrameError, Options};

use crate::harness::{Api, Site, request, until};

async fn is_closed_with(site: &Site, bytes: &[u8], error: FrameError) {
    let mut client = site.client().await;
    client.send(Api::Echo, 1, b"").await;
    client.expect(&[1]).await;
    let before = site.counters.closed(&error.into());
    client.send_raw(bytes).await;
    assert_eq!(client.receive().await, None);
    until("it is counted", || site.counters.closed(&error.into()) == before + 1).await;
}

#[test]
fn a_negative_frame_length_closes_the_connection() {
    block_on(async {
        let site = Site::open();
        is_closed_with(&site, &(-1i32).to_be_bytes(), FrameError::Negative { length: -1 }).await;
    });
}

#[test]
fn a_frame_above_socket_request_max_bytes_closes_the_connection_and_one_of_it_passes() {
    block_on(async {
        let site = Site::with(Options { frame_bytes_max: 1000, ..Options::default() });
        let mut client = site.client().await;
        client.send(Api::Echo, 1, &[0; 990]).await;
        client.expect(&[1]).await;
        let error = FrameError::TooLarge { length: 1001, frame_bytes_max: 1000 };
        is_closed_with(&site, &request(Api::Echo, 2, &[0; 991]), error).await;
        assert_eq!(site.service.started(), [1, 1]);
    });
}

#[test]
fn an_http_request_closes_the_connection() {
    block_on(async {
        let site = Site::open();
        is_closed_with(&site, b"GET /metrics HTTP/1.1\r\n\r\n", FrameError::Http).await;
    });
}

#[test]
fn a_tls_handshake_closes_the_connection() {
    block_on(async {
        let site = Site::open();
        is_closed_with(&site, &[0x16, 0x03, 0x01, 0x00, 0xf4, 0x01, 0, 0], FrameError::Tls).await;
    });
}

#[test]
fn a_header_that_does_not_parse_closes_the_connection_after_earlier_answers() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        site.service.close_gate(1);
        client.send(Api::Overlap, 1, b"").await;
        client.send_raw(&[0, 0, 0, 3, 0, 1, 0]).await;
        until("the first is started", || site.service.started() == [1]).await;
        site.service.open(1);
        client.expect(&[1]).await;
        assert_eq!(client.receive().await, None);
    });
}

#[test]
fn an_answer_of_close_comes_after_the_answers_before_it() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        site.service.close_gate(1);
        client.send(Api::Overlap, 1, b"").await;
        client.send(Api::Close, 2, b"").await;
        client.send(Api::Echo, 3, b"").await;
        until("the first is started", || site.service.started() == [1]).await;
        site.service.open(1);
        client.expect(&[1]).await;
        assert_eq!(client.receive().await, None);
        assert_eq!(site.service.started(), [1, 2]);
        let reason = CloseReason::Service("any".into());
        until("it is counted", || site.counters.closed(&reason) == 1).await;
    });
}

#[test]
fn a_client_that_leaves_ends_its_long_poll_and_its_other_calls_run_to_their_end() {
    block_on(async {
        let site = Site::open();
        let (waiter, writer) = (site.client().await, site.client().await);
        site.service.close_gate(2);
        waiter.send(Api::UntilGone, 1, b"").await;
        writer.send(Api::Overlap, 2, b"").await;
        until("both are started", || site.service.started().len() == 2).await;
        drop((waiter, writer));
        until("the long poll ends", || site.service.finished() == [1]).await;
        site.service.open(2);
        until("the call ends", || site.service.finished() == [1, 2]).await;
        until("both are gone", || site.counters.connections.get() == 0).await;
        assert_eq!(site.counters.calls_in_flight.get(), 0);
        assert_eq!(site.counters.unsent_bytes.get(), 0);
        assert_eq!(site.counters.request_bytes.get(), 0);
    });
}

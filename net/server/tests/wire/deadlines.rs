//! Deadlines, with durations small enough to wait for.

use std::time::Duration;

use runtime::block_on;
use server::{CloseReason, Options};

use crate::harness::{Api, Site, until};

const SHORT: Duration = Duration::from_millis(40);
const WAITED: Duration = Duration::ZERO;

#[test]
fn half_a_frame_is_closed_after_its_deadline_and_an_idle_connection_is_not() {
    block_on(async {
        let site = Site::with(Options { partial_frame_timeout: SHORT, ..Options::default() });
        let mut idle = site.client().await;
        let mut slow = site.client().await;
        slow.send_raw(&[0, 0, 0, 100, 0]).await;
        assert_eq!(slow.receive().await, None);
        let reason = CloseReason::PartialFrame { waited: WAITED };
        until("it is counted", || site.counters.closed(&reason) == 1).await;
        idle.send(Api::Echo, 1, b"").await;
        idle.expect(&[1]).await;
        until("nothing is held", || site.counters.request_bytes.get() == 0).await;
    });
}

#[test]
fn one_byte_of_a_length_is_half_a_frame() {
    block_on(async {
        let site = Site::with(Options { partial_frame_timeout: SHORT, ..Options::default() });
        let mut slow = site.client().await;
        slow.send_raw(&[0]).await;
        assert_eq!(slow.receive().await, None);
    });
}

#[test]
fn a_connection_without_traffic_is_closed_and_one_that_waits_for_its_answer_is_not() {
    block_on(async {
        let site = Site::with(Options { idle_timeout: SHORT, ..Options::default() });
        let mut polling = site.client().await;
        site.service.close_gate(1);
        polling.send(Api::Echo, 1, b"").await;
        let mut idle = site.client().await;
        assert_eq!(idle.receive().await, None);
        let reason = CloseReason::Idle { waited: WAITED };
        until("it is counted", || site.counters.closed(&reason) == 1).await;
        site.service.open(1);
        polling.expect(&[1]).await;
    });
}

#[test]
fn a_client_that_takes_none_of_its_answers_is_closed() {
    block_on(async {
        let site = Site::with(Options { idle_timeout: SHORT, ..Options::default() });
        let client = site.client().await;
        client.send(Api::Large, 1, &(64u32 << 20).to_be_bytes()).await;
        let reason = CloseReason::SlowReader { waited: WAITED };
        until("it is closed", || site.counters.closed(&reason) == 1).await;
        until("its answers are dropped", || site.counters.unsent_bytes.get() == 0).await;
        drop(client);
    });
}

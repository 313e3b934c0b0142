//! Answers in request order, calls started in request order, and what may run side by side.

use std::time::Duration;

use runtime::{block_on, time::Instant};
use server::Options;

use crate::harness::{Api, Site, request, until};

const CALLS_MAX: usize = 8;

#[test]
fn answers_keep_the_order_of_requests_although_later_calls_finish_first() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        (1..=3).for_each(|id| site.service.close_gate(id));
        for id in 1..=3 {
            client.send(Api::Overlap, id, b"body").await;
        }
        until("all are started", || site.service.started() == [1, 2, 3]).await;
        for id in [3, 2, 1] {
            site.service.open(id);
            until("the call finished", || site.service.finished().contains(&id)).await;
        }
        client.expect(&[1, 2, 3]).await;
        assert_eq!(site.service.finished(), [3, 2, 1]);
    });
}

#[test]
fn a_long_poll_is_not_overtaken_by_what_follows_it() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        site.service.close_gate(1);
        client.send(Api::Echo, 1, b"").await;
        client.send(Api::Overlap, 2, b"").await;
        client.send(Api::Echo, 3, b"").await;
        let mut other = site.client().await;
        other.send(Api::Echo, 10, b"").await;
        other.expect(&[10]).await;
        assert_eq!(site.service.started(), [1, 10], "nothing starts behind a barrier");
        site.service.open(1);
        client.expect(&[1, 2, 3]).await;
    });
}

#[test]
fn a_barrier_starts_when_everything_before_it_has_answered() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        site.service.close_gate(1);
        site.service.close_gate(2);
        for (api, id) in [(Api::Overlap, 1), (Api::Overlap, 2), (Api::Echo, 3)] {
            client.send(api, id, b"").await;
        }
        until("both are started", || site.service.started() == [1, 2]).await;
        site.service.open(1);
        client.expect(&[1]).await;
        assert_eq!(site.service.started(), [1, 2]);
        site.service.open(2);
        client.expect(&[2, 3]).await;
    });
}

#[test]
fn no_more_than_the_maximum_of_requests_are_in_progress() {
    block_on(async {
        let site = Site::with(Options { calls_max: CALLS_MAX, ..Options::default() });
        let mut client = site.client().await;
        let ids: Vec<i32> = (1..=2 * CALLS_MAX as i32).collect();
        site.service.close_gate(1);
        for id in &ids {
            client.send(Api::Overlap, *id, b"").await;
        }
        until("the pipeline is full", || site.service.started().len() == CALLS_MAX).await;
        let mut other = site.client().await;
        other.send(Api::Echo, 100, b"").await;
        other.expect(&[100]).await;
        assert_eq!(site.service.started().len(), CALLS_MAX + 1);
        site.service.open(1);
        client.expect(&ids).await;
    });
}

#[test]
fn a_request_without_an_answer_leaves_no_gap() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        for (api, id) in [(Api::Silent, 1), (Api::Echo, 2), (Api::Silent, 3), (Api::Overlap, 4)] {
            client.send(api, id, b"").await;
        }
        client.expect(&[2, 4]).await;
        assert_eq!(site.service.started(), [1, 2, 3, 4]);
    });
}

#[test]
fn requests_survive_being_cut_anywhere_and_being_sent_together() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        let stream: Vec<u8> = (1..=50)
            .flat_map(|id| request(Api::Overlap, id, &vec![id as u8; id as usize]))
            .collect();
        client.send_raw(&stream).await;
        for piece in stream.chunks(7) {
            client.send_raw(piece).await;
        }
        for round in 0..2 {
            for id in 1..=50 {
                let (received, body) = client.receive().await.expect("an answer");
                assert_eq!((received, body), (id, vec![id as u8; id as usize].into()), "{round}");
            }
        }
    });
}

#[test]
fn large_requests_and_answers_pass_whole() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        for bytes in [70_000, 1 << 20, 3 << 20, 5] {
            let body: Vec<u8> = (0..bytes).map(|i| (i / 7) as u8).collect();
            client.send(Api::Overlap, 1, &body).await;
            let (_, answer) = client.receive().await.expect("an answer");
            assert!(answer == body, "{bytes} bytes");
        }
        client.send(Api::Large, 9, &(5u32 << 20).to_be_bytes()).await;
        let (_, body) = client.receive().await.expect("an answer");
        assert_eq!(body.len(), 5 << 20);
        assert_eq!(site.counters.request_bytes.get(), 0);
    });
}

#[test]
fn a_throttled_client_gets_its_answer_first_and_is_held_back_after() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        let begun = Instant::now();
        client.send(Api::Mute, 1, &50u32.to_be_bytes()).await;
        client.send(Api::Echo, 2, b"").await;
        client.expect(&[1]).await;
        assert_eq!(site.service.started(), [1], "the next request waits");
        client.expect(&[2]).await;
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert_eq!(site.counters.mutes.get(), 1);
    });
}

#[test]
fn a_wake_that_comes_after_its_call_does_not_swallow_the_next_one() {
    block_on(async {
        let site = Site::open();
        let mut client = site.client().await;
        client.send(Api::Restless, 1, b"").await;
        client.expect(&[1]).await;
        let stale = site.service.left_waker.take().expect("the call was polled");
        stale.wake_by_ref();
        let mut other = site.client().await;
        other.send(Api::Echo, 10, b"").await;
        other.expect(&[10]).await;
        site.service.close_gate(2);
        client.send(Api::Echo, 2, b"").await;
        until("it waits", || site.service.started() == [1, 10, 2]).await;
        site.service.open(2);
        client.expect(&[2]).await;
    });
}

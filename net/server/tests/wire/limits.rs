//! Limits on connections and on memory, each with the client that meets it.

use std::time::Duration;

use runtime::block_on;
use server::{ConnectionLimits, Options};

use crate::harness::{Api, Client, Site, request, until};

#[test]
fn an_address_gets_max_connections_per_ip_and_a_place_back_when_one_closes() {
    block_on(async {
        let limits = ConnectionLimits::new(100, 2, []);
        let site = Site::open_with(Options::default(), limits);
        let mut clients = vec![site.client().await, site.client().await];
        for client in &mut clients {
            client.send(Api::Echo, 1, b"").await;
            client.expect(&[1]).await;
        }
        assert_eq!(site.client().await.receive().await, None, "the third is closed");
        assert_eq!(site.counters.refused_by_address_limit.get(), 1);
        clients.pop();
        until("the place is free", || site.counters.connections.get() == 1).await;
        let mut client = site.client().await;
        client.send(Api::Echo, 2, b"").await;
        client.expect(&[2]).await;
    });
}

#[test]
fn a_node_gets_max_connections() {
    block_on(async {
        let limits = ConnectionLimits::new(1, 10, []);
        let site = Site::open_with(Options::default(), limits);
        let mut client = site.client().await;
        client.send(Api::Echo, 1, b"").await;
        client.expect(&[1]).await;
        assert_eq!(site.client().await.receive().await, None);
        assert_eq!(site.counters.refused_by_node_limit.get(), 1);
        client.send(Api::Echo, 2, b"").await;
        client.expect(&[2]).await;
    });
}

#[test]
fn connections_above_the_rate_wait_and_are_served() {
    block_on(async {
        let site = Site::with(Options { accepts_per_second: 50, ..Options::default() });
        for id in 0..55 {
            let mut client = site.client().await;
            client.send(Api::Echo, id, b"").await;
            client.expect(&[id]).await;
        }
        assert!(site.counters.accepts_delayed.get() > 0);
        assert_eq!(site.counters.accepted.get(), 55);
    });
}

#[test]
fn a_client_that_reads_no_answers_is_not_served_further_until_it_does() {
    const ANSWER: u64 = 1 << 20;
    block_on(async {
        let options = Options { unsent_bytes_max: 4 << 20, ..Options::default() };
        let bound = options.unsent_bytes_max as u64 + ANSWER + 8;
        let site = Site::with(options);
        let mut client = site.client().await;
        let ids: Vec<i32> = (0..64).collect();
        for id in &ids {
            client.send(Api::Large, *id, &(ANSWER as u32).to_be_bytes()).await;
        }
        until("it is full", || site.counters.unsent_bytes.get() >= 4 << 20).await;
        assert!(site.service.started().len() < 64);
        assert!(site.counters.unsent_bytes.get() <= bound);
        client.expect(&ids).await;
        until("all is sent", || site.counters.unsent_bytes.get() == 0).await;
    });
}

#[test]
fn slow_readers_of_a_shard_share_a_bound_and_others_are_served() {
    block_on(async {
        let options = Options { unsent_bytes_shard_max: 4 << 20, ..Options::default() };
        let site = Site::with(options);
        let slow = [site.client().await, site.client().await];
        for client in &slow {
            client.send(Api::Large, 1, &(16u32 << 20).to_be_bytes()).await;
            client.send(Api::Large, 2, &(16u32 << 20).to_be_bytes()).await;
        }
        until("both wait", || site.service.started() == [1, 1]).await;
        let mut healthy = site.client().await;
        for id in 10..20 {
            healthy.send(Api::Echo, id, b"").await;
            healthy.expect(&[id]).await;
        }
        assert!(!site.service.started().contains(&2));
        for mut client in slow {
            client.expect(&[1, 2]).await;
        }
    });
}

#[test]
fn requests_above_the_byte_budget_wait_and_all_complete() {
    block_on(async {
        let options = Options { request_bytes_max: 16 << 10, ..Options::default() };
        let site = Site::with(options);
        let body = vec![1; 40 << 10];
        let halves: Vec<(Client, Vec<u8>)> = {
            let mut halves = Vec::new();
            for id in 0..4 {
                let client = site.client().await;
                let bytes = request(Api::Overlap, id, &body);
                client.send_raw(&bytes[..20 << 10]).await;
                halves.push((client, bytes[20 << 10..].to_vec()));
            }
            halves
        };
        until("the budget is used up", || site.counters.request_bytes.get() >= 16 << 10).await;
        for (client, rest) in &halves {
            client.send_raw(rest).await;
        }
        for (id, (mut client, _)) in halves.into_iter().enumerate() {
            client.expect(&[id as i32]).await;
        }
        until("nothing is held", || site.counters.request_bytes.get() == 0).await;
    });
}

#[test]
fn stuck_frames_that_fill_the_budget_stop_neither_whole_requests_nor_for_long_large_ones() {
    block_on(async {
        let options = Options {
            request_bytes_max: 32 << 10,
            partial_frame_timeout: Duration::from_millis(200),
            ..Options::default()
        };
        let site = Site::with(options);
        let bytes = request(Api::Overlap, 1, &vec![1; 100 << 10]);
        let mut stuck = [site.client().await, site.client().await];
        for client in &stuck {
            client.send_raw(&bytes[..20 << 10]).await;
        }
        until("both are stuck", || site.counters.bytes_in.get() == 40 << 10).await;
        let mut large = site.client().await;
        large.send_raw(&bytes).await;
        let mut small = site.client().await;
        small.send(Api::Echo, 2, b"").await;
        small.expect(&[2]).await;
        large.expect(&[1]).await;
        for client in &mut stuck {
            assert_eq!(client.receive().await, None);
        }
    });
}

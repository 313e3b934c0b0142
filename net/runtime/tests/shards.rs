//! What shards and their mailboxes promise on real threads.
#![cfg(not(simulation))]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::shards::{self, Context, Options, ShardId};
use runtime::task::{Class, spawn};

fn options(count: usize) -> Options {
    Options { count, ..Options::default() }
}

#[test]
fn messages_of_each_pair_arrive_in_order_and_none_is_lost() {
    const EACH: u64 = 100_000;
    const SHARDS: usize = 3;
    shards::run(options(SHARDS), |cx: Context<u64>| async move {
        let out = cx.mailbox.clone();
        let sender = spawn(Class::Latency, async move {
            for n in 0..EACH {
                for to in 0..SHARDS {
                    out.send(ShardId(to as u16), n);
                }
                // Bursts of different lengths, so that receivers park and wake at every point.
                if n % (1 + runtime::random::below(97)) == 0 {
                    runtime::task::yield_now().await;
                }
            }
        });
        let mut next = [0; SHARDS];
        while next.iter().any(|&n| n < EACH) {
            let (from, n) = cx.mailbox.recv().await;
            assert_eq!(n, next[from.index()], "from {from}");
            next[from.index()] += 1;
        }
        sender.await;
        assert!(cx.mailbox.try_recv().is_none());
    })
    .unwrap();
}

#[test]
fn a_parked_receiver_is_woken_by_every_single_message() {
    const ROUNDS: u64 = 20_000;
    shards::run(options(2), |cx: Context<u64>| async move {
        let other = ShardId(1 - cx.id.0);
        if cx.id == ShardId(0) {
            for n in 0..ROUNDS {
                cx.mailbox.send(other, n);
                assert_eq!(cx.mailbox.recv().await, (other, n));
            }
        } else {
            for n in 0..ROUNDS {
                assert_eq!(cx.mailbox.recv().await, (other, n));
                cx.mailbox.send(other, n);
            }
        }
    })
    .unwrap();
}

#[test]
fn a_busy_shard_hears_the_others() {
    shards::run(options(2), |cx: Context<()>| async move {
        if cx.id == ShardId(0) {
            cx.mailbox.send(ShardId(1), ());
            return;
        }
        let stop = std::rc::Rc::new(std::cell::Cell::new(false));
        let seen = std::rc::Rc::clone(&stop);
        let busy = spawn(Class::Latency, async move {
            while !seen.get() {
                runtime::task::yield_if_needed().await;
            }
        });
        cx.mailbox.recv().await;
        stop.set(true);
        busy.await;
    })
    .unwrap();
}

#[test]
fn every_shard_accepts_on_the_shared_port() {
    let port = Arc::new(Mutex::new(None));
    let accepted = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&accepted);
    shards::run(options(2), move |cx: Context<std::net::SocketAddr>| {
        let (port, accepted) = (Arc::clone(&port), Arc::clone(&accepted));
        async move {
            let listener = if cx.id == ShardId(0) {
                let any = "127.0.0.1:0".parse().unwrap();
                let listener = runtime::net::TcpListener::bind(any, 1024).unwrap();
                let addr = listener.local_addr().unwrap();
                *port.lock().unwrap() = Some(addr);
                cx.mailbox.send(ShardId(1), addr);
                listener
            } else {
                let (_, addr) = cx.mailbox.recv().await;
                let listener = runtime::net::TcpListener::bind(addr, 1024).unwrap();
                cx.mailbox.send(ShardId(0), addr);
                listener
            };
            let accepting = spawn(Class::Latency, async move {
                loop {
                    let _ = listener.accept().await.unwrap();
                    accepted.fetch_add(1, Ordering::SeqCst);
                }
            });
            if cx.id == ShardId(0) {
                let (_, addr) = cx.mailbox.recv().await;
                for _ in 0..64 {
                    let stream = runtime::net::TcpStream::connect(addr).await.unwrap();
                    let mut buf = bytes::BytesMut::new();
                    assert_eq!(stream.read(&mut buf).await.unwrap_or(0), 0);
                }
                cx.mailbox.send(ShardId(1), addr);
            } else {
                cx.mailbox.recv().await;
            }
            drop(accepting);
        }
    })
    .unwrap();
    assert_eq!(total.load(Ordering::SeqCst), 64);
}

#[test]
fn zero_shards_are_refused() {
    let refused = shards::run(options(0), |_: Context<()>| async {}).unwrap_err();
    assert!(refused.to_string().contains("0 shards"));
}

#[test]
fn pinned_spinning_shards_start_and_stop() {
    let opts = Options { pin: true, spin: Duration::from_micros(50), ..options(2) };
    shards::run(opts, |_: Context<()>| async {
        runtime::time::sleep(Duration::from_millis(2)).await;
    })
    .unwrap();
}

#[test]
fn a_shard_that_polls_for_long_sees_at_once_what_a_socket_brings() {
    use bytes::BytesMut;
    use runtime::net::{TcpListener, TcpStream};
    const ROUNDS: usize = 200;
    // Only one who sees each arrival ends before the hour is over.
    let opts = Options { pin: true, spin: Duration::from_secs(3600), ..options(1) };
    shards::run(opts, |_: Context<()>| async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let address = listener.local_addr().unwrap();
        let echo = spawn(Class::Latency, async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut bytes = BytesMut::with_capacity(64);
            while stream.read(&mut bytes).await.unwrap() > 0 {
                stream.write_all(&mut vec![bytes.split().freeze()]).await.unwrap();
                bytes.reserve(64);
            }
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let mut bytes = BytesMut::with_capacity(64);
        for _ in 0..ROUNDS {
            stream.write_all(&mut vec!["ping".into()]).await.unwrap();
            assert_eq!(stream.read(&mut bytes).await.unwrap(), 4);
            bytes.clear();
        }
        drop(stream);
        echo.await;
    })
    .unwrap();
}

//! What tasks, timers and sockets promise, in both worlds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use runtime::block_on;
use runtime::net::{Shutdown, TcpListener, TcpStream};
use runtime::sync::Notify;
use runtime::task::{Class, spawn, yield_if_needed, yield_now};
use runtime::time::{Instant, sleep, sleep_until, timeout};

#[test]
fn timers_fire_in_order_and_never_early() {
    block_on(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let tasks: Vec<_> = [30u64, 10, 20]
            .map(|ms| {
                let order = Rc::clone(&order);
                spawn(Class::Latency, async move {
                    sleep_until(start + Duration::from_millis(ms)).await;
                    assert!(start.elapsed() >= Duration::from_millis(ms));
                    order.borrow_mut().push(ms);
                })
            })
            .into_iter()
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(*order.borrow(), [10, 20, 30]);
        sleep_until(start).await;
    });
}

#[test]
fn a_timeout_drops_what_it_limits() {
    block_on(async {
        let notify = Notify::new();
        assert!(timeout(Duration::from_millis(1), notify.notified()).await.is_err());
        assert_eq!(timeout(Duration::from_secs(3600), async { 5 }).await, Ok(5));
    });
}

#[test]
fn a_dropped_task_is_cancelled_and_its_future_dropped() {
    block_on(async {
        let dropped = Rc::new(Notify::new());
        struct Tell(Rc<Notify>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let tell = Tell(Rc::clone(&dropped));
        let task = spawn(Class::Background, async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        drop(task);
        dropped.notified().await;
    });
}

#[test]
fn a_task_that_is_cancelled_in_the_poll_in_which_it_ends_frees_its_place_once() {
    block_on(async {
        for round in 0..100u32 {
            let own = Rc::new(RefCell::new(None));
            let inside = Rc::clone(&own);
            let task = spawn(Class::Latency, async move {
                drop(inside.borrow_mut().take());
            });
            *own.borrow_mut() = Some(task);
            yield_now().await;
            let others: Vec<_> =
                (0..3).map(|i| spawn(Class::Latency, async move { round * 3 + i })).collect();
            for (i, other) in others.into_iter().enumerate() {
                assert_eq!(other.await, round * 3 + i as u32);
            }
        }
    });
}

#[test]
fn the_tasks_of_a_shard_are_dropped_with_it() {
    let sentinel = Rc::new(());
    let inside = Rc::clone(&sentinel);
    block_on(async move {
        for class in [Class::Latency, Class::Background] {
            let inside = Rc::clone(&inside);
            spawn(class, async move {
                let _inside = inside;
                let _never = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
                sleep(Duration::from_secs(3600)).await;
            })
            .detach();
        }
        sleep(Duration::from_millis(1)).await;
    });
    assert_eq!(Rc::strong_count(&sentinel), 1);
}

#[test]
fn a_busy_task_that_yields_lets_others_run() {
    block_on(async {
        let stop = Rc::new(Cell::new(false));
        let seen = Rc::clone(&stop);
        let busy = spawn(Class::Latency, async move {
            while !seen.get() {
                yield_if_needed().await;
            }
        });
        sleep(Duration::from_millis(5)).await;
        stop.set(true);
        busy.await;
    });
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let addr = listener.local_addr().unwrap();
    assert_ne!(addr.port(), 0);
    let client = spawn(Class::Latency, TcpStream::connect(addr));
    let (server, peer) = listener.accept().await.unwrap();
    let client = client.await.unwrap();
    assert_eq!(client.local_addr().unwrap(), peer);
    assert_eq!(client.peer_addr().unwrap(), addr);
    (client, server)
}

#[test]
fn bytes_arrive_whole_and_in_order_past_every_buffer() {
    block_on(async {
        let (client, server) = pair().await;
        client.set_nodelay(true).unwrap();
        let total = 20 << 20;
        let sender = spawn(Class::Latency, async move {
            let mut sent = 0usize;
            while sent < total {
                let mut bufs: Vec<Bytes> = Vec::new();
                for len in [1usize, 0, 70_000, 3000] {
                    bufs.push((0..len).map(|i| ((sent + i) % 251) as u8).collect());
                    sent += len;
                }
                client.write_all(&mut bufs).await.unwrap();
                assert!(bufs.is_empty());
            }
            client.shutdown(Shutdown::Write).unwrap();
            (client, sent)
        });
        let mut buf = BytesMut::new();
        let mut received = 0usize;
        while server.read(&mut buf).await.unwrap() > 0 {
            for &byte in buf.iter() {
                assert_eq!(byte, (received % 251) as u8, "at {received}");
                received += 1;
            }
            buf.clear();
        }
        assert_eq!(received, sender.await.1);
    });
}

#[test]
fn one_task_reads_while_another_writes() {
    block_on(async {
        let (client, server) = pair().await;
        let server = Rc::new(server);
        let (reader, writer) = (Rc::clone(&server), server);
        let reading = spawn(Class::Latency, async move {
            let mut buf = BytesMut::with_capacity(64);
            reader.read(&mut buf).await.unwrap();
            buf
        });
        yield_now().await;
        writer.write_all(&mut vec![Bytes::from_static(b"down")]).await.unwrap();
        let mut buf = BytesMut::new();
        client.read(&mut buf).await.unwrap();
        assert_eq!(buf, "down");
        client.write_all(&mut vec![Bytes::from_static(b"up")]).await.unwrap();
        assert_eq!(reading.await, "up");
    });
}

#[test]
fn a_closed_peer_is_the_end_of_the_stream() {
    block_on(async {
        let (client, server) = pair().await;
        client.write_all(&mut vec![Bytes::from_static(b"last words")]).await.unwrap();
        drop(client);
        let mut buf = BytesMut::new();
        while server.read(&mut buf).await.unwrap() > 0 {}
        assert_eq!(buf, "last words");
    });
}

#[test]
fn connecting_to_nobody_is_refused() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let refused = TcpStream::connect(addr).await.err().unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn an_abandoned_accept_loses_no_connection() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut accept = Box::pin(listener.accept());
        assert!(futures_lite::future::poll_once(&mut accept).await.is_none());
        let client = TcpStream::connect(addr).await.unwrap();
        drop(accept);
        let (server, _) = listener.accept().await.unwrap();
        server.write_all(&mut vec![Bytes::from_static(b"hi")]).await.unwrap();
        let mut buf = BytesMut::new();
        client.read(&mut buf).await.unwrap();
        assert_eq!(buf, "hi");
    });
}

#[test]
fn random_numbers_stay_below_their_bound() {
    block_on(async {
        for bound in 1..100 {
            assert!(runtime::random::below(bound) < bound);
        }
        let id = runtime::random::uuid_bytes();
        assert_eq!(id[6] >> 4, 4);
        assert_ne!(id, runtime::random::uuid_bytes());
    });
}

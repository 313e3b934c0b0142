//! What nodes can rely on between each other; the same in both worlds.

mod support;

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rpc::*;
use runtime::block_on;
use runtime::net::TcpListener;
use runtime::shards::{self, Context, ShardId};
use runtime::task::{Class, spawn};
use support::*;

#[test]
fn messages_arrive_in_order_and_calls_are_answered() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        a.knows(&b);
        for number in 0..500u32 {
            let body = vec![Bytes::copy_from_slice(&number.to_le_bytes()), Bytes::new()];
            a.peers.send(b.id, 5, body).unwrap();
        }
        let answer = a.peers.call(b.id, ECHO, pieces(&["an", "swer"]), LIMIT).await;
        assert_eq!(answer, Ok(Bytes::from_static(b"answer")));
        let messages = b.heard.messages.borrow();
        assert_eq!(messages.len(), 500, "a call overtakes no message");
        for (number, (from, kind, body)) in messages.iter().enumerate() {
            assert_eq!((*from, *kind, &body[..]), (a.id, 5, &(number as u32).to_le_bytes()[..]));
        }
        assert_eq!(*a.heard.connected.borrow(), [b.id]);
        let state = a.peers.node_state(2).unwrap();
        assert!(state.heard.is_some() && state.shard_count == Some(1));
        assert_eq!((state.connected, state.queued_bytes), (vec![ShardId(0)], 0));
        assert_eq!(b.peers.stats().inbound, 1);
    });
}

#[test]
fn a_failure_comes_back_with_its_code_and_reason() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        a.knows(&b);
        let failed = a.peers.call(b.id, FAIL, Vec::new(), LIMIT).await;
        assert_eq!(failed, Err(CallFailure::new(7, "as asked").into()));
        let unknown = a.peers.call(b.id, 1000, Vec::new(), LIMIT).await;
        assert_eq!(unknown, Err(CallFailure::unknown_method(1000).into()));
    });
}

#[test]
fn large_bodies_pass_and_larger_ones_than_the_limit_are_refused() {
    block_on(async {
        let bound = |options: &mut Options| options.frame_bytes_max = 3 << 20;
        let (a, b) = (Node::with(1, bound), Node::with(2, bound));
        a.knows(&b);
        let body: Vec<Bytes> = (0..3).map(|piece| Bytes::from(vec![piece; 1 << 20])).collect();
        let answer = a.peers.call(b.id, ECHO, body.clone(), LIMIT).await.unwrap();
        assert_eq!(answer, body.concat());
        let mut larger = body;
        larger.push(Bytes::from_static(b"!"));
        let (bytes, bytes_max) = ((3 << 20) + 1, 3 << 20);
        assert_eq!(a.peers.send(b.id, 1, larger), Err(SendError::TooLarge { bytes, bytes_max }));
        let size = Bytes::copy_from_slice(&(bytes as u32).to_le_bytes());
        match a.peers.call(b.id, SIZED, vec![size], LIMIT).await {
            Err(CallError::Failed(failure)) => assert_eq!(failure.code, CallFailure::TOO_LARGE),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_peer_that_does_not_read_fills_only_its_own_queue() {
    block_on(async {
        let bound = |options: &mut Options| options.queue_bytes_max = 1 << 20;
        let (a, slow, quick) = (Node::with(1, bound), Node::new(2), Node::new(3));
        a.knows(&slow);
        a.knows(&quick);
        slow.heard.full.set(true);
        let piece = Bytes::from(vec![1; 100_000]);
        let full = loop {
            if let Err(error) = a.peers.send(slow.id, 1, vec![piece.clone()]) {
                break error;
            }
            // What the kernel takes is not in the queue any more.
            a.peers.call(quick.id, ECHO, Vec::new(), LIMIT).await.unwrap();
        };
        assert!(matches!(full, SendError::Full { node: 2, .. }), "{full:?}");
        let state = a.peers.node_state(2).unwrap();
        assert!(state.queued_bytes <= 1 << 20, "{state:?}");
        assert_eq!(state.dropped, 1);
        assert!(matches!(
            a.peers.call(slow.id, ECHO, vec![piece], LIMIT).await,
            Err(CallError::NotSent(SendError::Full { .. }))
        ));
        a.peers.call(quick.id, ECHO, Vec::new(), LIMIT).await.unwrap();
        assert_eq!(slow.heard.messages.borrow().len(), 1);
    });
}

#[test]
fn a_call_without_an_answer_ends_with_its_time() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        a.knows(&b);
        let late = a.peers.call(b.id, NEVER, Vec::new(), Duration::from_millis(20)).await;
        assert_eq!(late, Err(CallError::Timeout));
    });
}

#[test]
fn calls_beyond_the_limit_are_answered_as_busy_at_once() {
    block_on(async {
        let bound = |options: &mut Options| options.calls_running_max = 1;
        let (a, b) = (Node::new(1), Node::with(2, bound));
        a.knows(&b);
        let (peers, peer) = (Rc::clone(&a.peers), b.id);
        let first = async move { peers.call(peer, NEVER, Vec::new(), LIMIT).await };
        let first = spawn(Class::Latency, first);
        b.heard.wait(|heard| heard.calls.get() == 1).await;
        match a.peers.call(peer, ECHO, Vec::new(), LIMIT).await {
            Err(CallError::Failed(failure)) => assert_eq!(failure.code, CallFailure::BUSY),
            other => panic!("{other:?}"),
        }
        drop(first);
    });
}

#[test]
fn whoever_listens_at_an_address_can_be_asked_without_being_known() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        b.knows(&a);
        b.peers.call(a.id, ECHO, Vec::new(), LIMIT).await.unwrap();
        a.knows(&b);
        a.peers.call(b.id, ECHO, Vec::new(), LIMIT).await.unwrap();
        let (host, port) = (b.address.ip().to_string(), b.address.port());
        let (who, answer) =
            a.peers.call_address(&host, port, ECHO, pieces(&["hi"]), LIMIT).await.unwrap();
        assert_eq!((who, &answer[..]), (b.id, &b"hi"[..]));
        a.peers.call(b.id, ECHO, Vec::new(), LIMIT).await.unwrap();
        assert_eq!(a.heard.connected.borrow().len(), 1, "it takes no other connection's place");
        let (host, port) = (a.address.ip().to_string(), a.address.port());
        let own = a.peers.call_address(&host, port, ECHO, Vec::new(), LIMIT);
        assert_eq!(own.await, Err(CallError::Refused(Refusal::OwnNodeId)));
    });
}

#[test]
fn a_foreign_cluster_is_refused_by_name_on_both_sides() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        a.knows(&b);
        b.peers.set_cluster_id([8; 16]);
        let refused = a.peers.call(b.id, ECHO, Vec::new(), LIMIT).await;
        assert_eq!(refused, Err(CallError::Refused(Refusal::ForeignCluster)));
        let state = a.peers.node_state(2).unwrap();
        assert_eq!((state.refused, state.heard), (Some(Refusal::ForeignCluster), None));
        assert_eq!(b.peers.stats().inbound, 0);
        // Nodes that do not know their cluster yet talk to anybody, until they know.
        b.peers.set_cluster_id([0; 16]);
        a.peers.call(b.id, ECHO, Vec::new(), LIMIT).await.unwrap();
        assert_eq!(a.peers.node_state(2).unwrap().refused, None);
        b.peers.set_cluster_id([8; 16]);
        assert_eq!(b.peers.stats().inbound, 0, "the connection turned out to be foreign");
    });
}

#[test]
fn a_node_id_with_another_directory_is_refused() {
    block_on(async {
        let (a, b, imposter) = (
            Node::new(1),
            Node::new(2),
            Node::with(1, |options| {
                options.directory = [66; 16];
            }),
        );
        b.peers.set_node(1, NodeAddress { directory: Some(directory(1)), ..address_of(a.address) });
        for (node, expected) in
            [(&a, Ok(Bytes::new())), (&imposter, Err(CallError::Refused(Refusal::UsedNodeId)))]
        {
            node.knows(&b);
            assert_eq!(node.peers.call(b.id, ECHO, Vec::new(), LIMIT).await, expected);
        }
        // The other way: whoever answers at the address must be the one that is known.
        b.peers.set_node(
            1,
            NodeAddress { directory: Some(directory(1)), ..address_of(imposter.address) },
        );
        let refused = b.peers.call(a.id, ECHO, Vec::new(), LIMIT).await;
        assert_eq!(refused, Err(CallError::Refused(Refusal::OtherDirectory)));
    });
}

#[test]
fn after_a_restart_at_the_same_address_messages_flow_again() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        a.knows(&b);
        let (peer, address) = (b.id, b.address);
        assert_eq!(
            a.peers.send(PeerId { node: 9, ..peer }, 1, vec![]),
            Err(SendError::UnknownNode(9))
        );
        a.peers.call(peer, ECHO, Vec::new(), LIMIT).await.unwrap();
        b.stop();
        a.heard.wait(|heard| *heard.unreachable.borrow() == [peer]).await;
        assert_eq!(a.peers.send(peer, 1, Vec::new()), Err(SendError::Unreachable(2)));
        let nobody = a.peers.call(peer, ECHO, Vec::new(), LIMIT).await;
        assert!(matches!(nobody, Err(CallError::Unreachable(_))), "{nobody:?}");
        let b = Node::at(2, address, |_| {});
        let answer = a.peers.call(peer, ECHO, pieces(&["again"]), LIMIT).await;
        assert_eq!(answer, Ok(Bytes::from_static(b"again")));
        a.peers.send(peer, 1, pieces(&["message"])).unwrap();
        b.heard.wait_messages(1).await;
    });
}

#[test]
fn a_call_in_progress_is_lost_with_its_connection() {
    block_on(async {
        let (a, b) = (Node::new(1), Node::new(2));
        a.knows(&b);
        let (peers, peer) = (Rc::clone(&a.peers), b.id);
        let call = async move { peers.call(peer, NEVER, Vec::new(), LIMIT).await };
        let call = spawn(Class::Latency, call);
        b.heard.wait(|heard| heard.calls.get() == 1).await;
        b.stop();
        assert!(matches!(call.await, Err(CallError::Lost(_))));
    });
}

#[test]
fn a_connection_reaches_the_shard_that_it_asks_for() {
    const SHARDS: u16 = 3;
    let ports = Arc::new(Mutex::new(None));
    let options = shards::Options { count: SHARDS as usize, ..shards::Options::default() };
    shards::run(options, move |cx: Context<Option<HandedOver>>| {
        let ports = Arc::clone(&ports);
        async move { shard_of_both_nodes(cx, ports).await }
    })
    .unwrap();

    /// Shard 0 listens for the node; every shard takes in what is meant for it, and sends nothing
    /// itself. A second node on shard 0 calls each of them.
    async fn shard_of_both_nodes(cx: Context<Option<HandedOver>>, done: Arc<Mutex<Option<()>>>) {
        let heard = Rc::new(Recorder::default());
        let server = patient(Options::new(1, directory(1), cx.id, SHARDS));
        let peers = Rc::new(Peers::new(server, heard.clone()));
        if cx.id != ShardId(0) {
            while let (_, Some(handed)) = cx.mailbox.recv().await {
                peers.adopt(handed);
            }
            assert_eq!(heard.calls.get(), 1, "shard {}", cx.id);
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), BACKLOG).unwrap();
        let address = listener.local_addr().unwrap();
        let (accepting, mailbox) = (Rc::clone(&peers), cx.mailbox.clone());
        let accepting = spawn(Class::Latency, async move {
            accepting.accept(listener, move |to, handed| mailbox.send(to, Some(handed))).await;
        });
        let client = patient(Options::new(2, directory(2), ShardId(0), 1));
        let client = Peers::new(client, Rc::new(Recorder::default()));
        client.set_node(1, address_of(address));
        for shard in 0..SHARDS {
            let to = PeerId { node: 1, shard: ShardId(shard) };
            let answer = client.call(to, ECHO, pieces(&["x"]), LIMIT).await;
            assert_eq!(answer, Ok(Bytes::from_static(b"x")));
        }
        let beyond = PeerId { node: 1, shard: ShardId(SHARDS) };
        let beyond = client.call(beyond, ECHO, Vec::new(), LIMIT).await;
        assert_eq!(beyond, Err(CallError::Refused(Refusal::NoSuchShard)));
        for shard in 1..SHARDS {
            cx.mailbox.send(ShardId(shard), None);
        }
        drop(accepting);
        done.lock().unwrap().replace(());
    }
}

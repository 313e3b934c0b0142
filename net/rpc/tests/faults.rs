//! A network that delays, loses, resets and cuts, nodes that are killed: in the simulated world.
#![cfg(simulation)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rpc::*;
use runtime::net::TcpListener;
use runtime::shards::{Context, ShardId};
use runtime::sim::{DiskFaults, NetworkFaults, NodeHandle, World, WorldOptions};
use runtime::task::{Class, spawn};
use runtime::time::{Instant, sleep};
use support::{CLUSTER, ECHO, directory};

const PORT: u16 = 9093;
const NODES: i32 = 3;
const SHARDS: u16 = 2;
const CALL_LIMIT: Duration = Duration::from_secs(2);

/// What a life of a node sends begins anew: life and number, as seen by each receiving shard.
type Received = Rc<RefCell<BTreeMap<(PeerId, PeerId), Vec<(u64, u64)>>>>;

struct Counting {
    me: PeerId,
    received: Received,
}

impl Handler for Counting {
    fn message(
        &self,
        from: PeerId,
        _kind: u16,
        mut body: Bytes,
        _sum: u32,
    ) -> Result<(), BadMessage> {
        let stamp = (body.get_u64_le(), body.get_u64_le());
        assert!(body.iter().all(|byte| *byte == stamp.1 as u8), "bodies arrive unharmed");
        let mut received = self.received.borrow_mut();
        let so_far = received.entry((from, self.me)).or_default();
        let last = so_far.last().copied().unwrap_or_default();
        assert!(stamp > last, "{from} to {}: {stamp:?} after {last:?}", self.me);
        so_far.push(stamp);
        Ok(())
    }

    fn call(
        &self,
        _from: PeerId,
        _method: u16,
        body: Bytes,
    ) -> HandlerFuture<Result<Vec<Bytes>, CallFailure>> {
        Box::pin(async move {
            sleep(Duration::from_micros(runtime::random::below(5_000))).await;
            Ok(vec![body])
        })
    }
}

/// How the calls of the whole world went.
#[derive(Default)]
struct Calls {
    answered: Vec<(i32, Instant)>,
    failed: u64,
}

#[derive(Clone)]
struct Plan {
    received: Received,
    calls: Rc<RefCell<Calls>>,
}

/// A shard that sends to and calls every shard of every other node, for ever.
async fn shard(cx: Context<HandedOver>, node: i32, life: u64, plan: Plan) {
    let me = PeerId { node, shard: cx.id };
    let handler = Rc::new(Counting { me, received: plan.received });
    let options = Options::new(node, directory(node), cx.id, SHARDS);
    let peers = Rc::new(Peers::new(options, handler));
    peers.set_cluster_id(CLUSTER);
    let others = || (1..=NODES).filter(move |other| *other != node);
    for other in others() {
        let host = format!("node-{other}");
        let directory = Some(directory(other));
        peers.set_node(other, NodeAddress { host, port: PORT, directory });
    }
    let listener = TcpListener::bind(([0, 0, 0, 0], PORT).into(), BACKLOG).unwrap();
    let (accepting, mailbox) = (Rc::clone(&peers), cx.mailbox.clone());
    spawn(Class::Latency, async move {
        accepting.accept(listener, move |to, handed| mailbox.send(to, handed)).await;
    })
    .detach();
    for to in others().flat_map(|node| (0..SHARDS).map(move |shard| (node, shard))) {
        let to = PeerId { node: to.0, shard: ShardId(to.1) };
        let (peers, calls) = (Rc::clone(&peers), Rc::clone(&plan.calls));
        spawn(Class::Latency, talk(peers, to, life, calls)).detach();
    }
    loop {
        peers.adopt(cx.mailbox.recv().await.1);
    }
}

async fn talk(peers: Rc<Peers>, to: PeerId, life: u64, calls: Rc<RefCell<Calls>>) {
    for number in 1u64.. {
        let mut body = [life.to_le_bytes(), number.to_le_bytes()].concat();
        body.resize(16 + runtime::random::below(3000) as usize, number as u8);
        let body = Bytes::from(body);
        let _ = peers.send(to, 1, vec![body.slice(..10), body.slice(10..)]);
        if number % 4 == 0 {
            match peers.call(to, ECHO, vec![body.clone()], CALL_LIMIT).await {
                Ok(answer) => {
                    assert_eq!(answer, body);
                    calls.borrow_mut().answered.push((to.node, Instant::now()));
                }
                Err(CallError::Failed(failure)) => panic!("{failure}"),
                Err(CallError::Refused(refusal)) => panic!("{refusal}"),
                Err(_) => calls.borrow_mut().failed += 1,
            }
        }
        sleep(Duration::from_millis(runtime::random::below(40))).await;
    }
}

fn start(node: &NodeHandle, id: i32, plan: &Plan) {
    let (plan, life) = (plan.clone(), node.incarnation() + 1);
    node.start(usize::from(SHARDS), move |cx| shard(cx, id, life, plan.clone()));
}

fn trouble(seed: u64) {
    let mut options = WorldOptions::new(seed);
    options.network = NetworkFaults {
        latency: Duration::from_micros(50)..Duration::from_millis(3),
        loss: 0.01,
        reset: 0.002,
        ..NetworkFaults::default()
    };
    let world = World::new(options);
    let plan = Plan { received: Rc::default(), calls: Rc::default() };
    let nodes: Vec<NodeHandle> = (1..=NODES)
        .map(|id| world.add_node(&format!("node-{id}"), DiskFaults::default()))
        .collect();
    let (w, p) = (world.clone(), plan.clone());
    world.run(async move {
        for (node, id) in nodes.iter().zip(1..) {
            start(node, id, &p);
        }
        for _ in 0..12 {
            sleep(Duration::from_millis(w.random_below(1500))).await;
            let (one, other) = (w.random_below(3) as usize, w.random_below(3) as usize);
            match w.random_below(4) {
                0 => w.cut(&nodes[one], &nodes[other]),
                1 => w.cut_one_way(&nodes[one], &nodes[other]),
                2 => w.mend_all(),
                _ => {
                    let crash = [runtime::sim::Crash::Kill, runtime::sim::Crash::PowerCut];
                    nodes[one].crash(crash[w.random_below(2) as usize]);
                    nodes[one].ended().await;
                    sleep(Duration::from_millis(w.random_below(800))).await;
                    start(&nodes[one], one as i32 + 1, &p);
                }
            }
        }
        w.mend_all();
        w.set_network(NetworkFaults::default());
        // Every node answers every other one soon after.
        sleep(Duration::from_secs(4)).await;
        let healed = Instant::now();
        sleep(Duration::from_secs(1)).await;
        for node in 1..=NODES {
            let answered = &p.calls.borrow().answered;
            let count = answered.iter().filter(|(to, at)| *to == node && *at > healed).count();
            assert!(count > 20, "node {node} answers {count} calls in a second after healing");
        }
        for node in &nodes {
            node.kill();
        }
    });
    assert_eq!(plan.received.borrow().len(), (NODES * (NODES - 1)) as usize * 4);
}

#[test]
fn messages_stay_in_order_and_whole_and_everybody_talks_again_after_trouble() {
    let seeds = std::env::var("RPC_SEEDS").ok();
    let seeds = seeds.as_deref().and_then(|text| text.split_once(".."));
    let (from, to) = seeds.map_or((0, 20), |(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
    for seed in from..to {
        trouble(seed);
    }
}

#[test]
fn an_idle_connection_stays_and_a_silent_one_is_noticed() {
    let world = World::with_seed(5);
    let node = world.add_node("node-2", DiskFaults::default());
    let plan = Plan { received: Rc::default(), calls: Rc::default() };
    node.start(1, {
        let plan = plan.clone();
        move |cx| quiet_shard(cx, plan.clone())
    });
    let w = world.clone();
    world.run(async move {
        let heard = Rc::new(support::Recorder::default());
        let options = Options::new(1, directory(1), ShardId(0), 1);
        let silence_max = options.silence_max;
        let peers = Peers::new(options, heard.clone());
        let to = PeerId { node: 2, shard: ShardId(0) };
        let host = "node-2".to_owned();
        peers.set_node(2, NodeAddress { host, port: PORT, directory: None });
        peers.call(to, ECHO, Vec::new(), CALL_LIMIT).await.unwrap();
        sleep(30 * silence_max).await;
        assert_eq!(heard.connected.borrow().len(), 1, "beats keep it");
        let state = peers.node_state(2).unwrap();
        assert!(
            state.heard.unwrap().elapsed() < silence_max && heard.unreachable.borrow().is_empty()
        );
        // Nothing is sent and nothing comes: without beats nobody would notice for a minute.
        w.cut(&node, w.driver());
        let began = Instant::now();
        heard.wait(|heard| !heard.unreachable.borrow().is_empty()).await;
        assert!(began.elapsed() <= 2 * silence_max, "{:?}", began.elapsed());
        w.mend_all();
        peers.call(to, ECHO, Vec::new(), CALL_LIMIT).await.unwrap();
    });
}

async fn quiet_shard(cx: Context<HandedOver>, plan: Plan) {
    let me = PeerId { node: 2, shard: cx.id };
    let handler = Rc::new(Counting { me, received: plan.received });
    let peers = Peers::new(Options::new(2, directory(2), cx.id, 1), handler);
    let listener = TcpListener::bind(([0, 0, 0, 0], PORT).into(), BACKLOG).unwrap();
    peers.accept(listener, |shard, _| panic!("nobody asks for {shard}")).await;
}

//! Commits per second and CPU per entry of one shard, one voter per group.
//!
//! ```text
//! cargo run --release -p raft_group --example commit_rate -- [directory]
//! ```
//!
//! In memory it shows what this crate costs; with a directory it runs on the real WAL there, with
//! both durable writers. Each entry carries 256 bytes; `clients` keep one request each in flight.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and the CPU time of its process"
)]

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use raft_group::*;
use runtime::fs::WriteBackend;
use runtime::sync::oneshot;
use runtime::task;
use storage::wal::{Wal, WalOptions};

const PIECE: [u8; 256] = [7; 256];
const RUN: Duration = Duration::from_secs(3);

type Waiter = (WindowTicket, oneshot::Sender<()>);

/// Answers those whose ticket is committed.
#[derive(Clone, Default)]
struct Waiting(Rc<RefCell<Vec<Waiter>>>, Rc<Cell<u64>>);

impl Apply for Waiting {
    fn apply(&mut self, committed: Committed) {
        self.1.set(self.1.get() + 1);
        let Some(ticket) = committed.ticket else { return };
        let mut waiting = self.0.borrow_mut();
        let (done, rest) =
            std::mem::take(&mut *waiting).into_iter().partition(|(t, _)| *t == ticket);
        *waiting = rest;
        let done: Vec<_> = done;
        for (_, sender) in done {
            let _ = sender.send(());
        }
    }
}

fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}

async fn measure<W: FrameLog + 'static>(name: &str, wal: Rc<W>, groups: u64, clients: usize) {
    let shard = RaftShard::new(RaftOptions::new(ReplicaId(1), 0), wal);
    let waiting = Waiting::default();
    let run = task::spawn(task::Class::Latency, {
        let (shard, waiting) = (Rc::clone(&shard), waiting.clone());
        async move { shard.run(waiting, NoPeers).await }
    });
    for group in 0..groups {
        shard.create_group(RaftGroupId(group), Membership::of_voters([ReplicaId(1)])).unwrap();
        shard.ready(RaftGroupId(group)).await.unwrap();
    }
    let entries_before = waiting.1.get();
    let (started, cpu) = (Instant::now(), cpu_time());
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (shard, waiting) = (Rc::clone(&shard), waiting.clone());
            task::spawn(task::Class::Latency, async move {
                let group = RaftGroupId(client as u64 % groups);
                let mut latencies = Vec::new();
                while started.elapsed() < RUN {
                    let sent = Instant::now();
                    let ticket = {
                        let mut window = shard.open_window(group, Durability::Disk).unwrap();
                        window.append(&PIECE).unwrap();
                        window.ticket()
                    };
                    let (sender, receiver) = oneshot::channel();
                    waiting.0.borrow_mut().push((ticket, sender));
                    receiver.await.unwrap();
                    latencies.push(sent.elapsed());
                    if latencies.len() % 1000 == 0 {
                        truncate(&shard, group);
                    }
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await);
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    shard.stop();
    run.await.unwrap();
    latencies.sort();
    let entries = waiting.1.get() - entries_before;
    let at =
        |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize].as_nanos() as f64 / 1000.0;
    println!(
        "{name:24} groups {groups:3} clients {clients:4}: {:9.0} requests/s {:9.0} entries/s \
         {:6.0} ns CPU/request  p50 {:.1} us p99 {:.1} us",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        entries as f64 / elapsed.as_secs_f64(),
        cpu.as_nanos() as f64 / latencies.len() as f64,
        at(0.5),
        at(0.99),
    );
}

fn truncate<W: FrameLog>(shard: &RaftShard<W>, group: RaftGroupId) {
    let Some(status) = shard.status(group) else { return };
    let destaged = std::collections::BTreeMap::from([(group, status.delivered)]);
    if let Ok(checkpoint) = shard.checkpoint(&destaged) {
        shard.checkpointed(&checkpoint);
    }
}

/// The synchronous path alone: append, seal, propose, write, deliver; no clients, no tasks.
async fn measure_core() {
    struct Count(Rc<Cell<u64>>);
    impl Apply for Count {
        fn apply(&mut self, _committed: Committed) {
            self.0.set(self.0.get() + 1);
        }
    }
    let shard = RaftShard::new(RaftOptions::new(ReplicaId(1), 0), Rc::new(MemoryWal::forgetful()));
    let count = Rc::new(Cell::new(0));
    let run = task::spawn(task::Class::Latency, {
        let (shard, count) = (Rc::clone(&shard), Count(Rc::clone(&count)));
        async move { shard.run(count, NoPeers).await }
    });
    let group = RaftGroupId(1);
    shard.create_group(group, Membership::of_voters([ReplicaId(1)])).unwrap();
    shard.ready(group).await.unwrap();
    let (started, cpu, entries) = (Instant::now(), cpu_time(), 500_000u64);
    for n in 0..entries {
        // A control entry each: sealed and proposed at once, so this is one entry per piece.
        shard.propose(group, EntryKind::Control, &PIECE).unwrap();
        if n % 16 == 15 {
            task::yield_now().await;
        }
        if n % 4096 == 0 {
            truncate(&shard, group);
        }
    }
    shard.settled().await.unwrap();
    println!(
        "core, in memory: {:.0} entries/s, {} ns CPU/entry ({} delivered)",
        entries as f64 / started.elapsed().as_secs_f64(),
        (cpu_time() - cpu).as_nanos() / u128::from(entries),
        count.get(),
    );
    shard.stop();
    run.await.unwrap();
}

fn main() {
    let dir = std::env::args().nth(1).map(PathBuf::from);
    runtime::block_on(async move {
        measure_core().await;
        for (groups, clients) in [(1, 1), (1, 64), (16, 64)] {
            measure("memory", Rc::new(MemoryWal::forgetful()), groups, clients).await;
        }
        let Some(dir) = dir else { return };
        for backend in [WriteBackend::IoUring, WriteBackend::CommitThread] {
            for (groups, clients) in [(1, 1), (1, 64), (16, 64), (16, 1024)] {
                let path = dir.join(format!("commit-rate-{backend:?}-{groups}-{clients}"));
                let options = WalOptions { backend, ..WalOptions::default() };
                let wal = Wal::create(&path, options).await.expect("an empty directory");
                measure(&format!("{backend:?}"), wal, groups, clients).await;
                runtime::fs::remove_dir_all(&path).await.expect("remove what was made here");
            }
        }
    });
}

//! Starting executors: all of a node's shards, or one for a test.

use std::future::Future;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::cpu_latency::{Bound, SyncedWrites};
use super::heartbeat;
use super::limits;
use super::mailbox::Mailbox;
use super::ring::Ring;
use super::shard::Shard;
use crate::shards::{self, Context, Options, ShardId, StartError};

/// Entries of each of glommio's three rings. A shard's requests are handed over every loop, so a
/// ring holds one loop's worth.
const RING_DEPTH: usize = 128;

/// glommio's registered memory, which we do not use: its floor.
const IO_MEMORY: usize = 64 * 1024;

pub fn run<M, F, Fut>(opts: Options, main: F) -> Result<(), StartError>
where
    M: Send + 'static,
    F: Fn(Context<M>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    limits::check(opts.count, opts.descriptors_min)?;
    let mut cpu_latency = Bound::new(&opts)?;
    let cpus = placements(&opts);
    let (report, reports) = mpsc::channel();
    let mut threads = Vec::with_capacity(opts.count);
    for (index, mailbox) in Mailbox::mesh(opts.count).into_iter().enumerate() {
        let id = ShardId(index as u16);
        let (go, wait) = mpsc::channel::<()>();
        let (opts, main, cpu, report) = (opts.clone(), main.clone(), cpus[index], report.clone());
        let writes = cpu_latency.writes_of(index);
        let thread =
            std::thread::Builder::new()
                .name(format!("{}-{index}", opts.name))
                .spawn(move || {
                    let _abort = AbortOnPanic;
                    let (executor, ring) = match make_executor(&opts, cpu) {
                        Ok(made) => made,
                        Err(reason) => {
                            let _ = report.send(Err(StartError::Shard { shard: id.0, reason }));
                            return;
                        }
                    };
                    let _ = report.send(Ok(()));
                    // An error means that another shard failed and nobody starts.
                    if wait.recv().is_ok() {
                        let context =
                            Context { id, count: opts.count, mailbox: shards::Mailbox(mailbox) };
                        run_shard(&executor, ring, writes, opts.slice, async move {
                            main(context).await
                        });
                    }
                })
                .map_err(|e| StartError::Shard { shard: id.0, reason: e.to_string() })?;
        threads.push((thread, go));
    }
    drop(report);
    for _ in 0..opts.count {
        reports.recv().expect("every thread reports")?;
    }
    for (_, go) in &threads {
        let _ = go.send(());
    }
    cpu_latency.follow_until_ended(&reports);
    for (thread, _) in threads {
        thread.join().expect("a panic on a shard has ended the process");
    }
    Ok(())
}

pub fn block_on<T: 'static>(f: impl Future<Output = T> + 'static) -> T {
    let opts = Options::default();
    if let Err(e) = limits::check(1, 0) {
        panic!("{e}");
    }
    let (executor, ring) = make_executor(&opts, None).expect("the host grants one executor");
    run_shard(&executor, ring, SyncedWrites::default(), opts.slice, f)
}

/// The exit code of a fail-stop, EX_IOERR of sysexits.h.
const EXIT_FAIL_STOP: i32 = 74;

pub fn fail_stop(reason: &str) -> ! {
    eprintln!("fatal: {reason}");
    std::process::exit(EXIT_FAIL_STOP)
}

fn run_shard<T: 'static>(
    executor: &LocalExecutor,
    ring: Ring,
    writes: SyncedWrites,
    slice: Duration,
    f: impl Future<Output = T> + 'static,
) -> T {
    executor.run(async move {
        let shard = Shard::enter(Rc::new(ring), writes, slice);
        let reaper = Rc::clone(&shard.ring);
        let reaper = glommio::spawn_local_into(async move { reaper.reap().await }, shard.latency)
            .expect("the queue was made just now");
        let heartbeat = heartbeat::beat(Rc::clone(&shard.activity));
        let heartbeat = glommio::spawn_local_into(heartbeat, shard.latency)
            .expect("the queue was made just now");
        let output = crate::task::spawn(crate::task::Class::Latency, f).await;
        shard.live.close().await;
        shard.ring.drain();
        reaper.cancel().await;
        heartbeat.cancel().await;
        Shard::leave();
        output
    })
}

fn make_executor(opts: &Options, cpu: Option<usize>) -> Result<(LocalExecutor, Ring), String> {
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    let mut builder = LocalExecutorBuilder::new(placement)
        .name(&opts.name)
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .preempt_timer(opts.slice)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    if !opts.spin.is_zero() {
        builder = builder.spin_before_park(opts.spin);
    }
    let executor = builder.make().map_err(|e| e.to_string())?;
    let ring = Ring::new().map_err(|e| e.to_string())?;
    Ok((executor, ring))
}

/// A CPU per shard, or none for all of them.
fn placements(opts: &Options) -> Vec<Option<usize>> {
    let cpus = if opts.pin { limits::allowed_cpus().unwrap_or_default() } else { Vec::new() };
    if cpus.len() < opts.count {
        return vec![None; opts.count];
    }
    cpus.into_iter().take(opts.count).map(Some).collect()
}

/// Ends the process when a shard's thread unwinds: its state is gone and its peers wait for it.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

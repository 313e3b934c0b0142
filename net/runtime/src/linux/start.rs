//! Starting executors: all of a node's shards, or one for a test.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::mpsc;

use super::cpu_latency::{Bound, SyncedWrites};
use super::executor::Executor;
use super::limits;
use super::mailbox::Mailbox;
use super::realtime;
use super::ring::Ring;
use super::shard::Shard;
use crate::shards::{self, Context, Options, ShardId, StartError};

pub fn run<M, F, Fut>(opts: Options, main: F) -> Result<(), StartError>
where
    M: Send + 'static,
    F: Fn(Context<M>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    limits::check(opts.count, opts.descriptors_min)?;
    let priority = realtime::granted(opts.realtime)?;
    let mut cpu_latency = Bound::new(&opts)?;
    let cpus = placements(&opts);
    let (report, reports) = mpsc::channel();
    let mut threads = Vec::with_capacity(opts.count);
    for (index, mailbox) in Mailbox::mesh(opts.count).into_iter().enumerate() {
        let id = ShardId(index as u16);
        let (go, wait) = mpsc::channel::<()>();
        let (opts, main, cpu, report) = (opts.clone(), main.clone(), cpus[index], report.clone());
        let writes = cpu_latency.writes_of(index);
        let thread = std::thread::Builder::new()
            .name(format!("{}-{index}", opts.name))
            .spawn(move || {
                let _abort = AbortOnPanic;
                let shard = match make_shard(&opts, cpu, priority, writes) {
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
                    run_shard(&shard, async move { main(context).await });
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
    let shard =
        make_shard(&opts, None, 0, SyncedWrites::default()).expect("the host grants one executor");
    run_shard(&shard, f)
}

/// The exit code of a fail-stop, EX_IOERR of sysexits.h.
const EXIT_FAIL_STOP: i32 = 74;

pub fn fail_stop(reason: &str) -> ! {
    eprintln!("fatal: {reason}");
    std::process::exit(EXIT_FAIL_STOP)
}

fn run_shard<T: 'static>(shard: &Rc<Shard>, f: impl Future<Output = T> + 'static) -> T {
    shard.enter();
    // Leaves also when a task panics; then its tasks are dropped with the shard.
    let leave = Leave(shard);
    let output = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&output);
    let main = crate::task::spawn(crate::task::Class::Latency, async move {
        *slot.borrow_mut() = Some(f.await);
    });
    shard.executor.run(&shard.ring, || output.borrow().is_some());
    drop(main);
    drop(leave);
    let output = output.borrow_mut().take();
    output.expect("run until it was there")
}

struct Leave<'a>(&'a Rc<Shard>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.executor.clear();
        self.0.ring.drain();
        Shard::leave();
    }
}

fn make_shard(
    opts: &Options,
    cpu: Option<usize>,
    priority: u8,
    writes: SyncedWrites,
) -> Result<Rc<Shard>, String> {
    if let Some(cpu) = cpu {
        limits::pin(cpu).map_err(|e| e.to_string())?;
    }
    let executor = Executor::new(opts, priority).map_err(|e| e.to_string())?;
    let ring = Ring::for_executor().map_err(|e| e.to_string())?;
    Ok(Shard::new(Rc::new(ring), executor, writes))
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

//! Worlds made by the way, for tests and programs that know nothing of the simulation.

use std::future::Future;

use super::disk_faults::DiskFaults;
use super::world::World;
use crate::shards::{Context, Options, StartError};

/// Names the seed of `block_on` and `shards::run`; 0 if not set.
const SEED: &str = "RUNTIME_SEED";

pub fn run<M, F, Fut>(opts: Options, main: F) -> Result<(), StartError>
where
    M: Send + 'static,
    F: Fn(Context<M>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let world = World::with_seed(seed());
    let node = world.add_node(&opts.name, DiskFaults::default());
    node.start(opts.count, main);
    world.run(async move { node.ended().await });
    Ok(())
}

pub fn block_on<T: 'static>(f: impl Future<Output = T> + 'static) -> T {
    World::with_seed(seed()).run(f)
}

/// Unwinds the running task up to the kernel, which ends its node.
pub fn fail_stop(_reason: &str) -> ! {
    std::panic::resume_unwind(Box::new(super::kernel::FailStop))
}

fn seed() -> u64 {
    std::env::var(SEED).ok().and_then(|s| s.parse().ok()).unwrap_or(0)
}

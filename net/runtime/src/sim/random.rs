//! Randomness of nodes, out of the world's seed.

use super::kernel::Kernel;

pub fn next_u64() -> u64 {
    Kernel::current().rng.borrow_mut().next()
}

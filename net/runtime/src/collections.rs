//! Hash maps and sets with a fast hasher.
//!
//! In the real world the hasher is seeded per process, because keys such as topic names, group ids
//! and client ids are chosen by clients. In the simulated world the seed is fixed, so iteration
//! order, and with it the whole run, depends on nothing but the simulation's seed. Code must never
//! let the iteration order reach the wire or the disk.

/// The hasher of [`HashMap`] and [`HashSet`].
#[cfg(not(simulation))]
pub type BuildHasher = foldhash::fast::RandomState;
/// The hasher of [`HashMap`] and [`HashSet`].
#[cfg(simulation)]
pub type BuildHasher = foldhash::fast::FixedState;

/// `std`'s hash map with this crate's hasher; make one with `HashMap::default()`.
pub type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasher>;
/// `std`'s hash set with this crate's hasher; make one with `HashSet::default()`.
pub type HashSet<K> = std::collections::HashSet<K, BuildHasher>;

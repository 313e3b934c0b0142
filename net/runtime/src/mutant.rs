//! Seeded defects, to prove that the simulator finds such things.
//!
//! A mutant is one wrong line in the code of the node: `if runtime::mutant::is("name") { wrong }`. With `--cfg mutants`,
//! which only the simulator is built with, one of them can be chosen per thread; without it [`is`] is `false` at compile
//! time and nothing of a mutant is left in the program. `cargo xtask sim --mutants` runs them all; their names and what
//! has to find them stand in the simulator (`tools/simulator/src/mutants.rs`).

#[cfg(mutants)]
thread_local! {
    static CHOSEN: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
}

/// Whether this defect was chosen.
#[cfg(mutants)]
pub fn is(name: &str) -> bool {
    CHOSEN.get() == name
}

/// Whether this defect was chosen: never.
#[cfg(not(mutants))]
#[inline(always)]
pub const fn is(_name: &str) -> bool {
    false
}

/// Chooses a defect for this thread; an empty name chooses none.
#[cfg(mutants)]
pub fn choose(name: &'static str) {
    CHOSEN.set(name);
}

//! xoshiro256** per thread, seeded by the kernel.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<[u64; 4]> = Cell::new(seed());
}

pub fn next_u64() -> u64 {
    STATE.with(|state| {
        let mut s = state.get();
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        state.set(s);
        result
    })
}

fn seed() -> [u64; 4] {
    let mut seed = [0u64; 4];
    let len = size_of_val(&seed);
    // SAFETY: `seed` is valid for writing `len` bytes. Requests of up to 256 bytes are answered
    // whole once the kernel's generator is up.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), len, 0) };
    assert_eq!(got, len as isize, "the kernel gave no randomness");
    seed
}

//! Random bytes, from the kernel and from a seed.

use std::sync::Mutex;

use rustix::rand::{GetRandomFlags, getrandom};

/// Gives random bytes.
pub trait Random: Send + Sync {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The kernel's cryptographic random source (`getrandom`), which waits until the kernel has gathered enough entropy.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                // Going on without randomness would produce guessable keys.
                Err(error) => panic!("the kernel must give random bytes: {error}"),
            }
        }
    }
}

/// The same bytes for the same seed: for tests and simulations, never for keys of real data.
///
/// The generator is xoshiro256++ (Blackman and Vigna, 2019), its state filled by SplitMix64 as they recommend.
pub struct SeededRandom {
    state: Mutex<[u64; 4]>,
}

impl SeededRandom {
    /// A generator whose whole output follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed;
        let state = std::array::from_fn(|_| {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = mixed;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        Self { state: Mutex::new(state) }
    }

    /// The next 64 random bits.
    pub fn next_u64(&self) -> u64 {
        let mut state = self.state.lock().expect("no code panics while it holds the generator");
        let [a, b, c, d] = *state;
        let output = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        *state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        output
    }

    /// A number in `0..bound`; `bound` must not be 0. The bias is at most `bound / 2^64`.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "a random number below zero does not exist");
        u64::try_from((u128::from(self.next_u64()) * u128::from(bound)) >> 64)
            .expect("the product is below bound times 2^64")
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_fills_every_byte() {
        // With 64 draws of 40 bytes, a position that is never written would stay zero each time.
        let mut seen = [0_u8; 40];
        for _ in 0..64 {
            let mut bytes = [0_u8; 40];
            SystemRandom.fill(&mut bytes);
            seen.iter_mut().zip(bytes).for_each(|(seen, byte)| *seen |= byte);
        }
        assert!(seen.iter().all(|seen| *seen != 0));
    }

    #[test]
    fn a_seed_decides_every_byte() {
        let draw = |seed| {
            let mut bytes = [0_u8; 21];
            SeededRandom::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_generator_follows_its_published_recurrence() {
        // State 1, 2, 3, 4 gives these first outputs in the authors' reference implementation.
        let random = SeededRandom { state: Mutex::new([1, 2, 3, 4]) };
        assert_eq!(
            [random.next_u64(), random.next_u64(), random.next_u64()],
            [41_943_041, 58_720_359, 3_588_806_011_781_223]
        );
    }

    #[test]
    fn numbers_below_a_bound_cover_it() {
        let random = SeededRandom::new(1);
        let mut seen = [false; 7];
        (0..500).for_each(|_| seen[usize::try_from(random.below(7)).expect("small")] = true);
        assert_eq!(seen, [true; 7]);
    }
}

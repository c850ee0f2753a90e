//! Which captions may guide a graph of pictures, and which are kept to tell how good it is.

/// Whether the caption in this slot may guide. One in 32 may not, so that there are always some that tell what a graph does with
/// queries that it has not seen.
pub(super) fn guides(slot: u32) -> bool {
    // Far from any order in which slots are given: Fibonacci hashing.
    slot.wrapping_mul(0x9E37_79B9) >> 27 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_32_does_not_however_slots_are_given() {
        for step in [1, 2, 3, 7, 32, 1000] {
            let apart = (0..32_000u32).filter(|n| !guides(n * step)).count();
            assert!((900..1100).contains(&apart), "{apart} of 32,000, {step} apart");
        }
    }
}

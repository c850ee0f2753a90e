//! The sums over codes, in the fastest form that this processor knows. The only unsafe code of the index.
//!
//! 1. `scalar` says what is meant, and serves everywhere.
//! 2. `avx2` and `avx512` give the same bits: everything is in integers and nothing saturates or overflows.
//! 3. `kernels` asks the processor once. Each function checks its lengths before it touches a pointer.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::types::Codes;
use std::sync::OnceLock;

/// One processor's way to sum.
pub struct Kernels {
    /// Its name, for reports and tests.
    pub name: &'static str,
    /// Over rows of 8 and 4 bits.
    int8: Sums,
    /// Over rows of 4 and 4 bits.
    int4: Sums,
}

/// The sums over rows that are coded one way.
pub struct Sums {
    /// For each row: the sum of its rough parts times the query's; rows to come are fetched ahead.
    /// Rows have as many parts as the query, a multiple of 64; the query's pairs fit (see [`fit_pairs`]).
    pub score: fn(rows: &[&[u8]], query: &[i8], out: &mut [i32]),
    /// The sum of a row's codes, from both planes, times the query's.
    pub fine: fn(rough: &[u8], fine: &[u8], query: &[i16]) -> i64,
}

impl Kernels {
    /// For rows that are coded so.
    pub fn of(&self, codes: Codes) -> &Sums {
        match codes {
            Codes::Int8 => &self.int8,
            Codes::Int4 => &self.int4,
        }
    }
}

/// The best kernels for this processor.
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().pop().unwrap_or(scalar::KERNELS))
}

/// All that this processor can run, slowest first.
fn available() -> Vec<Kernels> {
    let mut all = vec![scalar::KERNELS];
    #[cfg(target_arch = "x86_64")]
    {
        all.extend(avx2::kernels());
        all.extend(avx512::kernels());
    }
    all
}

/// Asks for the memory of `slice` before it is needed.
#[inline(always)]
pub fn prefetch<T>(slice: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = slice.as_ptr().cast::<i8>();
        for line in (0..size_of_val(slice)).step_by(64) {
            // SAFETY: a prefetch has no effect but on caches, and `line` lies inside the slice.
            unsafe { _mm_prefetch(start.add(line), _MM_HINT_T0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slice;
}

/// What two neighbouring components of a query may add up to. Times bytes of up to 255 that stays within 16 bits, in which AVX2 adds
/// products in pairs.
pub const PAIR: i16 = 128;

/// Moves the larger of two neighbours, where both together are too large, until the pair fits. Building asks this of each row that it
/// links, so that it has no branches and takes a pair as one word: the compiler puts eight of them into a register.
pub fn fit_pairs(query: &mut [i8]) {
    for pair in query.as_chunks_mut::<2>().0 {
        let word = i16::from_le_bytes(pair.map(i8::cast_unsigned));
        let (a, b) = ((word << 8) >> 8, word >> 8);
        let over = (a + b).clamp(-PAIR, PAIR) - (a + b);
        let first = if a.abs() >= b.abs() { over } else { 0 };
        let fitted = ((a + first) & 255) | ((b + over - first) << 8);
        *pair = fitted.to_le_bytes().map(u8::cast_signed);
    }
}

/// How many rows ahead memory is asked for.
const AHEAD: usize = 8;

/// The lengths that `score` relies on, where so many rough parts stand in a byte.
fn check_score(parts: usize, rows: &[&[u8]], query: &[i8], out: &[i32]) {
    assert!(query.len().is_multiple_of(64) && out.len() >= rows.len(), "codes come in whole registers");
    assert!(rows.iter().all(|row| parts * row.len() == query.len()), "a row is as long as the query");
}

/// The lengths that `fine` relies on.
fn check_fine(parts: usize, rough: &[u8], fine: &[u8], query: &[i16]) {
    assert!(query.len().is_multiple_of(64), "codes come in whole registers");
    let fits = parts * rough.len() == query.len() && 2 * fine.len() == query.len();
    assert!(fits, "a row is as long as the query");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_to_fit_and_others_stay() {
        let all = || i8::MIN..=i8::MAX;
        for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
            let mut query = [a, b, 3];
            fit_pairs(&mut query);
            let sum = i32::from(query[0]) + i32::from(query[1]);
            let meant = (i32::from(a) + i32::from(b)).clamp(-i32::from(PAIR), i32::from(PAIR));
            assert_eq!((sum, query[2]), (meant, 3), "{a} and {b} became {query:?}");
            let moved = usize::from(query[0] != a) + usize::from(query[1] != b);
            assert_eq!(
                moved,
                usize::from(sum != i32::from(a) + i32::from(b)),
                "{a} and {b} became {query:?}"
            );
        }
    }

    #[test]
    fn every_kernel_gives_the_same_bits() {
        let mut state = 88_172_645_463_325_252u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        let lens = [64, 128, 192, 256, 320, 512, 640, 768, 1024, 8192];
        for (len, extreme) in lens.into_iter().flat_map(|len| [(len, false), (len, true)]) {
            // The largest components that can occur, as well as random ones.
            let peak = ((1 << 24) / len).min(16_384) as i16 - 1;
            let rough: Vec<Vec<u8>> = (0..23)
                .map(|r| (0..len).map(|_| if extreme && r % 2 == 0 { 255 } else { byte() }).collect())
                .collect();
            let fine: Vec<u8> = (0..len / 2).map(|_| if extreme { 255 } else { byte() }).collect();
            let mut query: Vec<i8> =
                (0..len).map(|at| if extreme { [1, -127, 127, 127][at % 4] } else { byte() as i8 }).collect();
            fit_pairs(&mut query);
            let wide: Vec<i16> =
                (0..len).map(|_| if extreme { peak } else { i16::from(byte() as i8) % peak }).collect();
            for (codes, bytes) in [(Codes::Int8, len), (Codes::Int4, len / 2)] {
                let rows: Vec<&[u8]> = rough.iter().map(|row| &row[..bytes]).collect();
                let run = |k: &Kernels| {
                    let Sums { score, fine: sum } = k.of(codes);
                    let mut out = vec![0; rows.len()];
                    score(&rows, &query, &mut out);
                    (out, rows.iter().map(|row| sum(row, &fine, &wide)).collect::<Vec<i64>>())
                };
                let right = run(&scalar::KERNELS);
                for kernels in available() {
                    assert_eq!(run(&kernels), right, "{} of {codes} at {len}", kernels.name);
                }
            }
        }
    }
}

//! What is done to the numbers that a network gives before a token is chosen: transformers' logits processors.

use super::Decoding;

/// log(softmax(logits)), in place.
pub(super) fn log_softmax(logits: &mut [f32]) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|v| f64::from(v - most).exp()).sum();
    let norm = most + sum.ln() as f32;
    logits.iter_mut().for_each(|v| *v -= norm);
}

/// Repetition penalty over all of `before` (prompt and written), then no end before the minimum length, and no beginning that is not
/// wanted. `scores` are logits
/// or log-probabilities: transformers penalises the former when it samples, the latter in a beam search.
pub(super) fn bend(scores: &mut [f32], before: &[u32], written: usize, ends: &[u32], how: &Decoding) {
    if how.repetition_penalty != 1.0 {
        let mut seen = before.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(score) = scores.get_mut(id as usize) {
                let penalty = how.repetition_penalty;
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
    }
    let early = if written < how.min_new_tokens { ends } else { &[] };
    let begins: &[u32] = if written == 0 { &how.begin_suppress } else { &[] };
    for banned in early.iter().chain(begins) {
        if let Some(score) = scores.get_mut(*banned as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// The place of the highest; the first of equals.
pub(super) fn highest(scores: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (at, score) in scores.iter().enumerate() {
        if *score > best.1 {
            best = (at, *score);
        }
    }
    best.0 as u32
}

/// A token drawn from the nucleus: the likeliest tokens whose probabilities make up `p`, by `draw` in [0, 1).
pub(super) fn nucleus(logits: &[f32], p: f32, temperature: f32, draw: f64) -> u32 {
    let mut scores: Vec<f32> = logits.iter().map(|v| v / temperature).collect();
    log_softmax(&mut scores);
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    let score = |id: &u32| scores.get(*id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let (mut kept, mut mass) = (Vec::new(), 0.0f64);
    for id in order {
        kept.push((id, mass));
        mass += f64::from(score(&id)).exp();
        if mass >= f64::from(p) {
            break;
        }
    }
    let at = kept.partition_point(|(_, before)| *before <= draw * mass);
    kept.get(at.saturating_sub(1)).map_or(0, |(id, _)| *id)
}

/// SplitMix64 (Steele et al. 2014): a stream of numbers in [0, 1) that follows from a seed alone.
pub(crate) struct Draws(u64);

impl Draws {
    /// The stream of row `row` under `seed`.
    pub fn new(seed: u64, row: usize) -> Self {
        let mut streams = Draws(seed);
        let start = streams.bits() ^ (row as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
        Draws(start)
    }

    /// The next number.
    pub fn next(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nucleus_holds_what_makes_up_p() {
        let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        let seen = |p: f32| {
            let mut draws = Draws::new(7, 0);
            let mut counts = [0u32; 4];
            (0..10_000).for_each(|_| counts[nucleus(&logits, p, 1.0, draws.next()) as usize] += 1);
            counts
        };
        assert_eq!(seen(0.4)[0], 10_000);
        let counts = seen(0.7);
        assert!(counts[2] == 0 && (counts[0] as i32 - 6_250).abs() < 300, "{counts:?}");
        let counts = seen(1.0);
        assert!((counts[3] as i32 - 500).abs() < 120 && (counts[0] as i32 - 5_000).abs() < 300, "{counts:?}");
    }

    #[test]
    fn a_penalty_pushes_down_and_the_end_waits() {
        let how = Decoding { repetition_penalty: 2.0, min_new_tokens: 1, ..Decoding::default() };
        let mut scores = [4.0, -1.0, 3.0, 9.0];
        bend(&mut scores, &[0, 1, 1, 77], 0, &[3], &how);
        assert_eq!(scores, [2.0, -2.0, 3.0, f32::NEG_INFINITY]);
    }

    #[test]
    fn what_is_suppressed_cannot_begin_but_may_follow() {
        let how = Decoding { begin_suppress: vec![1, 99], ..Decoding::default() };
        let bent = |written| {
            let mut scores = [1.0, 2.0];
            bend(&mut scores, &[], written, &[], &how);
            scores
        };
        assert_eq!((bent(0), bent(1)), ([1.0, f32::NEG_INFINITY], [1.0, 2.0]));
    }

    #[test]
    fn streams_of_rows_differ_and_repeat() {
        let first = |seed, row| Draws::new(seed, row).next();
        assert_eq!(first(1, 0), first(1, 0));
        assert!(first(1, 0) != first(1, 1) && first(1, 0) != first(2, 0));
    }
}

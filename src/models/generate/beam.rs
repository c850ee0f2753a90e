//! Several rows a text, the best one returned: transformers' `_beam_search`, text by text.

use super::logits::{bend, log_softmax};
use super::{Decoder, Decoding, Frame, Written};
use crate::Result;

/// What a beam search is told.
pub(super) struct Rule {
    pub width: usize,
    pub length_penalty: f32,
    pub early_stopping: bool,
}

/// A text in the making, or a finished one.
#[derive(Clone, Debug)]
struct Beam {
    written: Written,
    /// The sum of the (bent) log-probabilities; for a finished one, over its length.
    score: f32,
    /// The row that it goes on from.
    row: usize,
}

/// The beams of one text.
struct Search {
    /// Its first row.
    base: usize,
    open: Vec<Beam>,
    finished: Vec<Beam>,
    /// No open beam can become better than the finished ones.
    settled: bool,
}

/// As [`super::write`].
pub(super) fn write(
    decoder: &mut dyn Decoder,
    texts: usize,
    frame: &Frame,
    how: &Decoding,
    rule: &Rule,
) -> Result<Vec<Written>> {
    let mut searches: Vec<Search> = (0..texts).map(|text| Search::new(text, frame, rule)).collect();
    let mut unread = frame.prompt.repeat(texts * rule.width);
    for step in 0..how.max_new_tokens {
        let logits = decoder.read(&unread, texts * rule.width)?;
        let mut rows: Vec<(Vec<f32>, Vec<f32>)> = Vec::with_capacity(logits.len());
        for (row, mut log_probs) in logits.into_iter().enumerate() {
            log_softmax(&mut log_probs);
            let plain = log_probs.clone();
            if let Some(beam) = searches.get(row / rule.width).and_then(|s| s.open.get(row % rule.width)) {
                bend(&mut log_probs, &beam.written.tokens, step, &[frame.end], how);
            }
            rows.push((plain, log_probs));
        }
        for (search, rows) in searches.iter_mut().zip(rows.chunks(rule.width)) {
            search.advance(rows, step, frame, how, rule);
        }
        if searches.iter().all(|search| search.over(rule)) {
            break;
        }
        let open = || searches.iter().flat_map(|search| &search.open);
        let kept: Vec<usize> = open().map(|beam| beam.row).collect();
        if step + 1 < how.max_new_tokens {
            decoder.keep(&kept)?;
        }
        unread = open().filter_map(|beam| beam.written.tokens.last().copied()).collect();
    }
    Ok(searches.into_iter().map(Search::best).collect())
}

impl Search {
    fn new(text: usize, frame: &Frame, rule: &Rule) -> Self {
        let written = Written { tokens: frame.prompt.clone(), log_prob: 0.0 };
        // All start alike: only the first counts, lest they all write the same.
        let score = |beam| if beam == 0 { 0.0 } else { -1e9 };
        let open = (0..rule.width)
            .map(|beam| Beam { written: written.clone(), score: score(beam), row: text * rule.width + beam })
            .collect();
        Search { base: text * rule.width, open, finished: Vec::new(), settled: false }
    }

    /// One more token on every open beam. `rows` holds each one's log-probabilities, plain and bent.
    fn advance(
        &mut self,
        rows: &[(Vec<f32>, Vec<f32>)],
        step: usize,
        frame: &Frame,
        how: &Decoding,
        rule: &Rule,
    ) {
        // Twice as many as go on, so that enough are left when some of them end.
        let candidates = self.best_next(rows, 2 * rule.width);
        let last = step + 1 == how.max_new_tokens;
        let full = rule.early_stopping && self.finished.len() == rule.width;
        let mut open = Vec::with_capacity(rule.width);
        for (place, (from, token, score)) in candidates.into_iter().enumerate() {
            let Some(parent) = self.open.get(from) else { continue };
            let mut written = parent.written.clone();
            let plain = rows.get(from).and_then(|(plain, _)| plain.get(token as usize));
            written.log_prob += plain.copied().unwrap_or_default();
            written.tokens.push(token);
            let beam = Beam { written, score, row: self.base + from };
            if token == frame.end || last {
                // Only what is among the best `width` may finish; the rest is there to go on.
                if place < rule.width && !full && !self.settled {
                    let score = score / ((step + 1) as f32).powf(rule.length_penalty);
                    self.finished.push(Beam { score, ..beam });
                }
            } else if open.len() < rule.width {
                open.push(beam);
            }
        }
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(rule.width);
        if !last {
            self.open = open;
        }
        let best = self.open.first().map_or(f32::NEG_INFINITY, |beam| beam.score);
        let best = best / ((step + 1) as f32).powf(rule.length_penalty);
        let worst = self.finished.iter().map(|beam| beam.score).fold(f32::INFINITY, f32::min);
        self.settled |= self.finished.len() == rule.width && best <= worst;
    }

    /// The `count` best continuations over all open beams, best first: (beam, token, score).
    fn best_next(&self, rows: &[(Vec<f32>, Vec<f32>)], count: usize) -> Vec<(usize, u32, f32)> {
        let mut best: Vec<(usize, u32, f32)> = Vec::with_capacity(count + 1);
        for (from, (beam, (_, bent))) in self.open.iter().zip(rows).enumerate() {
            for (token, log_prob) in bent.iter().enumerate() {
                let score = beam.score + log_prob;
                let full = best.len() == count;
                if full && best.last().is_some_and(|(_, _, worst)| score <= *worst) {
                    continue;
                }
                let place = best.partition_point(|(_, _, other)| *other >= score);
                best.insert(place, (from, token as u32, score));
                best.truncate(count);
            }
        }
        best
    }

    fn over(&self, rule: &Rule) -> bool {
        self.settled || (rule.early_stopping && self.finished.len() == rule.width)
    }

    fn best(self) -> Written {
        let beams = self.finished.into_iter().chain(self.open);
        beams.map(|beam| beam.written).next().unwrap_or(Written { tokens: Vec::new(), log_prob: 0.0 })
    }
}

//! One row a text: the likeliest token, or a drawn one, until the end token.

use super::logits::{Draws, bend, highest, log_softmax, nucleus};
use super::{Decoder, Decoding, Frame, Strategy, Written};
use crate::Result;

struct Row {
    /// Its place in the batch, which stays when others are done.
    text: usize,
    written: Written,
    draws: Draws,
}

/// As [`super::write`].
pub(super) fn write(
    decoder: &mut dyn Decoder,
    texts: usize,
    frame: &Frame,
    how: &Decoding,
) -> Result<Vec<Written>> {
    let seed = if let Strategy::TopP { seed, .. } = how.strategy { seed } else { 0 };
    let start = |text| Row {
        text,
        written: Written { tokens: frame.prompt.clone(), log_prob: 0.0 },
        draws: Draws::new(seed, text),
    };
    let mut open: Vec<Row> = (0..texts).map(start).collect();
    let mut done: Vec<Row> = Vec::with_capacity(texts);
    let mut unread = frame.prompt.repeat(texts);
    for step in 0..how.max_new_tokens {
        let logits = decoder.read(&unread, open.len())?;
        for (row, logits) in open.iter_mut().zip(logits) {
            row.extend(logits, step, frame, how);
        }
        let ended: Vec<bool> = open.iter().map(|row| row.written.tokens.last() == Some(&frame.end)).collect();
        if ended.contains(&true) {
            let kept: Vec<usize> = (0..open.len()).filter(|at| !ended[*at]).collect();
            let (over, rest): (Vec<_>, Vec<_>) = open.into_iter().zip(ended).partition(|(_, ended)| *ended);
            done.extend(over.into_iter().map(|(row, _)| row));
            open = rest.into_iter().map(|(row, _)| row).collect();
            if open.is_empty() {
                break;
            }
            decoder.keep(&kept)?;
        }
        unread = open.iter().filter_map(|row| row.written.tokens.last().copied()).collect();
    }
    done.extend(open);
    done.sort_by_key(|row| row.text);
    Ok(done.into_iter().map(|row| row.written).collect())
}

impl Row {
    fn extend(&mut self, logits: Vec<f32>, step: usize, frame: &Frame, how: &Decoding) {
        let (token, log_prob) =
            choose(logits, &self.written.tokens, step, &[frame.end], how, &mut self.draws);
        self.written.log_prob += log_prob;
        self.written.tokens.push(token);
    }
}

/// The token that goes on after `before`, of which `written` are new, and its log-probability. A beam search can't be run one
/// text at a time: here it takes the likeliest.
pub(crate) fn choose(
    mut logits: Vec<f32>,
    before: &[u32],
    written: usize,
    ends: &[u32],
    how: &Decoding,
    draws: &mut Draws,
) -> (u32, f32) {
    let mut log_probs = logits.clone();
    log_softmax(&mut log_probs);
    bend(&mut logits, before, written, ends, how);
    let token = match how.strategy {
        Strategy::TopP { p, temperature, .. } => nucleus(&logits, p, temperature, draws.next()),
        _ => highest(&logits),
    };
    (token, log_probs.get(token as usize).copied().unwrap_or_default())
}

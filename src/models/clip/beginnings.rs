//! Texts laid end to end, what several begin with only once.
//!
//! No token looks at those after it, so that a beginning comes to the same states in all texts that share it (as serving of language
//! models reuses the keys and values of common prefixes: Zheng et al., SGLang, 2024, section 3). Nothing is padded either.

use crate::models::wide::Sequence;

/// Texts as rows of one stack.
#[derive(Debug, Default)]
pub struct Beginnings {
    /// The token of each row.
    pub tokens: Vec<u32>,
    /// Its place in its text.
    pub positions: Vec<u32>,
    /// The texts.
    pub sequences: Vec<Sequence>,
}

impl Beginnings {
    /// Of `texts`, those that begin alike beside one another.
    pub fn of(texts: &[&[u32]]) -> Self {
        let (mut laid, mut rows, mut last): (Self, Vec<usize>, &[u32]) = (Self::default(), Vec::new(), &[]);
        for text in texts {
            let shared = last.iter().zip(*text).take_while(|(a, b)| a == b).count();
            let start = laid.tokens.len();
            laid.tokens.extend(&text[shared..]);
            laid.positions.extend(shared as u32..text.len() as u32);
            let own = start..laid.tokens.len();
            rows.truncate(shared);
            laid.sequences.push(Sequence { before: rows.clone(), own: own.clone() });
            rows.extend(own);
            last = text;
        }
        laid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_beginning_is_laid_once() {
        let laid = Beginnings::of(&[&[1, 2, 3, 9], &[1, 2, 4, 5, 9], &[1, 2, 4, 9], &[1, 2, 4, 9], &[7, 9]]);
        assert_eq!(laid.tokens, [1, 2, 3, 9, 4, 5, 9, 9, 7, 9]);
        assert_eq!(laid.positions, [0, 1, 2, 3, 2, 3, 4, 3, 0, 1]);
        let rows = |sequence: &Sequence| (0..sequence.len()).map(|at| sequence.row(at)).collect::<Vec<_>>();
        let rows: Vec<Vec<usize>> = laid.sequences.iter().map(rows).collect();
        let wanted: [&[usize]; 5] = [&[0, 1, 2, 3], &[0, 1, 4, 5, 6], &[0, 1, 4, 7], &[0, 1, 4, 7], &[8, 9]];
        assert_eq!(rows, wanted);
    }
}

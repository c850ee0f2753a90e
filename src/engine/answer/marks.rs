//! The marks in an answer, `[2]`, which name the pictures that it rests on.
//!
//! A mark is checked as it is written: one that names no picture that was shown is left out, whatever the model says. Those at the
//! very end say what the whole answer rests on, and are told as citations only; those within stay where they are.

/// What comes piece by piece, and what of it is certain.
pub(super) struct Marks {
    /// How many pictures were shown.
    shown: usize,
    /// What may still become a mark: `[`, `[1`, `[12`.
    open: String,
    /// White space and good marks, which are told once text follows.
    held: String,
    /// The numbers that were named, each once, in the order of the text.
    cited: Vec<usize>,
    begun: bool,
}

impl Marks {
    /// For an answer about so many pictures, numbered from 1.
    pub fn new(shown: usize) -> Self {
        Marks { shown, open: String::new(), held: String::new(), cited: vec![], begun: false }
    }

    /// Takes a piece of the answer; gives the text that has become certain.
    pub fn push(&mut self, piece: &str) -> String {
        let mut ready = String::new();
        for c in piece.chars() {
            match (self.open.is_empty(), c) {
                (true, '[') => self.open.push(c),
                (true, c) => self.plain(c, &mut ready),
                (false, '0'..='9') if self.open.len() < 7 => self.open.push(c),
                (false, ']') if self.open.len() > 1 => self.close(),
                (false, c) => {
                    self.no_mark(&mut ready);
                    if c == '[' { self.open.push(c) } else { self.plain(c, &mut ready) }
                }
            }
        }
        ready
    }

    /// The rest of the text, and the numbers that it names.
    pub fn finish(mut self) -> (String, Vec<usize>) {
        let mut ready = String::new();
        self.no_mark(&mut ready);
        (ready, self.cited)
    }

    /// What was held for a mark is text.
    fn no_mark(&mut self, ready: &mut String) {
        std::mem::take(&mut self.open).chars().for_each(|c| self.plain(c, ready));
    }

    fn plain(&mut self, c: char, ready: &mut String) {
        if c.is_whitespace() {
            self.held.push(c);
            return;
        }
        let held = std::mem::take(&mut self.held);
        // An answer begins with its first word.
        ready.push_str(if self.begun { &held } else { held.trim_start() });
        ready.push(c);
        self.begun = true;
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        let number =
            open.get(1..).and_then(|digits| digits.parse().ok()).filter(|n| (1..=self.shown).contains(n));
        let Some(number) = number else {
            // The space before it belonged to it.
            self.held.truncate(self.held.trim_end_matches(' ').len());
            return;
        };
        self.held.push_str(&format!("[{number}]"));
        if !self.cited.contains(&number) {
            self.cited.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in whatever pieces it comes.
    fn check(written: &str, shown: usize, text: &str, cited: &[usize]) {
        for size in [1, 2, 3, 1000] {
            let chars: Vec<char> = written.chars().collect();
            let mut marks = Marks::new(shown);
            let mut got: String =
                chars.chunks(size).map(|piece| marks.push(&piece.iter().collect::<String>())).collect();
            let (rest, numbers) = marks.finish();
            got.push_str(&rest);
            assert_eq!((got.as_str(), numbers.as_slice()), (text, cited), "{written:?} in pieces of {size}");
        }
    }

    #[test]
    fn marks_are_checked_and_those_at_the_end_are_told_apart() {
        check("a dog [2]", 4, "a dog", &[2]);
        check(" two [1] [3] [1]", 3, "two", &[1, 3]);
        check("yes [5]", 4, "yes", &[]);
        check("yes [0] [99999999999]", 4, "yes [99999999999]", &[]);
        check("A cat [1] and, in [2], a dog.", 2, "A cat [1] and, in [2], a dog.", &[1, 2]);
        check("A cat [1] and, in [3], a dog.", 2, "A cat [1] and, in, a dog.", &[1]);
        check("see [the image] [", 2, "see [the image] [", &[]);
        check("[[1]]", 2, "[[1]]", &[1]);
        check("[2] shows a dog\n\n", 2, "[2] shows a dog", &[2]);
        check("größer [1]", 1, "größer", &[1]);
        check("[1]", 1, "", &[1]);
        check("  ", 1, "", &[]);
    }
}

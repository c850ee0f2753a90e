//! What an answer claims, worded as a caption would: "a dog" to "What is left of the cat?" claims "a dog left of the cat".
//!
//! A matcher can hold that against the image that the answer cites, as it did with what the question is about.

use super::wording::{Asks, Wording};

/// Claims are short, as captions are.
const WORDS: usize = 16;

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// This, of the images that it rests on.
    Claim(String),
    /// No more than the question: what stands beside the cat is "a cat".
    Nothing,
    /// What no caption would say.
    Other,
}

/// What `answer` to the question says.
pub(super) fn said(question: &Wording, answer: &str) -> Said {
    let answer = answer.trim().trim_end_matches(['.', '!']).trim_end();
    match () {
        () if answer.is_empty() || too_long(answer) || names_an_image(answer) => Said::Other,
        () if repeats(question, answer) => Said::Nothing,
        () => claim(question, answer).map_or(Said::Other, Said::Claim),
    }
}

fn claim(question: &Wording, answer: &str) -> Option<String> {
    let named = &question.named;
    let about = question.about.first();
    match question.asks {
        Asks::HowMany => match number(answer)? {
            // Of one, it is the singular that a caption has.
            1 => question.about.last().map(|one| format!("one {one}")),
            _ => about.map(|many| format!("{answer} {many}")),
        },
        // Captions hardly say how several things stand to others, and matchers know it no better.
        Asks::Beside(_) if several(answer) || several(named) => {
            about.map(|_| format!("{answer} and {named}"))
        }
        Asks::Beside(relation) => about.map(|_| format!("{answer} {relation} {named}")),
        Asks::With => about.map(|_| format!("{answer} and {named}")),
        Asks::Background => about.and_then(|_| background(answer)).map(|on| format!("{named} {on}")),
        Asks::Contents => Some(answer.to_owned()),
        // "No" is said of all images, and claims nothing of any.
        Asks::Whether => about.filter(|_| affirms(answer)).map(|_| named.clone()),
        Asks::Other => None,
    }
}

/// Whether the words of an answer are all in the question.
fn repeats(question: &Wording, answer: &str) -> bool {
    let plain = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).map(str::to_lowercase);
        words
            .filter(|word| !matches!(word.as_str(), "" | "a" | "an" | "the" | "some"))
            .map(|word| pluralizer::pluralize(&word, 1, false))
            .collect()
    };
    let asked = plain(&question.named);
    matches!(question.asks, Asks::Beside(_) | Asks::With)
        && plain(answer).iter().all(|word| asked.contains(word))
}

/// Whether a text is too long for a caption.
pub(super) fn too_long(text: &str) -> bool {
    text.split_whitespace().count() > WORDS
}

fn affirms(answer: &str) -> bool {
    let word = answer.split(|c: char| !c.is_alphanumeric()).next();
    word.is_some_and(|word| word.eq_ignore_ascii_case("yes"))
}

/// "image 2": that is for the citation to say.
fn names_an_image(answer: &str) -> bool {
    let mut words = answer.split_whitespace();
    words.next().is_some_and(|word| {
        let kind = word.to_lowercase();
        ["image", "picture", "photo"].iter().any(|name| kind.trim_end_matches('s') == *name)
    }) && words.next().is_some_and(|word| word.chars().any(|c| c.is_ascii_digit()))
}

/// Whether words name more than one thing: "three cats", "the cats", "a cat and a dog".
fn several(text: &str) -> bool {
    let plain = text.to_lowercase();
    let mut words = plain.split_whitespace();
    let first = words.next().unwrap_or_default();
    let last = words.next_back().unwrap_or(first);
    let counted = number(first).is_some_and(|number| number > 1) || first == "some" || first == "several";
    let one = first == "a" || first == "an" || first == "one";
    counted || plain.contains(" and ") || !one && pluralizer::pluralize(last, 1, false) != last
}

/// The number that an answer is.
fn number(answer: &str) -> Option<usize> {
    const NUMBERS: [&str; 12] =
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    let plain = answer.to_lowercase();
    let known = NUMBERS.iter().position(|number| *number == plain).map(|at| at + 1);
    known.or_else(|| plain.parse().ok()).filter(|number| *number > 0)
}

/// "on a red background": only of what is a colour by its name.
fn background(answer: &str) -> Option<String> {
    const COLOURS: &str = "red orange yellow green blue purple pink brown black white gray grey";
    let plain = answer.to_lowercase();
    let article = if plain.starts_with('o') { "an" } else { "a" };
    COLOURS.split(' ').any(|colour| colour == plain).then(|| format!("on {article} {plain} background"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::answer::wording;

    #[test]
    fn answers_are_worded_as_captions() {
        let check = |question: &str, answer: &str, wanted: Option<&str>| {
            let wanted = wanted.map_or(Said::Other, |text| Said::Claim(text.to_owned()));
            assert_eq!(said(&wording::read(question), answer), wanted, "{question} {answer}");
        };
        check("What is left of the cat?", "a dog", Some("a dog left of the cat"));
        check("name the thing underneath a cat on grass", "A dog.", Some("A dog below a cat on grass"));
        check("name the thing underneath two cats", "A dog.", Some("A dog and two cats"));
        check("what is above the cats?", "a dog", Some("a dog and the cats"));
        check("what is above the cat?", "three dogs", Some("three dogs and the cat"));
        check("how many cats are there on a table?", "two", Some("two cats on a table"));
        check("How many cats are there on a table?", "One", Some("one cat on a table"));
        check("how many cats are there?", "none", None);
        check("how many cats are there?", "0", None);
        check("apart from a cat, what is in the picture?", "two dogs", Some("two dogs and a cat"));
        check("what colour is behind the cat?", "orange", Some("the cat on an orange background"));
        check("what is behind the cat?", "the sea", None);
        check("what is in the picture with the cat?", "a dog and two cats", Some("a dog and two cats"));
        check("which image shows a cat?", "image 2", None);
        check("which images show a cat?", "Images 2 and 3", None);
        check("is there a cat?", "Yes, there is.", Some("a cat"));
        check("is there a cat?", "no", None);
        check("why is the man laughing?", "because of the cat", None);
        check("what is left of the cat?", "", None);
        check("describe the picture", &"very ".repeat(20), None);
    }

    #[test]
    fn what_says_nothing_new_is_known() {
        let check = |question: &str, answer: &str, wanted: bool| {
            let said = said(&wording::read(question), answer);
            assert_eq!(said == Said::Nothing, wanted, "{question} {answer}");
        };
        check("what is left of the cat?", "a cat", true);
        check("what is next to two cats?", "Cat.", true);
        check("what is left of the red ball?", "a blue ball", false);
        check("how many cats are there?", "two", false);
        check("what is in the picture with the cat?", "a cat", false);
    }
}

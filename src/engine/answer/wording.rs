//! What a question asks about: "How many cats are there on a red background?" is about "cats on a red background".
//!
//! An encoder was taught captions, not questions: the words that ask pull a question's vector away from every picture. What is left
//! without them is what a caption would say. The rules are lists of function words, so whatever they do not know stays.

/// A question, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wording {
    /// What it is about, worded as a caption would; none where it has none but asking words ("What is shown?"), and several
    /// where a picture of any fits.
    pub about: Vec<String>,
    /// Whether "no" answers it.
    pub yes_or_no: bool,
}

/// Words that ask, wherever they stand.
const ASKING: &[&str] = &[
    "what", "what's", "whats", "which", "who", "whose", "where", "when", "why", "how", "is", "isn't", "are",
    "aren't", "was", "were", "am", "do", "does", "did", "can", "could", "will", "would", "should", "has",
    "have", "you", "i", "we", "me", "us", "see", "seen", "there", "there's", "any", "be", "shown", "shows",
    "show", "visible", "please", "tell", "contain", "contains",
];

/// Words that ask, or stand around what is asked about, before it.
const BEFORE: &[&str] = &[
    "so",
    "and",
    "well",
    "hey",
    "hi",
    "hello",
    "now",
    "ok",
    "okay",
    "the",
    "many",
    "much",
    "of",
    "in",
    "on",
    "at",
    "to",
    "from",
    "with",
    "for",
    "by",
    "number",
    "count",
    "amount",
    "name",
    "find",
    "describe",
    "list",
    "give",
    "look",
    "thing",
    "things",
    "object",
    "objects",
    "one",
    "ones",
    "kind",
    "type",
    "sort",
    "color",
    "colour",
    "background",
    "picture",
    "pictures",
    "image",
    "images",
    "photo",
    "photos",
    "photograph",
    "these",
    "this",
    "those",
    "that",
    "left",
    "right",
    "above",
    "below",
    "under",
    "underneath",
    "beneath",
    "over",
    "top",
    "bottom",
    "beside",
    "besides",
    "next",
    "near",
    "behind",
    "together",
    "apart",
    "else",
    "stands",
    "stand",
    "standing",
    "goes",
    "go",
    "side",
    "it",
    "lies",
    "sits",
    "lower",
    "higher",
    "than",
    "further",
    "whole",
];

/// With an article before them, these are no more than asking: "does an image contain".
const SHOWING: &[&str] = &["picture", "image", "photo", "photograph", "thing", "object", "number"];

/// The same behind it.
const BEHIND: &[&str] = &[
    "in",
    "on",
    "at",
    "of",
    "the",
    "these",
    "this",
    "those",
    "that",
    "picture",
    "pictures",
    "image",
    "images",
    "photo",
    "photos",
    "photograph",
    "here",
    "many",
    "doing",
    "wearing",
    "color",
    "colour",
    "background",
    "a",
    "an",
    "with",
    "and",
    "to",
    "like",
    "it",
    "thing",
    "kind",
];

/// Behind these, a background was asked for, and not described: "what is the background", but "on a red background".
const ASKS_BACKGROUND: &[&str] = &["the", "what", "which", "color", "colour", "is", "a"];

/// Takes a question apart.
pub(super) fn read(question: &str) -> Wording {
    let edge = |c: char| !(c.is_alphanumeric() || c == '\'' || c == '&');
    let words: Vec<&str> =
        question.split_whitespace().map(|word| word.trim_matches(edge)).filter(|w| !w.is_empty()).collect();
    let plain: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let is = |at: usize, list: &[&str]| plain.get(at).is_some_and(|word| list.contains(&word.as_str()));
    let (mut start, mut end) = (0, words.len());
    while start < end {
        start += match () {
            () if is(start, ASKING) || is(start, BEFORE) => 1,
            () if is(start, &["a", "an"]) && is(start + 1, SHOWING) => 2,
            () => break,
        };
    }
    while start < end && (is(end - 1, ASKING) || is(end - 1, BEHIND)) {
        if plain.get(end - 1).is_some_and(|w| w == "background")
            && !(end >= 2 && is(end - 2, ASKS_BACKGROUND))
        {
            break;
        }
        end -= 1;
    }
    let kept = (start..end).filter(|at| !is(*at, ASKING)).filter_map(|at| words.get(at).copied());
    let kept: Vec<&str> = kept.collect();
    let mut about = vec![kept.join(" ")];
    if counts(&plain) {
        // "How many cats" is asked of a picture of one cat too, which no caption calls "cats".
        about.extend(of_one(&kept));
    }
    about.retain(|text| !text.is_empty());
    about.dedup();
    Wording { about, yes_or_no: yes_or_no(&plain) }
}

/// Whether it asks for a number.
fn counts(plain: &[String]) -> bool {
    let pair = |a: &str, b: &str| plain.windows(2).any(|two| matches!(two, [x, y] if x == a && y == b));
    pair("how", "many") || pair("number", "of") || plain.first().is_some_and(|word| word == "count")
}

/// The words with their first noun in the singular: its last word before what says more of it.
fn of_one(words: &[&str]) -> Option<String> {
    const MORE: &[&str] = &[
        "on",
        "in",
        "at",
        "with",
        "next",
        "to",
        "left",
        "right",
        "above",
        "below",
        "under",
        "over",
        "near",
        "beside",
        "behind",
        "of",
        "against",
        "by",
        "before",
        "between",
        "and",
        "that",
        "who",
        "which",
        "beneath",
        "underneath",
    ];
    let head =
        words.iter().position(|word| MORE.contains(&word.to_lowercase().as_str())).unwrap_or(words.len());
    let noun = words.get(head.checked_sub(1)?)?;
    let one = pluralizer::pluralize(noun, 1, false);
    let changed = words.iter().enumerate().map(|(at, word)| if at + 1 == head { one.as_str() } else { word });
    Some(changed.collect::<Vec<_>>().join(" "))
}

/// Whether the question begins with a verb, and does not go on to ask what or how.
fn yes_or_no(plain: &[String]) -> bool {
    const VERBS: &[&str] = &[
        "is", "isn't", "are", "aren't", "was", "were", "do", "does", "did", "can", "could", "has", "have",
        "will", "would", "should",
    ];
    const FRONTS: &[&str] = &[
        "so", "well", "and", "please", "hey", "now", "in", "the", "these", "this", "pictures", "images",
        "picture", "image",
    ];
    const OPEN: &[&str] =
        &["what", "which", "who", "where", "how", "why", "when", "tell", "describe", "name"];
    let first = plain.iter().find(|word| !FRONTS.contains(&word.as_str()));
    first.is_some_and(|word| VERBS.contains(&word.as_str()))
        && !plain.iter().any(|word| OPEN.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_taken_apart() {
        let check = |question: &str, about: &str, yes_or_no: bool| {
            let about = about.split(" | ").filter(|text| !text.is_empty()).map(str::to_owned).collect();
            assert_eq!(read(question), Wording { about, yes_or_no }, "{question}");
        };
        check(
            "How many cats are there on a red background?",
            "cats on a red background | cat on a red background",
            false,
        );
        check("how many chili peppers?", "chili peppers | chili pepper", false);
        check("What is the thing to the left of the paintbrushes?", "paintbrushes", false);
        check(
            "what is the thing under a spanner on a gray background in these images.",
            "a spanner on a gray background",
            false,
        );
        check("what goes with the birthday cakes on grass.", "birthday cakes on grass", false);
        check("So what is the number of drumsticks in the pictures?", "drumsticks | drumstick", false);
        check("Are there three fountains?", "three fountains", true);
        check("what color is behind garlic ?", "garlic", false);
        check("a cat: what colour is the background", "a cat", false);
        check("on a red background there is what?", "a red background", false);
        check("apart from a cat, what is in the picture?", "a cat", false);
        check("Is the woman wearing glasses?", "woman wearing glasses", true);
        check("Can you tell me how many dogs there are?", "dogs | dog", false);
        check("Can you see a dog on the beach?", "a dog on the beach", true);
        check("does an image contain a rooster beneath a gear", "a rooster beneath a gear", true);
        check("Hey, what is in the image with the present ?", "present", false);
        check("Please tell me which thing is lower than the whale ?", "whale", false);
        check("Who is holding the umbrella?", "holding the umbrella", false);
        check("What is the man doing?", "man", false);
        check("What is shown in the picture?", "", false);
        check("M&M's?", "M&M's", false);
        check("  ?! ", "", false);
    }
}

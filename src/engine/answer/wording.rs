//! What a question asks about: "How many cats are there on a red background?" is about "cats on a red background".
//!
//! An encoder was taught captions, not questions: the words that ask pull a question's vector away from every picture. What is left
//! without them is what a caption would say. The rules are lists of function words, so whatever they do not know stays.

/// A question, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wording {
    /// What it is about; empty where it has none but asking words ("What is shown?").
    pub about: String,
    /// Whether "no" answers it.
    pub yes_or_no: bool,
}

/// Words that ask, wherever they stand.
const ASKING: &[&str] = &[
    "what", "what's", "whats", "which", "who", "whose", "where", "when", "why", "how", "is", "isn't", "are", "aren't", "was", "were",
    "am", "do", "does", "did", "can", "could", "will", "would", "should", "has", "have", "you", "i", "we", "me", "us", "see", "seen",
    "there", "there's", "any", "be", "shown", "shows", "show", "visible", "please", "tell", "contain", "contains",
];

/// Words that ask, or stand around what is asked about, before it.
const BEFORE: &[&str] = &[
    "so", "and", "well", "the", "many", "much", "of", "in", "on", "at", "to", "from", "with", "for", "by", "number", "count", "amount",
    "name", "find", "describe", "list", "give", "look", "thing", "things", "object", "objects", "one", "ones", "kind", "type", "sort",
    "color", "colour", "background", "picture", "pictures", "image", "images", "photo", "photos", "photograph", "these", "this",
    "those", "that", "left", "right", "above", "below", "under", "underneath", "beneath", "over", "top", "bottom", "beside", "besides",
    "next", "near", "behind", "together", "apart", "else", "stands", "stand", "standing", "goes", "go", "side", "it", "lies", "sits",
];

/// The same behind it.
const BEHIND: &[&str] = &[
    "in", "on", "at", "of", "the", "these", "this", "those", "that", "picture", "pictures", "image", "images", "photo", "photos",
    "photograph", "here", "many", "doing", "wearing", "color", "colour", "background", "a", "an", "with", "and", "to", "like", "it",
    "thing", "kind",
];

/// Behind these, a background was asked for, and not described: "what is the background", but "on a red background".
const ASKS_BACKGROUND: &[&str] = &["the", "what", "which", "color", "colour", "is", "a"];

/// Takes a question apart.
pub(super) fn read(question: &str) -> Wording {
    let edge = |c: char| !(c.is_alphanumeric() || c == '\'' || c == '&');
    let words: Vec<&str> = question.split_whitespace().map(|word| word.trim_matches(edge)).filter(|w| !w.is_empty()).collect();
    let plain: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let is = |at: usize, list: &[&str]| plain.get(at).is_some_and(|word| list.contains(&word.as_str()));
    let (mut start, mut end) = (0, words.len());
    while start < end && (is(start, ASKING) || is(start, BEFORE)) {
        start += 1;
    }
    while start < end && (is(end - 1, ASKING) || is(end - 1, BEHIND)) {
        if plain.get(end - 1).is_some_and(|w| w == "background") && !(end >= 2 && is(end - 2, ASKS_BACKGROUND)) {
            break;
        }
        end -= 1;
    }
    let about = (start..end).filter(|at| !is(*at, ASKING)).filter_map(|at| words.get(at).copied());
    Wording { about: about.collect::<Vec<_>>().join(" "), yes_or_no: yes_or_no(&plain) }
}

/// Whether the question begins with a verb, and does not go on to ask what or how.
fn yes_or_no(plain: &[String]) -> bool {
    const VERBS: &[&str] = &[
        "is", "isn't", "are", "aren't", "was", "were", "do", "does", "did", "can", "could", "has", "have", "will", "would", "should",
    ];
    const FRONTS: &[&str] = &["so", "well", "and", "please", "hey", "now", "in", "the", "these", "this", "pictures", "images", "picture", "image"];
    const OPEN: &[&str] = &["what", "which", "who", "where", "how", "why", "when", "tell", "describe", "name"];
    let first = plain.iter().find(|word| !FRONTS.contains(&word.as_str()));
    first.is_some_and(|word| VERBS.contains(&word.as_str())) && !plain.iter().any(|word| OPEN.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_taken_apart() {
        let check = |question: &str, about: &str, yes_or_no: bool| {
            let wanted = Wording { about: about.to_owned(), yes_or_no };
            assert_eq!(read(question), wanted, "{question}");
        };
        check("How many cats are there on a red background?", "cats on a red background", false);
        check("What is the thing to the left of the paintbrushes?", "paintbrushes", false);
        check("what is the thing under a spanner on a gray background in these images.", "a spanner on a gray background", false);
        check("what goes with the birthday cakes on grass.", "birthday cakes on grass", false);
        check("So what is the number of drumsticks in the pictures?", "drumsticks", false);
        check("Are there three fountains?", "three fountains", true);
        check("what color is behind garlic ?", "garlic", false);
        check("a cat: what colour is the background", "a cat", false);
        check("on a red background there is what?", "a red background", false);
        check("apart from a cat, what is in the picture?", "a cat", false);
        check("Is the woman wearing glasses?", "woman wearing glasses", true);
        check("Can you tell me how many dogs there are?", "dogs", false);
        check("Can you see a dog on the beach?", "a dog on the beach", true);
        check("Who is holding the umbrella?", "holding the umbrella", false);
        check("What is the man doing?", "man", false);
        check("What is shown in the picture?", "", false);
        check("M&M's?", "M&M's", false);
        check("  ?! ", "", false);
    }
}

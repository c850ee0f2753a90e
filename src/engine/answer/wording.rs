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
    /// The first of them as the question has it: "the cat" where that is about "cat".
    pub named: String,
    /// What it wants to know.
    pub asks: Asks,
}

/// What a question wants to know of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Whether it is so: "no" answers it.
    Whether,
    /// How many there are.
    HowMany,
    /// What stands so to it: "left of".
    Beside(&'static str),
    /// What it is together with.
    With,
    /// Its background.
    Background,
    /// What the picture shows.
    Contents,
    /// Anything else.
    Other,
}

/// Words that ask, wherever they stand.
const ASKING: &str = "what what's whats which who whose where when why how is isn't are aren't was were am do does did can could \
    will would should has have you i we me us see seen there there's any be shown shows show visible please tell contain contains";

/// Words that ask, or stand around what is asked about, before it.
const BEFORE: &str = "so and well hey hi hello now ok okay the many much of in on at to from with for by number count amount name \
    find describe list give look thing things object objects one ones kind type sort color colour background picture pictures \
    image images photo photos photograph these this those that left right above below under underneath beneath over top bottom \
    beside besides next near behind together apart else stands stand standing goes go side it lies sits lower higher than further \
    whole";

/// With an article before them, these are no more than asking: "does an image contain".
const SHOWING: &str = "picture image photo photograph thing object number";

/// The same behind it.
const BEHIND: &str = "in on at of the these this those that picture pictures image images photo photos photograph here many doing \
    wearing color colour background a an with and to like it thing kind";

/// Behind these, a background was asked for, and not described: "what is the background", but "on a red background".
const ASKS_BACKGROUND: &str = "the what which color colour is a";

/// Takes a question apart.
pub(super) fn read(question: &str) -> Wording {
    let edge = |c: char| !(c.is_alphanumeric() || c == '\'' || c == '&');
    let words: Vec<&str> =
        question.split_whitespace().map(|word| word.trim_matches(edge)).filter(|w| !w.is_empty()).collect();
    let plain: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let is = |at: usize, list: &str| plain.get(at).is_some_and(|word| among(list, word));
    let (mut start, mut end) = (0, words.len());
    while start < end {
        start += match () {
            () if is(start, ASKING) || is(start, BEFORE) => 1,
            () if is(start, "a an") && is(start + 1, SHOWING) => 2,
            () => break,
        };
    }
    while start < end && (is(end - 1, ASKING) || is(end - 1, BEHIND)) {
        if is(end - 1, "background") && !(end >= 2 && is(end - 2, ASKS_BACKGROUND)) {
            break;
        }
        end -= 1;
    }
    let kept = (start..end).filter(|at| !is(*at, ASKING)).filter_map(|at| words.get(at).copied());
    let kept: Vec<&str> = kept.collect();
    let (before, behind) = (plain.get(..start).unwrap_or(&[]), plain.get(end..).unwrap_or(&[]));
    let asks = asks(&plain, before, behind);
    let mut about = vec![kept.join(" ")];
    let the = if before.last().is_some_and(|word| word == "the") { "the " } else { "" };
    let named = format!("{the}{}", kept.join(" "));
    if asks == Asks::HowMany {
        // "How many cats" is asked of a picture of one cat too, which no caption calls "cats".
        about.extend(of_one(&kept));
    }
    about.retain(|text| !text.is_empty());
    about.dedup();
    Wording { about, named, asks }
}

fn among(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|one| one == word)
}

/// What is wanted, by all of the question's words, and by those before and behind what it is about.
fn asks(plain: &[String], before: &[String], behind: &[String]) -> Asks {
    let any = |words: &[String], list: &str| words.iter().any(|word| among(list, word));
    let around = |list: &str| any(before, list) || any(behind, list);
    match () {
        () if counts(plain) => Asks::HowMany,
        () if yes_or_no(plain) => Asks::Whether,
        () if around("colour color background") || any(before, "behind") => Asks::Background,
        () if any(before, "left") => Asks::Beside("left of"),
        () if any(before, "right") => Asks::Beside("right of"),
        () if any(before, "above over top higher") => Asks::Beside("above"),
        () if any(before, "below under underneath beneath lower") => Asks::Beside("below"),
        () if any(before, "next beside besides near together apart else goes") => Asks::With,
        () if around("picture pictures image images photo photos photograph describe") => Asks::Contents,
        () if any(before, "with") => Asks::With,
        () => Asks::Other,
    }
}

/// Whether it asks for a number.
fn counts(plain: &[String]) -> bool {
    let pair = |a: &str, b: &str| plain.windows(2).any(|two| matches!(two, [x, y] if x == a && y == b));
    pair("how", "many") || pair("number", "of") || plain.first().is_some_and(|word| word == "count")
}

/// The words with their first noun in the singular: its last word before what says more of it.
fn of_one(words: &[&str]) -> Option<String> {
    const MORE: &str = "on in at with next to left right above below under over near beside behind of against by before between and \
        that who which beneath underneath";
    let head = words.iter().position(|word| among(MORE, &word.to_lowercase())).unwrap_or(words.len());
    let noun = words.get(head.checked_sub(1)?)?;
    let one = pluralizer::pluralize(noun, 1, false);
    let changed = words.iter().enumerate().map(|(at, word)| if at + 1 == head { one.as_str() } else { word });
    Some(changed.collect::<Vec<_>>().join(" "))
}

/// Whether the question begins with a verb, and does not go on to ask what or how.
fn yes_or_no(plain: &[String]) -> bool {
    const VERBS: &str = "is isn't are aren't was were do does did can could has have will would should";
    const FRONTS: &str = "so well and please hey now in the these this pictures images picture image";
    const OPEN: &str = "what which who where how why when tell describe name";
    let first = plain.iter().find(|word| !among(FRONTS, word));
    first.is_some_and(|word| among(VERBS, word)) && !plain.iter().any(|word| among(OPEN, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_taken_apart() {
        use Asks::*;
        let check = |question: &str, about: &str, asks: Asks| {
            let about: Vec<&str> = about.split(" | ").filter(|text| !text.is_empty()).collect();
            let read = read(question);
            assert_eq!(
                (read.about.iter().map(String::as_str).collect(), read.asks),
                (about, asks),
                "{question}"
            );
        };
        check(
            "How many cats are there on a red background?",
            "cats on a red background | cat on a red background",
            HowMany,
        );
        check("how many chili peppers?", "chili peppers | chili pepper", HowMany);
        check("What is the thing to the left of the paintbrushes?", "paintbrushes", Beside("left of"));
        check(
            "what is the thing under a spanner on a gray background in these images.",
            "a spanner on a gray background",
            Beside("below"),
        );
        check("what goes with the birthday cakes on grass.", "birthday cakes on grass", With);
        check("So what is the number of drumsticks in the pictures?", "drumsticks | drumstick", HowMany);
        check("Are there three fountains?", "three fountains", Whether);
        check("what color is behind garlic ?", "garlic", Background);
        check("a cat: what colour is the background", "a cat", Background);
        check("on a red background there is what?", "a red background", Other);
        check("apart from a cat, what is in the picture?", "a cat", With);
        check("Is the woman wearing glasses?", "woman wearing glasses", Whether);
        check("Can you tell me how many dogs there are?", "dogs | dog", HowMany);
        check("Can you see a dog on the beach?", "a dog on the beach", Whether);
        check("does an image contain a rooster beneath a gear", "a rooster beneath a gear", Whether);
        check("Hey, what is in the image with the present ?", "present", Contents);
        check("Please tell me which thing is lower than the whale ?", "whale", Beside("below"));
        check("Who is holding the umbrella?", "holding the umbrella", Other);
        check("What is the man doing?", "man", Other);
        check("What is shown in the picture?", "", Contents);
        check("M&M's?", "M&M's", Other);
        check("  ?! ", "", Other);
    }
}

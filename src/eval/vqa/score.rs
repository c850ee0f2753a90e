//! When an answer is right, and how well abstaining follows from a score.

use std::collections::HashSet;

/// What is right.
#[derive(Clone, Debug, PartialEq)]
pub enum Right {
    /// Any of these.
    Any(Vec<String>),
    /// What people said: three who agree make it wholly right, one or two a third each (VQA's accuracy, Antol et al. 2015).
    People(Vec<String>),
    /// To cite at least one image that it is about, and no other.
    Cited,
    /// To say that the images do not tell.
    Refused,
}

/// An answer as it is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its text.
    pub text: String,
    /// The keys of the images that it cites.
    pub cited: Vec<String>,
    /// The keys of the images that were looked at.
    pub shown: Vec<String>,
    /// Whether it says that the images do not tell.
    pub abstained: bool,
    /// The highest probability with which an image fits.
    pub best_match: Option<f32>,
}

/// How right an answer is, 0 to 1.
pub fn score(said: &Said, right: &Right, relevant: &HashSet<String>) -> f64 {
    let whole = |right: bool| f64::from(u8::from(right));
    match right {
        Right::Refused => whole(said.abstained),
        _ if said.abstained => 0.0,
        Right::Cited => whole(!said.cited.is_empty() && said.cited.iter().all(|key| relevant.contains(key))),
        Right::Any(answers) => whole(answers.iter().any(|answer| plain(answer) == plain(&said.text))),
        Right::People(answers) => {
            let text = bare(&said.text);
            let agree = answers.iter().filter(|answer| bare(answer) == text).count();
            (agree as f64 / 3.0).min(1.0)
        }
    }
}

/// An answer as it is compared: lower case, without marks and closing punctuation.
pub fn plain(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        kept.push_str(before);
        match after.split_once(']') {
            Some((mark, after)) if !mark.is_empty() && mark.bytes().all(|b| b.is_ascii_digit()) => {
                rest = after
            }
            _ => {
                kept.push('[');
                rest = after;
            }
        }
    }
    kept.push_str(rest);
    let words: Vec<&str> = kept.split_whitespace().collect();
    words.join(" ").trim_matches([' ', '.', '!', ',']).to_lowercase()
}

/// The same without articles and inner punctuation, numbers as digits: nearly the rules of VQA's own evaluation, which spell out
/// contractions too.
fn bare(text: &str) -> String {
    const NUMBERS: [&str; 11] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let plain =
        plain(text).replace(['?', '!', ';', ':', '"', '(', ')', '.'], "").replace([',', '/', '-'], " ");
    let words = plain.split_whitespace().filter(|word| !["a", "an", "the"].contains(word));
    let digits = |word: &str| match NUMBERS.iter().position(|number| *number == word) {
        Some(number) => number.to_string(),
        None => word.to_owned(),
    };
    words.map(digits).collect::<Vec<_>>().join(" ")
}

/// The area under the ROC curve of `scores` telling `true` from `false`: the probability that one of the former is higher (ties
/// count half). None where one of the two is missing.
pub fn auc(scores: &[(f32, bool)]) -> Option<f64> {
    let of = |wanted: bool| scores.iter().filter(move |(_, is)| *is == wanted).map(|(score, _)| *score);
    let pairs = of(true).count() * of(false).count();
    let wins: f64 = of(true)
        .map(|high| {
            of(false)
                .map(|low| {
                    if high > low {
                        1.0
                    } else if high == low {
                        0.5
                    } else {
                        0.0
                    }
                })
                .sum::<f64>()
        })
        .sum();
    (pairs > 0).then(|| wins / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, cited: &[&str], abstained: bool) -> Said {
        let cited = cited.iter().map(|key| (*key).to_owned()).collect();
        Said { text: text.to_owned(), cited, shown: vec![], abstained, best_match: None }
    }

    #[test]
    fn answers_are_judged() {
        let relevant = HashSet::from(["a".to_owned(), "b".to_owned()]);
        let check = |said: &Said, right: &Right, wanted: f64| {
            let got = score(said, right, &relevant);
            assert!((got - wanted).abs() < 1e-9, "{said:?} against {right:?}: {got}, not {wanted}");
        };
        let any = Right::Any(vec!["a dog".into(), "dog".into()]);
        check(&said("A dog. [2]", &[], false), &any, 1.0);
        check(&said("dogs", &[], false), &any, 0.0);
        check(&said("a dog", &[], true), &any, 0.0);
        check(&said("image 2", &["b"], false), &Right::Cited, 1.0);
        check(&said("image 2", &["b", "c"], false), &Right::Cited, 0.0);
        check(&said("image 2", &[], false), &Right::Cited, 0.0);
        check(&said("", &[], true), &Right::Refused, 1.0);
        let people = Right::People(["2", "2", "two", "3"].map(str::to_owned).to_vec());
        check(&said("Two", &[], false), &people, 1.0);
        check(&said("the 3.", &[], false), &people, 1.0 / 3.0);
    }

    #[test]
    fn the_area_is_that_of_pairs() {
        assert_eq!(auc(&[(0.9, true), (0.5, true), (0.5, false), (0.1, false)]), Some(0.875));
        assert_eq!(auc(&[(0.9, true)]), None);
    }
}

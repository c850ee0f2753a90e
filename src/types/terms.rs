//! The query language: `horse + 2:stripes - grass`, as rclip has it.

/// A weight and what it weighs, as written; what it is (words, a path, a URL, `id:7`) is for the caller to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// Negative where it is taken away.
    pub weight: f32,
    /// Words, a path, a URL or `id:7`.
    pub text: String,
}

/// The terms of a query: parts joined by a `+` or `-` that stands alone between spaces, each with an optional `WEIGHT:`
/// before it. Hyphens inside words are words.
pub fn parse(query: &str) -> Vec<Weighed> {
    let mut terms: Vec<(f32, Vec<&str>)> = vec![(1.0, vec![])];
    for word in query.split_whitespace() {
        match (word, terms.last_mut()) {
            ("+", _) => terms.push((1.0, vec![])),
            ("-", _) => terms.push((-1.0, vec![])),
            (word, Some((_, words))) => words.push(word),
            (_, None) => {}
        }
    }
    let filled = terms.into_iter().filter(|(_, words)| !words.is_empty());
    filled.map(|(sign, words)| signed(sign, &words.join(" "))).collect()
}

/// One term with an optional weight: `stripes`, `2:stripes`, `0.5:a wooden table`.
pub fn parse_one(term: &str) -> Weighed {
    signed(1.0, term)
}

fn signed(sign: f32, term: &str) -> Weighed {
    let weighed = term.split_once(':').and_then(|(w, rest)| Some((w.trim().parse::<f32>().ok()?, rest)));
    match weighed.filter(|(w, rest)| w.is_finite() && !rest.trim().is_empty()) {
        Some((weight, rest)) => Weighed { weight: sign * weight, text: rest.trim().to_owned() },
        None => Weighed { weight: sign, text: term.trim().to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_told_apart() {
        let check = |query: &str, wanted: &[(f32, &str)]| {
            let got: Vec<(f32, String)> = parse(query).into_iter().map(|t| (t.weight, t.text)).collect();
            let wanted: Vec<(f32, String)> = wanted.iter().map(|(w, t)| (*w, (*t).to_owned())).collect();
            assert_eq!(got, wanted, "{query}");
        };
        check("a red car", &[(1.0, "a red car")]);
        check("horse + stripes - grass", &[(1.0, "horse"), (1.0, "stripes"), (-1.0, "grass")]);
        check(
            "2:golden retriever - 0.5:swimming pool",
            &[(2.0, "golden retriever"), (-0.5, "swimming pool")],
        );
        check("well-known e-mail", &[(1.0, "well-known e-mail")]);
        check("- grass", &[(-1.0, "grass")]);
        check("-2:grass", &[(-2.0, "grass")]);
        check("id:7", &[(1.0, "id:7")]);
        check("2:id:7 + cat", &[(2.0, "id:7"), (1.0, "cat")]);
        check("https://example.org/a.jpg", &[(1.0, "https://example.org/a.jpg")]);
        check("ratio 16:9", &[(1.0, "ratio 16:9")]);
        check("  ", &[]);
    }
}

//! Counting: accuracy of single pictures, pairs and sets, and how far probabilities can be believed.

use super::{Picture, Shown};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many bins probabilities are sorted into.
const BINS: usize = 10;

/// What one stage reached on one contrast.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `clip`, `blip-itc`, `blip-itm` or `fused`.
    pub stage: &'static str,
    /// What was shown in each picture's place.
    pub images: Shown,
    /// What the pictures of a set differ in; `all` for all of them.
    pub contrast: String,
    /// Share of pictures whose highest choice is the true one; chance is one in four.
    pub individual: f64,
    /// Share of pictures whose true choice is above its opposite's; chance is one half.
    pub pair: Option<f64>,
    /// Share of opposites with both pictures right, among all choices: What's Up's pairs; chance is one in sixteen.
    pub both: Option<f64>,
    /// Share of sets with all pictures right; chance is one in 256.
    pub set: Option<f64>,
    /// How many pictures.
    pub n: usize,
    /// Expected calibration error of the probabilities (Naeini et al., AAAI 2015), of all pictures and choices; for `blip-itm`
    /// on the pictures themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ece: Option<f64>,
}

/// A row for each contrast, and one for all where there are several.
pub fn rows(stage: &'static str, images: Shown, pictures: &[Picture], scores: &[Vec<f32>]) -> Vec<Row> {
    let mut contrasts: BTreeMap<&str, Vec<(&Picture, &[f32])>> = BTreeMap::new();
    let all: Vec<(&Picture, &[f32])> = pictures.iter().zip(scores.iter().map(Vec::as_slice)).collect();
    all.iter().for_each(|one| contrasts.entry(&one.0.contrast).or_default().push(*one));
    let mut rows: Vec<Row> =
        contrasts.iter().map(|(contrast, some)| row(stage, images, contrast, some)).collect();
    if contrasts.len() > 1 {
        rows.push(row(stage, images, "all", &all));
    }
    rows
}

fn row(stage: &'static str, images: Shown, contrast: &str, told: &[(&Picture, &[f32])]) -> Row {
    let right = |(picture, scores): &(&Picture, &[f32])| best(scores) == Some(picture.answer);
    // By set and place; a picture's opposite is in the place beside.
    let mut sets: BTreeMap<&str, BTreeMap<usize, bool>> = BTreeMap::new();
    for one in told {
        sets.entry(&one.0.set).or_default().insert(one.0.place, right(one));
    }
    let both = sets.values().flat_map(|set| {
        set.iter()
            .filter(|(place, _)| *place % 2 == 0)
            .filter_map(|(place, right)| Some(*right && *set.get(&(place + 1))?))
    });
    let whole = sets.values().filter(|set| set.len() == 4).map(|set| set.values().all(|right| *right));
    let pairs = told
        .iter()
        .filter_map(|(picture, scores)| Some(scores.get(picture.answer)? > scores.get(picture.opposite?)?));
    let ece = (stage == "blip-itm" && images == Shown::Own).then(|| {
        let told = told.iter().flat_map(|(picture, scores)| {
            scores.iter().enumerate().map(|(at, p)| (*p, at == picture.answer))
        });
        calibration_error(told)
    });
    Row {
        stage,
        images,
        contrast: contrast.to_owned(),
        individual: share(told.iter().map(right)).unwrap_or_default(),
        pair: share(pairs),
        both: share(both),
        set: share(whole),
        n: told.len(),
        ece,
    }
}

/// The place of the highest score; None where two are equally high, which is no choice.
fn best(scores: &[f32]) -> Option<usize> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut places = scores.iter().enumerate().filter(|(_, score)| **score == highest).map(|(at, _)| at);
    let first = places.next();
    if places.next().is_some() { None } else { first }
}

fn share(all: impl Iterator<Item = bool>) -> Option<f64> {
    let (mut yes, mut n) = (0u64, 0u64);
    all.for_each(|one| {
        yes += u64::from(one);
        n += 1;
    });
    (n > 0).then(|| yes as f64 / n as f64)
}

/// The mean gap between what probabilities say and what is true, over ten bins of equal width, weighed by how many are in each.
pub fn calibration_error(told: impl Iterator<Item = (f32, bool)>) -> f64 {
    let mut bins = [(0u64, 0f64, 0u64); BINS];
    let mut n = 0u64;
    for (p, is_true) in told {
        let bin = ((p * BINS as f32) as usize).min(BINS - 1);
        if let Some((count, sum, trues)) = bins.get_mut(bin) {
            *count += 1;
            *sum += f64::from(p);
            *trues += u64::from(is_true);
        }
        n += 1;
    }
    let gap = |(_, sum, trues): &(u64, f64, u64)| (sum - *trues as f64).abs();
    bins.iter().map(gap).sum::<f64>() / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(set: &str, place: usize) -> Picture {
        Picture {
            path: format!("{set}{place}.jpg").into(),
            set: set.into(),
            contrast: "relation".into(),
            choices: ["l", "r", "a", "b"].map(String::from).to_vec(),
            answer: place,
            opposite: Some(place ^ 1),
            place,
        }
    }

    #[test]
    fn pictures_pairs_and_sets_are_counted() {
        let pictures: Vec<Picture> =
            (0..8).map(|at| picture(if at < 4 { "s" } else { "t" }, at % 4)).collect();
        let sure = |place: usize| -> Vec<f32> { (0..4).map(|at| f32::from(u8::from(at == place))).collect() };
        let mut scores: Vec<Vec<f32>> = (0..8).map(|at| sure(at % 4)).collect();
        let get = |scores: &[Vec<f32>]| rows("clip", Shown::Own, &pictures, scores).remove(0);
        let row = get(&scores);
        assert_eq!(
            (row.individual, row.pair, row.both, row.set, row.n),
            (1.0, Some(1.0), Some(1.0), Some(1.0), 8)
        );
        // One picture is taken for its opposite, and one cannot be told from another.
        scores[5] = sure(0);
        scores[2] = vec![0.0, 0.5, 0.5, 0.0];
        let row = get(&scores);
        assert_eq!((row.individual, row.both, row.set), (0.75, Some(0.5), Some(0.0)));
        assert_eq!(row.pair, Some(0.875), "the undecided one is still above its opposite");
        assert_eq!(get(&[vec![1.0; 4], vec![1.0; 4]]).individual, 0.0, "no choice is not right by luck");
    }

    #[test]
    fn calibration_is_zero_where_probabilities_are_true() {
        let check = |told: &[(f32, bool)], wanted: f64| {
            let got = calibration_error(told.iter().copied());
            assert!((got - wanted).abs() < 1e-6, "{told:?}: {got}");
        };
        check(&[(1.0, true), (0.0, false)], 0.0);
        check(&[(0.25, true), (0.25, false), (0.25, false), (0.25, false)], 0.0);
        check(&[(0.9, false)], 0.9);
        check(&[(0.9, true), (0.95, false)], 0.425);
        check(&[(0.1, true), (0.95, true)], 0.475);
    }
}

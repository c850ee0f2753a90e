//! The index against `Filter::passes`, with items, filters and writes thrown by dice.

use super::*;
use crate::types::filter::{Circle, Field, Number, Place, Value};
use crate::types::{ContentHash, ItemId, Payload};
use serde_json::{Value as Json, json};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const WORDS: &[&str] = &["blue", "Blue", "sky blue", "rot", "Ünter", "ÉTÉ 7", "true", "3", "", "blü"];
const DATES: &[&str] = &[
    "2024-05-31",
    "2024-05-31T23:30:00-02:00",
    "2024-06-01T01:30:00Z",
    "2024-06-01 01:30",
    "1969-12-31T23:59:59.5Z",
    "2024-05",
    "2024-05-31-b",
];
const NAMES: &[&str] = &["a", "b", "a.b", "gps", "tags", "when", "exif", "width", "ü.x"];

fn scalar(dice: &mut Dice) -> Json {
    match dice.roll(9) {
        0 => json!(dice.roll(5)),
        1 => json!(dice.roll(9) as f64 / 2.0 - 2.0),
        2 => json!(9_007_199_254_740_990i64 + dice.roll(6) as i64),
        3 => json!(dice.roll(2) == 0),
        4 | 5 => json!(dice.pick(WORDS)),
        6 => json!(dice.pick(DATES)),
        7 => Json::Null,
        _ => place(dice),
    }
}

/// Some lie beyond the poles, and are no places.
fn place(dice: &mut Dice) -> Json {
    let (lat, lon) = (dice.roll(37) as f64 * 5.2 - 93.0, dice.roll(37) as f64 * 10.0 - 180.0);
    json!({"lat": lat, "lon": lon, "alt": dice.roll(3)})
}

fn value(dice: &mut Dice, depth: usize) -> Json {
    match dice.roll(if depth < 3 { 5 } else { 3 }) {
        0..3 => scalar(dice),
        3 => (0..dice.roll(4)).map(|_| value(dice, depth + 1)).collect(),
        _ => Json::Object(object(dice, depth + 1)),
    }
}

fn object(dice: &mut Dice, depth: usize) -> Payload {
    (0..dice.roll(4)).map(|_| (dice.pick(NAMES).to_owned(), value(dice, depth))).collect()
}

fn item(dice: &mut Dice, id: u64) -> Item {
    Item {
        id: ItemId(id),
        key: format!("file:///{}/{}%20x.png", dice.pick(&["a", "A", "b"]), dice.roll(4)),
        hash: ContentHash([0; 32]),
        size: dice.roll(10) as u64,
        width: dice.roll(5) as u32,
        height: dice.roll(5) as u32,
        format: dice.pick(&["jpeg", "png", "tiff"]).to_owned(),
        taken: (dice.roll(2) == 0).then(|| 1_717_000_000 + dice.roll(200_000) as i64 - 100_000),
        captions: (0..dice.roll(3)).map(|_| dice.pick(WORDS).to_owned()).collect(),
        exif: object(dice, 1),
        payload: object(dice, 0),
    }
}

fn field(dice: &mut Dice) -> Field {
    const BUILT_IN: &[&str] = &["width", "height", "size", "format", "taken", "path", "caption"];
    match dice.roll(10) {
        0..3 => Field::named(dice.pick(BUILT_IN)),
        3 => Field::Exif(dice.pick(NAMES).to_owned()),
        4 => Field::Payload(format!("{}.{}", dice.pick(NAMES), dice.pick(&["a", "b", "lat", "alt", "x"]))),
        _ => Field::Payload(dice.pick(NAMES).to_owned()),
    }
}

fn wanted(dice: &mut Dice) -> Value {
    match dice.roll(8) {
        0 => Value::Number(Number::Integer(dice.roll(5) as i64)),
        1 => Value::Number(Number::Real(dice.roll(9) as f64 / 2.0 - 2.0)),
        2 => Value::Number(Number::Integer(9_007_199_254_740_990 + dice.roll(6) as i64)),
        3 => Value::Bool(dice.roll(2) == 0),
        4 => Value::Text(dice.pick(WORDS).to_owned()),
        5 => Value::Text(dice.pick(DATES).to_owned()),
        6 => {
            // Some end before they begin.
            let from = 1_717_000_000 + dice.roll(200_000) as i64 - 100_000;
            Value::Time { from, to: from + dice.roll(100_000) as i64 - 100 }
        }
        _ => {
            let (lat, lon) = (dice.roll(37) as f64 * 5.0 - 90.0, dice.roll(37) as f64 * 10.0 - 180.0);
            let metres = [0.0, -1.0, f64::NAN, 3e5, 2e6, 1.2e7, 3e7][dice.roll(7)];
            Value::Circle(Circle { centre: Place { lat, lon }, metres })
        }
    }
}

fn filter(dice: &mut Dice, depth: usize) -> Filter {
    use Op::*;
    if depth < 3 && dice.roll(2) == 0 {
        let parts = |dice: &mut Dice| (0..dice.roll(4)).map(|_| filter(dice, depth + 1)).collect();
        return match dice.roll(3) {
            0 => Filter::All(parts(dice)),
            1 => Filter::Any(parts(dice)),
            _ => Filter::Not(Box::new(filter(dice, depth + 1))),
        };
    }
    // What users write, in half of the cases; else what only a program would say.
    if dice.roll(2) == 0 {
        let op = dice.pick(&["=", "!=", "<", "<=", ">", ">=", "~", "starts with"]);
        let value = dice.pick(&[
            "3",
            "2024",
            "2024-05",
            "2024-05-31",
            "2024-06-01T01:30Z",
            "blue",
            "\"3\"",
            "lü",
            "true",
        ]);
        if let Ok(filter) = Filter::parse(&format!("{} {op} {value}", field(dice).full_name())) {
            return filter;
        }
    }
    let op = [Eq, Ne, Lt, Le, Gt, Ge, Contains, Prefix, In, Exists, Within][dice.roll(11)];
    let values = (0..dice.roll(3)).map(|_| wanted(dice)).collect();
    Filter::Test(Test { field: field(dice), op, values })
}

/// Rows rise as image slots do, with holes; a row has as many captions as its number's last digit says.
#[test]
fn the_index_answers_as_each_item_does() {
    let seed = std::env::var("EYESHOT_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(17);
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut fields, mut items) = (Fields::default(), BTreeMap::new());
    let slots = |row: u32| (row * 10..row * 10 + row % 10).collect::<Vec<u32>>();
    let mut found = 0;
    for turn in 0..3_000u32 {
        if turn % 10 < 5 && items.len() < 200 {
            let new = item(&mut dice, turn.into());
            fields.insert(turn, &slots(turn), &new);
            items.insert(turn, new);
        } else if let Some(row) = items.keys().copied().nth(dice.roll(items.len().max(1) * 2)) {
            let old = items.remove(&row).expect("it was there");
            fields.remove(row, &old);
        }
        let filter = filter(&mut dice, 0);
        let passing: Vec<u32> = items.iter().filter(|(_, i)| filter.passes(i)).map(|(row, _)| *row).collect();
        let rows = fields.passing(&filter);
        assert_eq!(rows.iter().collect::<Vec<_>>(), passing, "seed {seed}, turn {turn}: {filter:?}");
        let captions: Vec<u32> = passing.iter().flat_map(|row| slots(*row)).collect();
        assert_eq!(fields.captions_of(&rows).iter().collect::<Vec<_>>(), captions, "turn {turn}");
        found += passing.len();
    }
    assert!(found > 10_000, "only {found} items passed: the dice are loaded");
    for (row, old) in items {
        fields.remove(row, &old);
    }
    assert!(fields.all.is_empty() && fields.columns.is_empty(), "{:?}", fields.columns);
}

#[test]
fn a_thousand_values_are_one_condition() {
    let mut fields = Fields::default();
    for row in 0..5_000u32 {
        let mut new = item(&mut Dice(row.into()), row.into());
        new.payload = json!({"n": row, "name": format!("n{row}")}).as_object().cloned().unwrap_or_default();
        fields.insert(row, &[row], &new);
    }
    let list = |prefix: &str| {
        let words: Vec<String> = (0..1_000).map(|n| format!("{prefix}{}", n * 7)).collect();
        words.join(", ")
    };
    for text in [format!("n in ({})", list("")), format!("name in ({})", list("n"))] {
        let passing = fields.passing(&Filter::parse(&text).unwrap());
        assert_eq!(passing.len(), 715, "{}", &text[..20]);
    }
}

#[test]
fn wrong_names_and_types_are_told() {
    let mut fields = Fields::default();
    let check = |fields: &Fields, text: &str| {
        let filter = Filter::parse(text).unwrap();
        fields.check(&filter).map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    assert_eq!(check(&fields, "anything = 1"), "", "an empty collection has no fields to tell from others");
    let mut one = item(&mut Dice(1), 1);
    one.taken = None;
    one.exif = json!({"iso": 100}).as_object().cloned().unwrap();
    let payload = json!({"colour": "blue", "count": [3, "many"], "scan": {"dpi": 600, "at": "2024-05-31"}});
    one.payload = payload.as_object().cloned().unwrap();
    fields.insert(1, &[], &one);
    for (text, parts) in [
        ("colour = red", vec![]),
        ("taken > 2024 or width > 1000", vec![]),
        ("scan exists", vec![]),
        ("colr = 1", vec!["no item has a field \"colr\"", "colour, count, scan.at, scan.dpi;", "exif.iso;"]),
        ("colr exists", vec!["no item has a field"]),
        ("width > 0 and exif.lens ~ mm", vec!["no item has a field \"exif.lens\"", "exif.iso"]),
        ("colour > 3", vec!["\"colour\" holds text", "a number is of another type"]),
        ("count = true", vec!["\"count\" holds numbers or text", "true or false is of another type"]),
        ("scan.at ~ 2024 or scan.at = 3", vec!["\"scan.at\" holds dates"]),
        ("colour within 5 km of 1, 2", vec!["holds text", "a distance from a place"]),
        ("scan = 600", vec!["\"scan\" holds other fields", "scan.at, scan.dpi"]),
    ] {
        let error = check(&fields, text);
        assert_eq!(parts.is_empty(), error.is_empty(), "{text}: {error}");
        parts.iter().for_each(|part| assert!(error.contains(part), "{text}: {error}"));
    }
}

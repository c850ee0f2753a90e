use super::*;
use crate::types::{ContentHash, ItemId};
use serde_json::json;

fn item() -> Item {
    let payload = json!({
        "background": "blue", "count": 3, "objects": ["cat", "red car"], "outdoors": true,
        "serial": 9_007_199_254_740_993i64, "shot": "2024-05-31T23:30:00-02:00", "day": "2024-05-31",
        "month": "2024-05", "batch": "2024-05-31-b", "scan": {"dpi": 600, "by": {"name": "Ada"}, "dotted.key": 1},
        "places": [{"lat": 51.5055, "lon": -0.0754}, {"lat": 95.0, "lon": 0.0}],
        "parts": [{"name": "wing", "holes": [1, 2]}, {"name": "tail"}], "nothing": null, "empty": {},
    });
    Item {
        id: ItemId(7),
        key: "file:///pictures/summer%20trip/a.jpg".into(),
        hash: ContentHash::of(b""),
        size: 2048,
        width: 640,
        height: 480,
        format: "jpeg".into(),
        taken: Some(1_717_000_000), // 2024-05-29T16:26:40
        captions: vec!["Three cats".into(), "cats on a blue background".into()],
        exif: object(json!({"camera": "Canon EOS R5", "gps": {"lat": 48.8606, "lon": 2.3376, "alt": 35.5}})),
        payload: object(payload),
    }
}

fn object(json: serde_json::Value) -> crate::types::Payload {
    json.as_object().cloned().unwrap_or_default()
}

#[test]
fn conditions_hold_or_not() {
    let check = |text: &str, wanted: bool| match Filter::parse(text) {
        Ok(filter) => assert_eq!(filter.passes(&item()), wanted, "{text}"),
        Err(error) => panic!("{text}: {error}"),
    };
    for text in [
        "width >= 640",
        "width=640 and height<481",
        "format = JPG",
        "background = blue",
        "background=\"blue\"",
        "background != red",
        "count in (2, 3)",
        "count > 2.5",
        "objects = cat",
        "objects = \"red car\"",
        "outdoors = true",
        "taken >= 2024",
        "taken = 2024-05",
        "taken = 2024-05-29",
        "taken <= 2024-05-29",
        "taken < 2024-05-30",
        "taken = 2024-05-29T16:26",
        "caption contains CATS",
        "caption ~ 'blue background'",
        "path contains \"summer trip\"",
        "path starts with /pictures/",
        "size > 2000 and not (background = red or count = 1)",
        "background exists",
        "not missing exists",
        "background = red or count = 3 and width = 640",
        "serial = 9007199254740993",
        "serial > 9007199254740992",
        "count = 3.0",
        "shot = 2024-06-01",
        "shot = 2024-06-01T01:30:00Z",
        "shot = 2024-06-01T03:30+02:00",
        "shot >= 2024-06 and shot < 2024-06-01T02:00",
        "shot > 2023",
        "shot != 2024-05-31",
        "shot = \"2024-05-31T23:30:00-02:00\"",
        "shot starts with 2024-05-31",
        "day = 2024-05-31",
        "day in (2023, 2024-05)",
        "day <= 2024-05",
        "month = 2024-05",
        "batch > 2024-05-31",
        "taken = 2024-05-29T16:26:40+05:00",
        "scan.dpi >= 300",
        "scan.by.name = Ada",
        "scan.dotted.key = 1",
        "scan exists and scan.by exists",
        "parts.name = tail and parts.holes = 2",
        "exif.camera contains canon",
        "exif.gps exists",
        "exif.gps.alt > 35",
        "exif.gps within 4 km of 48.8584, 2.2945",
        "exif.gps within 3km of (48.8584 2.3)",
        "exif.gps within 2.5 mi of 48.8584, 2.2945 and count = 3",
        "not exif.gps within 3100 m of 48.8584, 2.2945",
        "places within 1 km of 51.5055, -0.0754",
    ] {
        check(text, true);
    }
    for text in [
        "width > 640",
        "background = Blue",
        "background != blue",
        "objects != cat",
        "missing = 1",
        "missing != 1",
        "count = \"3\"",
        "taken > 2024",
        "taken > 2024-05-29",
        "taken = 2023",
        "(background = red or count = 3) and width = 1",
        "not outdoors = true",
        "serial = 9007199254740992",
        "serial != 9007199254740993",
        "day > 2024-05",
        "day = \"2024-05\"",
        "nothing exists",
        "empty exists",
        "scan.d exists",
        "scan = 600",
        "exif.gps = 48.8606",
        "count within 5 km of 48.8584, 2.2945",
        "places within 1 km of 0, 0",
    ] {
        check(text, false);
    }
}

#[test]
fn nonsense_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "empty"),
        ("width", "not compared"),
        ("width >", "ends where a value"),
        ("width > tall", "no number"),
        ("width contains 6", "no text"),
        ("taken = yesterday", "no date"),
        ("width ? 3", "no comparison"),
        ("(width > 3", "not closed"),
        ("a = \"b", "not closed"),
        ("width > 3 height > 4", "comes where"),
        ("count in 3", "parentheses"),
        ("= 3", "field's name"),
        ("and", "not compared"),
        ("gps within 5 km", "within 5 km of"),
        ("gps within 5 of 1, 2", "within 5 km of"),
        ("gps within 5 ly of 1, 2", "within 5 km of"),
        ("gps within km of 1, 2", "within 5 km of"),
        ("gps within 5 km of here", "within 5 km of"),
        ("gps within 5 km of 91, 2", "latitude comes first"),
        ("gps within 5 km of 1, 181", "longitude, from -180"),
        ("gps within 0 m of 1, 2", "more than 0"),
        ("gps within -1 m of 1, 2", "more than 0"),
        ("gps within nanm of 1, 2", "within 5 km of"),
        ("gps within 5 km of (1, 2", "not closed"),
        ("width within 5 km of 1, 2", "no place"),
        ("taken = 2024-05-32", "no date"),
    ] {
        match Filter::parse(text) {
            Ok(filter) => panic!("{text:?} became {filter:?}"),
            Err(error) => assert!(error.to_string().contains(reason), "{text:?}: {error}"),
        }
    }
}

#[test]
fn nesting_has_an_end() {
    for open in ["(", "not "] {
        let deep =
            |n: usize| format!("{}a = 1{}", open.repeat(n), ")".repeat(if open == "(" { n } else { 0 }));
        assert!(Filter::parse(&deep(50)).is_ok());
        let error = Filter::parse(&deep(100_000)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("within one another"), "{error}");
    }
}

use super::*;
use crate::types::{ContentHash, ItemId};
use serde_json::json;

fn item() -> Item {
    let payload = json!({"background": "blue", "count": 3, "objects": ["cat", "red car"], "outdoors": true});
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
        exif: Default::default(),
        payload: payload.as_object().cloned().unwrap_or_default(),
    }
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
    ] {
        match Filter::parse(text) {
            Ok(filter) => panic!("{text:?} became {filter:?}"),
            Err(error) => assert!(error.to_string().contains(reason), "{text:?}: {error}"),
        }
    }
}

#[test]
fn a_wrong_type_is_told_from_a_value_that_is_absent() {
    let met = |text: &str| {
        let mut met = Met::default();
        for test in Filter::parse(text).expect(text).tests() {
            test.meet(&item(), &mut met);
        }
        (met.field, met.comparable)
    };
    assert_eq!(met("count = 3"), (true, true));
    assert_eq!(met("count = many"), (true, false));
    assert_eq!(met("nothing = 3"), (false, false));
}

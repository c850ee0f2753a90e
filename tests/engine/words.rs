//! Searching for the very words of captions and file names, and that they never lag behind the store.

use crate::support::{Home, picture};
use eyeshot::ingest::IndexOptions;
use eyeshot::types::{Filter, Query, Side, Term, TermKind};

fn names(home: &Home, texts: &[(&str, f32)], side: Side, filter: Option<&str>) -> Vec<String> {
    let term = |(text, weight): &(&str, f32)| Term { kind: TermKind::Text((*text).into()), weight: *weight };
    let mut query = Query::new(texts.iter().map(term).collect());
    query.side = side;
    query.filter = filter.map(|filter| Filter::parse(filter).unwrap());
    let hits = home.collection.query(&query).unwrap();
    hits.iter().map(|hit| hit.key.rsplit('/').next().unwrap().to_owned()).collect()
}

fn words(home: &Home, text: &str) -> Vec<String> {
    names(home, &[(text, 1.0)], Side::Words, None)
}

#[test]
fn words_follow_what_is_written_and_removed() {
    let home = Home::new();
    home.write("IMG_0001.png", picture(1));
    home.write("IMG_0002.png", picture(2));
    home.write("IMG_0002.txt", "a lighthouse at dusk");
    home.write("trip/IMG_0003.png", picture(3));
    home.write("trip/IMG_0003.json", r#"{"captions": ["a lighthouse"], "year": 2020}"#);
    home.index(&IndexOptions::default());
    assert_eq!(words(&home, "img_0001"), ["IMG_0001.png", "IMG_0002.png", "IMG_0003.png"]);
    assert_eq!(words(&home, "0002"), ["IMG_0002.png"]);
    assert_eq!(
        words(&home, "Lighthouse"),
        ["IMG_0003.png", "IMG_0002.png"],
        "the shorter caption says it louder"
    );
    assert_eq!(words(&home, "trip"), ["IMG_0003.png"]);
    assert_eq!(names(&home, &[("lighthouse", 1.0)], Side::Words, Some("year = 2020")), ["IMG_0003.png"]);
    assert_eq!(names(&home, &[("lighthouse", 1.0), ("dusk", -1.0)], Side::Words, None), ["IMG_0003.png"]);

    // All sides together: a name that only words can find comes first, and all others are there too.
    assert_eq!(names(&home, &[("0002", 1.0)], Side::All, None).len(), 3);

    // From here on the index of words exists, and must follow.
    home.write("IMG_0002.txt", "a windmill");
    home.write("IMG_0004.png", picture(4));
    home.write("IMG_0004.txt", "a lighthouse");
    home.remove("trip/IMG_0003.png");
    home.index(&IndexOptions { prune: true, ..IndexOptions::default() });
    assert_eq!(words(&home, "lighthouse"), ["IMG_0004.png"]);
    assert_eq!(words(&home, "windmill"), ["IMG_0002.png"]);
    assert_eq!(words(&home, "trip"), [""; 0]);
    home.collection.remove_keys(&[home.key("IMG_0004.png")]).unwrap();
    assert_eq!(words(&home, "lighthouse"), [""; 0]);
}

#[test]
fn words_without_words_are_refused() {
    let home = Home::new();
    home.write("a.png", picture(1));
    home.index(&IndexOptions::default());
    let image = Term { kind: TermKind::Image(picture(1)), weight: 1.0 };
    let query = Query { side: Side::Words, ..Query::new(vec![image.clone()]) };
    let said = home.collection.query(&query).unwrap_err().to_string();
    assert!(said.contains("no words"), "{said}");
    assert_eq!(words(&home, "!?"), [""; 0], "signs are no words");
    // Where words are one side among others, a picture does without.
    let query = Query { side: Side::All, ..Query::new(vec![image]) };
    assert_eq!(home.collection.query(&query).unwrap().len(), 1);
}

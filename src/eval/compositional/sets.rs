//! Where sets of four pictures come from: sidecars of `training/scenes.py --sets`, or What's Up's own files.

use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What What's Up names a picture by, and its place in the set; opposites stand side by side.
const RELATIONS: [(&str, usize); 6] =
    [("_left_of_", 0), ("_right_of_", 1), ("_on_", 2), ("_under_", 3), ("_in-front_of_", 2), ("_behind_", 3)];
/// Files of What's Up: the same in the folder and in its `data`.
const WHATS_UP: [&str; 2] = ["controlled_images_dataset.json", "controlled_clevr_dataset.json"];

/// A picture and its choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// Which set it belongs to.
    pub set: String,
    /// What the pictures of its set differ in.
    pub contrast: String,
    /// The captions to choose from.
    pub choices: Vec<String>,
    /// Which of them is true.
    pub answer: usize,
    /// Which of them says the opposite.
    pub opposite: Option<usize>,
    /// Its place in the set, from 0 to 3: 0 and 1 are opposites, and 2 and 3.
    pub place: usize,
}

/// What a sidecar says of a set.
#[derive(Deserialize)]
struct Card {
    set: Value,
    contrast: String,
    choices: Vec<String>,
    answer: usize,
}

/// An entry of What's Up's files; the first option is true.
#[derive(Deserialize)]
struct Entry {
    image_path: PathBuf,
    caption_options: Vec<String>,
}

/// The pictures of `place`: a folder from `training/scenes.py --sets`, a folder of What's Up, or one of its json files.
pub fn read(place: &Path) -> Result<Vec<Picture>> {
    let mut pictures = match place.is_file() {
        true => whats_up(place)?,
        false => of_folder(place)?,
    };
    if pictures.is_empty() {
        let what = format!("{}: no sets of pictures", place.display());
        let fix = "give a folder from training/scenes.py --sets, or one with What's Up's controlled_images_dataset.json";
        return Err(Error::invalid(what, fix));
    }
    pictures.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(pictures)
}

fn of_folder(folder: &Path) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for file in
        [folder.to_owned(), folder.join("data")].iter().flat_map(|dir| WHATS_UP.map(|name| dir.join(name)))
    {
        if file.is_file() {
            pictures.extend(whats_up(&file)?);
        }
    }
    if !pictures.is_empty() {
        return Ok(pictures);
    }
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            pictures.extend(of_sidecar(&path)?);
        }
    }
    Ok(pictures)
}

/// The picture beside a sidecar that names a set; None where it names none.
fn of_sidecar(file: &Path) -> Result<Option<Picture>> {
    let wrong = |why: String| {
        Error::invalid(format!("{}: {why}", file.display()), "see training/README.md for its fields")
    };
    let value: Value = json(file)?;
    if value.get("set").is_none() {
        return Ok(None);
    }
    let card: Card = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
    if card.answer >= card.choices.len() {
        return Err(wrong(format!("answer {} of {} choices", card.answer, card.choices.len())));
    }
    let image = ["jpg", "jpeg", "png", "webp"].map(|extension| file.with_extension(extension));
    let image = image.into_iter().find(|image| image.is_file());
    Ok(Some(Picture {
        path: image.ok_or_else(|| wrong("there is no picture beside it".into()))?,
        set: card.set.to_string(),
        contrast: card.contrast,
        opposite: Some(card.answer ^ 1).filter(|opposite| *opposite < card.choices.len()),
        choices: card.choices,
        answer: card.answer,
        place: card.answer,
    }))
}

fn whats_up(file: &Path) -> Result<Vec<Picture>> {
    let entries: Vec<Entry> = json(file)?;
    let kind = file.file_stem().unwrap_or_default().to_string_lossy().trim_end_matches("_dataset").to_owned();
    entries.into_iter().map(|entry| of_entry(file, &kind, entry)).collect()
}

fn of_entry(file: &Path, kind: &str, entry: Entry) -> Result<Picture> {
    let shown = entry.image_path.display().to_string();
    let wrong = |why: &str| {
        Error::invalid(format!("{}: {shown}: {why}", file.display()), "see What's Up's data layout")
    };
    let name = entry.image_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let relation =
        RELATIONS.iter().find_map(|(words, place)| Some((name.split_once(words)?, *words, *place)));
    let ((a, b), words, place) = relation.ok_or_else(|| wrong("its name tells no relation"))?;
    if entry.caption_options.len() < 2 {
        return Err(wrong("it has no captions to choose from"));
    }
    let path = find(file, &entry.image_path).ok_or_else(|| wrong("the picture is not there"))?;
    // "a mug on a plate" and "a mug under a plate": the options come in any order behind the true one.
    let other = RELATIONS.iter().filter(|(other, at)| *at == (place ^ 1) && front(other) == front(words));
    let other = other.map(|(words, _)| words.replace(['_', '-'], " ")).next();
    let opposite =
        other.and_then(|words| entry.caption_options.iter().position(|o| o.contains(words.as_str())));
    Ok(Picture {
        path,
        set: format!("{kind} {a} {}", b.rsplit_once('.').map_or(b, |(stem, _)| stem)),
        contrast: kind.to_owned(),
        choices: entry.caption_options,
        answer: 0,
        opposite: opposite.filter(|at| *at != 0),
        place,
    })
}

/// Whether a relation goes into depth: its opposite does too.
fn front(words: &str) -> bool {
    words.contains("front") || words.contains("behind")
}

/// The picture, whose path is written from What's Up's root, from its data folder, or from wherever it was moved with the file.
fn find(file: &Path, image: &Path) -> Option<PathBuf> {
    let beside = file.parent()?;
    let inner = image.strip_prefix("data").unwrap_or(image);
    let above = beside.parent().map(|root| root.join(image));
    [Some(beside.join(image)), Some(beside.join(inner)), above]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
}

fn json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
    let wrong = |e: serde_json::Error| {
        Error::invalid(format!("{}: {e}", file.display()), "expected JSON of another form")
    };
    serde_json::from_slice(&bytes).map_err(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whats_up_is_read_as_it_is_published() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        std::fs::create_dir_all(data.join("controlled_images")).unwrap();
        let words = ["left_of", "right_of", "on", "under"];
        let text = |word: &str| format!("A mug {} a side table", word.replace('_', " "));
        let entries: Vec<Value> = words
            .iter()
            .map(|word| {
                let path = format!("data/controlled_images/mug_{word}_side-table.jpeg");
                std::fs::write(home.path().join(&path), b"").unwrap();
                let others = words.iter().filter(|other| *other != word);
                let options: Vec<String> = [word].into_iter().chain(others).map(|w| text(w)).collect();
                serde_json::json!({ "image_path": path, "caption_options": options })
            })
            .collect();
        std::fs::write(data.join(WHATS_UP[0]), serde_json::to_vec(&entries).unwrap()).unwrap();
        for place in [home.path().to_owned(), data.clone(), data.join(WHATS_UP[0])] {
            let pictures = read(&place).unwrap();
            assert_eq!(pictures.len(), 4);
            for picture in &pictures {
                let word = words[picture.place];
                assert_eq!(picture.choices[picture.answer], text(word));
                assert_eq!(picture.choices[picture.opposite.unwrap()], text(words[picture.place ^ 1]));
                assert_eq!(picture.set, "controlled_images mug side-table");
            }
        }
    }

    #[test]
    fn sidecars_name_sets() {
        let home = tempfile::tempdir().unwrap();
        let card =
            serde_json::json!({"set": 3, "contrast": "count", "choices": ["1", "2", "3", "4"], "answer": 2});
        std::fs::write(home.path().join("a.json"), card.to_string()).unwrap();
        std::fs::write(home.path().join("b.json"), r#"{"captions": ["no set"]}"#).unwrap();
        assert!(read(home.path()).unwrap_err().to_string().contains("no picture beside"));
        std::fs::write(home.path().join("a.jpg"), b"").unwrap();
        let pictures = read(home.path()).unwrap();
        let one = &pictures[0];
        assert_eq!((pictures.len(), one.place, one.opposite, one.set.as_str()), (1, 2, Some(3), "3"));
        std::fs::write(home.path().join("a.json"), card.to_string().replace("\"answer\":2", "\"answer\":4"))
            .unwrap();
        assert!(read(home.path()).unwrap_err().to_string().contains("answer 4 of 4"));
        std::fs::remove_file(home.path().join("a.json")).unwrap();
        assert!(read(home.path()).unwrap_err().to_string().contains("no sets"));
    }
}

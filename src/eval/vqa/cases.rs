//! Questions and their right answers: our own `questions.jsonl`, or the json files of VQAv2 and GQA.

use super::score::Right;
use crate::error::{Error, Result};
use crate::types::uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// A question and what answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What is asked.
    pub question: String,
    /// What kind of question it is.
    pub kind: String,
    /// What is right.
    pub right: Right,
    /// The keys of the images that it is about.
    pub relevant: HashSet<String>,
    /// Whether the images tell.
    pub answerable: bool,
    /// The image that it is asked about, where the data set says so: nothing is searched then.
    pub about: Option<PathBuf>,
}

/// A line of `questions.jsonl`.
#[derive(Deserialize)]
struct Line {
    question: String,
    r#type: String,
    answers: Vec<String>,
    relevant: Vec<PathBuf>,
    answerable: bool,
}

/// VQAv2's questions (Goyal et al. 2017, arXiv:1612.00837).
#[derive(Deserialize)]
struct Questions {
    questions: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    question_id: u64,
    image_id: u64,
    question: String,
}

/// VQAv2's answers: those of ten people.
#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: u64,
    answer_type: String,
    answers: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    answer: String,
}

/// A question of GQA (Hudson & Manning 2019, arXiv:1902.09506), under its id.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gqa {
    image_id: String,
    question: String,
    answer: String,
    #[serde(default)]
    types: HashMap<String, Option<String>>,
}

/// The cases of `folder`: those of `file`, of its `questions.jsonl`, or of the json files of VQAv2 or GQA in it.
pub fn read(folder: &Path, file: Option<&Path>) -> Result<Vec<Case>> {
    let folder = folder.canonicalize().map_err(|e| Error::io(folder, e))?;
    let own = file.map_or_else(|| folder.join("questions.jsonl"), Path::to_owned);
    let cases =
        if own.is_file() || file.is_some() { own_cases(&own, &folder)? } else { of_data_set(&folder)? };
    if cases.is_empty() {
        let what = format!("{}: no questions", folder.display());
        let fix = "give a folder with questions.jsonl, with VQAv2's *questions*.json and *annotations*.json, or with GQA's \
                   *questions*.json, and the images";
        return Err(Error::invalid(what, fix));
    }
    Ok(cases)
}

fn own_cases(file: &Path, folder: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let case = |(at, line): (usize, &str)| {
        let line: Line = serde_json::from_str(line).map_err(|e| {
            let fix = "each line is {\"question\", \"type\", \"answers\": [...], \"relevant\": [PATH, ...], \"answerable\"}";
            Error::invalid(format!("{}:{}: {e}", file.display(), at + 1), fix)
        })?;
        let relevant = line.relevant.iter().map(|path| uri::path_to_uri(&folder.join(path)));
        let right = match (line.answerable, line.answers.is_empty()) {
            (false, _) => Right::Refused,
            (true, true) => Right::Cited,
            (true, false) => Right::Any(line.answers),
        };
        Ok(Case {
            question: line.question,
            kind: line.r#type,
            right,
            relevant: relevant.collect::<Result<_>>()?,
            answerable: line.answerable,
            about: None,
        })
    };
    lines.map(case).collect()
}

/// VQAv2 where there are annotations, else GQA.
fn of_data_set(folder: &Path) -> Result<Vec<Case>> {
    let files = json_files(folder)?;
    let named = |part: &'static str| {
        files.iter().filter(move |path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().contains(part))
        })
    };
    let images = images(folder)?;
    let mut annotations: BTreeMap<u64, Annotation> = BTreeMap::new();
    for file in named("annotations") {
        annotations
            .extend(parse::<Annotations>(file)?.annotations.into_iter().map(|one| (one.question_id, one)));
    }
    let mut cases = Vec::new();
    for file in named("questions") {
        if annotations.is_empty() {
            let asked: BTreeMap<String, Gqa> = parse(file)?;
            cases.extend(asked.into_values().filter_map(|one| of_gqa(one, &images)));
        } else {
            let asked = parse::<Questions>(file)?.questions.into_iter();
            cases.extend(asked.filter_map(|one| of_vqa(annotations.get(&one.question_id)?, &one, &images)));
        }
    }
    Ok(cases)
}

/// One whose image is not there is left out: folders often hold a part of the images.
fn of_vqa(annotation: &Annotation, asked: &Asked, images: &HashMap<String, PathBuf>) -> Option<Case> {
    let number = asked.image_id.to_string();
    let image = images.iter().find(|(stem, _)| {
        stem.rsplit('_').next().is_some_and(|digits| digits.trim_start_matches('0') == number)
    });
    let answers = annotation.answers.iter().map(|given| given.answer.clone()).collect();
    of_image(asked.question.clone(), annotation.answer_type.clone(), Right::People(answers), image?.1)
}

fn of_gqa(one: Gqa, images: &HashMap<String, PathBuf>) -> Option<Case> {
    let kind = one.types.get("structural").cloned().flatten().unwrap_or_else(|| "gqa".to_owned());
    of_image(one.question, kind, Right::Any(vec![one.answer]), images.get(&one.image_id)?)
}

fn of_image(question: String, kind: String, right: Right, image: &Path) -> Option<Case> {
    let relevant = HashSet::from([uri::path_to_uri(image).ok()?]);
    Some(Case { question, kind, right, relevant, answerable: true, about: Some(image.to_owned()) })
}

fn parse<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let fix = "VQAv2's questions need its annotations beside them; GQA's files map ids to questions";
        Error::invalid(format!("{}: {e}", file.display()), fix)
    })
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        files.extend(Some(path).filter(|path| path.extension().is_some_and(|end| end == "json")));
    }
    files.sort();
    Ok(files)
}

/// The images of the folder and of those within it, by stem.
fn images(folder: &Path) -> Result<HashMap<String, PathBuf>> {
    let mut images = HashMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let path = entry.map_err(|e| Error::io(&folder, e))?.path();
            let end = path.extension().map(|end| end.to_string_lossy().to_lowercase());
            if path.is_dir() {
                folders.push(path);
            } else if let (Some("jpg" | "jpeg" | "png" | "webp"), Some(stem)) =
                (end.as_deref(), path.file_stem())
            {
                images.insert(stem.to_string_lossy().into_owned(), path.clone());
            }
        }
    }
    Ok(images)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn three_layouts_are_read() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
        let only = || read(home.path(), None).unwrap().pop().unwrap();
        std::fs::create_dir(home.path().join("val")).unwrap();
        write("val/COCO_val2014_000000000042.jpg", "");
        write("val/n7.jpg", "");
        write(
            "testdev_questions.json",
            r#"{"1": {"imageId": "n7", "question": "Is it?", "answer": "yes", "types": {"structural": "verify"}}}"#,
        );
        let gqa = only();
        assert_eq!((gqa.kind.as_str(), gqa.right), ("verify", Right::Any(vec!["yes".into()])));
        assert!(gqa.about.unwrap().ends_with("val/n7.jpg"));
        write(
            "testdev_questions.json",
            r#"{"questions": [{"question_id": 1, "image_id": 42, "question": "How many?"}, {"question_id": 2, "image_id": 9, "question": "No image"}]}"#,
        );
        write(
            "annotations.json",
            r#"{"annotations": [{"question_id": 1, "answer_type": "number", "answers": [{"answer": "2"}, {"answer": "3"}]}, {"question_id": 2, "answer_type": "other", "answers": []}]}"#,
        );
        let vqa = read(home.path(), None).unwrap();
        assert_eq!(vqa.len(), 1, "the image of the other is not there");
        assert_eq!(vqa[0].right, Right::People(vec!["2".into(), "3".into()]));
        write(
            "questions.jsonl",
            r#"{"question": "Which?", "type": "which", "answers": [], "relevant": ["val/n7.jpg"], "answerable": true}"#,
        );
        assert_eq!((only().right, only().about), (Right::Cited, None));
        write("questions.jsonl", "{}");
        assert!(read(home.path(), None).unwrap_err().to_string().contains("questions.jsonl:1"));
    }
}

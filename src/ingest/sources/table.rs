//! Lists of images as they are written: CSV, TSV, JSON lines, Parquet, plain lines. Each row names an image and may say things of it.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// Columns that name the image, the first that is there.
const NAMES: [&str; 8] = ["url", "image_url", "uri", "key", "image", "path", "file", "file_name"];
/// Columns that hold a caption.
const CAPTIONS: [&str; 4] = ["caption", "captions", "text", "top_caption"];
/// The longest row, in bytes.
const LONGEST: u64 = 4 << 20;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// Tab-separated, with a header.
    Tsv,
    /// A JSON object a line.
    JsonLines,
    /// A name a line.
    Lines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// By a name's ending.
    pub fn of(name: &str) -> Option<Format> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            "txt" | "list" => Some(Format::Lines),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// What names the image.
    pub name: String,
    /// What is said of it: `captions`, and the other columns.
    pub said: Map<String, Value>,
}

type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

/// The rows of a list in a file. A row that cannot be read is an error in its place; the rest follows, where a rest can be found.
pub(super) fn of_file(file: File, format: Format) -> Result<Rows> {
    match format {
        Format::Parquet => parquet(file),
        _ => of_stream(Box::new(file), format),
    }
}

/// The same from a stream, which Parquet cannot be read from.
pub(super) fn of_stream(stream: Box<dyn Read + Send>, format: Format) -> Result<Rows> {
    match format {
        Format::Csv => separated(stream, b','),
        Format::Tsv => separated(stream, b'\t'),
        Format::JsonLines => Ok(Box::new(lines(stream).map(|line| line.and_then(|line| of_json(&line))))),
        Format::Lines => {
            Ok(Box::new(lines(stream).map(|line| line.map(|name| Row { name, said: Map::new() }))))
        }
        Format::Parquet => Err(Error::invalid("Parquet on standard input", "write it to a file first")),
    }
}

fn separated(stream: Box<dyn Read + Send>, by: u8) -> Result<Rows> {
    let wrong = |e: csv::Error| Error::image(format!("the table cannot be read: {e}"));
    let mut reader =
        csv::ReaderBuilder::new().delimiter(by).flexible(true).from_reader(BufReader::new(stream));
    let columns: Vec<String> = reader
        .headers()
        .map_err(wrong)?
        .iter()
        .map(|c| c.trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let named = |wanted: &str| columns.iter().any(|c| c.eq_ignore_ascii_case(wanted));
    if !NAMES.iter().any(|name| named(name)) {
        let what = format!("a list with columns {}", columns.join(", "));
        return Err(Error::invalid(what, "its first line has to name a column `url` (or `path`)"));
    }
    Ok(Box::new(reader.into_records().map(move |record| {
        let record = record.map_err(wrong)?;
        let cells = columns.iter().zip(record.iter()).filter(|(_, cell)| !cell.is_empty());
        of_cells(cells.map(|(column, cell)| (column.clone(), typed(cell))).collect())
    })))
}

/// A number or a truth value where a cell is written as one; a leading zero or a plus makes it a text, such as a postal code.
fn typed(cell: &str) -> Value {
    let plain =
        !(cell.starts_with('+') || cell.starts_with('0') && cell.len() > 1 && !cell.starts_with("0."));
    match cell.parse::<Value>() {
        Ok(value) if (value.is_number() && plain) || value.is_boolean() => value,
        _ => Value::String(cell.to_owned()),
    }
}

fn lines(stream: Box<dyn Read + Send>) -> impl Iterator<Item = Result<String>> + Send {
    let mut reader = BufReader::new(stream);
    std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            match (&mut reader).take(LONGEST).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) => return Some(Err(Error::image(format!("the list cannot be read: {e}")))),
            }
            let text = String::from_utf8_lossy(&line).trim().trim_start_matches('\u{feff}').to_owned();
            if !text.is_empty() && !text.starts_with('#') {
                return Some(Ok(text));
            }
        }
    })
}

/// One line of JSON.
pub(super) fn of_json(line: &str) -> Result<Row> {
    match serde_json::from_str(line) {
        Ok(Value::Object(cells)) => of_cells(cells),
        Ok(_) => Err(Error::image(format!("not a JSON object: {line}"))),
        Err(e) => Err(Error::image(format!("not JSON: {e}: {line}"))),
    }
}

/// Parts what names the image from what is said of it.
fn of_cells(mut cells: Map<String, Value>) -> Result<Row> {
    let mut take = |wanted: &[&str]| {
        let found =
            wanted.iter().find_map(|name| cells.keys().find(|c| c.eq_ignore_ascii_case(name)).cloned());
        found.and_then(|column| cells.shift_remove(&column))
    };
    let name = match take(&NAMES) {
        Some(Value::String(name)) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => return Err(Error::image("a row without a `url` (or `path`)")),
    };
    if let Some(captions) = take(&CAPTIONS).filter(|c| !c.is_null()) {
        cells.insert("captions".to_owned(), captions);
    }
    cells.retain(|_, value| !value.is_null());
    Ok(Row { name, said: cells })
}

fn parquet(file: File) -> Result<Rows> {
    use ::parquet::file::reader::SerializedFileReader;
    let wrong =
        |e: ::parquet::errors::ParquetError| Error::image(format!("the Parquet file cannot be read: {e}"));
    let rows = SerializedFileReader::new(file).map_err(wrong)?.into_iter();
    Ok(Box::new(rows.map(move |row| match row.map_err(wrong)?.to_json_value() {
        Value::Object(cells) => of_cells(cells),
        _ => Err(Error::image("a Parquet row that is no record")),
    })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &'static str, format: Format) -> Vec<Result<Row, String>> {
        let rows = of_stream(Box::new(text.as_bytes()), format).unwrap();
        rows.map(|row| row.map_err(|e| e.to_string())).collect()
    }

    fn row(name: &str, said: Value) -> Result<Row, String> {
        Ok(Row { name: name.to_owned(), said: said.as_object().unwrap().clone() })
    }

    #[test]
    fn tables_say_where_images_are() {
        let csv =
            "\u{feff}URL,TEXT,width,zip\nhttp://a/1.jpg,\"a cat, \"\"red\"\"\",640,01234\n,x,1,2\nb.png,,,\n";
        let found = read(csv, Format::Csv);
        assert_eq!(
            found[0],
            row("http://a/1.jpg", json!({"width": 640, "zip": "01234", "captions": "a cat, \"red\""}))
        );
        assert!(found[1].is_err());
        assert_eq!(found[2], row("b.png", json!({})));
        let jsonl = "{\"path\": \"a.jpg\", \"caption\": [\"x\", \"y\"], \"n\": null}\n\nnonsense\n[1]\n";
        let found = read(jsonl, Format::JsonLines);
        assert_eq!(found[0], row("a.jpg", json!({"captions": ["x", "y"]})));
        assert!(found[1].is_err() && found[2].is_err() && found.len() == 3);
        assert_eq!(
            read("# images\n a.jpg \r\n\nb c.png", Format::Lines),
            [row("a.jpg", json!({})), row("b c.png", json!({}))]
        );
        assert!(of_stream(Box::new("a,b\n1,2\n".as_bytes()), Format::Csv).is_err());
    }
}

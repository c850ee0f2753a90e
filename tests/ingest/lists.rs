//! Lists of images as sources, through the program: Parquet, CSV, JSON lines, plain lines, standard input; and local tars.

use crate::common::{eyeshot, picture, run, tiny_clip};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("p")).unwrap();
    (0..8).for_each(|n| picture(&home.path().join(format!("p/{n}.png")), n));
    home
}

fn index(home: &Path, collection: &str, sources: &[&str], stdin: &str) -> (i32, Value) {
    let mut command = eyeshot(home);
    command.args(["index", "--json", "-c", collection, "--model", tiny_clip().to_str().unwrap()]);
    let command = command.args(sources).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or("null").to_owned();
    (output.status.code().unwrap(), serde_json::from_str(&last).unwrap())
}

/// By file name: an item's first caption, and its payload.
fn items(home: &Path, collection: &str) -> BTreeMap<String, (Value, Value)> {
    let args = ["search", "--json", "-c", collection, "--image", "p/0.png", "-t", "100"];
    let hits = run(home, args).expect(0).json();
    let one = |hit: &Value| {
        let name = hit["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (name, (hit["captions"][0].clone(), hit["payload"].clone()))
    };
    hits.iter().map(one).collect()
}

fn parquet_file(path: &Path, rows: &[(&str, Option<&str>, i64)]) {
    let schema = "message list { REQUIRED BYTE_ARRAY url (UTF8); OPTIONAL BYTE_ARRAY caption (UTF8); REQUIRED INT64 year; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let urls: Vec<ByteArray> = rows.iter().map(|row| row.0.into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&urls, None, None).unwrap();
    column.close().unwrap();
    let captions: Vec<ByteArray> = rows.iter().filter_map(|row| row.1).map(ByteArray::from).collect();
    let there: Vec<i16> = rows.iter().map(|row| i16::from(row.1.is_some())).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&captions, Some(&there), None).unwrap();
    column.close().unwrap();
    let years: Vec<i64> = rows.iter().map(|row| row.2).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&years, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn every_kind_of_list_is_read() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    parquet_file(&at("a.parquet"), &[("p/0.png", Some("zero"), 1999), ("p/1.png", None, 2000)]);
    fs::write(at("b.csv"), "path,caption,year\np/0.png,\"zero, quoted\",1999\np/9.png,gone,1\n").unwrap();
    fs::write(
        at("c.jsonl"),
        "{\"url\": \"p/0.png\", \"caption\": [\"zero\", \"null\"], \"year\": 1999}\nnonsense\n",
    )
    .unwrap();
    fs::write(at("d.txt"), "# some\np/0.png\n\np/1.png\n").unwrap();
    let whole = format!("{}\n{{\"url\": \"p/2.png\", \"caption\": \"two\"}}\n", at("p/1.png").display());
    let cases: [(&str, &str, i32, &[&str], &str); 5] = [
        ("a.parquet", "", 0, &["0.png", "1.png"], "zero"),
        ("b.csv", "", 3, &["0.png"], "zero, quoted"),
        ("c.jsonl", "", 3, &["0.png"], "zero"),
        ("d.txt", "", 0, &["0.png", "1.png"], ""),
        ("-", &whole, 0, &["1.png", "2.png"], "two"),
    ];
    for (n, (source, stdin, code, names, caption)) in cases.into_iter().enumerate() {
        let collection = format!("c{n}");
        let (ended, summary) = index(home.path(), &collection, &[source], stdin);
        assert_eq!(
            (ended, summary["indexed"].as_u64()),
            (code, Some(names.len() as u64)),
            "{source}: {summary}"
        );
        let found = items(home.path(), &collection);
        assert_eq!(found.keys().collect::<Vec<_>>(), names, "{source}");
        let captions: Vec<&str> = found.values().filter_map(|(caption, _)| caption.as_str()).collect();
        assert_eq!(captions, if caption.is_empty() { vec![] } else { vec![caption] }, "{source}");
        if let "a.parquet" | "b.csv" | "c.jsonl" = source {
            assert_eq!(found["0.png"].1["year"], 1999, "{source}");
        }
        let (_, again) = index(home.path(), &collection, &[source], stdin);
        assert_eq!(
            (again["indexed"].as_u64(), again["unchanged"].as_u64()),
            (Some(0), Some(names.len() as u64))
        );
    }
    // A changed row is a changed image; a row that went away is pruned.
    parquet_file(&at("a.parquet"), &[("p/1.png", Some("one"), 2000)]);
    let (_, changed) = index(home.path(), "c0", &["a.parquet", "--prune"], "");
    assert_eq!((changed["indexed"].as_u64(), changed["removed"].as_u64()), (Some(1), Some(1)), "{changed}");
    assert_eq!(items(home.path(), "c0")["1.png"].0, "one");
}

#[test]
fn tars_of_this_machine_are_read_in_place() {
    let home = home();
    for (n, names) in [["0", "1"], ["2", "3"]].iter().enumerate() {
        let file = fs::File::create(home.path().join(format!("set-{n:03}.tar"))).unwrap();
        let mut builder = tar::Builder::new(file);
        for name in names {
            builder
                .append_path_with_name(home.path().join(format!("p/{name}.png")), format!("x/{name}.png"))
                .unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(5);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, format!("x/{name}.txt"), format!("no. {name}").as_bytes())
                .unwrap();
        }
        builder.finish().unwrap();
    }
    let (code, summary) = index(home.path(), "t", &["set-{000..001}.tar"], "");
    assert_eq!((code, summary["indexed"].as_u64()), (0, Some(4)), "{summary}");
    let found = items(home.path(), "t");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["0.png", "1.png", "2.png", "3.png"]);
    assert!(found.iter().all(|(name, (caption, _))| caption == &format!("no. {}", &name[..1])), "{found:?}");
    let (_, again) = index(home.path(), "t", &["set-{000..001}.tar"], "");
    assert_eq!((again["indexed"].as_u64(), again["unchanged"].as_u64()), (Some(0), Some(4)));

    // One that breaks off gives what it has, and says so.
    let whole = fs::read(home.path().join("set-000.tar")).unwrap();
    fs::write(home.path().join("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    let (code, summary) = index(home.path(), "cut", &["cut.tar"], "");
    assert_eq!(code, 3, "{summary}");
    assert!(summary["refused"].to_string().contains("breaks off"), "{summary}");
}

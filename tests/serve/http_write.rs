//! The JSON API as those meet it who bring pictures, tidy up, and watch.

use crate::client::{Came, Client, SEARCH};
use crate::common;
use crate::served::{self, Served, bytes, indexed};
use base64::Engine as _;
use serde_json::{Value, json};

/// A form with files, as a browser sends it.
fn form(parts: &[(&str, Option<&str>, Vec<u8>)]) -> (String, Vec<u8>) {
    let mut body = vec![];
    for (name, file, bytes) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        body.extend(
            format!("--line\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes(),
        );
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--line--\r\n");
    ("multipart/form-data; boundary=line".to_owned(), body)
}

#[tokio::test]
async fn uploads_are_taken_kept_and_forgotten() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let client = Client::new(&served);
    let items = "/v1/collections/default/items";
    let (picture, other) = (bytes(home.path(), 7), bytes(home.path(), 8));
    let (kind, body) = form(&[
        ("file", Some("a fish.png"), picture.clone()),
        ("captions", None, br#"["a fish"]"#.to_vec()),
        ("payload", None, br#"{"pond": "deep"}"#.to_vec()),
        ("file", Some("text.png"), b"hello".to_vec()),
    ]);
    let came = client.send("POST", items, Some((&kind, body))).json(200);
    let id = came["outcomes"][0]["id"].as_u64().unwrap();
    assert!(came["outcomes"][0]["key"].as_str().unwrap().ends_with("/a%20fish%2Epng"), "{came}");
    assert!(came["outcomes"][1]["error"].as_str().unwrap().contains("text"), "{came}");
    // As a form has it whose fields for words stand above the one for files, or are left empty.
    let (kind, body) = form(&[
        ("captions", None, br#"["a fish"]"#.to_vec()),
        ("payload", None, br#"{"pond": "deep"}"#.to_vec()),
        ("file", Some("a fish.png"), picture.clone()),
        ("file", Some("text.png"), b"hello".to_vec()),
        ("captions", None, vec![]),
        ("payload", None, b"null".to_vec()),
    ]);
    let again = client.send("POST", items, Some((&kind, body))).json(200);
    assert_eq!(
        (again["outcomes"][0]["id"].as_u64(), &again["outcomes"][0]["duplicate"]),
        (Some(id), &json!(true))
    );
    let item = client.get(&format!("{items}/{id}")).json(200);
    assert_eq!((&item["captions"], &item["payload"]), (&json!(["a fish"]), &json!({"pond": "deep"})));
    let shown = client.get(&format!("{items}/{id}/image"));
    assert_eq!((shown.status, &shown.body), (200, &picture), "what came as bytes is shown");
    assert_eq!(client.get(&format!("{items}/{id}/thumbnail")).status, 200);

    let encoded = base64::prelude::BASE64_STANDARD.encode(&other);
    let asked = json!({"items": [{"image": encoded, "key": "k"}, {"uri": "file:///etc/passwd"}]});
    let came = client.post(items, &asked).json(200);
    assert!(came["outcomes"][1]["error"].as_str().unwrap().contains("--allow-root"));
    let near = client.post(SEARCH, &json!({"terms": [{"image": encoded}], "limit": 1})).json(200);
    assert_eq!(near["hits"][0]["key"], "k");
    client.post(items, &json!({"items": []})).failure(400, "invalid_argument");
    client.post(items, &json!({"items": [{}]})).failure(400, "invalid_argument");
    let (kind, body) = form(&[("fiel", Some("a.png"), picture.clone())]);
    client.send("POST", items, Some((&kind, body))).failure(400, "invalid_argument");

    let kept = || {
        let folders = std::fs::read_dir(home.path().join("eyeshot-data/uploads")).unwrap();
        folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap()).count()
    };
    assert_eq!(kept(), 2);
    assert_eq!(client.delete(&format!("{items}/{id}")).status, 204);
    assert_eq!(kept(), 1, "what nothing names goes");
    let replaced =
        json!({"items": [{"image": base64::prelude::BASE64_STANDARD.encode(&picture), "key": "k"}]});
    client.post(items, &replaced).json(200);
    assert_eq!(kept(), 1, "what was replaced goes");
    assert_eq!(client.delete("/v1/collections/default").status, 204);
    assert_eq!(std::fs::read_dir(home.path().join("eyeshot-data/uploads")).unwrap().count(), 0);
}

/// The events of a stream: (name, data).
fn events(came: &Came) -> Vec<(String, Value)> {
    let text = String::from_utf8(came.body.clone()).unwrap();
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim_start_matches(':').trim().to_owned()).unwrap_or_default()
    };
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    events.map(|e| (field(e, "event"), serde_json::from_str(&field(e, "data")).unwrap())).collect()
}

#[tokio::test]
async fn folders_are_indexed_and_told_of() {
    let home = tempfile::tempdir().unwrap();
    served::pictures(home.path());
    std::fs::write(home.path().join("pictures/broken.png"), b"hello").unwrap();
    let folder = home.path().join("pictures").display().to_string();
    let served = Served::start(home.path(), &["--allow-root", &folder]).await;
    let client = Client::new(&served);
    let path = "/v1/collections/default/index";
    client.post(path, &json!({"sources": ["/etc"]})).failure(403, "permission_denied");
    client.post(path, &json!({"sources": []})).failure(400, "invalid_argument");
    let came = client.post(path, &json!({"sources": [folder]}));
    assert_eq!((came.status, came.header("content-type")), (200, "text/event-stream"));
    let events = events(&came);
    let (name, done) = events.last().unwrap();
    assert_eq!((name.as_str(), &done["indexed"], &done["duplicates"]), ("done", &json!(3), &json!(0)));
    assert!(done["refused"][0]["key"].as_str().unwrap().ends_with("broken.png"), "{done}");
    assert!(events[..events.len() - 1].iter().all(|(name, _)| name == "progress") && events.len() > 1);
    assert_eq!(client.get("/v1/collections/default").json(200)["items"], 3);
}

#[tokio::test]
async fn duplicates_are_told_apart_from_likenesses() {
    let home = tempfile::tempdir().unwrap();
    served::pictures(home.path());
    let folder = home.path().join("pictures");
    std::fs::copy(folder.join("one.png"), folder.join("copy.png")).unwrap();
    // The same picture, larger and saved with losses.
    let two = image::open(folder.join("two.jpg")).unwrap();
    two.resize(96, 80, image::imageops::FilterType::CatmullRom).save(folder.join("two-large.jpg")).unwrap();
    let model = common::tiny_clip();
    common::run(home.path(), ["index", "pictures", "--model", model.to_str().unwrap()]).expect(0);
    let cli = common::run(home.path(), ["duplicates", "--json"]).expect(0).json();
    let served = Served::start(home.path(), &[]).await;
    let client = Client::new(&served);
    let path = "/v1/collections/default/duplicates";
    let told = client.get(path).json(200);
    assert_eq!((told["groups"].clone(), told["total"].as_u64()), (json!(cli), Some(2)));
    let names = |group: &Value| -> Vec<String> {
        let items = group["items"].as_array().unwrap().iter();
        let mut names: Vec<String> =
            items.map(|i| i["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(
        (&told["groups"][0]["kind"], names(&told["groups"][0])),
        (&json!("same"), vec!["copy.png".into(), "one.png".into()])
    );
    let near = &told["groups"][1];
    assert_eq!(
        (&near["kind"], names(near)),
        (&json!("near"), vec!["two-large.jpg".into(), "two.jpg".into()])
    );
    let far = &near["items"][1];
    assert!(far["distance"].as_f64().unwrap() < 0.05 && far["hamming"].as_u64().unwrap() <= 8, "{near}");
    assert_eq!(client.get(&format!("{path}?distance=0")).json(200)["total"], 1, "only the same bytes");
    client.get(&format!("{path}?hamming=99")).failure(400, "invalid_argument");
    assert_eq!(client.get("/v1/collections/default").json(200)["items"], 5, "nothing is removed");
}

#[tokio::test]
async fn what_is_done_is_counted() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let config = home.path().join("eyeshot.toml");
    std::fs::write(&config, "read-key = ['reader-key', 'other-reader']\nqueue = 50\n").unwrap();
    let served = Served::start(home.path(), &["--config", config.to_str().unwrap()]).await;
    let nobody = Client::new(&served);
    nobody.get("/metrics").failure(401, "unauthenticated");
    let client = nobody.with("x-api-key", "reader-key");
    client.get(&format!("{SEARCH}?q=a+cat")).json(200);
    client.get("/v1/collections/no/search?q=x").failure(404, "not_found");
    let came = client.get("/metrics");
    assert!(came.header("content-type").starts_with("application/openmetrics-text"));
    let text = String::from_utf8(came.body).unwrap();
    for line in [
        "eyeshot_requests_total{protocol=\"http\",route=\"/v1/collections/{collection}/search\",status=\"200\"} 1",
        "eyeshot_requests_total{protocol=\"http\",route=\"/v1/collections/{collection}/search\",status=\"404\"} 1",
        "eyeshot_search_seconds_count{collection=\"default\"} 1",
        "eyeshot_index_vectors{collection=\"default\",modality=\"image\"} 3",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    let route = "eyeshot_request_seconds_bucket{le=\"+Inf\",protocol=\"http\",route=\"/v1/collections/{collection}/search\"} 2";
    assert!(text.contains(route), "{text}");
    assert!(
        text.contains("eyeshot_batch_inputs_bucket{le=\"1.0\",model=")
            && text.contains("eyeshot_queue_wait_seconds_bucket{")
    );
    check_dashboard(&text);
    drop(served);
    let wrong = "quue = 1\n";
    std::fs::write(&config, wrong).unwrap();
    let ran = common::run(home.path(), ["serve", "--config", config.to_str().unwrap()]).expect(2);
    assert!(ran.err.contains("quue") && ran.err.contains("queue"), "{}", ran.err);
}

#[tokio::test]
async fn a_run_of_ingestion_tells_how_busy_its_steps_are() {
    let home = tempfile::tempdir().unwrap();
    served::pictures(home.path());
    let folder = home.path().join("pictures").display().to_string();
    let served = Served::start(home.path(), &["--allow-root", &folder]).await;
    let client = Client::new(&served);
    // By step: seconds at work, threads, and what waits.
    let read = || {
        let text = String::from_utf8(client.get("/metrics").body).unwrap();
        ["list", "fetch", "decode", "encode", "write"].map(|stage| {
            ["busy_seconds_total", "threads", "waiting"].map(|what| {
                let name = format!("eyeshot_ingest_stage_{what}{{stage=\"{stage}\"}} ");
                let value = text.lines().find_map(|line| line.strip_prefix(&name));
                value.unwrap_or_else(|| panic!("{name}is not in:\n{text}")).parse::<f64>().unwrap()
            })
        })
    };
    assert_eq!(read(), [[0.0; 3]; 5], "nothing has run");
    let run = || client.post("/v1/collections/default/index", &json!({"sources": [folder]}));
    assert_eq!(events(&run()).last().unwrap().1["indexed"], 3);
    let first = read();
    assert!(first.iter().all(|[busy, ..]| *busy > 0.0 && *busy < 600.0), "{first:?}");
    assert!(first.iter().all(|[_, threads, waiting]| (*threads, *waiting) == (0.0, 0.0)), "{first:?}");
    // What ended is kept, and a run that finds nothing to do lists all the same.
    assert_eq!(events(&run()).last().unwrap().1["unchanged"], 3);
    let second = read();
    assert!(second[0][0] > first[0][0] && second[3][0] == first[3][0], "{first:?} {second:?}");
}

/// Every metric that the dashboard asks for is there, with every label that it groups by.
fn check_dashboard(metrics: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose/grafana/eyeshot.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut asked = 0;
    for target in targets {
        let (expr, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
        let names = expr.split(|c| !word(c)).filter(|name| name.starts_with("eyeshot_"));
        for name in names {
            let line = metrics
                .lines()
                .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
            let line = line.unwrap_or_else(|| panic!("{name} is not in:\n{metrics}"));
            for label in legend.split("{{").skip(1).map(|part| part.split("}}").next().unwrap()) {
                assert!(line.contains(&format!("{label}=\"")), "{name} has no label {label}: {line}");
            }
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked} names in the dashboard");
}

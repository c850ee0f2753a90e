//! The JSON API and the page as browsers and curl meet them.

mod common;
#[path = "common/served.rs"]
mod served;

use base64::Engine as _;
use serde_json::{Value, json};
use served::{Served, bytes, indexed};
use ureq::http::Response;
use ureq::{Agent, Body};

/// What came back.
struct Came {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Came {
    fn of(mut response: Response<Body>) -> Self {
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Came { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    /// The JSON of an answer with that status.
    fn json(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The message of a failure with that status and code.
    fn failure(&self, status: u16, code: &str) -> String {
        let error = self.json(status)["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        error["message"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// A client of one server, with headers that it always sends.
struct Client {
    agent: Agent,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    fn new(served: &Served) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        Client { agent, base: served.http.clone(), headers: vec![] }
    }

    fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name, value.into()));
        Client { agent: self.agent.clone(), base: self.base.clone(), headers }
    }

    fn send(&self, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Came {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Came::of(match body {
            Some((kind, bytes)) => {
                self.agent.run(request.header("content-type", kind).body(bytes).unwrap()).unwrap()
            }
            None => self.agent.run(request.body(()).unwrap()).unwrap(),
        })
    }

    fn get(&self, path: &str) -> Came {
        self.send("GET", path, None)
    }

    fn delete(&self, path: &str) -> Came {
        self.send("DELETE", path, None)
    }

    fn post(&self, path: &str, body: &Value) -> Came {
        self.send("POST", path, Some(("application/json", body.to_string().into_bytes())))
    }
}

const SEARCH: &str = "/v1/collections/default/search";

fn names(hits: &Value) -> Vec<String> {
    let hits = hits["hits"].as_array().unwrap().iter();
    hits.map(|hit| hit["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn searches_answer_as_the_command_line_does() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let cli = common::run(home.path(), ["search", "a cat", "--json"]).expect(0).json();
    let served = Served::start(home.path(), &[]).await;
    let client = Client::new(&served);

    let came = client.post(SEARCH, &json!({"terms": [{"text": "a cat"}]})).json(200);
    let same = client.get(&format!("{SEARCH}?q=a+cat")).json(200);
    assert_eq!(came["hits"], same["hits"]);
    let hits = came["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 3);
    for (hit, line) in hits.iter().zip(&cli) {
        assert_eq!((&hit["key"], &hit["rank"], &hit["id"]), (&line["key"], &line["rank"], &line["id"]));
        assert!((hit["score"].as_f64().unwrap() - line["score"].as_f64().unwrap()).abs() < 1e-5);
        assert_eq!((&hit["width"], &hit["height"]), (&json!(48), &json!(40)));
        assert!(hit.get("captions").is_none() && hit.get("payload").is_none(), "nothing not asked for");
    }
    assert!(came["took_ms"].as_f64().unwrap() > 0.0);

    let file = std::fs::read(home.path().join("pictures/two.jpg")).unwrap();
    let path = home.path().join("pictures/two.jpg").canonicalize().unwrap();
    let encoded = base64::prelude::BASE64_STANDARD.encode(&file);
    for term in [json!({"image": encoded}), json!({"uri": format!("file://{}", path.display())})] {
        let asked = json!({"terms": [term], "limit": 1, "with_payload": true, "with_captions": true});
        let hit = client.post(SEARCH, &asked).json(200)["hits"][0].clone();
        assert!(hit["key"].as_str().unwrap().ends_with("two.jpg") && hit["score"].as_f64().unwrap() > 0.9995);
        assert_eq!(hit["payload"], json!({"background": "blue", "count": 2}));
        assert_eq!(hit["captions"], json!(["a dog"]));
        let id = hit["id"].as_u64().unwrap();
        let like = client.post(SEARCH, &json!({"terms": [{"id": id}], "limit": 1})).json(200);
        assert_eq!(names(&like), ["two.jpg"]);
        assert_eq!(names(&client.get(&format!("{SEARCH}?q=id:{id}&limit=1")).json(200)), ["two.jpg"]);
    }

    let paged = client.get(&format!("{SEARCH}?q=a+cat&limit=1&offset=1")).json(200);
    assert_eq!((paged["hits"][0]["rank"].clone(), &paged["hits"][0]["id"]), (json!(2), &hits[1]["id"]));
    let filters = [
        (json!("background = blue"), vec!["two.jpg"]),
        (json!({"must": [{"field": "count", "range": {"gte": 2}}]}), vec!["two.jpg"]),
        (json!({"must_not": [{"field": "format", "in": ["jpeg", "png"]}]}), vec!["three.webp"]),
    ];
    for (filter, wanted) in filters {
        let asked = json!({"terms": [{"text": "a cat"}], "filter": filter});
        assert_eq!(names(&client.post(SEARCH, &asked).json(200)), wanted, "{filter}");
    }
    let cut = client.post(SEARCH, &json!({"terms": [{"text": "a cat"}], "score_threshold": 0.999}));
    assert_eq!(cut.json(200)["hits"], json!([]), "no good match is an answer");
}

#[tokio::test]
async fn collections_and_items_are_shown() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let client = Client::new(&served);

    let all = client.get("/v1/collections").json(200);
    let one = client.get("/v1/collections/default").json(200);
    assert_eq!(all["collections"], json!([one]));
    assert_eq!((&one["name"], &one["items"]), (&json!("default"), &json!(3)));
    assert_eq!(one["spaces"][1]["modality"], "caption");
    assert_eq!(one["models"].as_array().unwrap().len(), 1);

    let items = client.get("/v1/collections/default/items?limit=2").json(200);
    assert_eq!((items["total"].clone(), items["items"].as_array().unwrap().len()), (json!(3), 2));
    let rest = client.get("/v1/collections/default/items?limit=2&offset=2").json(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    let blue = client.get("/v1/collections/default/items?filter=background%20%3D%20blue").json(200);
    assert_eq!(blue["total"], 1);
    let item = &blue["items"][0];
    let id = item["id"].as_u64().unwrap();
    assert_eq!(*item, client.get(&format!("/v1/collections/default/items/{id}")).json(200));
    assert_eq!((&item["format"], &item["captions"]), (&json!("jpeg"), &json!(["a dog"])));

    let fields = client.get("/v1/collections/default/fields").json(200);
    let field = |name: &str| {
        let fields = fields["fields"].as_array().unwrap();
        fields.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("{name} in {fields:?}")).clone()
    };
    let said = json!({"name": "background", "type": "keyword", "count": 1, "distinct": 1,
        "values": [{"value": "blue", "count": 1}]});
    assert_eq!(field("background"), said);
    assert_eq!(field("width")["values"], json!([{"value": 48, "count": 3}]));
    assert_eq!((&field("count")["type"], &field("count")["min"]), (&json!("integer"), &json!(2)));

    let made = client.post("/v1/collections", &json!({"name": "new"})).json(201);
    assert_eq!((&made["name"], &made["items"]), (&json!("new"), &json!(0)));
    client.post("/v1/collections", &json!({"name": "new"})).failure(409, "already_exists");
    assert_eq!(client.delete("/v1/collections/new").status, 204);
    client.delete("/v1/collections/new").failure(404, "not_found");

    assert_eq!(client.delete(&format!("/v1/collections/default/items/{id}")).status, 204);
    client.get(&format!("/v1/collections/default/items/{id}")).failure(404, "not_found");
    assert_eq!(client.get("/v1/collections/default").json(200)["items"], 2);
    assert!(home.path().join("pictures/two.jpg").exists(), "files stay");
}

#[tokio::test]
async fn pictures_come_from_indexed_folders_only() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--forget-uploads"]).await;
    let client = Client::new(&served);
    let items = client.get("/v1/collections/default/items").json(200);
    let id_of = |name: &str| {
        let items = items["items"].as_array().unwrap();
        items.iter().find(|i| i["key"].as_str().unwrap().ends_with(name)).unwrap()["id"].as_u64().unwrap()
    };
    let path = |id: u64, what: &str| format!("/v1/collections/default/items/{id}/{what}");
    for (name, kind) in [("one.png", "image/png"), ("two.jpg", "image/jpeg"), ("three.webp", "image/webp")] {
        let came = client.get(&path(id_of(name), "image"));
        assert_eq!((came.status, came.header("content-type")), (200, kind));
        assert_eq!(came.header("x-content-type-options"), "nosniff");
        assert_eq!(came.body, std::fs::read(home.path().join("pictures").join(name)).unwrap());
        let again = client.with("if-none-match", came.header("etag")).get(&path(id_of(name), "image"));
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    for size in [16, 24] {
        let came = client.get(&path(id_of("one.png"), &format!("thumbnail?size={size}")));
        assert_eq!((came.status, came.header("content-type")), (200, "image/jpeg"));
        let small = image::load_from_memory(&came.body).unwrap();
        assert_eq!((small.width(), small.height()), (size, size * 40 / 48));
    }
    client.get(&path(id_of("one.png"), "thumbnail?size=1")).failure(400, "invalid_argument");
    client.get(&path(99, "image")).failure(404, "not_found");

    std::fs::remove_file(home.path().join("pictures/three.webp")).unwrap();
    for what in ["image", "thumbnail"] {
        let message = client.get(&path(id_of("three.webp"), what)).failure(410, "not_found");
        assert!(message.contains("gone"), "{message}");
    }

    // An item may call itself anything, and is believed no more than a request.
    let secret = home.path().join("secret.png");
    std::fs::write(&secret, bytes(home.path(), 9)).unwrap();
    std::fs::write(home.path().join("pictures/notes.txt"), "not a picture").unwrap();
    let climbing = format!("file://{}/pictures/../secret.png", home.path().display());
    let inside = format!("file://{}/pictures/notes.txt", home.path().canonicalize().unwrap().display());
    let keys = [
        (format!("file://{}", secret.display()), 404),
        (climbing, 404),
        ("file:///etc/hostname".into(), 404),
        ("file:///no/such/file.png".into(), 404),
        (inside, 400),
        ("a key".into(), 404),
        ("http://127.0.0.1:1/a.png".into(), 404),
    ];
    for (key, status) in keys {
        use eyeshot::serve::proto::v1 as pb;
        let image = Some(pb::upsert_request::Image::Bytes(bytes(home.path(), 5)));
        let request = pb::UpsertRequest { key: key.clone(), image, ..Default::default() };
        let mut stream = served.images().upsert(tokio_stream::iter([request])).await.unwrap().into_inner();
        let answer = stream.message().await.unwrap().unwrap();
        let Some(pb::upsert_response::Outcome::Accepted(item)) = answer.outcome else { panic!("{answer:?}") };
        for what in ["image", "thumbnail"] {
            assert_eq!(client.get(&path(item.id, what)).status, status, "{key} {what}");
        }
    }
}

#[tokio::test]
async fn mistakes_say_what_to_change() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--max-message", "1"]).await;
    let client = Client::new(&served);
    let bodies = [
        (json!({}), 400, "invalid_argument", "terms"),
        (json!({"terms": []}), 400, "invalid_argument", "empty"),
        (json!({"terms": [{"text": " "}]}), 400, "invalid_argument", "empty"),
        (json!({"terms": [{}]}), 400, "invalid_argument", "set one of"),
        (json!({"terms": [{"text": "a", "id": 1}]}), 400, "invalid_argument", "several"),
        (json!({"terms": [{"text": "a"}], "limt": 3}), 400, "invalid_argument", "limt"),
        (json!({"terms": [{"text": "a"}], "limit": 0}), 400, "invalid_argument", "at least 1"),
        (json!({"terms": [{"text": "a"}], "filter": "width >"}), 400, "invalid_argument", "filter"),
        (json!({"terms": [{"image": "?"}]}), 400, "invalid_argument", "base64"),
        (json!({"terms": [{"id": 99}]}), 404, "not_found", "99"),
        (json!({"terms": [{"uri": "file:///etc/passwd"}]}), 403, "permission_denied", "--allow-root"),
        (json!({"terms": [{"uri": "http://127.0.0.1/"}]}), 403, "permission_denied", "--allow-urls"),
        (json!({"terms": [{"text": "a".repeat(2 << 20)}]}), 413, "out_of_range", "length limit"),
    ];
    for (body, status, code, reason) in bodies {
        let message = client.post(SEARCH, &body).failure(status, code);
        assert!(message.contains(reason), "{message} lacks {reason}");
    }
    let no = "/v1/collections/no/search";
    assert!(
        client.post(no, &json!({"terms": [{"text": "a"}]})).failure(404, "not_found").contains("default")
    );
    client.send("POST", SEARCH, Some(("text/plain", b"{}".to_vec()))).failure(415, "invalid_argument");
    client.send("POST", SEARCH, Some(("application/json", b"{".to_vec()))).failure(400, "invalid_argument");
    client.get(SEARCH).failure(400, "invalid_argument");
    client.get("/v1/collections/default/items/x").failure(400, "invalid_argument");
    client.get("/v1/nothing").failure(404, "not_found");
    client.delete(SEARCH).failure(405, "invalid_argument");
}

#[tokio::test]
async fn keys_and_sessions_are_asked_for() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--api-key", "writer-key", "--read-key", "reader-key"]).await;
    let client = Client::new(&served);
    let all = "/v1/collections";
    let refused = client.get(all);
    refused.failure(401, "unauthenticated");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    client.with("x-api-key", "other-key").get(all).failure(401, "unauthenticated");
    client.with("x-api-key", "reader-key").get(all).json(200);
    client.with("authorization", "Bearer writer-key").get(all).json(200);
    assert_eq!(client.get("/health").json(200)["status"], "serving");
    assert_eq!(client.get("/").status, 200, "the page asks for a key itself");

    client.post("/v1/session", &json!({"key": "other-key"})).failure(401, "unauthenticated");
    let opened = client.post("/v1/session", &json!({"key": "reader-key"}));
    assert_eq!(opened.status, 204);
    let cookie = opened.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("reader-key")
    );
    let reader = client.with("cookie", cookie.split(';').next().unwrap());
    reader.get(all).json(200);
    reader.post(SEARCH, &json!({"terms": [{"text": "a cat"}]})).json(200);
    reader.delete("/v1/collections/default").failure(403, "permission_denied");
    reader.post(all, &json!({"name": "x"})).failure(403, "permission_denied");
    client.with("cookie", "eyeshot_session=00").get(all).failure(401, "unauthenticated");
    assert_eq!(client.with("x-api-key", "writer-key").delete("/v1/collections/default").status, 204);

    let ran = common::run(home.path(), ["serve", "--http", "0.0.0.0:0"]).expect(2);
    assert!(ran.err.contains("--insecure"), "{}", ran.err);
}

#[tokio::test]
async fn pages_of_other_sites_are_turned_away() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let client = Client::new(&served);
    let foreign = client.with("origin", "https://evil.example");
    foreign.delete("/v1/collections/default").failure(403, "permission_denied");
    foreign.post("/v1/collections", &json!({"name": "x"})).failure(403, "permission_denied");
    // A name of theirs that was made to lead here.
    client.with("host", "evil.example").get("/v1/collections").failure(403, "permission_denied");
    let own = client.with("origin", served.http.clone());
    own.post("/v1/collections", &json!({"name": "x"})).json(201);
}

#[tokio::test]
async fn the_page_is_served() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(home.path(), &[]).await;
    let client = Client::new(&served);
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/base.css", "text/css")] {
        let came = client.get(path);
        assert_eq!(came.status, 200);
        assert!(came.header("content-type").starts_with(kind), "{path}: {}", came.header("content-type"));
        let policy = came.header("content-security-policy");
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(client.with("if-none-match", came.header("etag")).get(path).status, 304);
    }
    let page = String::from_utf8(client.get("/").body).unwrap();
    assert!(!page.contains("<script>") && !page.contains("onclick="), "the policy lets no inline script run");
    let api = client.get("/v1/openapi.json").json(200);
    assert!(api["paths"]["/v1/collections/{collection}/search"]["post"].is_object());
}

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
    let came = client.send("POST", items, Some((&kind, body.clone()))).json(200);
    let id = came["outcomes"][0]["id"].as_u64().unwrap();
    assert!(came["outcomes"][0]["key"].as_str().unwrap().ends_with("/a%20fish%2Epng"), "{came}");
    assert!(came["outcomes"][1]["error"].as_str().unwrap().contains("text"), "{came}");
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
            && text.contains("eyeshot_queue_wait_seconds_total{")
    );
    drop(served);
    let wrong = "quue = 1\n";
    std::fs::write(&config, wrong).unwrap();
    let ran = common::run(home.path(), ["serve", "--config", config.to_str().unwrap()]).expect(2);
    assert!(ran.err.contains("quue") && ran.err.contains("queue"), "{}", ran.err);
}

//! The JSON API and the page as browsers and curl meet them.

use crate::client::{Client, SEARCH};
use crate::common;
use crate::served::{Served, bytes, indexed};
use base64::Engine as _;
use serde_json::{Value, json};

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
    // Beyond what a float holds, either way.
    for (threshold, some) in [(-1e300, true), (1e300, false)] {
        let asked = json!({"terms": [{"text": "a cat"}], "score_threshold": threshold});
        let hits = client.post(SEARCH, &asked).json(200)["hits"].clone();
        assert_eq!(!hits.as_array().unwrap().is_empty(), some, "{threshold}");
    }
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
    let small = client.post("/v1/collections", &json!({"name": "small", "codes": "int4"})).json(201);
    assert_eq!((&made["spaces"][0]["codes"], &small["spaces"][0]["codes"]), (&json!("int8"), &json!("int4")));
    client.post("/v1/collections", &json!({"name": "odd", "codes": "int5"})).failure(400, "invalid_argument");
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
async fn small_pictures_that_were_kept_are_shown_when_files_are_gone() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let client = Client::new(&served);
    let folder = home.path().join("pictures").display().to_string();
    let index = |body: Value| client.post("/v1/collections/default/index", &body);
    let mistaken = json!({"sources": [folder], "from_thumbnails": true});
    assert!(index(mistaken).failure(400, "invalid_argument").contains("from_thumbnails"));
    for (body, indexed) in [
        (json!({"sources": [folder], "thumbnails": 32}), 3),
        (json!({"sources": [folder], "thumbnails": 32}), 0),
    ] {
        let events = String::from_utf8(index(body).body).unwrap();
        assert!(events.contains(&format!("\"indexed\":{indexed},")), "{events}");
    }
    for name in ["one.png", "two.jpg", "three.webp"] {
        std::fs::remove_file(home.path().join("pictures").join(name)).unwrap();
    }
    let items = client.get("/v1/collections/default/items").json(200);
    for item in items["items"].as_array().unwrap() {
        // 48 x 40 became 38 x 32, which is what there is for larger ones too.
        for (size, wanted) in [(16, (16, 13)), (40, (38, 32))] {
            let came =
                client.get(&format!("/v1/collections/default/items/{}/thumbnail?size={size}", item["id"]));
            assert_eq!((came.status, came.header("content-type")), (200, "image/jpeg"));
            let small = image::load_from_memory(&came.body).unwrap();
            assert_eq!((small.width(), small.height()), wanted);
        }
    }
    let shadow = json!({"model": "demo", "shadow": true, "from_thumbnails": true});
    let events = String::from_utf8(index(shadow).body).unwrap();
    assert!(events.contains("\"indexed\":3,"), "{events}");
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

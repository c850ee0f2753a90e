//! Pictures that lie elsewhere, looked at once more: through the program, against a store on the loopback that checks signatures
//! and misbehaves.

use crate::client::{Client, SEARCH};
use crate::common::{Ran, eyeshot, tar, tiny_clip};
use crate::s3::{self, KEY, Manner, S3, SECRET};
use crate::served::{self, Process, Served};
use eyeshot::serve::proto::v1 as pb;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

/// The program with the store's address and keys in its environment, as a user has them.
fn command(home: &Path, store: &S3) -> Command {
    let mut command = eyeshot(home);
    command.env("AWS_ENDPOINT_URL", &store.endpoint).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", home);
    command
}

fn run(home: &Path, store: &S3, args: &[&str]) -> Ran {
    let output = command(home, store).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

async fn serve(home: &Path, store: &S3, flags: &[&str]) -> Served {
    Served::of(Process::start_in(command(home, store), flags)).await
}

fn png(home: &Path, seed: u32) -> Vec<u8> {
    served::bytes(home, seed)
}

/// Pictures everywhere: objects, members of tars in a bucket and here, and what a list names, in a bucket and behind URLs.
/// Returned are their bytes by their keys.
fn everywhere(home: &Path, store: &S3) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (name, seed) in [("1.png", 1), ("new york.png", 2)] {
        store.put("b", &format!("p/{name}"), png(home, seed));
        all.insert(format!("s3://b/p/{}", name.replace(' ', "%20")), png(home, seed));
    }
    let members = [("a.png", png(home, 3)), ("a.txt", b"a caption".to_vec()), ("b c.png", png(home, 4))];
    store.put("b", "set.tar", tar(&members));
    store.put("open", "web.tar", tar(&members[2..]));
    std::fs::write(home.join("here.tar"), tar(&[("sub/d.png", png(home, 5))])).unwrap();
    store.put("b", "listed.png", png(home, 6));
    store.put("open", "7.png", png(home, 7));
    let list = format!("url\ns3://b/listed.png\n{}/open/7.png\n", store.endpoint);
    std::fs::write(home.join("list.csv"), list).unwrap();
    let here = home.canonicalize().unwrap().display().to_string();
    all.insert("s3://b/set.tar#a.png".into(), png(home, 3));
    all.insert("s3://b/set.tar#b%20c.png".into(), png(home, 4));
    all.insert(format!("{}/open/web.tar#b%20c.png", store.endpoint), png(home, 4));
    all.insert(format!("file://{here}/here.tar#sub/d.png"), png(home, 5));
    all.insert("s3://b/listed.png".into(), png(home, 6));
    all.insert(format!("{}/open/7.png", store.endpoint), png(home, 7));
    let web = format!("{}/open/web.tar", store.endpoint);
    let model = tiny_clip();
    let sources = ["s3://b/p", "s3://b/set.tar", &web, "here.tar", "list.csv"];
    let args = ["index", "--model", model.to_str().unwrap()];
    run(home, store, &[&args[..], &sources].concat()).expect(0);
    store.behave(|_| Manner::Serve);
    all
}

/// The items' ids by their keys.
fn ids(client: &Client) -> BTreeMap<String, u64> {
    let items = client.get("/v1/collections/default/items?limit=1000").json(200)["items"].clone();
    let one = |item: &Value| (item["key"].as_str().unwrap().to_owned(), item["id"].as_u64().unwrap());
    items.as_array().unwrap().iter().map(one).collect()
}

fn path(id: u64, what: &str) -> String {
    format!("/v1/collections/default/items/{id}/{what}")
}

fn rerank() -> Value {
    json!({"terms": [{"text": "a cat"}], "rerank": true, "limit": 100})
}

#[tokio::test]
async fn what_lies_elsewhere_is_looked_at_again() {
    let (home, store) = (tempfile::tempdir().unwrap(), S3::new());
    let home = home.path();
    let all = everywhere(home, &store);
    let (matcher, answerer) = (fixture("blip/matcher"), fixture("llava/vicuna"));

    // Whoever searches on their own machine need not allow anything.
    let args = ["search", "a cat", "--json", "--rerank", "-t", "100", "--rerank-budget-ms", "60000"];
    let hits = run(home, &store, &[&args[..], &["--matcher", &matcher]].concat()).expect(0).json();
    assert_eq!(hits.len(), all.len());
    for hit in &hits {
        assert!(all.contains_key(hit["key"].as_str().unwrap()) && hit["match"].is_f64(), "{hit}");
    }
    let asked = store.asked();
    let ranges: Vec<&str> = asked.iter().filter(|r| r.key == "set.tar").map(|r| r.range()).collect();
    assert!(ranges.len() == 2 && ranges.iter().all(|range| range.starts_with("bytes=")), "{ranges:?}");
    let fetched = store.fetched().len();
    // Two that are the same may be fetched at the same time, or the second may be remembered.
    assert!(
        (all.len() - 2..all.len()).contains(&fetched),
        "each once, and what lies here not at all: {fetched}"
    );
    store.behave(|_| Manner::Serve);
    let args = ["ask", "what is this?", "--json", "--max-tokens", "4", "--answerer", &answerer, "-t", "9"];
    run(home, &store, &args).expect(0);
    assert!(!store.fetched().is_empty(), "it was looked at");

    let flags =
        ["--refetch", "--allow-urls", "--allow-private-urls", "--matcher", &matcher, "--answerer", &answerer];
    let served = serve(home, &store, &flags).await;
    let client = Client::new(&served);
    let ids = ids(&client);
    store.behave(|_| Manner::Serve);
    for (key, bytes) in &all {
        let came = client.get(&path(ids[key], "image"));
        assert_eq!((came.status, &came.body), (200, bytes), "{key}");
        let came = client.get(&path(ids[key], "thumbnail?size=24"));
        assert_eq!((came.status, came.header("content-type")), (200, "image/jpeg"), "{key}");
    }
    let hits = client.post(SEARCH, &rerank()).json(200)["hits"].clone();
    let hits = hits.as_array().unwrap();
    assert!(hits.len() == all.len() && hits.iter().all(|hit| hit["match"].is_f64()), "{hits:?}");
    let told =
        client.post("/v1/collections/default/ask", &json!({"question": "what is this?", "max_tokens": 2}));
    assert!(told.status == 200 && String::from_utf8(told.body).unwrap().contains("event: done"));
    // All of that fetched each picture once: the latest are remembered. Two of them are the same.
    assert_eq!(store.fetched().len(), all.len() - 2, "{:?}", store.fetched());
}

#[tokio::test]
async fn nothing_is_fetched_unless_it_was_allowed() {
    let (home, store) = (tempfile::tempdir().unwrap(), S3::new());
    let home = home.path();
    let all = everywhere(home, &store);
    let matcher = fixture("blip/matcher");
    let served = serve(home, &store, &["--forget-uploads", "--matcher", &matcher]).await;
    let client = Client::new(&served);
    let known = ids(&client);
    // The key of another's object, and bytes that are forgotten.
    let image = Some(pb::upsert_request::Image::Bytes(png(home, 9)));
    let request = pb::UpsertRequest { key: "s3://b/secret.png".into(), image, ..Default::default() };
    let mut stream = served.images().upsert(tokio_stream::iter([request])).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let sent = ids(&client)["s3://b/secret.png"];
    store.put("b", "secret.png", png(home, 9));
    let flag = |key: &str| if key.starts_with("http") { "--allow-urls" } else { "--refetch" };
    for (key, id) in &known {
        let came = client.get(&path(*id, "thumbnail"));
        match key.starts_with("file:") {
            true => assert_eq!((came.status, key.contains("here.tar#")), (200, true)),
            false => {
                let said = came.failure(404, "permission_denied");
                assert!(said.contains(flag(key)), "{key}: {said}");
            }
        }
    }
    let hits = client.post(SEARCH, &rerank()).json(200)["hits"].clone();
    for hit in hits.as_array().unwrap() {
        let (key, why) = (hit["key"].as_str().unwrap(), hit["unmatched"].as_str().unwrap_or_default());
        let wanted = if key == "s3://b/secret.png" { "not kept" } else { flag(key) };
        assert!(key.starts_with("file:") == hit["match"].is_f64(), "{hit}");
        // Where two are the same, either's reason is told of both.
        let twin = key.ends_with("#b%20c.png") && why.contains("have the operator start");
        assert!(key.starts_with("file:") || twin || why.contains(wanted), "{hit}");
    }
    assert_eq!(store.fetched(), Vec::<String>::new());
    drop(served);

    // Buckets are one thing, URLs another, and those of this machine a third.
    let served = serve(home, &store, &["--refetch", "--allow-urls"]).await;
    let client = Client::new(&served);
    assert_eq!(client.get(&path(known["s3://b/p/1.png"], "thumbnail")).status, 200);
    let said = client.get(&path(known[&format!("{}/open/7.png", store.endpoint)], "thumbnail"));
    assert!(said.failure(400, "invalid_argument").contains("not public"));
    client.get(&path(sent, "thumbnail")).failure(404, "not_found");
    assert_eq!(store.fetched(), ["p/1.png"], "whoever sends a picture may call it anything");
    assert_eq!(all.len(), known.len());
}

#[tokio::test]
async fn what_cannot_be_had_says_why_and_takes_no_longer_than_it_may() {
    let (home, store) = (tempfile::tempdir().unwrap(), S3::new());
    let home = home.path();
    for n in 0..12 {
        store.put("b", &format!("{n:02}.png"), png(home, n));
    }
    store.put("b", "set.tar", tar(&[("a.png", png(home, 20)), ("b.png", png(home, 21))]));
    let model = tiny_clip();
    let args = ["index", "s3://b", "s3://b/set.tar", "--model", model.to_str().unwrap()];
    run(home, &store, &args).expect(0);
    let matcher = fixture("blip/matcher");
    let flags = ["--refetch", "--refetch-timeout", "2", "--matcher", &matcher];
    let served = serve(home, &store, &flags).await;
    let client = Client::new(&served);
    let ids = ids(&client);
    let see = |name: &str| client.get(&path(ids[&format!("s3://b/{name}")], "image"));

    store.remove("b", "00.png");
    store.put("b", "01.png", png(home, 99));
    let longer: Vec<u8> = png(home, 2).into_iter().chain([0; 100_000]).collect();
    store.put("b", "02.png", longer);
    store.put("b", "set.tar", tar(&[("b.png", png(home, 21))]));
    let said = [see("00.png"), see("01.png"), see("02.png"), see("set.tar#a.png"), see("set.tar#b.png")]
        .map(|came| came.failure(410, "not_found"));
    for (said, wanted) in said.iter().zip(["gone", "changed", "changed", "changed", "changed"]) {
        assert!(said.contains(wanted) && said.contains("prune"), "{said}");
    }
    let hits = client.post(SEARCH, &rerank()).json(200)["hits"].clone();
    let seen = hits.as_array().unwrap().iter().filter(|hit| hit["match"].is_f64()).count();
    assert_eq!((hits.as_array().unwrap().len(), seen), (14, 9), "they cost no other: {hits}");

    // Whatever the store says, callers hear nothing of where it is and with which keys. What was fetched for the search is
    // remembered, so that another server is asked.
    drop(served);
    let served = serve(home, &store, &flags).await;
    let client = Client::new(&served);
    let see = |name: &str| client.get(&path(ids[&format!("s3://b/{name}")], "image"));
    let refuse = |status, code| Manner::Refuse(status, code, None);
    let manners = [
        ("03.png", refuse(500, "InternalError"), "does not answer as it should (3 tries)", 3),
        ("04.png", refuse(403, "AccessDenied"), "the store refuses access (AccessDenied): set", 1),
        ("05.png", refuse(403, "ExpiredToken"), "takes our credentials no longer", 1),
        ("06.png", Manner::Break, "does not answer as it should", 3),
        ("07.png", Manner::Stall, "does not answer as it should", 3),
        ("08.png", Manner::Refuse(503, "SlowDown", Some(2)), "does not answer as it should (1 tries)", 1),
    ];
    for (name, manner, wanted, tries) in manners {
        store.behave(move |_| manner.clone());
        let began = Instant::now();
        let said = see(name).failure(503, "unavailable");
        assert!(began.elapsed() < Duration::from_secs(4), "{said}: {:?}", began.elapsed());
        assert!(said.contains(wanted), "{said}");
        assert!([KEY, SECRET, &store.endpoint[7..]].iter().all(|part| !said.contains(part)), "{said}");
        assert!((1..=tries).contains(&store.fetched().len()), "{said}: {:?}", store.fetched());
    }

    // All that a search would look at hangs: it gives up, and has its hits all the same.
    store.behave(|_| Manner::Stall);
    let began = Instant::now();
    let hits = client.post(SEARCH, &rerank()).json(200)["hits"].clone();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(hits.as_array().unwrap().len() == 14 && hits[0]["match"].is_null(), "{hits}");
    store.behave(|_| Manner::Serve);
    assert!(s3::until(|| see("05.png").status == 200), "nothing stays behind of it");
}

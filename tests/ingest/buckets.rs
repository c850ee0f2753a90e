//! Buckets as sources, through the program, against a store on the loopback that pages, checks signatures and misbehaves.

use crate::common::{self, Dice, Ran, eyeshot, tar, tiny_clip};
use crate::s3::{self, KEY, Manner, Request, S3, SECRET};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A PNG that no other seed gives.
fn png(seed: u32) -> Vec<u8> {
    let shade = |x: u32, y: u32| {
        let n = (x / 4 + 7 * (y / 4)).wrapping_mul(seed.wrapping_mul(2_654_435_761) | 1).wrapping_add(seed);
        image::Rgb([(n >> 3) as u8, (n >> 11) as u8, (n >> 19) as u8])
    };
    let mut out = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(24, 20, shade).write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

/// `eyeshot index` with the store's address and keys in its environment, as a user has them.
fn index(home: &Path, store: &S3, args: &[&str]) -> Command {
    let mut command = eyeshot(home);
    command.args(["index", "--json", "--model", tiny_clip().to_str().unwrap()]).args(args);
    command.env("AWS_ENDPOINT_URL", &store.endpoint).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", home);
    command
}

fn done(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// The last line, without what differs from run to run.
fn summary(ran: &Ran) -> Value {
    let mut last = ran.json().pop().unwrap();
    last.as_object_mut().unwrap().retain(|name, _| {
        ["indexed", "unchanged", "removed", "duplicates", "refused"].contains(&name.as_str())
    });
    last
}

fn counts(indexed: u64, unchanged: u64, removed: u64) -> Value {
    json!({"indexed": indexed, "unchanged": unchanged, "removed": removed, "duplicates": 0, "refused": []})
}

/// All items' keys, by asking for more than there are.
fn keys(home: &Path) -> BTreeSet<String> {
    std::fs::write(home.join("any.png"), png(1)).unwrap();
    let hits = common::run(home, ["search", "--json", "--image", "any.png", "-t", "10000"]).expect(0).json();
    let keys: Vec<String> = hits.iter().map(|hit| hit["key"].as_str().unwrap().to_owned()).collect();
    let set: BTreeSet<String> = keys.iter().cloned().collect();
    assert_eq!(set.len(), keys.len(), "nothing twice");
    set
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn odd_names_are_listed_and_fetched() {
    let (home, store) = (home(), S3::new());
    let names = [
        ("plain.png", "plain.png"),
        ("new york.png", "new%20york.png"),
        ("two//slashes.png", "two//slashes.png"),
        ("trailing/slash//a.png", "trailing/slash//a.png"),
        ("%41.png", "%2541.png"),
        ("é/日本 😀.png", "%C3%A9/%E6%97%A5%E6%9C%AC%20%F0%9F%98%80.png"),
        (
            "a+b&c=d?e#f;g,h'i(j)*!~@$:<k>.png",
            "a%2Bb%26c%3Dd%3Fe%23f%3Bg%2Ch%27i%28j%29%2A%21~%40%24%3A%3Ck%3E.png",
        ),
        ("line\nbreak.png", "line%0Abreak.png"),
        ("UPPER.PNG", "UPPER.PNG"),
    ];
    for (seed, (name, _)) in names.iter().enumerate() {
        store.put("photos", name, png(seed as u32));
    }
    (100..120).for_each(|n| store.put("photos", &format!("many/{n}.png"), png(n)));
    store.put("photos", "plain.txt", "a plain picture");
    store.put("photos", "plain.json", r#"{"caption": "and plain", "place": "Oslo"}"#);
    for passed_over in ["dir/", ".hidden.png", "a/.thumbs/b.png", "readme", "movie.mp4"] {
        store.put("photos", passed_over, "no image");
    }
    store.put("photos", "zero.png", "");
    let refused = json!([{"key": "s3://photos/zero.png", "reason": "not an image: the file is empty"}]);

    let would =
        done(index(home.path(), &store, &["s3://photos", "--dry-run"]).env("EYESHOT_BATCH", "4")).expect(0);
    assert_eq!(would.json().len(), 31, "30 images and a summary: {}", would.out);
    assert_eq!((would.json()[30]["indexed"].as_u64(), store.fetched().len()), (Some(30), 0));
    let listed = common::run(home.path(), ["collection", "list", "--json"]).expect(0);
    assert_eq!(listed.out, "", "a look makes no collection");

    let first = done(&mut index(home.path(), &store, &["s3://photos"])).expect(3);
    assert_eq!(summary(&first)["refused"], refused);
    assert_eq!((summary(&first)["indexed"].as_u64(), store.fetched().len()), (Some(29), 32));
    let mut wanted: BTreeSet<String> = names.iter().map(|(_, key)| format!("s3://photos/{key}")).collect();
    wanted.extend((100..120).map(|n| format!("s3://photos/many/{n}.png")));
    assert_eq!(keys(home.path()), wanted);
    let oslo = ["search", "--json", "--image", "any.png", "--filter", "place = Oslo"];
    let hit = common::run(home.path(), oslo).expect(0).json();
    assert_eq!(hit[0]["key"], "s3://photos/plain.png");
    assert_eq!(hit[0]["captions"], json!(["a plain picture", "and plain"]));

    // A rerun fetches what changed and what was refused, and nothing else; a changed sidecar is a change.
    store.remove("photos", "zero.png");
    store.behave(|_| Manner::Serve);
    let again = done(&mut index(home.path(), &store, &["s3://photos"])).expect(0);
    assert_eq!((summary(&again), store.fetched()), (counts(0, 29, 0), vec![]));
    store.put("photos", "new york.png", png(50));
    store.put("photos", "two//slashes.txt", "slashes");
    store.remove("photos", "many/100.png");
    let changed = done(&mut index(home.path(), &store, &["s3://photos"])).expect(0);
    let mut wanted = counts(2, 26, 0);
    wanted["duplicates"] = json!(1);
    assert_eq!(summary(&changed), wanted, "one has the bytes that it had; nothing is pruned unless asked");
    assert_eq!(store.fetched(), ["new york.png", "two//slashes.png", "two//slashes.txt"]);
    let pruned = done(&mut index(home.path(), &store, &["s3://photos", "--prune"])).expect(0);
    assert_eq!(summary(&pruned), counts(0, 28, 1));
    // A prefix is a folder, and prunes no other.
    let folder = done(&mut index(home.path(), &store, &["s3://photos/many", "--prune"])).expect(0);
    assert_eq!(summary(&folder), counts(0, 19, 0));
    // A name or a prefix is asked for as it is spelt, slashes and spaces too.
    for (place, count) in
        [("trailing/slash//a.png", 1), ("trailing/slash/", 1), ("new york.png", 1), ("new%20york.png", 1)]
    {
        let one = done(&mut index(home.path(), &store, &[&format!("s3://photos/{place}")])).expect(0);
        assert_eq!(summary(&one), counts(0, count, 0), "{place}");
    }
    store.put("photos", "deep//below//b.png", png(1));
    let below = done(&mut index(home.path(), &store, &["s3://photos/deep//below"])).expect(0);
    assert_eq!(summary(&below), counts(1, 0, 0));
    let leading = done(&mut index(home.path(), &store, &["s3://photos//leading"])).expect(2);
    assert!(leading.err.contains("begin with a slash"), "{}", leading.err);
    let missing = done(&mut index(home.path(), &store, &["s3://photos/man"])).expect(2);
    assert!(missing.err.contains("no bucket or prefix named \"s3://photos/man\""), "{}", missing.err);
}

#[test]
fn a_store_that_fails_costs_only_what_is_broken() {
    let (home, store) = (home(), S3::new());
    (0..120).for_each(|n| store.put("b", &format!("{n:03}.png"), png(n)));
    let broken = |request: &Request| {
        let listing = request.key.is_empty();
        match request.key.get(..3).and_then(|n| n.parse::<u32>().ok()) {
            // Some pages and one object in ten fail once, each in another way.
            _ if listing && request.before % 4 == 1 => Manner::Refuse(503, "SlowDown", None),
            Some(7) => Manner::Refuse(500, "InternalError", None),
            Some(8) => Manner::Refuse(404, "NoSuchKey", None),
            Some(9) => Manner::Refuse(403, "AccessDenied", None),
            Some(11) if request.before == 0 => Manner::Refuse(429, "SlowDown", Some(2)),
            Some(n) if n % 40 == 13 && request.before < 2 => Manner::Break,
            Some(n) if n % 40 == 17 && request.before == 0 => Manner::Stall,
            Some(n) if n % 10 == 5 && request.before == 0 => Manner::Refuse(503, "SlowDown", None),
            _ => Manner::Serve,
        }
    };
    store.behave(broken);
    let patience = ["s3://b", "--fetch-tries", "3", "--fetch-timeout", "1", "--errors", "errors.jsonl"];
    let first = done(&mut index(home.path(), &store, &patience)).expect(3);
    assert_eq!(summary(&first)["indexed"], 117, "{}", first.err);
    assert_eq!(keys(home.path()).len(), 117);
    let report = std::fs::read_to_string(home.path().join("errors.jsonl")).unwrap();
    let mut lines: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["key"].to_string());
    let told: Vec<(&str, &str, u64)> = lines
        .iter()
        .map(|l| (l["key"].as_str().unwrap(), l["stage"].as_str().unwrap(), l["tries"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("s3://b/007.png", "fetch", 3), ("s3://b/008.png", "fetch", 1), ("s3://b/009.png", "fetch", 1)]
    );
    let reasons: Vec<&str> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    let parts = ["InternalError", "it is not there", "AWS_ACCESS_KEY_ID"];
    assert!(reasons.iter().zip(parts).all(|(reason, part)| reason.contains(part)), "{reasons:?}");

    // Each was asked for as often as it failed, and once more; the one that was told to wait waited.
    let fetched = store.fetched();
    let times = |name: &str| fetched.iter().filter(|key| *key == name).count();
    let asked = ["000.png", "005.png", "007.png", "008.png", "011.png", "013.png", "017.png", "025.png"];
    assert_eq!(asked.map(times), [1, 2, 3, 1, 2, 3, 2, 2]);
    let when: Vec<Instant> = store.asked().iter().filter(|r| r.key == "011.png").map(|r| r.at).collect();
    assert!(when[1] - when[0] >= Duration::from_millis(1900), "{:?}", when[1] - when[0]);

    // What failed is taken up from the report, and nothing else is fetched.
    store.put("b", "new.png", png(1000));
    store.behave(|_| Manner::Serve);
    let rest = done(&mut index(home.path(), &store, &["s3://b", "--retry-failed", "errors.jsonl"])).expect(0);
    assert_eq!(summary(&rest), counts(3, 0, 0));
    assert_eq!(store.fetched(), ["007.png", "008.png", "009.png"]);
    let whole = done(&mut index(home.path(), &store, &["s3://b"])).expect(0);
    assert_eq!(summary(&whole), counts(1, 120, 0), "their stamps are what a whole run gives");
}

#[test]
fn an_object_that_changes_after_it_was_listed_is_fetched_again() {
    let (home, store) = (home(), S3::new());
    (0..10).for_each(|n| store.put("b", &format!("{n}.png"), png(n)));
    // The store says one thing in the listing and holds another when asked: its tag has changed meanwhile.
    let other = S3::new();
    (0..10).for_each(|n| other.put("b", &format!("{n}.png"), png(if n == 3 { 33 } else { n })));
    let listing = done(&mut index(home.path(), &store, &["s3://b"])).expect(0);
    assert_eq!(summary(&listing), counts(10, 0, 0));
    other.behave(|_| Manner::Serve);
    let changed = done(&mut index(home.path(), &other, &["s3://b"])).expect(0);
    assert_eq!((summary(&changed), other.fetched()), (counts(1, 9, 0), vec!["3.png".to_owned()]));
}

#[test]
fn credentials_that_end_stop_the_run_and_lose_nothing() {
    let (home, store) = (home(), S3::new());
    (0..60).for_each(|n| store.put("b", &format!("{n:02}.png"), png(n)));
    let wrong = done(index(home.path(), &store, &["s3://b"]).env("AWS_SECRET_ACCESS_KEY", "wrong")).expect(1);
    assert!(
        wrong.err.contains("the store refuses access (SignatureDoesNotMatch): set AWS_ACCESS_KEY_ID"),
        "{}",
        wrong.err
    );

    let mut left = 40;
    store.behave(move |request| {
        left -= u32::from(!request.key.is_empty());
        match left {
            0 => {
                left = 1;
                Manner::Refuse(403, "ExpiredToken", None)
            }
            _ => Manner::Serve,
        }
    });
    let ended = done(index(home.path(), &store, &["s3://b"]).env("EYESHOT_BATCH", "4")).expect(1);
    assert!(ended.err.contains("(ExpiredToken): renew them and run it again"), "{}", ended.err);
    let kept = keys(home.path()).len();
    let said = format!("{kept} images were indexed before this, and stay");
    assert!(kept > 0 && kept < 60 && ended.err.contains(&said), "{kept}: {}", ended.err);
    store.behave(|_| Manner::Serve);
    let rest = done(&mut index(home.path(), &store, &["s3://b"])).expect(0);
    assert_eq!(summary(&rest), counts(60 - kept as u64, kept as u64, 0));
    assert_eq!((store.fetched().len(), keys(home.path()).len()), (60 - kept, 60));
}

#[test]
fn a_killed_run_fetches_only_what_is_missing() {
    let (home, store) = (home(), S3::new());
    (0..90).for_each(|n| store.put("b", &format!("{n:02}.png"), png(n)));
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let mut there = 0;
    for kill in 0..4 {
        store.behave(|request| {
            std::thread::sleep(Duration::from_millis(if request.key.is_empty() { 0 } else { 15 }));
            Manner::Serve
        });
        let mut command = index(home.path(), &store, &["s3://b"]);
        let command = command.env("EYESHOT_BATCH", "3").stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let after = 5 + dice.roll(40) as usize;
        assert!(s3::until(|| store.fetched().len() >= after.min(90 - there)));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = keys(home.path()).len();
        assert!(now >= there, "kill {kill}: {there} were there, now {now}");
        there = now;
    }
    store.behave(|_| Manner::Serve);
    let rest = done(&mut index(home.path(), &store, &["s3://b"])).expect(0);
    assert_eq!(summary(&rest), counts(90 - there as u64, there as u64, 0));
    assert_eq!((store.fetched().len(), keys(home.path()).len()), (90 - there, 90));
}

#[test]
fn shards_share_a_bucket() {
    let (home, store) = (home(), S3::new());
    (0..40).for_each(|n| store.put("b", &format!("{n:02}.png"), png(n)));
    (0..6).for_each(|n| {
        store.put("b", &format!("t{n}.tar"), tar(&[("a.png", png(100 + n)), ("b.png", png(200 + n))]))
    });
    store.behave(|_| Manner::Serve);
    let mut all = BTreeSet::new();
    for shard in 0..3 {
        let data = format!("data-{shard}");
        let part = format!("{shard}/3");
        let args = ["s3://b", "s3://b/t{0..5}.tar", "--shard", &part, "--data", &data];
        let ran = done(&mut index(home.path(), &store, &args)).expect(0);
        let args = ["search", "--json", "--image", "any.png", "-t", "999", "--data", &data];
        std::fs::write(home.path().join("any.png"), png(1)).unwrap();
        let hits = common::run(home.path(), args).expect(0).json();
        assert_eq!(summary(&ran)["indexed"].as_u64(), Some(hits.len() as u64));
        assert!(hits.len() > 5, "each has some: {}", hits.len());
        let fresh = hits.iter().filter(|hit| all.insert(hit["key"].as_str().unwrap().to_owned())).count();
        assert_eq!(fresh, hits.len(), "no two have the same");
    }
    assert_eq!(all.len(), 52);
    let fetched = store.fetched();
    let tars: Vec<&String> = fetched.iter().filter(|key| key.ends_with(".tar")).collect();
    assert_eq!(tars.len(), 6, "a tar is fetched by one of them only: {tars:?}");
}

#[test]
fn tars_and_lists_may_lie_in_a_bucket() {
    let (home, store) = (home(), S3::new());
    let members = [
        ("000.png", png(1)),
        ("000.txt", b"the first".to_vec()),
        ("sub/001.png", png(2)),
        ("sub/001.json", br#"{"caption": "the second", "n": 2}"#.to_vec()),
        ("002.txt", b"no image".to_vec()),
        ("003.png", b"not a picture".to_vec()),
    ];
    store.put("b", "set-00.tar", tar(&members));
    store.put("b", "set-01.tar", tar(&[("é x.png", png(3))]));
    store.put("b", "c/1.png", png(4));
    store.put("open", "2.png", png(5));
    let list = format!(
        "url,caption,year\ns3://b/c/1.png,\"red, blue\",1999\n{}/open/2.png,,\n{0}/open/gone.png,,\n",
        store.endpoint
    );
    store.put("b", "list.csv", list);
    let ran =
        done(&mut index(home.path(), &store, &["s3://b/set-{00..01}.tar", "s3://b/list.csv"])).expect(3);
    let refused: Vec<Value> = summary(&ran)["refused"].as_array().unwrap().clone();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(refused[0]["key"], format!("{}/open/gone.png", store.endpoint));
    assert_eq!(refused[0]["reason"], "cannot be fetched: the other side said 404 Not Found");
    assert_eq!(refused[1]["key"], "s3://b/set-00.tar#003.png");
    let wanted = [
        "s3://b/set-00.tar#000.png".to_owned(),
        "s3://b/set-00.tar#sub/001.png".to_owned(),
        "s3://b/set-01.tar#%C3%A9%20x.png".to_owned(),
        "s3://b/c/1.png".to_owned(),
        format!("{}/open/2.png", store.endpoint),
    ];
    assert_eq!(keys(home.path()), wanted.iter().cloned().collect());
    let ask = |filter: &str| {
        let args = ["search", "--json", "--image", "any.png", "--filter", filter];
        let hits = common::run(home.path(), args).expect(0).json();
        hits.iter()
            .map(|hit| (hit["key"].as_str().unwrap().to_owned(), hit["captions"][0].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(ask("n = 2"), [(wanted[1].clone(), json!("the second"))]);
    assert_eq!(ask("year = 1999"), [(wanted[3].clone(), json!("red, blue"))]);
    // Pruning the bucket leaves alone what its tars and the list brought and what is still there.
    let pruned = done(&mut index(home.path(), &store, &["s3://b", "--prune"])).expect(0);
    assert_eq!(summary(&pruned)["removed"], 0);
    // A tar that lost a member and is pruned loses that item.
    store.put("b", "set-00.tar", tar(&members[..2]));
    let args = ["s3://b/set-00.tar", "--prune"];
    let pruned = done(&mut index(home.path(), &store, &args)).expect(0);
    assert_eq!((summary(&pruned)["removed"].as_u64(), keys(home.path()).len()), (Some(1), 4));
}

#[test]
fn what_changes_while_it_is_watched_is_indexed() {
    let (home, store) = (home(), S3::new());
    store.put("b", "1.png", png(1));
    let folder = home.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.png"), png(2)).unwrap();
    let mut command = index(home.path(), &store, &["s3://b", "folder", "--watch=1", "--prune"]);
    let out = home.path().join("out.jsonl");
    let child = command.stdout(std::fs::File::create(&out).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let mut child = Ended(child);
    let seen = || -> (u64, u64) {
        let text = std::fs::read_to_string(&out).unwrap();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let sum = |name: &str| lines.iter().map(|line| line[name].as_u64().unwrap()).sum();
        (sum("indexed"), sum("removed"))
    };
    assert!(s3::until(|| seen() == (2, 0)), "{:?}", seen());
    std::fs::write(folder.join("b.png"), png(3)).unwrap();
    assert!(s3::until(|| seen() == (3, 0)), "{:?}", seen());
    store.put("b", "2.png", png(4));
    assert!(s3::until(|| seen() == (4, 0)), "{:?}", seen());
    std::fs::remove_file(folder.join("a.png")).unwrap();
    assert!(s3::until(|| seen() == (4, 1)), "{:?}", seen());
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

/// Ends the program with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

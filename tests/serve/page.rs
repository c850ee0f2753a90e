//! The web page's files: served as what they are, complete, and asking nobody but their server. `tests/page` drives the page in a
//! browser.

use crate::served::Served;
use std::collections::BTreeMap;
use std::path::Path;

/// The page's files, by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/http/page");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

fn texts() -> BTreeMap<String, String> {
    files().into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap())).collect()
}

/// What stands between `before` and `after`, wherever it does.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| Some(rest.split_once(after)?.0))
}

#[tokio::test]
async fn files_are_served_as_what_they_are() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(home.path(), &[]).await;
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let files = files();
    assert!(files.len() > 20, "{:?}", files.keys());
    let index = ("", &files["index.html"]);
    for (name, bytes) in files.iter().map(|(name, bytes)| (name.as_str(), bytes)).chain([index]) {
        let address = format!("{}/{name}", served.http);
        let mut came = agent.get(&address).call().unwrap();
        assert_eq!(came.status(), 200, "{name}");
        let header = |header: &str| came.headers()[header].to_str().unwrap().to_owned();
        let kind = match name.rsplit_once('.').map_or("html", |(_, ending)| ending) {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("what is {other}?"),
        };
        assert_eq!(header("content-type"), kind, "{name}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{name}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{name}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{name}: {policy}");
        let tag = header("etag");
        assert_eq!(came.body_mut().read_to_vec().unwrap(), *bytes, "{name}");
        let again = agent.get(&address).header("if-none-match", tag).call().unwrap();
        assert_eq!(again.status(), 304, "{name}: known bytes are not sent again");
    }
    assert_eq!(agent.get(format!("{}/nothing.js", served.http)).call().unwrap().status(), 404);
}

#[test]
fn the_page_needs_nobody_else() {
    for (name, text) in texts() {
        for address in between(&text, "://", " ") {
            // The name of a namespace, which nobody fetches.
            let known = address.starts_with("www.w3.org/2000/svg");
            // A pattern, and words about addresses.
            let words = !address.starts_with(|c: char| c.is_ascii_alphanumeric());
            assert!(known || words, "{name} names ://{address}");
        }
        assert!(!text.contains("@import"), "{name}");
    }
}

#[test]
fn nothing_is_read_as_html_and_nothing_stands_inline() {
    let readers = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "setHTMLUnsafe",
        "eval(",
        "Function(",
    ];
    for (name, text) in texts().iter().filter(|(name, _)| name.ends_with(".js")) {
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for reader in readers {
            assert!(!code.contains(reader), "{name} uses {reader}");
        }
    }
    let html = &texts()["index.html"];
    for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
    for script in between(html, "<script", "</script>") {
        assert!(script.ends_with('>') && script.contains("src="), "an inline script: {script}");
    }
}

#[test]
fn nothing_is_missing_and_nothing_is_left_over() {
    let texts = texts();
    let html = &texts["index.html"];
    let mut wanted: Vec<String> = vec!["index.html".into()];
    let linked = between(html, "<link", ">").chain(between(html, "<script", ">"));
    for tag in linked {
        wanted.extend(between(tag, "href=\"", "\"").chain(between(tag, "src=\"", "\"")).map(str::to_owned));
    }
    let mut at = 0;
    while let Some(name) = wanted.get(at).cloned() {
        let text = texts.get(&name).unwrap_or_else(|| panic!("{name} is asked for, and is not there"));
        for import in between(text, "from \"./", "\"") {
            if !wanted.iter().any(|known| known == import) {
                wanted.push(import.to_owned());
            }
        }
        at += 1;
    }
    let left: Vec<&String> = texts.keys().filter(|name| !wanted.contains(name)).collect();
    assert!(left.is_empty(), "no file names these: {left:?}");
    let ids: Vec<&str> = between(html, " id=\"", "\"").collect();
    for (name, text) in &texts {
        for id in between(text, "byId(\"", "\")") {
            assert!(ids.contains(&id), "{name} asks for #{id}");
        }
    }
}

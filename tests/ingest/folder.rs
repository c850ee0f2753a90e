//! Folders as sources: what is listed, in which order, under which keys, whatever lies there.

#![cfg(unix)]

use eyeshot::Error;
use eyeshot::engine::Patience;
use eyeshot::ingest::{self, Entry, Listed, Source};
use eyeshot::types::uri::{path_to_uri, uri_to_path};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Tree {
    _dir: TempDir,
    root: PathBuf,
}

impl Tree {
    /// Files with these names, a folder for each name that ends in `/`, and links for those with `->`.
    fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in names {
            let (name, target) = name.split_once("->").unwrap_or((name, ""));
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match (target, name.ends_with('/')) {
                ("", true) => fs::create_dir_all(path).unwrap(),
                ("", false) => fs::write(path, name).unwrap(),
                (target, _) => symlink(target.replace("ROOT", root.to_str().unwrap()), path).unwrap(),
            }
        }
        Tree { _dir: dir, root }
    }

    fn sources(&self, names: &[&str]) -> Vec<Box<dyn Source>> {
        let paths: Vec<_> = names.iter().map(|name| self.root.join(name)).collect();
        ingest::open(&paths, Patience::default()).unwrap()
    }

    /// What is listed: names below the root, each refusal with its reason after `: `.
    fn listed(&self, sources: &[&str]) -> Vec<String> {
        let name =
            |key: &str| uri_to_path(key).unwrap().strip_prefix(&self.root).unwrap().display().to_string();
        let told = |listed| match listed {
            Listed::Image(entry) => name(&entry.key),
            Listed::Refused(refusal) | Listed::Unlisted(refusal) => {
                format!("{}: {}", name(&refusal.key), refusal.reason)
            }
        };
        self.sources(sources).iter().flat_map(|source| source.list().map(told).collect::<Vec<_>>()).collect()
    }
}

fn check(names: &[&str], sources: &[&str], expected: &[&str]) {
    let tree = Tree::new(names);
    assert_eq!(tree.listed(sources), expected, "{names:?} from {sources:?}");
    assert_eq!(tree.listed(sources), expected, "the same again");
}

#[test]
fn walks_in_order_and_only_images() {
    let names =
        ["b.jpg", "a/z.png", "a/b/c.gif", "B.JPG", "c.txt", "c.jpg", "noextension", "d.mp4", "e.jpg/f.webp"];
    check(&names, &["."], &["B.JPG", "b.jpg", "c.jpg", "a/z.png", "a/b/c.gif", "e.jpg/f.webp"]);
    check(
        &["a.jpeg", "b.bmp", "c.tiff", "d.TIF", "e.avif", "f.heic"],
        &[""],
        &["a.jpeg", "b.bmp", "c.tiff", "d.TIF", "e.avif", "f.heic"],
    );
    check(&["empty/"], &["."], &[]);
}

#[test]
fn hidden_names_are_skipped_unless_named() {
    let names = [".a.jpg", ".git/b.jpg", "c/.d/e.jpg", "c/f.jpg", "._f.jpg"];
    check(&names, &["."], &["c/f.jpg"]);
    check(&names, &[".git"], &[".git/b.jpg"]);
    check(&names, &[".", ".git", "c/.d", ".a.jpg"], &["c/f.jpg", ".git/b.jpg", "c/.d/e.jpg", ".a.jpg"]);
}

#[test]
fn overlapping_sources_list_nothing_twice() {
    let names = ["a/1.jpg", "a/b/2.jpg", "ab/3.jpg", "a/4.dat", "link->a"];
    check(&names, &["a", "a"], &["a/1.jpg", "a/b/2.jpg"]);
    check(&names, &["a/b", "a", "a/b/2.jpg"], &["a/1.jpg", "a/b/2.jpg"]);
    check(&names, &["a/b", "ab"], &["a/b/2.jpg", "ab/3.jpg"]);
    check(&names, &["a/b/../../a", "link"], &["a/1.jpg", "a/b/2.jpg"]);
    // A file that its folder's walk would pass over is its own source.
    check(&names, &["a", "a/4.dat", "a/4.dat"], &["a/1.jpg", "a/b/2.jpg", "a/4.dat"]);
}

#[test]
fn links_end_and_show_each_folder_once() {
    check(&["a/1.jpg", "a/self->.", "a/up->..", "a/root->ROOT"], &["."], &["a/1.jpg"]);
    check(&["in/1.jpg", "out/2.jpg", "in/l->../out", "in/m->../out"], &["in"], &["in/1.jpg", "in/l/2.jpg"]);
    check(
        &["in/a->../out/x", "out/x/1.jpg", "out/x/y->../../out", "out/2.jpg"],
        &["in"],
        &["in/a/1.jpg", "in/a/y/2.jpg"],
    );
    // The target is another source, or lies in it: it is listed there.
    check(&["in/l->../out/x", "out/x/1.jpg"], &["in", "out"], &["out/x/1.jpg"]);
    // A hidden folder is not listed under its own name, so a link shows it.
    check(&["in/.h/1.jpg", "in/l->.h"], &["in"], &["in/l/1.jpg"]);
    // A linked file is a file, wherever it lies.
    check(
        &["in/1.jpg", "in/2.jpg->1.jpg", "out/3.dat", "in/3.jpg->../out/3.dat"],
        &["in"],
        &["in/1.jpg", "in/2.jpg", "in/3.jpg"],
    );
}

#[test]
fn what_cannot_be_a_file_is_refused() {
    check(
        &["gone.jpg->nowhere", "gone->nowhere", "loop.png->loop.png", "loop->loop"],
        &["."],
        &[
            "gone.jpg: a link to nothing",
            "loop.png: cannot be read: Too many levels of symbolic links (os error 40)",
        ],
    );
    let tree = Tree::new(&["good.jpg", "dev.jpg->/dev/null"]);
    let made = std::process::Command::new("mkfifo").arg(tree.root.join("pipe.jpg")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(tree.root.join("socket.gif")).unwrap();
    let expected = [
        "dev.jpg: not a file but a device",
        "good.jpg",
        "pipe.jpg: not a file but a named pipe",
        "socket.gif: not a file but a socket",
    ];
    assert_eq!(tree.listed(&["."]), expected);
    // Asked for by name, it is still not opened.
    assert_eq!(tree.listed(&["pipe.jpg"]), [expected[2]]);
    let entry = Entry { key: path_to_uri(&tree.root.join("pipe.jpg")).unwrap(), ..Entry::default() };
    assert!(matches!(tree.sources(&["."])[0].fetch(&entry, 100), Err(Error::Image { .. })));
}

/// As root there is hardly a folder that cannot be read: one whose path is longer than the system takes is.
#[test]
fn a_folder_that_cannot_be_read_is_told() {
    let tree = Tree::new(&["good.jpg"]);
    let level = "d".repeat(250);
    let chain = |top: &str| (0..9).fold(tree.root.join(top), |path, _| path.join(&level));
    fs::create_dir_all(chain("a")).unwrap();
    fs::create_dir_all(chain("b")).unwrap();
    fs::write(chain("b").join("deep.jpg"), "deep").unwrap();
    fs::rename(tree.root.join("b"), chain("a").join("b")).unwrap();
    let listed: Vec<Listed> = tree.sources(&["."])[0].list().collect();
    assert!(matches!(&listed[0], Listed::Image(entry) if entry.key.ends_with("good.jpg")), "{listed:?}");
    assert!(
        matches!(&listed[1], Listed::Unlisted(refusal) if refusal.reason.contains("File name too long")),
        "{listed:?}"
    );
    assert_eq!(listed.len(), 2);
}

#[test]
fn any_name_has_a_key() {
    let tree = Tree::new(&["line\nbreak.jpg", "per%41cent.jpg", "é日.jpg", "a b?#.jpg"]);
    fs::write(tree.root.join(OsStr::from_bytes(b"\xff\xfe.jpg")), "bytes").unwrap();
    let source = &tree.sources(&["."])[0];
    let entries: Vec<Entry> = source
        .list()
        .map(|listed| match listed {
            Listed::Image(entry) => entry,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        ["a%20b%3F%23.jpg", "line%0Abreak.jpg", "per%2541cent.jpg", "%C3%A9%E6%97%A5.jpg", "%FF%FE.jpg"];
    for (entry, expected) in entries.iter().zip(expected) {
        assert_eq!(entry.key, format!("{}/{expected}", path_to_uri(&tree.root).unwrap()));
        assert!(source.fetch(entry, 100).is_ok());
        assert!(source.owns(&entry.key, ""));
    }
    assert_eq!(entries.len(), expected.len());
}

#[test]
fn missing_sources_are_named() {
    let tree = Tree::new(&["a.jpg"]);
    let there = tree.root.clone();
    let check = |source: &str, named: &str| {
        let error =
            ingest::open(&[there.as_os_str(), OsStr::new(source)], Patience::default()).err().unwrap();
        assert!(error.is_callers() && error.to_string().contains(named), "{error}");
    };
    check("nowhere/to/be/found", "nowhere/to/be/found");
    check("ftp://host/prefix", "ftp://host/prefix");
    check("file:///nowhere/at%20all", "/nowhere/at all");
}

#[test]
fn stamps_change_with_the_file_and_its_sidecars() {
    let tree = Tree::new(&["a.jpg"]);
    let stamp = || match tree.sources(&["a.jpg"])[0].list().next() {
        Some(Listed::Image(entry)) => entry.stamp,
        other => panic!("{other:?}"),
    };
    let mut stamps = vec![stamp()];
    let mut check = |what: &dyn Fn(&Path)| {
        what(&tree.root);
        assert!(!stamps.contains(&stamp()), "{stamps:?}");
        assert_eq!(stamp(), stamp());
        stamps.push(stamp());
    };
    check(&|root| fs::write(root.join("a.jpg"), "longer").unwrap());
    check(&|root| {
        let file = fs::File::options().write(true).open(root.join("a.jpg")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    });
    check(&|root| fs::write(root.join("a.txt"), "a caption").unwrap());
    check(&|root| fs::write(root.join("a.txt"), "another caption").unwrap());
    check(&|root| fs::write(root.join("a.json"), "{}").unwrap());
    fs::remove_file(tree.root.join("a.txt")).unwrap();
    fs::remove_file(tree.root.join("a.json")).unwrap();
    assert_eq!(stamp(), stamps[2], "as it was before the sidecars");
}

#[test]
fn fetching_is_bounded_and_brings_sidecars() {
    let tree = Tree::new(&["a.jpg", "a.txt", "a.json", "b.jpg", "ab.txt", "c.d.jpg", "c.d.txt", "c.txt"]);
    let source = &tree.sources(&["."])[0];
    let entry = |name: &str| Entry { key: path_to_uri(&tree.root.join(name)).unwrap(), ..Entry::default() };
    let check = |name: &str, sidecars: &[&str]| {
        let fetched = source.fetch(&entry(name), name.len() as u64).unwrap();
        assert_eq!(fetched.bytes, name.as_bytes());
        assert_eq!(fetched.sidecars.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), sidecars);
        let error = source.fetch(&entry(name), name.len() as u64 - 1).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    };
    check("a.jpg", &["a.txt", "a.json"]);
    check("b.jpg", &[]);
    check("c.d.jpg", &["c.d.txt"]);
    assert!(matches!(source.fetch(&entry("gone.jpg"), 100), Err(Error::Io { .. })));
}

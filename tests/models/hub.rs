//! Models from the hub: a server on the loopback speaks the hub's paths, and the cache is a folder of the test's own.

use eyeshot::Error;
use eyeshot::models::{
    self, Clip, DeviceChoice, HubOptions, Kind, ModelFiles, ModelOptions, Progress, Silent,
};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const REPO: &str = "tester/tiny-clip";
const COMMIT: &str = "1111111111111111111111111111111111111111";
const NEWER: &str = "2222222222222222222222222222222222222222";
const WEIGHTS: &str = "model.safetensors";

/// How a server misbehaves.
#[derive(Clone, Copy, Debug, Default)]
struct Manners {
    /// Breaks the first so many transfers of the weights off, each after this many bytes.
    cut: (usize, usize),
    /// After those cuts, answers 503 instead of going on.
    then_refuse: bool,
    /// Sends whole files whatever part is asked for.
    ignore_range: bool,
    /// Sends weights that are not what was announced.
    corrupt: bool,
    /// Answers everything with this status.
    status: Option<u16>,
    /// The repository was renamed: its old name redirects.
    renamed: bool,
    /// The commit that `main` stands for is the newer one.
    newer: bool,
}

/// A hub and, at another port, the store that it redirects to for large files.
struct Hub {
    endpoint: String,
    state: Arc<State>,
    doors: Vec<(String, std::thread::JoinHandle<()>)>,
}

struct State {
    repo: String,
    files: BTreeMap<String, Vec<u8>>,
    manners: Manners,
    store: Mutex<String>,
    cuts: Mutex<usize>,
    closed: AtomicBool,
    log: Mutex<Vec<Request>>,
}

#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    to_store: bool,
}

impl Hub {
    fn new(repo: &str, checkpoint: &str, manners: Manners) -> Self {
        let files = fs::read_dir(fixture(checkpoint)).unwrap().map(|entry| entry.unwrap().path());
        let files = files.map(|path| (name_of(&path), fs::read(&path).unwrap())).collect();
        let state = Arc::new(State {
            repo: repo.to_owned(),
            files,
            manners,
            store: Mutex::default(),
            cuts: Mutex::new(0),
            closed: AtomicBool::new(false),
            log: Mutex::default(),
        });
        let mut doors = Vec::new();
        for to_store in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            if to_store {
                *state.store.lock().unwrap() = format!("http://{address}");
            }
            let shared = state.clone();
            let thread = std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.closed.load(Ordering::SeqCst) {
                        break;
                    }
                    // A client that goes away is its own affair.
                    let _ = shared.serve(stream.unwrap(), to_store);
                }
            });
            doors.push((address, thread));
        }
        Hub { endpoint: format!("http://{}", doors[1].0), state, doors }
    }

    fn log(&self) -> Vec<Request> {
        self.state.log.lock().unwrap().clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        for (address, thread) in self.doors.drain(..) {
            let _ = TcpStream::connect(address);
            let _ = thread.join();
        }
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream, to_store: bool) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut headers = HashMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let request = Request { method, path, headers, to_store };
        self.log.lock().unwrap().push(request.clone());
        let (status, headers, body, sent) = self.answer(&request);
        let mut head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n");
        let length = if request.method == "HEAD" && headers.iter().any(|(n, _)| *n == "Content-Length") {
            None
        } else {
            Some(body.len())
        };
        for (name, value) in headers.into_iter().chain(length.map(|l| ("Content-Length", l.to_string()))) {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if request.method != "HEAD" {
            stream.write_all(&body[..sent])?;
        }
        stream.flush()
    }

    /// Status, headers, body, and how much of the body is sent.
    fn answer(&self, request: &Request) -> (u16, Vec<(&'static str, String)>, Vec<u8>, usize) {
        let commit = if self.manners.newer { NEWER } else { COMMIT };
        let plain = |status: u16, body: &str| (status, vec![], body.as_bytes().to_vec(), body.len());
        if let Some(status) = self.manners.status {
            return plain(status, "{}");
        }
        if request.to_store {
            let file = request.path.trim_start_matches("/store/");
            return self.bytes(request, file);
        }
        let old = format!("/{REPO}/");
        if self.manners.renamed && request.path.starts_with(&old) {
            let to = request.path.replacen(&old, &format!("/{}/", self.repo), 1);
            return (307, vec![("Location", to)], vec![], 0);
        }
        let name = if self.manners.renamed { REPO } else { self.repo.as_str() };
        if let Some(revision) = request.path.strip_prefix(&format!("/api/models/{name}/revision/")) {
            assert!(["main", "v1", COMMIT].contains(&revision), "{revision}");
            let files: Vec<_> = self.files.keys().map(|f| serde_json::json!({"rfilename": f})).collect();
            return plain(200, &serde_json::json!({"sha": commit, "siblings": files}).to_string());
        }
        let Some(file) = request.path.strip_prefix(&format!("/{}/resolve/{commit}/", self.repo)) else {
            return plain(404, "no");
        };
        let Some(bytes) = self.files.get(file) else { return plain(404, "no") };
        let headers =
            vec![("X-Repo-Commit", commit.to_owned()), ("ETag", format!("\"{}\"", small_etag(bytes)))];
        if !is_large(file) {
            let (status, more, body, sent) = self.bytes(request, file);
            return (status, headers.into_iter().chain(more).collect(), body, sent);
        }
        let linked = [
            ("X-Linked-Etag", format!("\"{}\"", sha256(bytes))),
            ("X-Linked-Size", bytes.len().to_string()),
            ("Location", format!("{}/store/{file}", self.store.lock().unwrap())),
        ];
        (302, headers.into_iter().chain(linked).collect(), vec![], 0)
    }

    fn bytes(&self, request: &Request, file: &str) -> (u16, Vec<(&'static str, String)>, Vec<u8>, usize) {
        let mut body = self.files[file].clone();
        if self.manners.corrupt && is_large(file) {
            body[1000] ^= 1;
        }
        let whole = body.len();
        let from = request.headers.get("range").filter(|_| !self.manners.ignore_range);
        let from =
            from.map(|r| r.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
        let (status, mut headers) = match from {
            Some(from) if from >= whole => return (416, vec![], vec![], 0),
            Some(from) => {
                body.drain(..from);
                (206, vec![("Content-Range", format!("bytes {from}-{}/{whole}", whole - 1))])
            }
            None => (200, vec![]),
        };
        headers.push(("Accept-Ranges", "bytes".to_owned()));
        let mut sent = body.len();
        let mut cuts = self.cuts.lock().unwrap();
        if is_large(file) && *cuts < self.manners.cut.0 {
            *cuts += 1;
            sent = self.manners.cut.1;
        } else if is_large(file) && self.manners.then_refuse {
            return (503, vec![], vec![], 0);
        }
        (status, headers, body, sent)
    }
}

fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".bin")
}

fn small_etag(bytes: &[u8]) -> String {
    sha256(bytes)[..40].to_owned()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip").join(name)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn options(endpoint: &str, cache: &Path) -> ModelOptions {
    let hub = HubOptions {
        endpoint: endpoint.to_owned(),
        cache: cache.to_owned(),
        token: Some("hf_secret".to_owned()),
        offline: false,
    };
    ModelOptions { device: DeviceChoice::Cpu, hub, ..ModelOptions::default() }
}

/// Loads what was resolved and compares it with the fixture that the hub serves.
fn check(files: &ModelFiles, checkpoint: &str) {
    let local = ModelFiles::from_dir("local", &fixture(checkpoint)).unwrap();
    let clip = Clip::load(files, &options("", Path::new(""))).unwrap();
    assert_eq!(clip.fingerprint(), local.fingerprint().unwrap());
    assert_eq!(clip.embed_texts(&["a dog"]).unwrap()[0].len(), clip.dim());
}

#[derive(Default)]
struct Meter {
    announced: AtomicU64,
    advanced: AtomicU64,
    finished: AtomicU64,
}

impl Progress for Meter {
    fn start(&self, file: &str, total: Option<u64>) {
        assert!(total.is_some(), "{file}");
        self.announced.fetch_add(total.unwrap(), Ordering::SeqCst);
    }
    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::SeqCst);
    }
    fn finish(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_model_is_fetched_once_then_needs_no_network() {
    for checkpoint in ["gelu", "sharded", "quick-gelu-legacy-bin", "half-bin-shards"] {
        let cache = tempfile::tempdir().unwrap();
        let hub = Hub::new(REPO, checkpoint, Manners::default());
        let options = options(&hub.endpoint, cache.path());
        let meter = Meter::default();
        let files = models::resolve(REPO, &options, &meter).unwrap();
        assert_eq!(files.name, REPO);
        check(&files, checkpoint);
        assert!(meter.finished.load(Ordering::SeqCst) >= 4);
        assert_eq!(meter.announced.load(Ordering::SeqCst), meter.advanced.load(Ordering::SeqCst));

        // The token goes to the hub, and nowhere else.
        for request in hub.log() {
            let sent = request.headers.get("authorization").map(String::as_str);
            assert_eq!(sent, (!request.to_store).then_some("Bearer hf_secret"), "{request:?}");
        }
        // The layout that Python shares.
        let repo = cache.path().join("models--tester--tiny-clip");
        assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
        let config = repo.join("snapshots").join(COMMIT).join("config.json");
        assert!(fs::read_link(config).unwrap().starts_with("../../blobs"));
        assert!(
            fs::read_dir(repo.join("blobs"))
                .unwrap()
                .all(|b| !name_of(&b.unwrap().path()).contains("incomplete"))
        );

        let asked = hub.log().len();
        check(&models::resolve(REPO, &options, &Silent).unwrap(), checkpoint);
        assert_eq!(hub.log().len(), asked, "a model in the cache needs no request");
        drop(hub);
        let offline = ModelOptions { offline: true, refresh: true, ..options.clone() };
        check(&models::resolve(REPO, &offline, &Silent).unwrap(), checkpoint);

        let listed = models::cached(&options.hub);
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].id.as_str(), listed[0].commit.as_str(), &listed[0].kind),
            (REPO, COMMIT, &Kind::Clip)
        );
    }
}

#[test]
fn a_cut_transfer_goes_on_where_it_stopped() {
    let size = fs::metadata(fixture("gelu").join(WEIGHTS)).unwrap().len() as usize;
    let ranges = |hub: &Hub| -> Vec<Option<String>> {
        let log = hub.log().into_iter().filter(|r| r.to_store && r.method == "GET");
        log.map(|r| r.headers.get("range").cloned()).collect()
    };
    // Within one run.
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(REPO, "gelu", Manners { cut: (2, 70_000), ..Manners::default() });
    let meter = Meter::default();
    check(&models::resolve(REPO, &options(&hub.endpoint, cache.path()), &meter).unwrap(), "gelu");
    let expected = [None, Some("bytes=70000-".to_owned()), Some("bytes=140000-".to_owned())];
    assert_eq!(ranges(&hub), expected);
    assert_eq!(meter.announced.load(Ordering::SeqCst), meter.advanced.load(Ordering::SeqCst));

    // Across runs; the second server may also send everything again.
    for (ignore_range, from) in [(false, 70_000), (true, 0)] {
        let cache = tempfile::tempdir().unwrap();
        let hub =
            Hub::new(REPO, "gelu", Manners { cut: (1, 70_000), then_refuse: true, ..Manners::default() });
        let refused = models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent);
        assert!(matches!(refused, Err(Error::Fetch { .. })), "{refused:?}");
        let hub = Hub::new(REPO, "gelu", Manners { ignore_range, ..Manners::default() });
        check(&models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent).unwrap(), "gelu");
        assert_eq!(ranges(&hub), [Some("bytes=70000-".to_owned())]);
        assert!(from < size);
    }
}

#[test]
fn a_part_that_is_too_long_is_thrown_away() {
    let cache = tempfile::tempdir().unwrap();
    let weights = fs::read(fixture("gelu").join(WEIGHTS)).unwrap();
    let blobs = cache.path().join("models--tester--tiny-clip/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.incomplete", sha256(&weights))), vec![7; weights.len() + 9]).unwrap();
    let hub = Hub::new(REPO, "gelu", Manners::default());
    check(&models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent).unwrap(), "gelu");
}

#[test]
fn a_damaged_file_is_refused_and_not_kept() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(REPO, "gelu", Manners { corrupt: true, ..Manners::default() });
    let error =
        models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent).unwrap_err().to_string();
    assert!(error.contains("SHA-256") && error.contains(WEIGHTS), "{error}");
    let hub = Hub::new(REPO, "gelu", Manners::default());
    check(&models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent).unwrap(), "gelu");
}

#[test]
fn refusals_say_what_to_do() {
    let cases: [(u16, bool, &[&str]); 5] = [
        (401, false, &["401", REPO, "set HF_TOKEN"]),
        (401, true, &["401", REPO, "token in HF_TOKEN"]),
        (403, true, &["403", REPO, "terms"]),
        (404, true, &["404", REPO]),
        (500, true, &["500", REPO]),
    ];
    for (status, token, words) in cases {
        let cache = tempfile::tempdir().unwrap();
        let hub = Hub::new(REPO, "gelu", Manners { status: Some(status), ..Manners::default() });
        let mut options = options(&hub.endpoint, cache.path());
        options.hub.token = options.hub.token.filter(|_| token);
        let error = models::resolve(REPO, &options, &Silent).unwrap_err();
        assert!(matches!(error, Error::Fetch { .. }), "{error:?}");
        for word in words {
            assert!(error.to_string().contains(word), "{status}: {error}");
        }
        assert!(!error.to_string().contains("hf_secret"));
    }
}

#[test]
fn without_a_network_the_error_says_so() {
    let cache = tempfile::tempdir().unwrap();
    // A port that was free a moment ago, where no one listens now.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = options(&format!("http://{closed}"), cache.path());
    let error = models::resolve(REPO, &options, &Silent).unwrap_err().to_string();
    assert!(error.contains("network") && error.contains("HF_ENDPOINT"), "{error}");
    options.offline = true;
    let error = models::resolve(REPO, &options, &Silent).unwrap_err().to_string();
    assert!(error.contains(REPO) && error.contains("cache"), "{error}");
    assert!(models::cached(&options.hub).is_empty());
}

#[test]
fn a_repository_without_weights_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(REPO, "preprocess", Manners::default());
    let error =
        models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent).unwrap_err().to_string();
    assert!(error.contains(REPO) && error.contains("pytorch_model.bin"), "{error}");
}

#[test]
fn names_lead_to_repositories() {
    let cases = [
        ("ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("vit-l-14/OpenAI", "openai/clip-vit-large-patch14"),
        ("ViT-B/16", "openai/clip-vit-base-patch16"),
        ("hf-hub:some.org/some_model-1", "some.org/some_model-1"),
        ("some/model@v1", "some/model"),
    ];
    for (spec, repo) in cases {
        let cache = tempfile::tempdir().unwrap();
        let hub = Hub::new(repo, "gelu", Manners::default());
        let files = models::resolve(spec, &options(&hub.endpoint, cache.path()), &Silent).unwrap();
        assert_eq!(files.name, spec);
        check(&files, "gelu");
    }
}

#[test]
fn a_renamed_repository_is_followed() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new("tester/new-name", "gelu", Manners { renamed: true, ..Manners::default() });
    check(&models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent).unwrap(), "gelu");
}

#[test]
fn refresh_takes_what_is_new() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(REPO, "gelu", Manners::default());
    models::resolve(REPO, &options(&hub.endpoint, cache.path()), &Silent).unwrap();
    let hub = Hub::new(REPO, "sharded", Manners { newer: true, ..Manners::default() });
    let stale = options(&hub.endpoint, cache.path());
    check(&models::resolve(REPO, &stale, &Silent).unwrap(), "gelu");
    let fresh = ModelOptions { refresh: true, ..stale.clone() };
    check(&models::resolve(REPO, &fresh, &Silent).unwrap(), "sharded");
    // The older one is still there under its commit.
    check(&models::resolve(&format!("{REPO}@{COMMIT}"), &stale, &Silent).unwrap(), "gelu");
}

/// Variables, and the endpoint, cache, token and offline that they mean.
type Environment =
    (&'static [(&'static str, &'static str)], &'static str, &'static str, Option<&'static str>, bool);

#[test]
fn the_environment_is_read_as_python_reads_it() {
    let cases: [Environment; 7] = [
        (&[("HOME", "/h")], "https://huggingface.co", "/h/.cache/huggingface/hub", None, false),
        (&[("HF_HOME", "/a")], "https://huggingface.co", "/a/hub", None, false),
        (&[("HF_HOME", "/a"), ("HF_HUB_CACHE", "/b")], "https://huggingface.co", "/b", None, false),
        (
            &[("HUGGINGFACE_HUB_CACHE", "/c"), ("HF_TOKEN", " t\n")],
            "https://huggingface.co",
            "/c",
            Some("t"),
            false,
        ),
        (
            &[("XDG_CACHE_HOME", "/x"), ("HF_ENDPOINT", "http://m/")],
            "http://m",
            "/x/huggingface/hub",
            None,
            false,
        ),
        (&[("HF_HOME", "/a"), ("HF_HUB_OFFLINE", "TRUE")], "https://huggingface.co", "/a/hub", None, true),
        (
            &[("HF_HOME", "/a"), ("HF_HUB_OFFLINE", "0"), ("HF_ENDPOINT", "")],
            "https://huggingface.co",
            "/a/hub",
            None,
            false,
        ),
    ];
    for (vars, endpoint, cache, token, offline) in cases {
        let look = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let options = HubOptions::from_vars(look);
        assert_eq!(options.endpoint, endpoint, "{vars:?}");
        assert_eq!(options.cache, Path::new(cache), "{vars:?}");
        assert_eq!((options.token.as_deref(), options.offline), (token, offline), "{vars:?}");
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("token"), "hf_saved\n").unwrap();
    let path = home.path().display().to_string();
    let options = HubOptions::from_vars(|name| (name == "HF_HOME").then(|| path.clone()));
    assert_eq!(options.token.as_deref(), Some("hf_saved"));
    assert!(!format!("{options:?}").contains("hf_saved"));
}

//! An object store on the loopback: lists in pages, checks signatures as Amazon's does, counts what it is asked, and misbehaves
//! as it is told. The bucket `open` is for all.

#![allow(dead_code, clippy::unwrap_used)]

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::{digest, hmac};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const KEY: &str = "AKTEST";
pub const SECRET: &str = "not very secret";
/// Keys to a page of a listing, so that few objects make many pages.
const PAGE: usize = 7;
/// What is encoded in what is signed.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Manner {
    /// As it should be.
    Serve,
    /// With this status and error code, and after so many seconds it may ask again.
    Refuse(u16, &'static str, Option<u32>),
    /// With half of the bytes, and then nothing more.
    Break,
    /// Not at all, until the other side leaves.
    Stall,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub bucket: String,
    /// Decoded; empty for a listing.
    pub key: String,
    /// How often this key was asked for before, in the same way.
    pub before: usize,
    pub at: Instant,
    path: String,
    query: String,
    headers: HashMap<String, String>,
}

impl Request {
    /// Which bytes were asked for: `bytes=FROM-TO`; empty for all.
    pub fn range(&self) -> &str {
        self.headers.get("range").map_or("", String::as_str)
    }

    fn param(&self, name: &str) -> Option<String> {
        let found = self.query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        found.map(|value| percent_decode_str(value).decode_utf8().unwrap().into_owned())
    }
}

type Manners = Box<dyn FnMut(&Request) -> Manner + Send>;

struct State {
    objects: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    log: Mutex<Vec<Request>>,
    manners: Mutex<Manners>,
    closed: AtomicBool,
}

pub struct S3 {
    pub endpoint: String,
    state: Arc<State>,
    door: Option<JoinHandle<()>>,
}

impl S3 {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            objects: Mutex::default(),
            log: Mutex::default(),
            manners: Mutex::new(Box::new(|_| Manner::Serve)),
            closed: AtomicBool::new(false),
        });
        let there = state.clone();
        let door = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if there.closed.load(Ordering::SeqCst) {
                    return;
                }
                let there = there.clone();
                std::thread::spawn(move || _ = there.converse(stream.unwrap()));
            }
        });
        S3 { endpoint, state, door: Some(door) }
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>) {
        self.state.objects.lock().unwrap().insert((bucket.into(), key.into()), bytes.into());
    }

    pub fn remove(&self, bucket: &str, key: &str) {
        self.state.objects.lock().unwrap().remove(&(bucket.into(), key.into())).unwrap();
    }

    /// From now on, and what was asked before is forgotten.
    pub fn behave(&self, manners: impl FnMut(&Request) -> Manner + Send + 'static) {
        *self.state.manners.lock().unwrap() = Box::new(manners);
        self.state.log.lock().unwrap().clear();
    }

    /// What was asked since it was last told how to behave.
    pub fn asked(&self) -> Vec<Request> {
        self.state.log.lock().unwrap().clone()
    }

    /// The keys that were fetched since then, sorted, as often as they were.
    pub fn fetched(&self) -> Vec<String> {
        let asked = self.asked().into_iter();
        let mut keys: Vec<String> =
            asked.filter(|r| r.method == "GET" && !r.key.is_empty()).map(|r| r.key).collect();
        keys.sort();
        keys
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        self.door.take().unwrap().join().unwrap();
    }
}

impl State {
    /// One connection, for as many requests as it is used.
    fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some(request) = self.hear(&mut reader)? {
            let manner = (self.manners.lock().unwrap())(&request);
            let head_only = request.method == "HEAD";
            let Answer { status, headers, body } = match manner {
                Manner::Refuse(status, code, after) => {
                    let after =
                        after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
                    Answer { headers: after, ..refusal(status, code) }
                }
                _ => self.answer(&request),
            };
            let long = body.len();
            write!(stream, "HTTP/1.1 {status} Said\r\n{headers}Content-Length: {long}\r\n\r\n")?;
            match manner {
                Manner::Stall | Manner::Break => {
                    stream.write_all(&body[..long / 2])?;
                    stream.flush()?;
                    if matches!(manner, Manner::Stall) {
                        // Until the other side hangs up.
                        _ = reader.read_until(0, &mut Vec::new());
                    }
                    return Ok(());
                }
                _ if head_only => {}
                _ => stream.write_all(&body)?,
            }
        }
        Ok(())
    }

    fn hear(&self, reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let key = percent_decode_str(key).decode_utf8().unwrap().into_owned();
        let mut log = self.log.lock().unwrap();
        let before = log.iter().filter(|r| (&r.method, &r.key) == (&method, &key)).count();
        let request = Request {
            method,
            bucket: bucket.to_owned(),
            key,
            before,
            at: Instant::now(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
        };
        log.push(request.clone());
        Ok(Some(request))
    }

    fn answer(&self, request: &Request) -> Answer {
        if request.bucket != "open" && !is_signed(request) {
            return refusal(403, "SignatureDoesNotMatch");
        }
        if request.key.is_empty() {
            return self.list(request);
        }
        let objects = self.objects.lock().unwrap();
        let Some(bytes) = objects.get(&(request.bucket.clone(), request.key.clone())) else {
            return refusal(404, "NoSuchKey");
        };
        let headers = format!("ETag: \"{}\"\r\nLast-Modified: Mon, 05 Jan 2026 10:00:00 GMT\r\n", tag(bytes));
        let range = request.headers.get("range").map(|range| range.trim_start_matches("bytes=").to_owned());
        let Some((from, to)) = range.as_deref().and_then(|range| range.split_once('-')) else {
            return Answer { status: 200, headers, body: bytes.clone() };
        };
        let from: usize = from.parse().unwrap();
        let to = to.parse::<usize>().map_or(bytes.len(), |to| (to + 1).min(bytes.len()));
        if from >= bytes.len() {
            return refusal(416, "InvalidRange");
        }
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", to - 1, bytes.len());
        Answer { status: 206, headers: headers + &range, body: bytes[from..to].to_vec() }
    }

    fn list(&self, request: &Request) -> Answer {
        let prefix = request.param("prefix").unwrap_or_default();
        let after = request.param("continuation-token").or(request.param("start-after")).unwrap_or_default();
        let objects = self.objects.lock().unwrap();
        let mut found = objects.iter().filter(|((bucket, key), _)| {
            *bucket == request.bucket && key.starts_with(&prefix) && (after.is_empty() || *key > after)
        });
        let page: Vec<_> = found.by_ref().take(PAGE).collect();
        let more = found.next().is_some();
        let mut body = format!("<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>{more}</IsTruncated>");
        if let Some(((_, last), _)) = page.last().filter(|_| more) {
            body += &format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(last));
        }
        for ((_, key), bytes) in page {
            body += &format!(
                "<Contents><Key>{}</Key><LastModified>2026-01-05T10:00:00.000Z</LastModified>\
                 <ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
                escaped(key),
                tag(bytes),
                bytes.len()
            );
        }
        let headers = "Content-Type: application/xml\r\n".to_owned();
        Answer { status: 200, headers, body: (body + "</ListBucketResult>").into_bytes() }
    }
}

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

fn refusal(status: u16, code: &str) -> Answer {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message></Error>");
    Answer { status, headers: String::new(), body: body.into_bytes() }
}

fn tag(bytes: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, bytes).as_ref()[..16])
}

fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '&' | '<' | '>' | '"' | '\0'..='\x1f' => format!("&#{};", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signature version 4, as Amazon documents it.
fn is_signed(request: &Request) -> bool {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let said = header("authorization");
    let part = |name: &str| {
        let found = said.split([',', ' ']).find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let (credential, names, signature) = (part("Credential"), part("SignedHeaders"), part("Signature"));
    let Some(scope) = credential.strip_prefix(&format!("{KEY}/")) else { return false };
    // Names and values are signed in one encoding, whichever they came in.
    let plain = |text: &str| {
        utf8_percent_encode(&percent_decode_str(text).decode_utf8().unwrap(), RESERVED).to_string()
    };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        format!("{}={}", plain(name), plain(value))
    };
    let mut query: Vec<String> = request.query.split('&').filter(|q| !q.is_empty()).map(pair).collect();
    query.sort();
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let path: Vec<String> = request.path.split('/').map(plain).collect();
    let (path, query, hash) = (path.join("/"), query.join("&"), header("x-amz-content-sha256"));
    let canonical = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{hash}", request.method);
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hashed}", header("x-amz-date"));
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| sign(&key, part));
    hex(&sign(&key, &text)) == signature
}

/// Waits until `done`, and says whether that came about in time.
pub fn until(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

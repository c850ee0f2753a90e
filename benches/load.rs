//! Many clients at once against a running server: queries a second, and how long each took.
//!
//! ```text
//! eyeshot serve &
//! cargo bench --bench load -- --address http://127.0.0.1:50051 --clients 64 --seconds 60
//! ```
//!
//! `--http URL` posts there instead: what Eyeshot's JSON search takes where the path has `/v1/`, else what
//! `benches/glue/server.py` takes. Each query is a text that was not asked before, so that no remembered embedding answers it.

use eyeshot::serve::proto::v1::{self as pb, search_client::SearchClient};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

/// Words that the demo model knows, to make texts of.
const WORDS: [&str; 16] = [
    "cat", "dog", "rocket", "pizza", "koala", "castle", "tulip", "guitar", "snail", "bus", "anchor", "owl",
    "crab", "drum", "lemon", "tent",
];

struct Asked {
    address: String,
    /// Where to post instead.
    http: Option<String>,
    collection: String,
    clients: usize,
    seconds: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked = asked();
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(&asked))
}

fn asked() -> Asked {
    let arguments: Vec<String> = std::env::args().collect();
    let of =
        |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    Asked {
        address: of("--address").unwrap_or_else(|| "http://127.0.0.1:50051".into()),
        http: of("--http"),
        collection: of("--collection").unwrap_or_else(|| "default".into()),
        clients: of("--clients").and_then(|n| n.parse().ok()).unwrap_or(64),
        seconds: of("--seconds").and_then(|n| n.parse().ok()).unwrap_or(60),
    }
}

async fn run(asked: &Asked) -> Result<(), Box<dyn std::error::Error>> {
    let next = Arc::new(AtomicU64::new(u64::from(std::process::id()) << 32));
    let until = Instant::now() + Duration::from_secs(asked.seconds);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..asked.clients {
        // A connection each, as separate clients have.
        let line = match &asked.http {
            Some(url) => Line::Http(Box::new(Post::open(url).await?)),
            None => {
                let channel = Endpoint::from_shared(asked.address.clone())?.connect().await?;
                Line::Grpc(SearchClient::new(channel), asked.collection.clone())
            }
        };
        clients.spawn(client(line, next.clone(), until));
    }
    let began = Instant::now();
    let told = clients.join_all().await;
    let seconds = began.elapsed().as_secs_f64();
    let mut times: Vec<f64> = told.iter().flat_map(|(times, _)| times.iter().copied()).collect();
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    told.into_iter().flat_map(|(_, failed)| failed).for_each(|why| *failures.entry(why).or_default() += 1);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN) * 1e3;
    println!(
        "{} clients: {:.0} queries/s, p50 {:.1} ms, p99 {:.1} ms, {} answered",
        asked.clients,
        times.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        times.len()
    );
    failures.iter().for_each(|(why, n)| println!("{n} failed: {why}"));
    Ok(())
}

/// How a client asks.
enum Line {
    Grpc(SearchClient<Channel>, String),
    Http(Box<Post>),
}

/// A connection that is kept, and what is posted on it: as little as HTTP/1.1 needs.
struct Post {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Post {
    async fn open(url: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let rest = url.strip_prefix("http://").ok_or("--http takes http://HOST:PORT/PATH")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let head = format!("POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n");
        Ok(Post { stream: BufReader::new(stream), head })
    }

    /// Posts `body` and reads the answer; its status line where it is not 200.
    async fn send(&mut self, body: &str) -> Result<(), String> {
        let request = format!("{}content-length: {}\r\n\r\n{body}", self.head, body.len());
        let broken = |e: std::io::Error| e.to_string();
        self.stream.get_mut().write_all(request.as_bytes()).await.map_err(broken)?;
        let (mut status, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await.map_err(broken)? == 0 {
                return Err("it hung up".into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if status.is_empty() {
                status = line;
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|e| format!("{e}"))?;
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.map_err(broken)?;
        if status.contains(" 200") { Ok(()) } else { Err(status) }
    }
}

impl Line {
    async fn ask(&mut self, text: String) -> Result<(), String> {
        match self {
            Line::Grpc(search, collection) => {
                let term = pb::Term { weight: None, kind: Some(pb::term::Kind::Text(text)) };
                let (collection, terms) = (collection.clone(), vec![term]);
                let query = pb::QueryRequest { collection, terms, limit: Some(10), ..Default::default() };
                search.query(query).await.map(|_| ()).map_err(|status| format!("{:?}", status.code()))
            }
            Line::Http(post) if post.head.contains("/v1/") => {
                post.send(&format!(r#"{{"terms": [{{"text": "{text}"}}], "limit": 10}}"#)).await
            }
            Line::Http(post) => post.send(&format!(r#"{{"text": "{text}", "limit": 10}}"#)).await,
        }
    }
}

/// Asks one query after another, and tells how many seconds each took, and what failed.
async fn client(mut line: Line, next: Arc<AtomicU64>, until: Instant) -> (Vec<f64>, Vec<String>) {
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    while Instant::now() < until {
        let text = text(next.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        match line.ask(text).await {
            Ok(()) => times.push(began.elapsed().as_secs_f64()),
            Err(why) => failures.push(why),
        }
    }
    (times, failures)
}

/// The `n`th text.
fn text(n: u64) -> String {
    let word = |at: u32| WORDS[(n >> (4 * at)) as usize % WORDS.len()];
    format!("a {} left of a {} and a {} and a {} {}", word(0), word(1), word(2), word(3), n >> 16)
}

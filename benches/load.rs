//! Many clients at once against a running server: queries a second, and how long each took.
//!
//! ```text
//! eyeshot serve &
//! cargo bench --bench load -- --address http://127.0.0.1:50051 --clients 64 --seconds 60
//! ```
//!
//! Each query is a text that was not asked before, so that no remembered embedding answers it.

use eyeshot::serve::proto::v1::{self as pb, search_client::SearchClient};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

/// Words that the demo model knows, to make texts of.
const WORDS: [&str; 16] = [
    "cat", "dog", "rocket", "pizza", "koala", "castle", "tulip", "guitar", "snail", "bus", "anchor", "owl",
    "crab", "drum", "lemon", "tent",
];

struct Asked {
    address: String,
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
        let channel = Endpoint::from_shared(asked.address.clone())?.connect().await?;
        clients.spawn(client(SearchClient::new(channel), asked.collection.clone(), next.clone(), until));
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

/// Asks one query after another, and tells how many seconds each took, and what failed.
async fn client(
    mut search: SearchClient<Channel>,
    collection: String,
    next: Arc<AtomicU64>,
    until: Instant,
) -> (Vec<f64>, Vec<String>) {
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    while Instant::now() < until {
        let term = pb::Term {
            weight: None,
            kind: Some(pb::term::Kind::Text(text(next.fetch_add(1, Ordering::Relaxed)))),
        };
        let query = pb::QueryRequest {
            collection: collection.clone(),
            terms: vec![term],
            ..pb::QueryRequest::default()
        };
        let began = Instant::now();
        match search.query(query).await {
            Ok(_) => times.push(began.elapsed().as_secs_f64()),
            Err(status) => failures.push(format!("{:?}", status.code())),
        }
    }
    (times, failures)
}

/// The `n`th text.
fn text(n: u64) -> String {
    let word = |at: u32| WORDS[(n >> (4 * at)) as usize % WORDS.len()];
    format!("a {} left of a {} and a {} and a {} {}", word(0), word(1), word(2), word(3), n >> 16)
}

//! Clients that dawdle, fall silent or come in crowds: each is given up in time, and the others are served.

use crate::client::{Client, SEARCH};
use crate::common;
use crate::served::{self, Process, Served, indexed};
use eyeshot::serve::proto::v1 as pb;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};

/// How long a dawdler may go on here, and how long the tests wait for the end of one.
const PATIENCE: &[&str] = &["--patience", "1"];
const END: Duration = Duration::from_secs(15);

fn text(words: String) -> pb::QueryRequest {
    let kind = Some(pb::term::Kind::Text(words));
    pb::QueryRequest { terms: vec![pb::Term { kind, weight: None }], ..Default::default() }
}

/// The sum of a metric's values whose lines begin so.
fn metric(client: &Client, start: &str) -> f64 {
    let came = client.get("/metrics");
    assert_eq!(came.status, 200);
    let text = String::from_utf8(came.body).unwrap();
    let values = text.lines().filter(|line| line.starts_with(start));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Sends `drop` every tenth of a second until the server hangs up; what it said, and after how long.
fn trickle(stream: &mut TcpStream, drop: &[u8]) -> (String, Duration) {
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut said = Vec::new();
    while began.elapsed() < END {
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(n) => said.extend(&some[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // The answer is read still, whether or not more is taken.
                _ = stream.write_all(drop);
            }
            Err(_) => break,
        }
    }
    (String::from_utf8_lossy(&said).into_owned(), began.elapsed())
}

#[test]
fn slow_http_clients_are_hung_up_on() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let process = Process::start(home.path(), PATIENCE);
    let check = |what: &str, start: &str, drop: &[u8], wanted: &str| {
        let mut stream = TcpStream::connect(&process.http).unwrap();
        stream.write_all(start.as_bytes()).unwrap();
        let (said, took) = trickle(&mut stream, drop);
        assert!(took < END, "{what} goes on: {said}");
        assert!(took >= Duration::from_millis(900), "{what} ended after {took:?}: {said}");
        assert!(said.contains(wanted), "{what}: {said:?}");
    };
    let post = format!(
        "POST {SEARCH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10000\r\n\r\n"
    );
    check("silence", "", b"", "");
    check("half a preface", "PRI * HTTP/2", b"", "");
    check("headers without end", "GET / HTTP/1.1\r\nhost: localhost\r\nx: ", b"x", "");
    check("a body a byte at a time", &post, b" ", "HTTP/1.1 400");
    check("a body that stops", &post, b"", "HTTP/1.1 400");
    check(
        "who stays on after an answer",
        "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"",
        "HTTP/1.1 200",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_streams_end() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), PATIENCE).await;
    // Calls whose message never comes: over and over, on one connection that stays well.
    let began = Instant::now();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let mut grpc = tonic::client::Grpc::new(served.channel.clone());
            tokio::spawn(async move {
                grpc.ready().await.unwrap();
                let codec = tonic_prost::ProstCodec::<pb::QueryRequest, pb::QueryResponse>::default();
                let path = PathAndQuery::from_static("/eyeshot.v1.Search/Query");
                grpc.client_streaming(Request::new(tokio_stream::pending()), path, codec).await
            })
        })
        .collect();
    served.search().query(text("beside them".into())).await.unwrap();
    for call in calls {
        let status = call.await.unwrap().unwrap_err();
        assert!(!matches!(status.code(), Code::Ok | Code::Internal), "{status}");
    }
    assert!(began.elapsed() < END, "{:?}", began.elapsed());
    // Uploads may pause: who sends pictures may be looking for the next one.
    let (sender, uploads) = tokio::sync::mpsc::channel(1);
    let uploads = tokio_stream::wrappers::ReceiverStream::new(uploads);
    let mut told = served.images().upsert(uploads).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let image = Some(pb::upsert_request::Image::Bytes(served::bytes(home.path(), 5)));
    sender.send(pb::UpsertRequest { image, ..Default::default() }).await.unwrap();
    let answer = told.message().await.unwrap().unwrap();
    assert!(matches!(answer.outcome, Some(pb::upsert_response::Outcome::Accepted(_))), "{answer:?}");
}

/// A client that is there no more, or does not take what it asked for, holds nothing for long.
#[tokio::test(flavor = "multi_thread")]
async fn the_silent_are_found_out() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let noise = image::RgbImage::from_fn(2600, 2600, |x, y| {
        let n = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)).wrapping_mul(2_246_822_519);
        image::Rgb([(n >> 8) as u8, (n >> 16) as u8, (n >> 24) as u8])
    });
    let path = home.path().join("pictures/noise.png");
    noise.save(&path).unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length > 8 << 20, "{length} bytes may all fit the sockets");
    common::run(home.path(), ["index", "pictures", "--model", common::tiny_clip().to_str().unwrap()])
        .expect(0);
    let served = Served::start(home.path(), PATIENCE).await;
    let process = &served.process;

    // HTTP/2 that never acknowledges a ping.
    let mut silent = TcpStream::connect(&process.grpc).unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
    let (_, took) = tokio::task::spawn_blocking(move || trickle(&mut silent, b"")).await.unwrap();
    assert!(took < END, "a silent connection stays open");

    let client = Client::new(&served);
    let items = client.get("/v1/collections/default/items?limit=10").json(200);
    let items = items["items"].as_array().unwrap().clone();
    let noise = items.iter().find(|item| item["key"].as_str().unwrap().ends_with("noise.png")).unwrap();
    let path = format!("/v1/collections/default/items/{}/image", noise["id"]);
    let came = client.get(&path);
    assert_eq!((came.status, came.body.len() as u64), (200, length));
    let mut stuck: Vec<TcpStream> = vec![];
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&process.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        stuck.push(stream);
    }
    let began = Instant::now();
    let in_flight = "eyeshot_requests_in_flight{protocol=\"http\"}";
    // Each answer has begun, and most of it fits no socket.
    for stream in &mut stuck {
        let mut head = [0; 12];
        std::io::Read::read_exact(stream, &mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }
    // The one that asks is in flight, too.
    while metric(&client, in_flight) > 1.0 {
        assert!(began.elapsed() < END, "those who take nothing still hold it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ten times what the server takes, for three seconds: it says so, stays well, and is itself again at once.
#[tokio::test(flavor = "multi_thread")]
async fn it_recovers_from_a_crowd() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let flags = ["--concurrency", "8", "--queue", "8", "--query-batch", "1", "--recent", "0"];
    let served = Served::start(home.path(), &flags).await;
    let client = Client::new(&served);
    let (over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let crowd: Vec<_> = (0..80)
        .map(|_| {
            let (mut search, over, next) = (served.search(), over.clone(), next.clone());
            tokio::spawn(async move {
                let (mut answered, mut refused) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    match search.query(text(format!("words {n}"))).await {
                        Ok(_) => answered += 1,
                        Err(status) => {
                            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                            refused += 1;
                        }
                    }
                }
                (answered, refused)
            })
        })
        .collect();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(
            client.get("/health").json(200)["status"],
            json!("serving"),
            "too much to do is not illness"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    over.store(true, Ordering::Relaxed);
    let (mut answered, mut refused) = (0, 0);
    for one in crowd {
        let (yes, no) = one.await.unwrap();
        (answered, refused) = (answered + yes, refused + no);
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    let (began, soon) = (Instant::now(), Duration::from_secs(5));
    served.search().query(text("after".into())).await.unwrap();
    while metric(&client, "eyeshot_queue_waiting{") > 0.0 || metric(&client, "eyeshot_places_free{") < 8.0 {
        assert!(began.elapsed() < soon, "it does not recover");
    }
    assert!(began.elapsed() < soon);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_named_origins_may_call() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let photos = "https://photos.example";
    let flags =
        ["--cors-origin", "https://photos.example,http://localhost:3000", "--api-key", "a-long-enough-key"];
    let served = Served::start(home.path(), &flags).await;
    let client = Client::new(&served).with("x-api-key", "a-long-enough-key");
    let body = json!({"terms": [{"text": "a cat"}]});
    for origin in [photos, "http://localhost:3000"] {
        let page = client.with("origin", origin);
        let came = page.post(SEARCH, &body);
        assert_eq!(came.json(200)["hits"].as_array().unwrap().len(), 3);
        assert_eq!(came.header("access-control-allow-origin"), origin);
        assert!(came.header("vary").to_ascii_lowercase().contains("origin"));
        assert_eq!(
            came.header("access-control-allow-credentials"),
            "",
            "cookies stay with the server's own page"
        );
        let asks = page
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "content-type,x-api-key,traceparent");
        let told = asks.send("OPTIONS", SEARCH, None);
        assert_eq!((told.status, told.header("access-control-allow-origin")), (200, origin));
        let (methods, headers) =
            (told.header("access-control-allow-methods"), told.header("access-control-allow-headers"));
        assert!(methods.contains("POST") && headers.contains("x-api-key"), "{methods}; {headers}");
    }
    let other = client.with("origin", "https://evil.example");
    other.post(SEARCH, &body).failure(403, "permission_denied");
    let told = other.get("/v1/collections");
    assert_eq!(told.header("access-control-allow-origin"), "", "a browser keeps it from the page");
    // A refusal is readable to those who may call.
    let page = Client::new(&served).with("origin", photos);
    let refused = page.post(SEARCH, &body);
    refused.failure(401, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin"), photos);

    // Off by default.
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let page = Client::new(&served).with("origin", photos);
    page.post(SEARCH, &body).failure(403, "permission_denied");
    assert_eq!(page.get("/v1/collections").header("access-control-allow-origin"), "");
}

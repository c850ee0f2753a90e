//! Traces as a collector gets them, over the wire; and collectors that are away or asleep.

use crate::common;
use crate::served::{Process, Served, bytes, indexed};
use eyeshot::serve::proto::v1 as pb;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tonic::Request;

/// What was posted to a collector.
#[derive(Clone, Default)]
struct Posted(Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>);

impl Posted {
    /// A collector on a free port, and what it hears.
    fn listen() -> (String, Posted) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let posted = Posted::default();
        let heard = posted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let heard = heard.clone();
                std::thread::spawn(move || heard.take(stream.unwrap()));
            }
        });
        (address, posted)
    }

    /// Answers what comes on a connection until it ends.
    fn take(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                (reader.read_line(&mut head).ok()? > 0).then_some(())?;
            }
            let head = head.to_ascii_lowercase();
            assert!(head.contains("content-type: application/x-protobuf"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).ok()?;
            let message = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            self.0.lock().unwrap().push((head.lines().next().unwrap().to_owned(), message));
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }

    /// Every span that came.
    fn spans(&self) -> Vec<Span> {
        let posted = self.0.lock().unwrap();
        let resources = posted.iter().flat_map(|(_, message)| &message.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// The spans of one trace.
struct Tree(Vec<Span>);

impl Tree {
    fn of(spans: &[Span], trace: u128) -> Self {
        let of_trace = spans.iter().filter(|span| span.trace_id == trace.to_be_bytes());
        let tree = Tree(of_trace.cloned().collect());
        assert!(!tree.0.is_empty(), "trace {trace:x} is missing: {spans:?}");
        tree
    }

    /// The span of the request, which is below the caller's.
    fn request(&self, name: &str, parent: u64) -> &Span {
        let span = self.0.iter().find(|span| span.parent_span_id == parent.to_be_bytes()).unwrap();
        assert_eq!((span.name.as_str(), span.kind()), (name, SpanKind::Server));
        span
    }

    /// The only span of that name below `parent`, within its time.
    fn below(&self, parent: &Span, name: &str, input: Option<&str>) -> &Span {
        let is_it = |span: &&Span| {
            span.name == name
                && span.parent_span_id == parent.span_id
                && input.is_none_or(|input| text(&span.attributes, "input") == input)
        };
        let found: Vec<&Span> = self.0.iter().filter(is_it).collect();
        let [span] = found[..] else { panic!("{name} {input:?} below {}: {:?}", parent.name, self.0) };
        assert!(span.start_time_unix_nano >= parent.start_time_unix_nano, "{name} began before its parent");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        span
    }

    /// The wait and the forward pass below an encoding.
    fn encoded(&self, parent: &Span, input: &str) {
        let encode = self.below(parent, "encode", Some(input));
        let (queue, forward) = (self.below(encode, "queue", None), self.below(encode, "forward", None));
        assert!(queue.end_time_unix_nano <= forward.end_time_unix_nano);
        assert!(forward.end_time_unix_nano <= encode.end_time_unix_nano);
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    match value(attributes, key) {
        Some(Value::IntValue(number)) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

fn parent(trace: u128, span: u64) -> String {
    format!("00-{trace:032x}-{span:016x}-01")
}

fn calling<T>(message: T, trace: u128, span: u64) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", parent(trace, span).parse().unwrap());
    request
}

fn query(words: &str) -> pb::QueryRequest {
    let kind = Some(pb::term::Kind::Text(words.to_owned()));
    pb::QueryRequest { terms: vec![pb::Term { kind, weight: None }], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_a_span_below_the_callers() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let (collector, posted) = Posted::listen();
    let matcher = format!("{}/tests/fixtures/blip/matcher", env!("CARGO_MANIFEST_DIR"));
    let served = Served::start(home.path(), &["--otlp", &collector, "--matcher", &matcher]).await;

    let (plain, reranked, upserted, over_http) = (0xa1, 0xa2_u128 << 64, 0xa3, 0xa4);
    served.search().query(calling(query("a cat"), plain, 0x11)).await.unwrap();
    let looked_at = pb::QueryRequest { rerank: true, ..query("a dog") };
    served.search().query(calling(looked_at, reranked, 0x12)).await.unwrap();
    let image = Some(pb::upsert_request::Image::Bytes(bytes(home.path(), 9)));
    let uploads = tokio_stream::once(pb::UpsertRequest { key: "nine".into(), image, ..Default::default() });
    let mut told = served.images().upsert(calling(uploads, upserted, 0x13)).await.unwrap().into_inner();
    while told.message().await.unwrap().is_some() {}
    let search = format!("{}/v1/collections/default/search?q=a+bird", served.http);
    ureq::get(&search).header("traceparent", parent(over_http, 0x14)).call().unwrap();
    // Nobody's child, and a failure that is the caller's.
    assert!(ureq::get(format!("{}/v1/collections/nowhere/items", served.http)).call().is_err());
    tokio::task::spawn_blocking(|| served.terminate()).await.unwrap();

    let spans = posted.spans();
    let tree = Tree::of(&spans, plain);
    let request = tree.request("eyeshot.v1.Search/Query", 0x11);
    let told = |key| text(&request.attributes, key);
    assert_eq!((told("rpc.service"), told("rpc.method")), ("eyeshot.v1.Search".into(), "Query".into()));
    assert_eq!(told("rpc.response.status_code"), "OK");
    tree.encoded(request, "text");
    tree.below(request, "search", None);
    tree.below(request, "store", None);

    let tree = Tree::of(&spans, reranked);
    let request = tree.request("eyeshot.v1.Search/Query", 0x12);
    let rerank = tree.below(request, "rerank", None);
    assert_eq!(number(&rerank.attributes, "looked"), 3);
    tree.encoded(rerank, "picture");
    tree.encoded(rerank, "match");

    let tree = Tree::of(&spans, upserted);
    let request = tree.request("eyeshot.v1.Images/Upsert", 0x13);
    tree.below(request, "encode", Some("image"));
    let store = tree.below(request, "store", None);
    assert_eq!(number(&store.attributes, "items"), 1);

    let tree = Tree::of(&spans, over_http);
    let request = tree.request("GET /v1/collections/{collection}/search", 0x14);
    assert_eq!(number(&request.attributes, "http.response.status_code"), 200);
    assert_eq!(text(&request.attributes, "url.path"), "/v1/collections/default/search");
    tree.encoded(request, "text");

    // What the server does for itself, as health's tries, is nobody's trace.
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    let [alone] = roots[..] else { panic!("{roots:?}") };
    assert_eq!(alone.name, "GET /v1/collections/{collection}/items");
    assert_eq!(number(&alone.attributes, "http.response.status_code"), 404);
    assert!(alone.status.as_ref().is_none_or(|status| status.code() != StatusCode::Error), "not our fault");

    let posted = posted.0.lock().unwrap();
    assert!(posted.iter().all(|(line, _)| line.starts_with("post /v1/traces ")), "{posted:?}");
    let resource = posted[0].1.resource_spans[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "eyeshot");
}

/// OpenTelemetry's own variables do as well, and say who we are.
#[tokio::test(flavor = "multi_thread")]
async fn the_usual_variables_are_heard() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let (collector, posted) = Posted::listen();
    let start = |disabled: &str| {
        let mut command = common::eyeshot(home.path());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector).env("OTEL_SERVICE_NAME", "pictures");
        command.env("OTEL_SDK_DISABLED", disabled);
        Process::start_in(command, &[])
    };
    let quiet = Served::of(start("true")).await;
    quiet.search().query(query("a cat")).await.unwrap();
    tokio::task::spawn_blocking(|| quiet.terminate()).await.unwrap();
    assert!(posted.spans().is_empty(), "nothing leaves where it was said so");

    let served = Served::of(start("false")).await;
    served.search().query(query("a cat")).await.unwrap();
    tokio::task::spawn_blocking(|| served.terminate()).await.unwrap();
    assert!(posted.spans().iter().any(|span| span.name == "eyeshot.v1.Search/Query"));
    let resource = posted.0.lock().unwrap()[0].1.resource_spans[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "pictures");
}

/// A collector that is away, or takes connections and says nothing, slows and stops nobody, and is not waited for at the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_only() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asleep = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [away, asleep.local_addr().unwrap()] {
        let mut command = common::eyeshot(home.path());
        // Small and eager, so that the queue overflows and every batch meets the trouble.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "20").env("OTEL_BSP_MAX_QUEUE_SIZE", "64");
        let process = Process::start_in(command, &["--otlp", &format!("http://{address}")]);
        let served = Served::of(process).await;
        let began = Instant::now();
        for n in 0..200 {
            served.search().query(query(&format!("a cat {n}"))).await.unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?} for 200 queries", began.elapsed());
        let began = Instant::now();
        let status = tokio::task::spawn_blocking(|| served.terminate()).await.unwrap();
        assert!(status.success() && began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}

/// What is no URL is an error at the start.
#[test]
fn a_destination_is_checked() {
    let home = tempfile::tempdir().unwrap();
    for wrong in ["localhost:4317", "ftp://here", "http://"] {
        let ran =
            common::run(home.path(), ["serve", "--grpc", "127.0.0.1:0", "--http", "none", "--otlp", wrong]);
        assert!(ran.expect(2).err.contains("try http://127.0.0.1:4318"), "{wrong}");
    }
}

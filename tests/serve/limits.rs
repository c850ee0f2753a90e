//! What the server does with too much, with those who leave, with those who dawdle, and with those who stay when it stops.

use crate::common;
use crate::served::{Process, Served, bytes, indexed};
use eyeshot::serve::proto::v1 as pb;
use pb::search_client::SearchClient;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tonic::{Code, Request};

fn text(words: String) -> pb::QueryRequest {
    let kind = Some(pb::term::Kind::Text(words));
    pb::QueryRequest { terms: vec![pb::Term { kind, weight: None }], ..Default::default() }
}

fn metric(served: &Served, start: &str) -> f64 {
    let text =
        ureq::get(format!("{}/metrics", served.http)).call().unwrap().body_mut().read_to_string().unwrap();
    let values = text.lines().filter(|line| line.starts_with(start));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_told_to_come_back() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served =
        Served::start(home.path(), &["--concurrency", "2", "--queue", "2", "--query-batch", "1"]).await;
    let asked: Vec<_> = (0..200)
        .map(|n| {
            let mut search = SearchClient::new(served.channel.clone());
            // Many texts each, so that each takes a while.
            let terms = (0..32).flat_map(|m| text(format!("word {n} {m}")).terms).collect();
            tokio::spawn(async move { search.query(pb::QueryRequest { terms, ..Default::default() }).await })
        })
        .collect();
    let (mut answered, mut refused) = (0, 0);
    for answer in asked {
        match answer.await.unwrap() {
            Ok(_) => answered += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                let hint = status.metadata().get("grpc-retry-pushback-ms").expect("a hint when to come back");
                assert!(hint.to_str().unwrap().parse::<u64>().unwrap() > 0);
                refused += 1;
            }
        }
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    // The same over HTTP, while someone holds all places.
    let again = served.search().query(text("after".into())).await;
    assert!(again.is_ok(), "it recovers: {again:?}");
    let route = "eyeshot_requests_total{protocol=\"grpc\",route=\"eyeshot.v1.Search/Query\",status=\"resource_exhausted\"}";
    assert_eq!(metric(&served, route), f64::from(refused));
}

/// There is room for 8 MiB of messages at once, three times as much comes, and each is done with in time for the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_upload_gives_back_its_room() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--max-message", "1", "--patience", "10"]).await;
    let requests = (0..40u8).map(|n| {
        let mut picture = bytes(home.path(), 7);
        // Behind its end there may be anything.
        picture.resize(600 << 10, n);
        let image = Some(pb::upsert_request::Image::Bytes(picture));
        pb::UpsertRequest { key: format!("upload {n}"), image, ..Default::default() }
    });
    let requests: Vec<_> = requests.collect();
    let mut answers = served.images().upsert(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut accepted = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert!(matches!(answer.outcome, Some(pb::upsert_response::Outcome::Accepted(_))), "{answer:?}");
        accepted += 1;
    }
    assert_eq!(accepted, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_or_is_late_costs_nothing_more() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--query-batch", "1"]).await;
    let many = |seed: u32| -> pb::QueryRequest {
        let terms = (0..64).flat_map(|m| text(format!("{seed} words {m}")).terms).collect();
        pb::QueryRequest { terms, ..Default::default() }
    };
    let mut late = 0;
    for seed in 0..20 {
        let mut request = Request::new(many(seed));
        request.set_timeout(Duration::from_millis(6));
        match served.search().query(request).await {
            Err(status) if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => late += 1,
            answer => assert!(answer.is_ok(), "{answer:?}"),
        }
    }
    assert!(late > 0, "the model is too quick for this test");
    let leavers: Vec<_> = (100..130)
        .map(|seed| {
            let mut search = served.search();
            tokio::spawn(async move { search.query(many(seed)).await })
        })
        .collect();
    while metric(&served, "eyeshot_queue_waiting{") == 0.0 && !leavers.iter().all(|l| l.is_finished()) {}
    leavers.iter().for_each(tokio::task::JoinHandle::abort);
    let began = Instant::now();
    while metric(&served, "eyeshot_queue_waiting{") > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "those who left are still waited on");
    }
    assert!(metric(&served, "eyeshot_queue_dropped_total{") > 0.0);
    assert!(served.search().query(text("still here".into())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_do_not_hold_up_a_stop() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--grace", "60"]).await;
    let watched = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(served.channel.clone()).watch(watched).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("eyeshot.v1.Search".into())),
    };
    let (send, asks) = tokio::sync::mpsc::channel(1);
    send.send(ask).await.unwrap();
    let asks = tokio_stream::wrappers::ReceiverStream::new(asks);
    let mut reflection = ServerReflectionClient::new(served.channel.clone());
    let mut told = reflection.server_reflection_info(asks).await.unwrap().into_inner();
    let described = told.message().await.unwrap().unwrap().message_response;
    assert!(matches!(described, Some(MessageResponse::FileDescriptorResponse(_))), "v1alpha: {described:?}");
    let idle = TcpStream::connect(&served.process.http).unwrap();

    let began = Instant::now();
    let status = tokio::task::spawn_blocking(|| served.terminate()).await.unwrap();
    assert!(status.success() && began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // It may have heard that the server serves no more before its stream ended.
    let mut end = watch.message().await;
    while let Ok(Some(_)) = end {
        end = watch.message().await;
    }
    assert!(end.as_ref().is_err_and(|status| status.code() == Code::Unavailable), "{end:?}");
    drop((send, idle));
}

#[test]
fn nonsense_and_silence_do_no_harm() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let process = Process::start(home.path(), &[]);
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&process.http).unwrap()).collect();
    let mut dice = common::Dice(7);
    for n in 0..500 {
        let address = if n % 2 == 0 { &process.http } else { &process.grpc };
        let mut stream = TcpStream::connect(address).unwrap();
        let garbage: Vec<u8> = (0..1 + dice.roll(400)).map(|_| dice.roll(256) as u8).collect();
        let start: &[u8] = match dice.roll(4) {
            0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            1 => b"POST /v1/collections/default/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000\r\n\r\n",
            2 => b"GET /\x00 HTTP/1.1\r\n",
            _ => b"",
        };
        _ = stream.write_all(start).and_then(|()| stream.write_all(&garbage));
        if dice.roll(2) == 0 {
            // Some wait for what comes back, others break off.
            _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
            _ = stream.read(&mut [0; 64]);
        }
    }
    let text =
        ureq::get(format!("http://{}/health", process.http)).call().unwrap().body_mut().read_to_string();
    assert!(text.unwrap().contains("serving"));
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_speak_grpc_to_the_page() {
    use prost::Message;
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let message = text("a cat".into()).encode_to_vec();
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    let url = format!("{}/eyeshot.v1.Search/Query", served.http);
    let mut answer = ureq::post(&url)
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .send(&frame[..])
        .unwrap();
    let body = answer.body_mut().read_to_vec().unwrap();
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    let response = pb::QueryResponse::decode(&body[5..5 + length]).unwrap();
    assert_eq!((body[0], response.hits.len()), (0, 3));
    let trailers = String::from_utf8_lossy(&body[5 + length + 5..]).to_string();
    assert!(trailers.contains("grpc-status:0"), "{trailers}");

    // Places within a circle, over the wire.
    let field = |metres| pb::FieldCondition {
        field: "spot".into(),
        test: Some(pb::field_condition::Test::GeoRadius(pb::GeoRadius {
            lat: 48.0,
            lon: 2.0,
            radius_metres: metres,
        })),
    };
    let spot = |lat: f64| {
        let number = |n| prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(n)) };
        let fields = [("lat".to_owned(), number(lat)), ("lon".to_owned(), number(2.0))].into_iter().collect();
        let place = prost_types::value::Kind::StructValue(prost_types::Struct { fields });
        let fields = [("spot".to_owned(), prost_types::Value { kind: Some(place) })].into_iter().collect();
        Some(prost_types::Struct { fields })
    };
    let requests: Vec<_> = [(48.001, 21), (48.1, 22)]
        .into_iter()
        .map(|(lat, seed)| pb::UpsertRequest {
            key: format!("at {lat}"),
            image: Some(pb::upsert_request::Image::Bytes(bytes(home.path(), seed))),
            payload: spot(lat),
            ..Default::default()
        })
        .collect();
    let mut stream = served.images().upsert(tokio_stream::iter(requests)).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    for (metres, wanted) in [(500.0, 1), (20_000.0, 2), (1.0, 0)] {
        let kind = Some(pb::condition::Kind::Field(field(metres)));
        let filter = pb::Filter { must: vec![pb::Condition { kind }], ..Default::default() };
        let asked = pb::QueryRequest { filter: Some(filter), ..text("a cat".into()) };
        let hits = served.search().query(asked).await.unwrap().into_inner().hits;
        assert_eq!(hits.len(), wanted, "{metres} m");
    }
}

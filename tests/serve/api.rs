//! The server as its clients meet it: every RPC, what it refuses, and what survives a stop and a kill.

use crate::common::run;
use crate::served::{Served, bytes, indexed, pictures};
use eyeshot::serve::proto::v1::{self as pb, upsert_response::Outcome};
use pb::images_client::ImagesClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

fn term(kind: pb::term::Kind) -> pb::Term {
    pb::Term { kind: Some(kind), weight: None }
}

fn text(words: &str) -> pb::QueryRequest {
    pb::QueryRequest { terms: vec![term(pb::term::Kind::Text(words.into()))], ..Default::default() }
}

fn names(response: pb::QueryResponse) -> Vec<String> {
    response.hits.iter().map(|hit| hit.key.rsplit('/').next().unwrap().to_owned()).collect()
}

/// Sends all at once, and gives the answers.
async fn upsert(
    images: &mut ImagesClient<Channel>,
    requests: Vec<pb::UpsertRequest>,
) -> Result<Vec<pb::UpsertResponse>, Status> {
    let mut stream = images.upsert(tokio_stream::iter(requests)).await?.into_inner();
    let mut answers = vec![];
    while let Some(answer) = stream.message().await? {
        answers.push(answer);
    }
    Ok(answers)
}

fn of_bytes(key: &str, bytes: Vec<u8>) -> pb::UpsertRequest {
    let image = Some(pb::upsert_request::Image::Bytes(bytes));
    pb::UpsertRequest { key: key.into(), image, ..Default::default() }
}

#[tokio::test]
async fn queries_answer_as_the_command_line_does() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let cli = run(home.path(), ["search", "a cat", "--json"]).expect(0).json();
    let served = Served::start(home.path(), &[]).await;
    let mut search = served.search();

    let hits = search.query(text("a cat")).await.unwrap().into_inner().hits;
    assert_eq!(hits.len(), 3);
    for (hit, line) in hits.iter().zip(&cli) {
        assert_eq!(hit.key, line["key"].as_str().unwrap());
        assert!((f64::from(hit.score) - line["score"].as_f64().unwrap()).abs() < 1e-5);
        assert!(hit.captions.is_empty() && hit.payload.is_none(), "nothing that was not asked for");
    }

    let bytes = std::fs::read(home.path().join("pictures/two.jpg")).unwrap();
    let path = home.path().join("pictures/two.jpg").canonicalize().unwrap();
    let uri = format!("file://{}", path.display());
    use base64::Engine as _;
    let data = format!("data:image/jpeg;base64,{}", base64::prelude::BASE64_STANDARD.encode(&bytes));
    use pb::term::Kind;
    for kind in [Kind::Image(bytes), Kind::Uri(uri), Kind::Uri(data)] {
        let query =
            pb::QueryRequest { terms: vec![term(kind)], limit: Some(1), with_payload: true, ..text("") };
        let hits = search.query(query).await.unwrap().into_inner().hits;
        assert!(hits.len() == 1 && hits[0].key.ends_with("two.jpg") && (hits[0].score - 1.0).abs() < 5e-4);
        assert_eq!(hits[0].payload.as_ref().unwrap().fields.len(), 2);
        let id = pb::QueryRequest { terms: vec![term(Kind::Id(hits[0].id))], ..Default::default() };
        assert_eq!(names(search.query(id).await.unwrap().into_inner())[0], "two.jpg");
    }

    let all = names(search.query(text("a cat")).await.unwrap().into_inner());
    let page = pb::QueryRequest { limit: Some(1), offset: 1, ..text("a cat") };
    assert_eq!(names(search.query(page).await.unwrap().into_inner()), all[1..2]);

    let queries = vec![
        text("a cat"),
        pb::QueryRequest { collection: "no".into(), ..text("x") },
        text(" "),
        text("a dog"),
    ];
    let outcomes = search.query_batch(pb::QueryBatchRequest { queries }).await.unwrap().into_inner().outcomes;
    let codes: Vec<i32> = outcomes
        .iter()
        .map(|o| match o.outcome.as_ref().unwrap() {
            pb::query_outcome::Outcome::Response(response) => {
                assert_eq!(response.hits.len(), 3);
                0
            }
            pb::query_outcome::Outcome::Error(error) => error.code,
        })
        .collect();
    assert_eq!(codes, [0, Code::NotFound as i32, Code::InvalidArgument as i32, 0]);
}

#[tokio::test]
async fn filters_hold() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    use pb::field_condition::Test;
    let field = |field: &str, test| pb::Condition {
        kind: Some(pb::condition::Kind::Field(pb::FieldCondition { field: field.into(), test: Some(test) })),
    };
    let value = |kind| pb::Value { kind: Some(kind) };
    let keyword = |text: &str| value(pb::value::Kind::Keyword(text.into()));
    let must = |c| pb::Filter { must: vec![c], ..Default::default() };
    let cases: Vec<(pb::Filter, &[&str])> = vec![
        (must(field("background", Test::Match(keyword("blue")))), &["two.jpg"]),
        (must(field("count", Test::Match(value(pb::value::Kind::Integer(2))))), &["two.jpg"]),
        (
            must(field(
                "count",
                Test::Range(pb::Range { gte: Some(1.5), lt: Some(2.0), ..Default::default() }),
            )),
            &[],
        ),
        (
            must(field("format", Test::In(pb::ValueList { values: vec![keyword("jpg"), keyword("webp")] }))),
            &["three.webp", "two.jpg"],
        ),
        (must(field("caption", Test::Contains("CAT".into()))), &["one.png"]),
        (must(field("count", Test::Exists(true))), &["two.jpg"]),
        (must(field("count", Test::Exists(false))), &["one.png", "three.webp"]),
        (
            pb::Filter { must_not: vec![field("format", Test::Match(keyword("png")))], ..Default::default() },
            &["three.webp", "two.jpg"],
        ),
        (
            pb::Filter {
                should: vec![
                    field("format", Test::Match(keyword("png"))),
                    field("count", Test::Exists(true)),
                ],
                ..Default::default()
            },
            &["one.png", "two.jpg"],
        ),
        (
            pb::Filter { expression: "width >= 48 and not background exists".into(), ..Default::default() },
            &["one.png", "three.webp"],
        ),
        (
            must(field(
                "taken",
                Test::DatetimeRange(pb::DatetimeRange { gte: Some("2024-05".into()), ..Default::default() }),
            )),
            &[],
        ),
        (pb::Filter::default(), &["one.png", "three.webp", "two.jpg"]),
    ];
    for (filter, wanted) in cases {
        let query = pb::QueryRequest { filter: Some(filter.clone()), ..text("a cat") };
        let mut got = names(
            served.search().query(query).await.unwrap_or_else(|e| panic!("{filter:?}: {e}")).into_inner(),
        );
        got.sort();
        assert_eq!(got, wanted, "{filter:?}");
    }
}

#[tokio::test]
async fn mistakes_are_statuses_that_say_what_to_change() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    std::fs::write(home.path().join("secret.png"), bytes(home.path(), 9)).unwrap();
    let served = Served::start(home.path(), &["--max-message", "1"]).await;
    let uri = |text: &str| pb::QueryRequest {
        terms: vec![term(pb::term::Kind::Uri(text.into()))],
        ..Default::default()
    };
    let filter = |text: &str| pb::QueryRequest {
        filter: Some(pb::Filter { expression: text.into(), ..Default::default() }),
        ..text_query()
    };
    fn text_query() -> pb::QueryRequest {
        text("a cat")
    }
    let outside = format!("file://{}/secret.png", home.path().display());
    let climbing = format!("file://{}/pictures/../secret.png", home.path().display());
    let cases = [
        (pb::QueryRequest::default(), Code::InvalidArgument, "empty"),
        (text("  "), Code::InvalidArgument, "empty"),
        (pb::QueryRequest { limit: Some(0), ..text("x") }, Code::InvalidArgument, "at least 1"),
        (
            pb::QueryRequest { terms: vec![pb::Term::default()], ..text("x") },
            Code::InvalidArgument,
            "set one of",
        ),
        (pb::QueryRequest { collection: "no".into(), ..text("x") }, Code::NotFound, "there are: default"),
        (pb::QueryRequest { terms: vec![term(pb::term::Kind::Id(99))], ..text("x") }, Code::NotFound, "99"),
        (
            pb::QueryRequest { terms: vec![term(pb::term::Kind::Image(b"hello".to_vec()))], ..text("x") },
            Code::InvalidArgument,
            "text",
        ),
        (pb::QueryRequest { rerank: true, ..text("x") }, Code::InvalidArgument, "--matcher"),
        (pb::QueryRequest { match_threshold: Some(0.5), ..text("x") }, Code::InvalidArgument, "set rerank"),
        (filter("width >"), Code::InvalidArgument, "filter"),
        (filter("backgroun = blue"), Code::InvalidArgument, "background"),
        (uri(&outside), Code::PermissionDenied, "--allow-root"),
        (uri(&climbing), Code::PermissionDenied, "--allow-root"),
        (uri("file:///no/such/file"), Code::PermissionDenied, "--allow-root"),
        (uri("http://127.0.0.1:1/a.png"), Code::PermissionDenied, "--allow-urls"),
        (uri("gopher://host/a.png"), Code::InvalidArgument, "file:///path"),
        (
            pb::QueryRequest { terms: vec![term(pb::term::Kind::Image(vec![0; 2 << 20]))], ..text("x") },
            Code::OutOfRange,
            "limit",
        ),
    ];
    for (query, code, reason) in cases {
        let status = served.search().query(query).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(reason), "{status} lacks {reason:?}");
    }
    let mut hurried = Request::new(text("in a hurry"));
    hurried.set_timeout(std::time::Duration::from_nanos(1));
    let code = served.search().query(hurried).await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
}

#[tokio::test]
async fn urls_lead_to_public_addresses_only() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--allow-urls"]).await;
    for url in [
        "http://127.0.0.1:1/a.png",
        "http://localhost:1/a.png",
        "http://[::1]:1/",
        "http://169.254.169.254/latest",
    ] {
        let query =
            pb::QueryRequest { terms: vec![term(pb::term::Kind::Uri(url.into()))], ..Default::default() };
        let status = served.search().query(query).await.unwrap_err();
        assert!(
            status.code() == Code::InvalidArgument && status.message().contains("not public"),
            "{url}: {status}"
        );
    }
}

#[tokio::test]
async fn collections_and_images_come_and_go() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(home.path(), &[]).await;
    let (mut collections, mut images) = (served.collections(), served.images());
    let create = |name: &str| pb::CreateCollectionRequest { name: name.into(), ..Default::default() };
    let made = collections.create(create("default")).await.unwrap().into_inner().collection.unwrap();
    assert_eq!((made.name.as_str(), made.items, made.spaces.len()), ("default", 0, 2));
    assert_eq!(collections.create(create("default")).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(collections.create(create("../x")).await.unwrap_err().code(), Code::InvalidArgument);
    let of_codes = |codes: &str| pb::CreateCollectionRequest { codes: codes.into(), ..create("small") };
    assert_eq!(collections.create(of_codes("int5")).await.unwrap_err().code(), Code::InvalidArgument);
    let small = collections.create(of_codes("int4")).await.unwrap().into_inner().collection.unwrap();
    assert_eq!((made.spaces[0].codes.as_str(), small.spaces[0].codes.as_str()), ("int8", "int4"));
    collections.delete(pb::DeleteCollectionRequest { name: "small".into() }).await.unwrap();

    let mut captioned = of_bytes("k1", bytes(home.path(), 1));
    captioned.captions = vec!["a cat".into()];
    let requests = vec![
        captioned,
        of_bytes("k2", bytes(home.path(), 2)),
        of_bytes("bad", b"hello".to_vec()),
        of_bytes("", bytes(home.path(), 1)),
        pb::UpsertRequest::default(),
    ];
    let answers = upsert(&mut images, requests).await.unwrap();
    assert_eq!(answers.iter().map(|a| a.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let accepted = |at: usize| match answers[at].outcome.as_ref().unwrap() {
        Outcome::Accepted(accepted) => *accepted,
        Outcome::Refused(refused) => panic!("{refused:?}"),
    };
    let refused = |at: usize| match answers[at].outcome.as_ref().unwrap() {
        Outcome::Refused(refused) => (refused.code, refused.reason.clone()),
        Outcome::Accepted(accepted) => panic!("{accepted:?}"),
    };
    assert_eq!(refused(2).0, Code::InvalidArgument as i32);
    assert!(refused(2).1.contains("text") && refused(4).1.contains("set bytes or uri"));
    assert!(answers[3].key.starts_with("blake3:"), "{}", answers[3].key);

    let id = accepted(0).id;
    let get = pb::GetImagesRequest { ids: vec![id, 77], with_captions: true, ..Default::default() };
    let got = images.get(get).await.unwrap().into_inner();
    assert_eq!((got.items.len(), got.missing), (1, vec![77]));
    assert_eq!(
        (got.items[0].key.as_str(), got.items[0].width, &got.items[0].captions[..]),
        ("k1", 48, &["a cat".to_owned()][..])
    );

    let again = upsert(&mut images, vec![of_bytes("k1", bytes(home.path(), 3))]).await.unwrap();
    assert!(matches!(again[0].outcome, Some(Outcome::Accepted(a)) if a.id == id), "a key keeps its id");

    let delete = pb::DeleteImagesRequest {
        ids: vec![id, 77],
        keys: vec!["k1".into(), "k2".into()],
        ..Default::default()
    };
    assert_eq!(images.delete(delete).await.unwrap().into_inner().removed, 2);
    let get = |name: &str| pb::GetCollectionRequest { name: name.into() };
    assert_eq!(collections.get(get("")).await.unwrap().into_inner().collection.unwrap().items, 1);

    let absent = pb::UpsertRequest { collection: "no".into(), ..of_bytes("k", bytes(home.path(), 1)) };
    assert_eq!(upsert(&mut images, vec![absent]).await.unwrap_err().code(), Code::NotFound);
    let drop = pb::DeleteCollectionRequest { name: "default".into() };
    collections.delete(drop).await.unwrap();
    assert_eq!(collections.get(get("")).await.unwrap_err().code(), Code::NotFound);
    assert!(
        collections.list(pb::ListCollectionsRequest {}).await.unwrap().into_inner().collections.is_empty()
    );
}

#[tokio::test]
async fn folders_are_indexed_within_roots_only() {
    let home = tempfile::tempdir().unwrap();
    pictures(home.path());
    std::fs::write(home.path().join("pictures/broken.png"), b"hello").unwrap();
    let folder = home.path().join("pictures").display().to_string();
    let request = pb::IndexRequest { sources: vec![folder.clone()], ..Default::default() };
    {
        let served = Served::start(home.path(), &[]).await;
        let status = served.images().index(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    }
    let served = Served::start(home.path(), &["--allow-root", &folder]).await;
    let mut stream = served.images().index(request).await.unwrap().into_inner();
    let (mut last, mut refused) = (pb::IndexProgress::default(), vec![]);
    while let Some(progress) = stream.message().await.unwrap() {
        refused.extend(progress.refused.clone());
        last = progress;
    }
    let summary = last.summary.unwrap();
    assert_eq!((summary.indexed, summary.refused, refused.len()), (3, 1, 1));
    assert!(refused[0].key.ends_with("broken.png"));
    assert_eq!(served.search().query(text("a cat")).await.unwrap().into_inner().hits.len(), 3);
}

#[tokio::test]
async fn keys_are_asked_for() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--api-key", "writer-key", "--read-key", "reader-key"]).await;
    let query = |key: &str| {
        let mut request = Request::new(text("a cat"));
        request.metadata_mut().insert("x-api-key", key.parse().unwrap());
        request
    };
    assert_eq!(served.search().query(text("a cat")).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(served.search().query(query("other-key")).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(served.search().query(query("reader-key")).await.is_ok());
    let drop = |key: &str| {
        let mut request = Request::new(pb::DeleteCollectionRequest { name: "default".into() });
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        request
    };
    assert_eq!(
        served.collections().delete(drop("reader-key")).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    assert!(served.collections().delete(drop("writer-key")).await.is_ok());

    let ran = run(home.path(), ["serve", "--grpc", "0.0.0.0:0"]).expect(2);
    assert!(ran.err.contains("--insecure"), "{}", ran.err);
}

#[tokio::test]
async fn a_stop_lets_those_in_flight_finish() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let queries: Vec<_> = (0..32)
        .map(|i| {
            let mut search = served.search();
            tokio::spawn(async move { search.query(text(&format!("word {i}"))).await })
        })
        .collect();
    // One answer has come, so that the others are on their way.
    served.search().query(text("first")).await.unwrap();
    let status = tokio::task::spawn_blocking(|| served.terminate()).await.unwrap();
    assert!(status.success(), "{status}");
    for query in queries {
        match query.await.unwrap() {
            Ok(response) => assert_eq!(response.into_inner().hits.len(), 3),
            // It had not reached the server yet.
            Err(status) => assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_under_upserts_loses_nothing_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let create = pb::CreateCollectionRequest { name: "default".into(), ..Default::default() };
    let mut served = Served::start(home.path(), &[]).await;
    served.collections().create(create).await.unwrap();
    let (acked, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let writers: Vec<_> = (0..4u32)
        .map(|writer| {
            let requests: Vec<_> = (0..200)
                .map(|i| of_bytes(&format!("k{writer}-{i}"), bytes(home.path(), 1 + writer * 1000 + i)))
                .collect();
            let (mut images, acked) = (served.images(), acked.clone());
            tokio::spawn(async move {
                let mut stream = images.upsert(tokio_stream::iter(requests)).await?.into_inner();
                while let Some(answer) = stream.message().await? {
                    assert!(matches!(answer.outcome, Some(Outcome::Accepted(_))), "{answer:?}");
                    _ = acked.send(answer.key);
                }
                Ok::<(), Status>(())
            })
        })
        .collect();
    drop(acked);
    let mut keys = vec![];
    while let Some(key) = heard.recv().await {
        keys.push(key);
        if keys.len() == 150 {
            served.process.child.kill().unwrap();
        }
    }
    for writer in writers {
        _ = writer.await.unwrap();
    }
    drop(served);
    let served = Served::start(home.path(), &[]).await;
    let delete = pb::DeleteImagesRequest { keys: keys.clone(), ..Default::default() };
    let removed = served.images().delete(delete).await.unwrap().into_inner().removed;
    assert!(keys.len() >= 150);
    assert_eq!(removed, keys.len() as u64, "all that was acknowledged was there");
}

#[tokio::test]
async fn health_and_reflection_tell_what_is_there() {
    use tonic_health::pb::health_check_response::ServingStatus;
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--api-key", "writer-key"]).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(served.channel.clone());
    for service in ["", "eyeshot.v1.Search", "eyeshot.v1.Images"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let told = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(told, ServingStatus::Serving, "{service:?}");
    }
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    };
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(served.channel.clone());
    let mut told = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        told.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
    for name in ["Search", "Collections", "Images", "Answer"] {
        assert!(names.contains(&format!("eyeshot.v1.{name}")), "{names:?}");
    }
}

#[tokio::test]
async fn hits_are_reranked_and_those_without_a_picture_say_so() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let matcher = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blip/matcher");
    let served =
        Served::start(home.path(), &["--forget-uploads", "--matcher", matcher.to_str().unwrap()]).await;
    upsert(&mut served.images(), vec![of_bytes("sent", bytes(home.path(), 9))]).await.unwrap();
    let mut search = served.search();
    let asked = pb::QueryRequest { rerank: true, ..text("a cat") };
    let hits = search.query(asked.clone()).await.unwrap().into_inner().hits;
    assert_eq!(hits.len(), 4);
    assert!(hits[..3].iter().all(|hit| hit.r#match.is_some() && hit.unmatched.is_none()));
    assert!(hits[3].key == "sent" && hits[3].unmatched().contains("not kept"), "{:?}", hits[3]);

    let least = hits[1].r#match();
    let some = pb::QueryRequest { match_threshold: Some(least), ..asked.clone() };
    let better = search.query(some).await.unwrap().into_inner().hits;
    assert!(better.iter().all(|hit| hit.r#match() >= least) && (1..=3).contains(&better.len()));
    let one = pb::QueryRequest { rerank_top: Some(1), ..asked.clone() };
    let hits = search.query(one).await.unwrap().into_inner().hits;
    assert_eq!(hits.iter().filter(|hit| hit.r#match.is_some() || hit.unmatched.is_some()).count(), 1);

    let batch = pb::QueryBatchRequest { queries: vec![asked.clone(), text("a cat")] };
    let outcomes = search.query_batch(batch).await.unwrap().into_inner().outcomes;
    assert_eq!(outcomes.len(), 2);
    let words = pb::QueryRequest { side: pb::Side::Words.into(), ..text("one") };
    assert_eq!(names(search.query(words).await.unwrap().into_inner()), ["one.png"]);
    for (query, reason) in [
        (pb::QueryRequest { terms: vec![term(pb::term::Kind::Id(0))], ..asked.clone() }, "words"),
        (pb::QueryRequest { rerank_top: Some(0), ..asked.clone() }, "1 to"),
        (pb::QueryRequest { match_threshold: Some(2.0), ..asked }, "0 to 1"),
    ] {
        let status = search.query(query).await.unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().contains(reason), "{status}");
    }
}

//! A model's change while a server answers.

use crate::client::Client;
use crate::common;
use crate::served::{Served, bytes, indexed};
use eyeshot::serve::proto::v1 as pb;
use pb::upsert_request::Image;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use tonic::{Code, Status};

fn sharded() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip/sharded").display().to_string()
}

/// Scores by key.
type Found = BTreeMap<String, f32>;

async fn search(served: &Served) -> Found {
    let kind = Some(pb::term::Kind::Text("a cat".into()));
    let term = pb::Term { kind, ..Default::default() };
    let request = pb::QueryRequest { terms: vec![term], limit: Some(50), ..Default::default() };
    let hits = served.search().query(request).await.unwrap().into_inner().hits;
    hits.into_iter().map(|hit| (hit.key, hit.score)).collect()
}

/// The summary of a run that fills the shadow.
async fn fill(served: &Served, sources: Vec<String>, model: &str) -> Result<pb::IndexSummary, Status> {
    let request = pb::IndexRequest { sources, model: model.into(), shadow: true, ..Default::default() };
    let mut stream = served.images().index(request).await?.into_inner();
    let mut summary = None;
    while let Some(progress) = stream.message().await? {
        summary = progress.summary.or(summary);
    }
    Ok(summary.unwrap())
}

async fn flip(served: &Served) -> Result<pb::Collection, Status> {
    let request = pb::FlipCollectionRequest::default();
    Ok(served.collections().flip(request).await?.into_inner().collection.unwrap())
}

async fn upsert(served: &Served, key: &str, bytes: Vec<u8>) {
    let image = Some(Image::Bytes(bytes));
    let request =
        pb::UpsertRequest { key: key.into(), image, captions: vec!["a bird".into()], ..Default::default() };
    let stream = served.images().upsert(tokio_stream::iter([request])).await.unwrap();
    let answer = stream.into_inner().message().await.unwrap().unwrap();
    assert!(matches!(answer.outcome, Some(pb::upsert_response::Outcome::Accepted(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_changes_its_model_between_two_answers() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    // One item came as bytes, and lies in no folder.
    upsert(&served, "sent", bytes(home.path(), 9)).await;
    let before = search(&served).await;
    assert_eq!(before.len(), 4);
    assert_eq!(flip(&served).await.unwrap_err().code(), Code::NotFound, "there is no shadow");

    let folder = home.path().join("pictures").display().to_string();
    let some = fill(&served, vec![folder], &sharded()).await.unwrap();
    assert_eq!((some.indexed, some.refused), (3, 0));
    let status = flip(&served).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("1 of the 4 items"), "{status}");
    assert_eq!(search(&served).await, before, "the old model serves");
    // All from where they lie, what was sent among them.
    let rest = fill(&served, vec![], "").await.unwrap();
    assert_eq!((rest.indexed, rest.unchanged), (1, 3));

    let flipped = flip(&served).await.unwrap();
    assert_eq!((&flipped.spaces[0].model, &flipped.shadow[0].vectors), (&sharded(), &4));
    let after = search(&served).await;
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(after.iter().all(|(key, score)| (score - before[key]).abs() > 1e-3), "{before:?} {after:?}");
    // What comes now is embedded by the new one, and the old one lacks it.
    upsert(&served, "sent later", bytes(home.path(), 10)).await;
    assert_eq!(search(&served).await.len(), 5);
    assert!(flip(&served).await.unwrap_err().message().contains("1 of the 5 items"));
    let mut removing = pb::FlipCollectionRequest { remove_missing: true, ..Default::default() };
    removing.name = "default".into();
    served.collections().flip(removing).await.unwrap();
    assert_eq!(search(&served).await, before);
    served.collections().drop_shadow(pb::DropShadowRequest::default()).await.unwrap();
    assert_eq!(flip(&served).await.unwrap_err().code(), Code::NotFound);
    let mistaken = fill(&served, vec![], &common::tiny_clip().display().to_string()).await.unwrap_err();
    assert_eq!(mistaken.code(), Code::InvalidArgument, "{mistaken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_search_fails_or_mixes_while_it_is_flipped() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &[]).await;
    let old = search(&served).await;
    fill(&served, vec![], "demo").await.unwrap();
    flip(&served).await.unwrap();
    let new = search(&served).await;
    let near = |a: &Found, b: &Found| a.iter().all(|(key, x)| (x - b[key]).abs() < 1e-4);
    assert!(!near(&old, &new));
    let flips = async {
        for _ in 0..30 {
            flip(&served).await.unwrap();
            search(&served).await;
        }
    };
    let searches = async {
        let mut counts = [0; 2];
        for _ in 0..300 {
            let found = search(&served).await;
            assert!(near(&found, &old) != near(&found, &new), "{found:?} is neither {old:?} nor {new:?}");
            counts[usize::from(near(&found, &new))] += 1;
        }
        counts
    };
    let ((), counts) = tokio::join!(flips, searches);
    println!("30 flips beside searches, answered {counts:?} times by each model");
}

#[tokio::test]
async fn the_same_over_http() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let served = Served::start(home.path(), &["--api-key", "writer-key", "--read-key", "reader-key"]).await;
    let (client, reader) = (
        Client::new(&served).with("x-api-key", "writer-key"),
        Client::new(&served).with("x-api-key", "reader-key"),
    );
    let of = "/v1/collections/default";
    assert_eq!(reader.post(&format!("{of}/flip"), &json!({})).status, 403);
    assert_eq!(reader.delete(&format!("{of}/shadow")).status, 403);
    assert_eq!(client.post(&format!("{of}/flip"), &json!({})).json(404)["error"]["code"], "not_found");
    let came = client.post(&format!("{of}/index"), &json!({"shadow": true, "model": sharded()}));
    assert_eq!(came.status, 200);
    let told = String::from_utf8(came.body).unwrap();
    assert!(told.contains("event: done") && told.contains("\"indexed\":3"), "{told}");
    let shown = client.get(of).json(200);
    assert_eq!(
        (&shown["shadow"][0]["vectors"], &shown["shadow"][0]["model"]),
        (&json!(3), &json!(sharded()))
    );
    let flipped = client.post(&format!("{of}/flip"), &json!({"remove_missing": false})).json(200);
    assert_eq!(flipped["models"], json!([sharded()]));
    assert_eq!(client.delete(&format!("{of}/shadow")).status, 204);
    assert_eq!(client.get(of).json(200)["shadow"], json!([]));
}

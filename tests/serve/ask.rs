//! Questions over the wire: gRPC, server-sent events, and clients who leave.

use crate::client::Client;
use crate::common;
use crate::served::{self, Served, indexed};
use eyeshot::serve::proto::v1::answer_client::AnswerClient;
use eyeshot::serve::proto::v1::{self as pb, ask_response::Part};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::Code;

const ASK: &str = "/v1/collections/default/ask";

fn answerer() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llava/vicuna").display().to_string()
}

async fn start(home: &Path) -> Served {
    indexed(home);
    Served::start(home, &["--answerer", &answerer(), "--answers", "1"]).await
}

fn question(text: &str, tokens: u32) -> pb::AskRequest {
    let writing = Some(pb::Writing { max_tokens: Some(tokens), ..Default::default() });
    pb::AskRequest { question: text.into(), writing, ..Default::default() }
}

/// The events of a stream: their names and data.
fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = String::from_utf8(body.to_vec()).unwrap().replace("\r\n", "\n");
    let field = |block: &str, name: &str| {
        let value =
            block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        value.unwrap_or_default()
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    blocks
        .map(|block| (field(block, "event:"), serde_json::from_str(&field(block, "data:")).unwrap()))
        .collect()
}

#[tokio::test]
async fn answers_are_those_of_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let args = ["ask", "what is this?", "--max-tokens", "6", "--answerer", &answerer(), "--json"];
    let cli = common::run(home.path(), args).expect(0).json().remove(0);
    let served = start(home.path()).await;

    let mut stream = AnswerClient::new(served.channel.clone())
        .ask(question("what is this?", 6))
        .await
        .unwrap()
        .into_inner();
    let (mut looked, mut text, mut last) = (vec![], String::new(), None);
    while let Some(message) = stream.message().await.unwrap() {
        assert!(last.is_none(), "nothing after the conclusion");
        match message.part.unwrap() {
            Part::LookedAt(images) => looked = images.images,
            Part::Text(piece) => text.push_str(&piece),
            Part::Conclusion(conclusion) => last = Some(conclusion),
        }
    }
    let last = last.unwrap();
    assert_eq!((text.as_str(), last.answer.as_str()), (cli["answer"].as_str().unwrap(), text.as_str()));
    assert_eq!(json!(last.token_ids), cli["token_ids"]);
    assert_eq!((looked.len(), last.finish()), (3, pb::Finish::Length));

    let client = Client::new(&served);
    let came = client.post(ASK, &json!({"question": "what is this?", "max_tokens": 6}));
    let told = events(&came.body);
    assert_eq!((came.status, came.header("content-type")), (200, "text/event-stream"));
    assert_eq!((told[0].0.as_str(), told[0].1["looking"].as_array().unwrap().len()), ("looking", 3));
    let (name, done) = told.last().unwrap();
    assert_eq!(name, "done");
    for field in ["answer", "citations", "abstained", "token_ids", "finish"] {
        assert_eq!(done[field], cli[field], "{field}");
    }
    let pieces: String = told.iter().filter_map(|(_, data)| data["piece"].as_str()).collect();
    assert_eq!(pieces, text);
    let features = client.get("/v1/collections/default").json(200)["features"].clone();
    assert_eq!(features, json!({"rerank": false, "ask": true}));
}

#[tokio::test]
async fn what_is_wrong_is_told_before_any_piece() {
    let home = tempfile::tempdir().unwrap();
    let served = start(home.path()).await;
    let client = Client::new(&served);
    let check = |body: Value, status: u16, code: &str, part: &str| {
        let said = client.post(ASK, &body).failure(status, code);
        assert!(said.contains(part), "{said}");
    };
    check(json!({"question": " "}), 400, "invalid_argument", "question");
    check(json!({"question": "word ".repeat(10_000)}), 400, "invalid_argument", "fewer words");
    check(json!({"question": "what?", "about": [{"text": "a cat"}]}), 400, "invalid_argument", "image");
    check(json!({"question": "what?", "about": [{"id": 999}]}), 404, "not_found", "999");
    check(json!({"question": "what?", "max_tokens": 5000}), 400, "invalid_argument", "4096");
    client.post("/v1/collections/none/ask", &json!({"question": "what?"})).failure(404, "not_found");
    let mut grpc = AnswerClient::new(served.channel.clone());
    assert_eq!(grpc.ask(question("", 4)).await.unwrap_err().code(), Code::InvalidArgument);
    // About one image that was sent: nothing is searched.
    let image = served::bytes(home.path(), 9);
    let about = vec![pb::Term { kind: Some(pb::term::Kind::Image(image)), weight: None }];
    let mut stream = grpc.ask(pb::AskRequest { about, ..question("what?", 3) }).await.unwrap().into_inner();
    let Some(Part::LookedAt(looked)) = stream.message().await.unwrap().unwrap().part else {
        panic!("no images")
    };
    assert!(looked.images.len() == 1 && looked.images[0].id.is_none() && looked.images[0].score.is_none());
    drop(served);

    let other = Served::start(home.path(), &[]).await;
    let said = Client::new(&other).post(ASK, &json!({"question": "what?"})).failure(400, "invalid_argument");
    assert!(said.contains("--answerer"), "{said}");
}

/// With one place for all, whoever comes next waits until it is free.
#[tokio::test]
async fn a_client_who_leaves_frees_the_place() {
    let home = tempfile::tempdir().unwrap();
    let served = start(home.path()).await;
    let mut grpc = AnswerClient::new(served.channel.clone());
    for _ in 0..5 {
        let mut stream = grpc.ask(question("what is this?", 4096)).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
    }
    let began = Instant::now();
    let mut stream = grpc.ask(question("and this?", 4)).await.unwrap().into_inner();
    let mut finish = None;
    while let Some(message) = stream.message().await.unwrap() {
        if let Some(Part::Conclusion(conclusion)) = message.part {
            finish = Some(conclusion.finish());
        }
    }
    assert_eq!(finish, Some(pb::Finish::Length));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

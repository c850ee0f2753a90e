//! `POST /v1/collections/{collection}/items`: pictures on their way in, as JSON or as a form with files.

use super::extract::{Body, MayWrite, Path};
use super::failure::{Failure, Failures};
use super::search::picture;
use crate::error::{Error, Result};
use crate::serve::app::App;
use crate::serve::proto::v1 as pb;
use crate::serve::upsert;
use crate::types::{ContentHash, Payload};
use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::header;
use pb::upsert_request::Image;
use pb::upsert_response::Outcome;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most pictures of one request.
const MAX_ITEMS: usize = 1000;

/// Pictures to take.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItems {
    /// 1 to 1000.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<NewItemBody>,
}

/// A picture: one of `uri` and `image`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItemBody {
    /// `data:`, `file://` within the server's roots, or `http(s)://` where the server allows it.
    #[schema(format = "picture-uri")]
    uri: Option<String>,
    /// The file's bytes in base64. They are kept, unless the server was told to forget them.
    #[schema(format = "picture")]
    image: Option<String>,
    /// An item that has it is replaced and keeps its id. The URI, or one made of the bytes, where absent.
    key: Option<String>,
    /// What is said of it, each searchable.
    #[serde(default)]
    captions: Vec<String>,
    /// What else to keep, for filters.
    #[serde(default)]
    #[schema(value_type = Object)]
    payload: Payload,
}

/// A form with files.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it is read by the description alone")]
pub struct NewFiles {
    /// A picture; as many parts of this name as there are pictures.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<u8>,
    /// A JSON list of captions for the file before it, or, where there is none, for the first.
    #[schema(format = "captions")]
    captions: Option<String>,
    /// A JSON object for the file before it, or, where there is none, for the first.
    #[schema(format = "payload")]
    payload: Option<String>,
}

/// What became of each picture, in order.
#[derive(Serialize, ToSchema)]
pub struct Outcomes {
    outcomes: Vec<OutcomeBody>,
}

/// An `id`, or an `error`.
#[derive(Serialize, ToSchema)]
pub struct OutcomeBody {
    /// The key that it has, or would have had.
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// Whether an item with the same bytes was there, so that its vector was reused.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    /// What is wrong, and what would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Takes pictures. Each that has an `id` in the answer is on disk, and queries find it.
#[utoipa::path(post, path = "/v1/collections/{collection}/items", tag = "items", params(("collection" = String, Path)),
    request_body(content((NewItems = "application/json"), (NewFiles = "multipart/form-data"))),
    responses((status = 200, body = Outcomes), Failures))]
pub async fn post(
    State(app): State<App>,
    Path(collection): Path<String>,
    _: MayWrite,
    request: Request,
) -> Result<Json<Outcomes>, Failure> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let items = match kind.starts_with("multipart/form-data") {
        true => {
            form(
                Multipart::from_request(request, &app)
                    .await
                    .map_err(|e| unreadable(e.status(), e.body_text()))?,
            )
            .await?
        }
        false => listed(Body::<NewItems>::from_request(request, &app).await?.0)?,
    };
    if items.is_empty() || items.len() > MAX_ITEMS {
        let fix = format!("send 1 to {MAX_ITEMS} at once");
        return Err(Error::invalid(format!("{} pictures", items.len()), fix).into());
    }
    let there = app.clone();
    // Pictures take as long as they take; who leaves stops it between two batches.
    let outcomes = app.work.run(None, move |caller| upsert::write_all(&there, &collection, items, caller));
    let outcomes = outcomes.await?.into_iter().map(outcome).collect();
    Ok(Json(Outcomes { outcomes }))
}

fn listed(body: NewItems) -> Result<Vec<pb::UpsertRequest>> {
    let one = |(at, item): (usize, NewItemBody)| {
        let image = match (item.image, item.uri) {
            (Some(image), None) => Image::Bytes(picture(&image, at)?),
            (None, Some(uri)) => Image::Uri(uri),
            _ => return Err(Error::invalid(format!("item {at}"), "give either uri or image")),
        };
        Ok(request(item.key.unwrap_or_default(), image, item.captions, item.payload))
    };
    body.items.into_iter().enumerate().map(one).collect()
}

/// The files of a form, each with the captions and the payload that come after it; the first also with those before it.
async fn form(mut form: Multipart) -> Result<Vec<pb::UpsertRequest>, Failure> {
    let broken = |e: MultipartError| unreadable(e.status(), e.body_text());
    let mut items: Vec<pb::UpsertRequest> = vec![];
    let (mut captions, mut payload) = Default::default();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" => {
                let file = field.file_name().unwrap_or_default().to_owned();
                let bytes = field.bytes().await.map_err(broken)?;
                let key = key_of(&file, &bytes);
                let first = (std::mem::take(&mut captions), std::mem::take(&mut payload));
                items.push(request(key, Image::Bytes(bytes.into()), first.0, first.1));
                if items.len() > MAX_ITEMS {
                    break;
                }
            }
            "captions" => {
                let said = json_of(field).await?;
                *items.last_mut().map_or(&mut captions, |item| &mut item.captions) = said;
            }
            "payload" => {
                let said = json_of(field).await?;
                match items.last_mut() {
                    Some(item) => item.payload = Some(crate::serve::convert::fields(said)),
                    None => payload = said,
                }
            }
            _ => {
                let what = format!(
                    "a form's part {name:?}: give `file` parts, each with `captions` and `payload` after it"
                );
                return Err(unreadable(axum::http::StatusCode::BAD_REQUEST, what));
            }
        }
    }
    Ok(items)
}

/// What a part says; what stands for nothing, where it is empty or null, as a form's fields are that nobody filled in.
async fn json_of<T: serde::de::DeserializeOwned + Default>(field: Field<'_>) -> Result<T, Failure> {
    let name = field.name().unwrap_or_default().to_owned();
    let text = field.bytes().await.map_err(|e| unreadable(e.status(), e.body_text()))?;
    let wrong = |e| {
        unreadable(
            axum::http::StatusCode::BAD_REQUEST,
            format!("the form's part {name:?} is not the JSON it should be: {e}"),
        )
    };
    if text.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    Ok(serde_json::from_slice::<Option<T>>(&text).map_err(wrong)?.unwrap_or_default())
}

fn unreadable(status: axum::http::StatusCode, what: String) -> Failure {
    Failure::malformed(status, what)
}

/// The key of a file that was sent: the same file of the same name is the same item.
fn key_of(file: &str, bytes: &[u8]) -> String {
    // Some browsers send a path.
    let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
    let hash = ContentHash::of(bytes);
    match name.is_empty() {
        true => format!("upload:/{hash}"),
        false => format!("upload:/{hash}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC)),
    }
}

fn request(key: String, image: Image, captions: Vec<String>, payload: Payload) -> pb::UpsertRequest {
    let payload = Some(crate::serve::convert::fields(payload));
    pb::UpsertRequest { key, image: Some(image), captions, payload, ..pb::UpsertRequest::default() }
}

fn outcome((key, outcome): (String, Outcome)) -> OutcomeBody {
    match outcome {
        Outcome::Accepted(pb::Accepted { id, duplicate }) => {
            OutcomeBody { key, id: Some(id), duplicate: Some(duplicate), error: None }
        }
        Outcome::Refused(refused) => {
            OutcomeBody { key, id: None, duplicate: None, error: Some(refused.reason) }
        }
    }
}

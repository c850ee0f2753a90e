//! `/v1/collections/{collection}/search`.

use super::extract::{Body, Path, Query};
use super::failure::{Failure, Failures};
use super::filter::Filter;
use crate::engine::MAX_HITS;
use crate::error::{Error, Result};
use crate::serve::app::App;
use crate::serve::proto::v1 as pb;
use crate::serve::search;
use crate::types::{Hit, Payload, terms};
use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use utoipa::{IntoParams, ToSchema};

/// How many hits there are where nobody says.
const LIMIT: u32 = 30;

/// A question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchBody {
    /// What to look for: at least one with a positive weight, at most 64.
    #[schema(min_items = 1, max_items = 64)]
    terms: Vec<Term>,
    /// How many hits; 30 where absent. Those behind the first 100,000 are never told.
    #[schema(minimum = 1, maximum = 100_000)]
    limit: Option<u32>,
    /// How many of the best to leave out first.
    #[serde(default)]
    #[schema(maximum = 100_000)]
    offset: u32,
    filter: Option<Filter>,
    /// Only hits with at least this cosine.
    score_threshold: Option<f32>,
    #[serde(default)]
    with_payload: bool,
    #[serde(default)]
    with_captions: bool,
    /// Whether the best hits are held against the words by an image-text matcher, and ordered by its probability.
    #[serde(default)]
    rerank: bool,
    /// With `rerank`: how many of the best are held against the words; 32 where absent.
    #[schema(minimum = 1, maximum = 1000)]
    rerank_top: Option<u32>,
    /// With `rerank`: only hits with at least this probability.
    #[schema(minimum = 0, maximum = 1)]
    match_threshold: Option<f32>,
    #[serde(default)]
    side: SideName,
    /// Breadth of the graph search; chosen by the index where absent.
    ef: Option<u32>,
    /// Scan all vectors instead of searching the graph.
    #[serde(default)]
    exact: bool,
}

/// Something to look for, or, with a negative weight, to stay away from: one of `text`, `image`, `uri` and `id`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Words.
    #[schema(pattern = r"\S")]
    text: Option<String>,
    /// An encoded picture, in base64.
    #[schema(format = "picture")]
    image: Option<String>,
    /// `data:`, `file://` within the server's roots, or `http(s)://` where the server allows it.
    #[schema(format = "picture-uri")]
    uri: Option<String>,
    /// An item of the collection.
    id: Option<u64>,
    /// How much it counts: 1 where absent. Not 0.
    weight: Option<f32>,
}

/// What a query is held against.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SideName {
    #[default]
    Image,
    Caption,
    Both,
    Words,
    All,
}

/// A question that fits into a URL.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Words, with `+` and `-` between terms and weights: `horse + 2:stripes - grass`; `id:7` is an item.
    #[param(format = "terms")]
    q: String,
    /// How many hits; 30 where absent. Those behind the first 100,000 are never told.
    #[param(minimum = 1, maximum = 100_000)]
    limit: Option<u32>,
    #[serde(default)]
    #[param(default = 0, maximum = 100_000)]
    offset: u32,
    /// The language of `eyeshot search --filter`.
    #[param(format = "filter")]
    filter: Option<String>,
    score_threshold: Option<f32>,
    #[serde(default)]
    #[param(default = false)]
    with_payload: bool,
    #[serde(default)]
    #[param(default = false)]
    with_captions: bool,
    #[serde(default)]
    #[param(default = false)]
    rerank: bool,
    #[param(minimum = 1, maximum = 1000)]
    rerank_top: Option<u32>,
    /// With `rerank`: only hits with at least this probability.
    #[param(minimum = 0, maximum = 1)]
    match_threshold: Option<f32>,
    #[serde(default)]
    #[param(inline, default = "image")]
    side: SideName,
}

/// The hits, best first. None at all is an answer: no good match.
#[derive(Serialize, ToSchema)]
pub struct Hits {
    hits: Vec<HitBody>,
    took_ms: f64,
}

/// An item that answers a query.
#[derive(Serialize, ToSchema)]
pub struct HitBody {
    /// From 1, counting those that `offset` left out.
    rank: u64,
    id: u64,
    key: String,
    /// Cosine between query and item, -1 to 1. Compare scores within one query only.
    score: f32,
    /// Why `match` is absent where it was asked for: the file is gone or has changed, or it lies where this server does not fetch from.
    #[serde(skip_serializing_if = "Option::is_none")]
    unmatched: Option<String>,
    /// Probability that picture and words match, where reranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#match: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    captions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<Payload>,
    width: u32,
    height: u32,
}

/// Finds images by words, pictures, or both.
#[utoipa::path(post, path = "/v1/collections/{collection}/search", tag = "search", params(("collection" = String, Path)),
    request_body = SearchBody, responses((status = 200, body = Hits), Failures))]
pub async fn post(
    State(app): State<App>,
    Path(collection): Path<String>,
    Body(body): Body<SearchBody>,
) -> Result<Json<Hits>, Failure> {
    answer(app, body.message(collection)?).await
}

/// The same for those who have a URL and no body.
#[utoipa::path(get, path = "/v1/collections/{collection}/search", tag = "search",
    params(("collection" = String, Path), SearchQuery), responses((status = 200, body = Hits), Failures))]
pub async fn get(
    State(app): State<App>,
    Path(collection): Path<String>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Hits>, Failure> {
    let terms = terms::parse(&query.q).into_iter().map(term_of_words).collect();
    let body = SearchBody {
        terms,
        limit: query.limit,
        offset: query.offset,
        filter: query.filter.map(Filter::Expression),
        score_threshold: query.score_threshold,
        with_payload: query.with_payload,
        with_captions: query.with_captions,
        rerank: query.rerank,
        rerank_top: query.rerank_top,
        match_threshold: query.match_threshold,
        side: query.side,
        ef: None,
        exact: false,
    };
    answer(app, body.message(collection)?).await
}

async fn answer(app: App, mut request: pb::QueryRequest) -> Result<Json<Hits>, Failure> {
    let began = Instant::now();
    // A page may reach beyond what is told: there it is cut.
    let told = u32::try_from(MAX_HITS).unwrap_or(u32::MAX);
    let (limit, left) = (request.limit.unwrap_or(LIMIT), told.saturating_sub(request.offset));
    if limit <= told && limit > left && request.offset <= told {
        request.limit = Some(left.max(1));
        request.offset = request.offset.min(told - 1);
    }
    let (first, payload, captions) =
        (request.offset as usize + 1, request.with_payload, request.with_captions);
    let ranked = move |(at, hit): (usize, Hit)| hit_body((first + at) as u64, hit, payload, captions);
    let all = move |hits: Vec<Hit>| hits.into_iter().take(left as usize).enumerate().map(ranked).collect();
    let hits = search::ask(&app, request, app.patience(), all).await?;
    Ok(Json(Hits { hits, took_ms: (began.elapsed().as_secs_f64() * 1e5).round() / 100.0 }))
}

fn hit_body(rank: u64, hit: Hit, payload: bool, captions: bool) -> HitBody {
    HitBody {
        rank,
        id: hit.id.0,
        key: hit.key.clone(),
        score: hit.score,
        captions: captions.then(|| hit.captions.clone()),
        payload: payload.then(|| hit.payload.clone()),
        width: hit.width,
        height: hit.height,
        r#match: hit.matched,
        unmatched: hit.unmatched,
    }
}

impl SearchBody {
    /// The same as a message.
    fn message(self, collection: String) -> Result<pb::QueryRequest> {
        let side = match self.side {
            SideName::Image => pb::Side::Image,
            SideName::Caption => pb::Side::Caption,
            SideName::Both => pb::Side::Both,
            SideName::Words => pb::Side::Words,
            SideName::All => pb::Side::All,
        };
        let terms = self.terms.into_iter().enumerate().map(|(at, term)| term.message(at));
        Ok(pb::QueryRequest {
            collection,
            terms: terms.collect::<Result<_>>()?,
            limit: Some(self.limit.unwrap_or(LIMIT)),
            offset: self.offset,
            filter: self.filter.map(Filter::message).transpose()?,
            score_threshold: self.score_threshold,
            with_payload: self.with_payload,
            with_captions: self.with_captions,
            rerank: self.rerank,
            rerank_top: self.rerank_top,
            match_threshold: self.match_threshold,
            side: side.into(),
            ef: self.ef,
            exact: self.exact,
        })
    }
}

impl Term {
    /// The same as a message.
    pub fn message(self, at: usize) -> Result<pb::Term> {
        use pb::term::Kind;
        let image = self.image.map(|text| picture(&text, at)).transpose()?;
        let given = [
            self.text.map(Kind::Text),
            image.map(Kind::Image),
            self.uri.map(Kind::Uri),
            self.id.map(Kind::Id),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (kind, None) => Ok(pb::Term { kind, weight: self.weight }),
            _ => {
                let what = format!("term {at} is several things");
                Err(Error::invalid(
                    what,
                    "set one of text, image, uri or id, and make the others terms of their own",
                ))
            }
        }
    }
}

/// A picture in base64.
pub fn picture(text: &str, at: usize) -> Result<Vec<u8>> {
    base64::prelude::BASE64_STANDARD.decode(text.trim()).map_err(|e| {
        Error::invalid(format!("image {at} is not base64 ({e})"), "send the file's bytes in standard base64")
    })
}

fn term_of_words(words: terms::Weighed) -> Term {
    let id = words.text.strip_prefix("id:").and_then(|number| number.parse().ok());
    let text = if id.is_some() { None } else { Some(words.text) };
    Term { id, text, weight: Some(words.weight), ..Term::default() }
}

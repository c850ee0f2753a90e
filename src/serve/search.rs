//! The service `Search`.

use super::app::App;
use super::convert;
use super::proto::v1 as pb;
use super::proto::v1::query_outcome::Outcome;
use super::proto::v1::search_server::Search;
use super::work::deadline;
use crate::engine::Caller;
use crate::error::{Error, Result};
use crate::types::{Hit, Query, Side};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Instant;
use tonic::{Request, Response, Status};

/// The most queries of one batch.
const MAX_QUERIES: usize = 256;
/// So many hits are read from the store in no time.
const FEW_HITS: usize = 256;
/// The longest message, in bytes, that is understood in no time.
const SHORT: usize = 64 << 10;

#[tonic::async_trait]
impl Search for App {
    async fn query(&self, request: Request<pb::QueryRequest>) -> Result<Response<pb::QueryResponse>, Status> {
        let (deadline, request) = (deadline(request.metadata()), request.into_inner());
        let shown = Shown::of(&request);
        Ok(Response::new(ask(self, request, deadline, move |hits| shown.response(hits)).await?))
    }

    async fn query_batch(
        &self,
        request: Request<pb::QueryBatchRequest>,
    ) -> Result<Response<pb::QueryBatchResponse>, Status> {
        let (deadline, queries, app) =
            (deadline(request.metadata()), request.into_inner().queries, self.clone());
        let outcomes = self.work.run(deadline, move |caller| batch(&app, queries, caller)).await?;
        Ok(Response::new(pb::QueryBatchResponse { outcomes }))
    }
}

/// What `told` makes of one query's hits.
///
/// Where its words are all that has to be encoded, and with what is there, they are waited for without a thread that sleeps.
pub async fn ask<T: Send + 'static>(
    app: &App,
    request: pb::QueryRequest,
    deadline: Option<Instant>,
    told: impl FnOnce(Vec<Hit>) -> T + Send + 'static,
) -> Result<T, Status> {
    let visit = app.work.admit(deadline)?;
    let Some(collection) = app.at_hand(&request.collection).filter(|_| is_read_at_once(&request)) else {
        let app = app.clone();
        let answer = move |caller: &Caller| {
            let collection = app.collection(&request.collection)?;
            let query = convert::query(request, &app, &collection)?;
            Ok(told(collection.query_for(&query, caller)?))
        };
        return visit.run(answer).await;
    };
    let query = convert::query(request, app, &collection).map_err(convert::status)?;
    let Some(ahead) = collection.ahead(&query, visit.caller()).map_err(convert::status)? else {
        return visit.run(move |caller| Ok(told(collection.query_for(&query, caller)?))).await;
    };
    let words = visit.wait(ahead).await?;
    let computes = only_computes(&query);
    let answer = move |caller: &Caller| Ok(told(collection.query_with(&query, &words, caller)?));
    if computes { visit.compute(answer).await } else { visit.run(answer).await }
}

/// Whether a query is understood in no time: it is short, and nothing has to be fetched for it.
fn is_read_at_once(request: &pb::QueryRequest) -> bool {
    let afar = |term: &pb::Term| matches!(term.kind, Some(pb::term::Kind::Uri(_)));
    !request.terms.iter().any(afar) && request.encoded_len() <= SHORT
}

/// Whether a query whose words are embedded is nothing but a search: nobody has to be asked, and what it needs was made before.
fn only_computes(query: &Query) -> bool {
    let by_vectors = matches!(query.side, Side::Image | Side::Caption | Side::Both);
    let seen = query.limit.saturating_add(query.offset);
    by_vectors && seen <= FEW_HITS && query.filter.is_none() && query.rerank.is_none()
}

/// The outcomes of `queries`, in order; those of one collection are asked together.
fn batch(app: &App, queries: Vec<pb::QueryRequest>, caller: &Caller) -> Result<Vec<pb::QueryOutcome>> {
    if queries.len() > MAX_QUERIES {
        let what = format!("{} queries", queries.len());
        return Err(Error::invalid(what, format!("send at most {MAX_QUERIES} at once")));
    }
    let mut outcomes: Vec<pb::QueryOutcome> = vec![pb::QueryOutcome::default(); queries.len()];
    let mut by_collection: BTreeMap<String, Vec<(usize, pb::QueryRequest)>> = BTreeMap::new();
    for (at, query) in queries.into_iter().enumerate() {
        let name = convert::collection_name(&query.collection).to_owned();
        by_collection.entry(name).or_default().push((at, query));
    }
    let mut put = |at: usize, outcome| {
        if let Some(slot) = outcomes.get_mut(at) {
            slot.outcome = Some(outcome);
        }
    };
    for (name, group) in by_collection {
        let collection = match app.engine.collection(&name) {
            Ok(collection) => collection,
            Err(error) => {
                let error = convert::status(error);
                group.iter().for_each(|(at, _)| put(*at, failed(&error)));
                continue;
            }
        };
        let (mut sound, mut asked): (Vec<(usize, Shown)>, Vec<Query>) = (vec![], vec![]);
        for (at, request) in group {
            let shown = Shown::of(&request);
            match convert::query(request, app, &collection) {
                Ok(query) => {
                    sound.push((at, shown));
                    asked.push(query);
                }
                Err(error) => put(at, failed(&convert::status(error))),
            }
        }
        for ((at, shown), hits) in sound.into_iter().zip(collection.query_many(&asked, caller)?) {
            put(
                at,
                match hits {
                    Ok(hits) => Outcome::Response(shown.response(hits)),
                    Err(error) => failed(&convert::status(error)),
                },
            );
        }
    }
    Ok(outcomes)
}

fn failed(status: &Status) -> Outcome {
    Outcome::Error(pb::QueryError { code: status.code().into(), message: status.message().to_owned() })
}

/// What of a hit was asked for.
#[derive(Clone, Copy)]
struct Shown {
    payload: bool,
    captions: bool,
}

impl Shown {
    fn of(request: &pb::QueryRequest) -> Self {
        Shown { payload: request.with_payload, captions: request.with_captions }
    }

    fn response(self, hits: Vec<Hit>) -> pb::QueryResponse {
        let hits = hits.into_iter().map(|hit| convert::hit(hit, self.payload, self.captions)).collect();
        pb::QueryResponse { hits }
    }
}

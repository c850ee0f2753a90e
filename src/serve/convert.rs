//! The edge: messages to the words of `types` and back, and errors to statuses. Nothing else knows both.

use super::app::App;
use super::proto::v1 as pb;
use crate::engine::{Collection, Info};
use crate::error::{Error, Result};
use crate::types::item::local_time;
use crate::types::{Filter, Hit, Item, ItemId, Payload, Query, Rerank, Side, Term, TermKind};
use pb::field_condition::Test as Leaf;
use prost_types::value::Kind;
use serde_json::{Number, Value as Json};
use std::time::Duration;
use tonic::codegen::http::StatusCode;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The collection that an empty name means.
pub const DEFAULT_COLLECTION: &str = "default";
/// The most terms of one query.
const MAX_TERMS: usize = 64;

/// The trailer that says when to come back.
const PUSH_BACK: &str = "grpc-retry-pushback-ms";

/// An error as the client sees it. What only the operator can mend is said without what it would tell of the machine.
pub fn status(error: Error) -> Status {
    let code = match &error {
        Error::Invalid { .. } | Error::Vector { .. } | Error::Image { .. } | Error::Fetch { .. } => {
            Code::InvalidArgument
        }
        Error::GaveUp { .. } => Code::Unavailable,
        Error::NotFound { .. } | Error::Gone { .. } => Code::NotFound,
        Error::Exists { .. } => Code::AlreadyExists,
        Error::Forbidden { .. } => Code::PermissionDenied,
        Error::Unsupported { .. } => Code::Unimplemented,
        Error::OtherModel { .. } | Error::Incomplete { .. } | Error::Model { .. } => Code::FailedPrecondition,
        Error::Switched { .. } => Code::Aborted,
        Error::Overloaded { .. } | Error::Busy { .. } => Code::ResourceExhausted,
        Error::Late => Code::DeadlineExceeded,
        Error::Cancelled => Code::Cancelled,
        Error::Corrupt { .. } | Error::Format { .. } => Code::DataLoss,
        Error::Io { .. } | Error::Storage { .. } | Error::Compute { .. } => Code::Internal,
    };
    let mut status = Status::new(code, error.to_string());
    if let Error::Overloaded { retry, .. } = error {
        push_back(&mut status, retry);
    }
    status
}

/// A status for a server that has no place for one more.
pub fn overloaded(what: &str, retry: Duration) -> Status {
    let mut status = Status::resource_exhausted(format!(
        "{what}; try again in {} ms, or raise --concurrency",
        retry.as_millis()
    ));
    push_back(&mut status, retry);
    status
}

/// When to come back, as gRPC's own retry policies read it (gRFC A6).
fn push_back(status: &mut Status, retry: Duration) {
    let millis = MetadataValue::from(u64::try_from(retry.as_millis()).unwrap_or(u64::MAX));
    status.metadata_mut().insert(PUSH_BACK, millis);
}

/// The HTTP status of a gRPC code, and the code's name in JSON.
pub fn http_code(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::Ok => (StatusCode::OK, "ok"),
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
        Code::OutOfRange => (StatusCode::PAYLOAD_TOO_LARGE, "out_of_range"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
        Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Code::AlreadyExists => (StatusCode::CONFLICT, "already_exists"),
        Code::FailedPrecondition => (StatusCode::CONFLICT, "failed_precondition"),
        Code::Aborted => (StatusCode::CONFLICT, "aborted"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
        Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
        Code::Unavailable | Code::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        Code::DataLoss => (StatusCode::INTERNAL_SERVER_ERROR, "data_loss"),
        Code::Internal | Code::Unknown => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// When a status says to come back.
pub fn retry_after(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get(PUSH_BACK)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// The name, or the default one where it is empty.
pub fn collection_name(name: &str) -> &str {
    if name.is_empty() { DEFAULT_COLLECTION } else { name }
}

/// A query, with its URIs fetched: may take long.
pub fn query(request: pb::QueryRequest, app: &App, collection: &Collection) -> Result<Query> {
    if !request.rerank && request.match_threshold.is_some() {
        return Err(Error::invalid("match_threshold without rerank", "set rerank too"));
    }
    if request.terms.len() > MAX_TERMS {
        let what = format!("{} terms", request.terms.len());
        return Err(Error::invalid(what, format!("a query has at most {MAX_TERMS}")));
    }
    let terms = request.terms.into_iter().enumerate().map(|(at, t)| term(at, t, app, collection));
    let side = match pb::Side::try_from(request.side) {
        Ok(pb::Side::Unspecified | pb::Side::Image) => Side::Image,
        Ok(pb::Side::Caption) => Side::Caption,
        Ok(pb::Side::Both) => Side::Both,
        Ok(pb::Side::Words) => Side::Words,
        Ok(pb::Side::All) => Side::All,
        Err(_) => {
            return Err(Error::invalid(format!("side {}", request.side), "use a value of the enum Side"));
        }
    };
    Ok(Query {
        limit: request.limit.map_or(10, |n| n as usize),
        offset: request.offset as usize,
        side,
        filter: request.filter.map(filter).transpose()?,
        min_score: request.score_threshold,
        ef: request.ef.map(|n| n as usize),
        exact: request.exact,
        rerank: request.rerank.then(|| rerank(request.rerank_top, request.match_threshold)),
        ..Query::new(terms.collect::<Result<_>>()?)
    })
}

fn rerank(top: Option<u32>, min_match: Option<f32>) -> Rerank {
    let usual = Rerank::default();
    Rerank { top: top.map_or(usual.top, |top| top as usize), min_match, ..usual }
}

/// A term, with its URI fetched: may take long.
pub fn term(at: usize, term: pb::Term, app: &App, collection: &Collection) -> Result<Term> {
    use pb::term::Kind;
    let kind = match term.kind {
        Some(Kind::Text(text)) => TermKind::Text(text),
        Some(Kind::Image(bytes)) => TermKind::Image(bytes),
        Some(Kind::Uri(uri)) => TermKind::Image(app.sources.bytes(&uri, collection)?),
        Some(Kind::Id(id)) => TermKind::Item(ItemId(id)),
        None => {
            return Err(Error::invalid(format!("term {at} is empty"), "set one of text, image, uri or id"));
        }
    };
    Ok(Term { kind, weight: term.weight.unwrap_or(1.0) })
}

/// A typed filter. Its tests are written out in the language of [`Filter::parse`] and read by it, so that a field has one
/// meaning wherever it is named.
pub fn filter(filter: pb::Filter) -> Result<Filter> {
    let mut all = conditions(filter.must)?;
    let should = conditions(filter.should)?;
    if !should.is_empty() {
        all.push(Filter::Any(should));
    }
    all.extend(conditions(filter.must_not)?.into_iter().map(|f| Filter::Not(Box::new(f))));
    if !filter.expression.trim().is_empty() {
        all.push(Filter::parse(&filter.expression)?);
    }
    Ok(Filter::All(all))
}

fn conditions(all: Vec<pb::Condition>) -> Result<Vec<Filter>> {
    use pb::condition::Kind;
    let one = |condition: pb::Condition| match condition.kind {
        Some(Kind::Field(field)) => test(field),
        Some(Kind::Filter(inner)) => filter(inner),
        None => Err(Error::invalid("filter: an empty condition", "set field or filter")),
    };
    all.into_iter().map(one).collect()
}

fn test(condition: pb::FieldCondition) -> Result<Filter> {
    let field = match condition.field.trim() {
        "" => return Err(Error::invalid("filter: a condition without a field", "name the field")),
        name => quoted(name),
    };
    let parse = |rest: String| Filter::parse(&format!("{field} {rest}"));
    let wanting =
        || Error::invalid(format!("filter: {field} is not tested"), "set one of match, in, range, ...");
    match condition.test.ok_or_else(wanting)? {
        Leaf::Match(wanted) => parse(format!("= {}", value(wanted)?)),
        Leaf::In(list) if list.values.is_empty() => {
            Err(Error::invalid(format!("filter: {field} in an empty list"), "give at least one value"))
        }
        Leaf::In(list) => {
            let values = list.values.into_iter().map(value).collect::<Result<Vec<_>>>()?;
            parse(format!("in ({})", values.join(", ")))
        }
        Leaf::Range(pb::Range { gt, gte, lt, lte }) => {
            let bounds = [(">", gt), (">=", gte), ("<", lt), ("<=", lte)];
            between(
                &field,
                bounds.into_iter().filter_map(|(op, n)| Some(number(n?).map(|n| format!("{op} {n}")))),
            )
        }
        Leaf::DatetimeRange(pb::DatetimeRange { gt, gte, lt, lte }) => {
            let bounds = [(">", gt), (">=", gte), ("<", lt), ("<=", lte)];
            between(
                &field,
                bounds.into_iter().filter_map(|(op, t)| Some(Ok(format!("{op} {}", quoted(&t?))))),
            )
        }
        Leaf::Prefix(text) => parse(format!("starts with {}", quoted(&text))),
        Leaf::Contains(text) => parse(format!("contains {}", quoted(&text))),
        Leaf::Exists(true) => parse("exists".to_owned()),
        Leaf::Exists(false) => Ok(Filter::Not(Box::new(parse("exists".to_owned())?))),
        Leaf::GeoRadius(pb::GeoRadius { lat, lon, radius_metres }) => {
            let [lat, lon, radius] = [number(lat)?, number(lon)?, number(radius_metres)?];
            parse(format!("within {radius} m of {lat}, {lon}"))
        }
    }
}

fn between(field: &str, bounds: impl Iterator<Item = Result<String>>) -> Result<Filter> {
    let parts =
        bounds.map(|bound| Filter::parse(&format!("{field} {}", bound?))).collect::<Result<Vec<_>>>()?;
    if parts.is_empty() {
        return Err(Error::invalid(format!("filter: no bounds for {field}"), "set gt, gte, lt or lte"));
    }
    Ok(Filter::All(parts))
}

fn value(value: pb::Value) -> Result<String> {
    use pb::value::Kind;
    match value.kind {
        Some(Kind::Keyword(text)) => Ok(quoted(&text)),
        Some(Kind::Integer(n)) => Ok(n.to_string()),
        Some(Kind::Boolean(b)) => Ok(b.to_string()),
        Some(Kind::Number(n)) => number(n),
        None => Err(Error::invalid("filter: an empty value", "set keyword, integer, boolean or number")),
    }
}

fn number(n: f64) -> Result<String> {
    match n.is_finite() {
        true => Ok(n.to_string()),
        false => Err(Error::invalid(format!("filter: {n}"), "bounds are finite numbers")),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A hit with what was asked for.
pub fn hit(hit: Hit, with_payload: bool, with_captions: bool) -> pb::Hit {
    pb::Hit {
        id: hit.id.0,
        key: hit.key.clone(),
        score: hit.score,
        captions: if with_captions { hit.captions.clone() } else { vec![] },
        payload: with_payload.then(|| fields(hit.payload.clone())),
        r#match: hit.matched,
        unmatched: hit.unmatched,
    }
}

/// An item with what was asked for.
pub fn item(item: Item, with_payload: bool, with_captions: bool) -> pb::Item {
    pb::Item {
        id: item.id.0,
        key: item.key,
        hash: item.hash.to_string(),
        size: item.size,
        width: item.width,
        height: item.height,
        format: item.format,
        taken: item.taken.map(local_time),
        captions: if with_captions { item.captions } else { vec![] },
        exif: with_payload.then(|| fields(item.exif)),
        payload: with_payload.then(|| fields(item.payload)),
    }
}

/// What a collection holds.
pub fn collection(info: Info) -> pb::Collection {
    let space = |space: crate::engine::SpaceInfo| pb::Space {
        model: space.model,
        modality: space.modality.to_string(),
        dim: space.dim as u32,
        vectors: space.vectors as u64,
        codes: space.codes.to_string(),
    };
    pb::Collection {
        name: info.name,
        items: info.items as u64,
        spaces: info.spaces.into_iter().map(space).collect(),
        shadow: info.shadow.into_iter().map(space).collect(),
    }
}

/// A payload as a message.
pub fn fields(payload: Payload) -> prost_types::Struct {
    prost_types::Struct { fields: payload.into_iter().map(|(name, json)| (name, of_json(json))).collect() }
}

fn of_json(json: Json) -> prost_types::Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(b) => Kind::BoolValue(b),
        Json::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(of_json).collect() })
        }
        Json::Object(map) => Kind::StructValue(fields(map)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// A message as a payload. Whole numbers become integers again.
pub fn payload(message: prost_types::Struct) -> Result<Payload> {
    message.fields.into_iter().map(|(name, value)| Ok((name, to_json(value)?))).collect()
}

fn to_json(value: prost_types::Value) -> Result<Json> {
    /// Beyond this, not every integer is a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(b)) => Json::Bool(b),
        Some(Kind::NumberValue(n)) if n.fract() == 0.0 && n.abs() <= EXACT => Json::from(n as i64),
        Some(Kind::NumberValue(n)) => Json::Number(
            Number::from_f64(n)
                .ok_or_else(|| Error::invalid(format!("payload: {n}"), "numbers must be finite"))?,
        ),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => {
            Json::Array(list.values.into_iter().map(to_json).collect::<Result<_>>()?)
        }
        Some(Kind::StructValue(inner)) => Json::Object(payload(inner)?),
    })
}

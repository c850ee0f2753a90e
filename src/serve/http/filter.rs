//! Filters as JSON: the language of the command line in a string, or conditions in an object. They become the gRPC
//! messages, which `serve::convert` reads.

use super::json::Any;
use crate::error::{Error, Result};
use crate::serve::proto::v1 as pb;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// Which items may answer.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Filter {
    /// The language of `eyeshot search --filter`: `width >= 800 and (background = blue or caption contains sea)`.
    Expression(String),
    /// Conditions.
    Conditions(Conditions),
}

/// All of `must`, none of `must_not`, at least one of `should` (where there is any), and `expression`.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    #[serde(default)]
    #[schema(no_recursion)]
    must: Vec<Condition>,
    #[serde(default)]
    #[schema(no_recursion)]
    should: Vec<Condition>,
    #[serde(default)]
    #[schema(no_recursion)]
    must_not: Vec<Condition>,
    /// As a filter that is a string.
    expression: Option<String>,
}

/// One field held against something: `field` and one of the tests. Or, without `field`, conditions within the conditions.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// A built-in field (`width`, `height`, `size`, `format`, `taken`, `path`, `caption`), `exif.NAME`, or the payload's.
    field: Option<String>,
    /// Equal to this text, number, true or false.
    #[schema(value_type = Option<Scalar>)]
    r#match: Option<Any>,
    /// Equal to one of these.
    #[schema(value_type = Option<Vec<Scalar>>)]
    r#in: Option<Vec<Any>>,
    range: Option<Range>,
    datetime_range: Option<DatetimeRange>,
    /// A text that begins so.
    prefix: Option<String>,
    /// A text that holds this, whatever the case.
    contains: Option<String>,
    /// Whether the item has the field.
    exists: Option<bool>,
    geo_radius: Option<GeoRadius>,
    #[serde(default)]
    #[schema(no_recursion)]
    must: Vec<Condition>,
    #[serde(default)]
    #[schema(no_recursion)]
    should: Vec<Condition>,
    #[serde(default)]
    #[schema(no_recursion)]
    must_not: Vec<Condition>,
    expression: Option<String>,
}

/// What a field is equal to.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is read by the description alone")]
pub enum Scalar {
    Keyword(String),
    // Whole ones too: of several that fit, a schema takes none.
    Number(f64),
    Boolean(bool),
}

/// Bounds for a number; at least one of them.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    gt: Option<f64>,
    gte: Option<f64>,
    lt: Option<f64>,
    lte: Option<f64>,
}

/// Bounds for a date, each a year, a month, a day or a moment; at least one of them.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatetimeRange {
    gt: Option<String>,
    gte: Option<String>,
    lt: Option<String>,
    lte: Option<String>,
}

/// A circle on the Earth.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GeoRadius {
    /// Degrees north.
    lat: f64,
    /// Degrees east.
    lon: f64,
    radius_metres: f64,
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match Any::deserialize(deserializer)? {
            Any::String(expression) => Ok(Filter::Expression(expression)),
            conditions => {
                serde_json::from_value(conditions).map(Filter::Conditions).map_err(D::Error::custom)
            }
        }
    }
}

impl Filter {
    /// The same as a message.
    pub fn message(self) -> Result<pb::Filter> {
        match self {
            Filter::Expression(expression) => Ok(pb::Filter { expression, ..pb::Filter::default() }),
            Filter::Conditions(Conditions { must, should, must_not, expression }) => {
                filter(must, should, must_not, expression)
            }
        }
    }
}

fn filter(
    must: Vec<Condition>,
    should: Vec<Condition>,
    must_not: Vec<Condition>,
    expression: Option<String>,
) -> Result<pb::Filter> {
    let all = |conditions: Vec<Condition>| conditions.into_iter().map(condition).collect::<Result<_>>();
    Ok(pb::Filter {
        must: all(must)?,
        should: all(should)?,
        must_not: all(must_not)?,
        expression: expression.unwrap_or_default(),
    })
}

fn condition(condition: Condition) -> Result<pb::Condition> {
    use pb::condition::Kind;
    let Condition { field, must, should, must_not, expression, .. } = condition;
    let inner = !(must.is_empty() && should.is_empty() && must_not.is_empty() && expression.is_none());
    let tests = tests(
        condition.r#match,
        condition.r#in,
        Tests {
            range: condition.range,
            datetime_range: condition.datetime_range,
            prefix: condition.prefix,
            contains: condition.contains,
            exists: condition.exists,
            geo_radius: condition.geo_radius,
        },
    )?;
    let kind = match (field, inner) {
        (Some(field), false) => {
            let mut tests = tests.into_iter();
            let (test, None) = (tests.next(), tests.next()) else {
                let fix =
                    "give one: match, in, range, datetime_range, prefix, contains, exists or geo_radius";
                return Err(Error::invalid(format!("filter: several tests of {field:?}"), fix));
            };
            Kind::Field(pb::FieldCondition { field, test })
        }
        (None, _) if tests.is_empty() => Kind::Filter(filter(must, should, must_not, expression)?),
        _ => {
            let fix = "give field and a test, or must, should, must_not or expression";
            return Err(Error::invalid("filter: a condition that is two things, or has no field", fix));
        }
    };
    Ok(pb::Condition { kind: Some(kind) })
}

struct Tests {
    range: Option<Range>,
    datetime_range: Option<DatetimeRange>,
    prefix: Option<String>,
    contains: Option<String>,
    exists: Option<bool>,
    geo_radius: Option<GeoRadius>,
}

fn tests(equal: Option<Any>, any: Option<Vec<Any>>, more: Tests) -> Result<Vec<pb::field_condition::Test>> {
    use pb::field_condition::Test;
    let values = |all: Vec<Any>| all.into_iter().map(value).collect::<Result<Vec<_>>>();
    let range = |Range { gt, gte, lt, lte }| Test::Range(pb::Range { gt, gte, lt, lte });
    let dates =
        |DatetimeRange { gt, gte, lt, lte }| Test::DatetimeRange(pb::DatetimeRange { gt, gte, lt, lte });
    let circle =
        |GeoRadius { lat, lon, radius_metres }| Test::GeoRadius(pb::GeoRadius { lat, lon, radius_metres });
    let all = [
        equal.map(value).transpose()?.map(Test::Match),
        any.map(values).transpose()?.map(|values| Test::In(pb::ValueList { values })),
        more.range.map(range),
        more.datetime_range.map(dates),
        more.prefix.map(Test::Prefix),
        more.contains.map(Test::Contains),
        more.exists.map(Test::Exists),
        more.geo_radius.map(circle),
    ];
    Ok(all.into_iter().flatten().collect())
}

fn value(json: Any) -> Result<pb::Value> {
    use pb::value::Kind;
    let kind = match &json {
        Any::String(text) => Some(Kind::Keyword(text.clone())),
        Any::Bool(b) => Some(Kind::Boolean(*b)),
        Any::Number(n) => n.as_i64().map(Kind::Integer).or_else(|| n.as_f64().map(Kind::Number)),
        Any::Null | Any::Array(_) | Any::Object(_) => None,
    };
    match kind {
        Some(kind) => Ok(pb::Value { kind: Some(kind) }),
        None => {
            Err(Error::invalid(format!("filter: {json} is no value"), "give text, a number, true or false"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests_of_filters {
    use super::*;
    use crate::serve::convert;
    use serde_json::json;

    #[test]
    fn they_say_what_the_language_says() {
        let check = |json: Any, same: &str| {
            let filter: Filter =
                serde_json::from_value(json.clone()).unwrap_or_else(|e| panic!("{json}: {e}"));
            let got = convert::filter(filter.message().unwrap()).unwrap();
            let wanted = crate::types::Filter::parse(same).unwrap();
            assert_eq!(
                format!("{got:?}").replace("All([", "").replace("])", ""),
                format!("{wanted:?}").replace("All([", "").replace("])", ""),
                "{json}"
            );
        };
        check(json!("width >= 800"), "width >= 800");
        check(json!({"must": [{"field": "count", "match": 2}]}), "count = 2");
        check(json!({"must": [{"field": "c", "in": ["a", "b"]}]}), "c in (\"a\", \"b\")");
        check(
            json!({"must": [{"field": "count", "range": {"gte": 1.5, "lt": 2}}]}),
            "count >= 1.5 and count < 2",
        );
        check(json!({"must": [{"field": "caption", "contains": "cat"}]}), "caption contains \"cat\"");
        check(json!({"must_not": [{"field": "a", "exists": true}]}), "not a exists");
        check(
            json!({"must": [{"field": "gps", "geo_radius": {"lat": 1, "lon": 2, "radius_metres": 5}}]}),
            "gps within 5 m of 1, 2",
        );
        check(json!({"must": [{"must_not": [{"field": "a", "match": true}]}]}), "not a = true");
    }

    #[test]
    fn others_are_refused() {
        for json in [
            json!({"must": [{"field": "a"}]}),
            json!({"must": [{"match": 1}]}),
            json!({"must": [{"field": "a", "match": 1, "prefix": "b"}]}),
            json!({"must": [{"field": "a", "match": [1]}]}),
            json!({"must": [{"field": "a", "match": 1, "must": [{"field": "b", "match": 1}]}]}),
            json!({"must": [{"field": "a", "range": {}}]}),
            json!({"may": []}),
            json!([1]),
        ] {
            let read = serde_json::from_value::<Filter>(json.clone());
            let sound = read.ok().and_then(|f| f.message().ok()).and_then(|f| convert::filter(f).ok());
            assert!(sound.is_none(), "{json}");
        }
    }
}

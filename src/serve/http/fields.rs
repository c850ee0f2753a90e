//! `/v1/collections/{collection}/fields`: what there is to filter by.

use super::extract::Path;
use super::failure::{Failure, Failures};
use super::json::Any;
use crate::engine::{Facet, FacetKind};
use crate::serve::app::App;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// All fields that any item has.
#[derive(Serialize, ToSchema)]
pub struct FieldsBody {
    fields: Vec<FieldBody>,
}

/// One field.
#[derive(Serialize, ToSchema)]
pub struct FieldBody {
    /// As a filter writes it.
    name: String,
    r#type: FieldType,
    /// How many items have it.
    count: u64,
    /// How many values there are of that type.
    distinct: u64,
    /// The commonest values, at most twenty, commonest first.
    values: Vec<FieldValue>,
    /// The least of numbers and dates.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    min: Option<Any>,
    /// The greatest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    max: Option<Any>,
}

/// The type of a field's values: of most of them, where there are several.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    Keyword,
    Integer,
    Float,
    Bool,
    Datetime,
    Geo,
}

/// A value, and how many items hold it.
#[derive(Serialize, ToSchema)]
pub struct FieldValue {
    #[schema(value_type = Value)]
    value: Any,
    count: u64,
}

/// What the items hold, field by field.
#[utoipa::path(get, path = "/v1/collections/{collection}/fields", tag = "items", params(("collection" = String, Path)),
    responses((status = 200, body = FieldsBody), Failures))]
pub async fn list(
    State(app): State<App>,
    Path(collection): Path<String>,
) -> Result<Json<FieldsBody>, Failure> {
    let there = app.clone();
    let facets = app.work.run(app.patience(), move |_| there.collection(&collection)?.facets()).await?;
    Ok(Json(FieldsBody { fields: facets.into_iter().map(FieldBody::from).collect() }))
}

impl From<Facet> for FieldBody {
    fn from(facet: Facet) -> Self {
        let r#type = match facet.kind {
            FacetKind::Keyword => FieldType::Keyword,
            FacetKind::Integer => FieldType::Integer,
            FacetKind::Float => FieldType::Float,
            FacetKind::Bool => FieldType::Bool,
            FacetKind::Datetime => FieldType::Datetime,
            FacetKind::Geo => FieldType::Geo,
        };
        let (min, max) = facet.range.unzip();
        let value = |(value, count)| FieldValue { value, count };
        let values = facet.values.into_iter().map(value).collect();
        FieldBody { name: facet.name, r#type, count: facet.count, distinct: facet.distinct, values, min, max }
    }
}

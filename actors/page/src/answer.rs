//! Answers with a kind of content, and refusals.

use axum::http::StatusCode;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

pub(crate) const JSON: &str = "application/json";

/// An answer of this kind of content.
pub(crate) fn typed(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

/// A refusal, as JSON.
pub(crate) fn refused(status: StatusCode, why: &str) -> Response {
    (status, typed(JSON, json!({ "error": why }).to_string())).into_response()
}

//! The door for HTTP.

mod ask;
mod body;
mod guard;
mod problem;
mod target;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, post};

use self::problem::Problem;
use crate::access::Access;

/// The door for HTTP as a router, for a host that has an axum server, or for
/// [`serve`](crate::serve). All its paths begin with `/v1/`; it checks tokens and origins by
/// itself.
pub fn http(access: &Access) -> Router {
    Router::new()
        .route("/v1/ask/{peer}/{name}/{message}", post(ask::ask))
        .method_not_allowed_fallback(async || Problem::method())
        .route("/v1/{*rest}", any(async || Problem::nothing_here()))
        .layer(axum::middleware::from_fn_with_state(access.clone(), guard::guard))
        .with_state(access.clone())
}

/// The status of who gave up before there was an answer; nobody reads it.
const fn status(code: u16) -> StatusCode {
    match StatusCode::from_u16(code) {
        Ok(status) => status,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

//! `POST /v1/ask/{peer}/{name}/{type}`: a message, and its answer.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use estafette::remote::Handled;

use super::body::Json;
use super::deliver::applied;
use super::problem::Problem;
use super::target::Target;
use crate::status::HANDLED;

/// Asks, and waits for the answer. A client that goes away drops this, and so cancels the ask.
pub(crate) async fn ask(target: Target, Json { text, .. }: Json) -> Result<Response, Problem> {
    let remote = match target.wait {
        Some(wait) => target.remote.within(wait),
        None => target.remote,
    };
    let answer = remote.ask(&text).await?;
    let mut response =
        ([(header::CONTENT_TYPE, "application/json")], [(HANDLED, Handled::Yes.as_str())], answer)
            .into_response();
    applied(response.headers_mut(), target.wait);
    Ok(response)
}

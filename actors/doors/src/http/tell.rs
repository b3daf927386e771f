//! `POST /v1/tell/{peer}/{name}/{type}`: a message without an answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use estafette::remote::{ANSWER_WITHIN, Handled};

use super::body::Json;
use super::deliver::applied;
use super::problem::Problem;
use super::target::Target;
use crate::status::HANDLED;

/// Sends it; done when it is on its way.
pub(crate) async fn tell(target: Target, Json { text, .. }: Json) -> Result<Response, Problem> {
    told(target, &text).await
}

pub(super) async fn told(target: Target, text: &str) -> Result<Response, Problem> {
    let remote = target.remote.within(target.wait.unwrap_or(ANSWER_WITHIN));
    remote.tell(text).await?;
    let sent = (StatusCode::ACCEPTED, [(HANDLED, Handled::Unknown.as_str())]);
    let mut response = sent.into_response();
    applied(response.headers_mut(), target.wait);
    Ok(response)
}

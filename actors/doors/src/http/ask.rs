//! `POST /v1/ask/{peer}/{name}/{type}`: a message, and its answer.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use estafette::remote::Handled;

use super::body::Json;
use super::deliver::applied;
use super::problem::Problem;
use super::target::Target;
use super::{Seat, answer};
use crate::status::HANDLED;
use crate::tokens::Pass;

/// Asks, and waits for the answer. A client that goes away drops this, and so cancels the ask.
pub(crate) async fn ask(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    version: Version,
    target: Target,
    Json { text, .. }: Json,
) -> Result<Response, Problem> {
    let remote = match target.wait {
        Some(wait) => target.remote.within(wait),
        None => target.remote,
    };
    let told = remote.ask(&text).await?;
    let mut response = answer::json(&seat.answers, &pass.name, version, told, Handled::Yes)?;
    let own = response.headers_mut();
    own.insert(HANDLED, HeaderValue::from_static(Handled::Yes.as_str()));
    applied(own, target.wait);
    Ok(response)
}

//! The check of who may ask at all, before anything of a request's body is read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{Extensions, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::access::Access;
use crate::pages::{STRANGER, Stranger};

/// Lets requests through that show a token, and gives them its [`Pass`](crate::Pass).
///
/// A page of a browser gets in, and is told that it may (CORS), where the door was told of its
/// origin; else what a browser says of a page that asks is refused, also where it shows a
/// certificate by itself.
pub(crate) async fn guard(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    let page = match access.page(request.headers()) {
        Ok(page) => page,
        Err(Stranger) => {
            return Problem::new(StatusCode::FORBIDDEN, "origin", STRANGER).into_response();
        }
    };
    if let Some(answer) = page.as_ref().and_then(|page| page.before(&request)) {
        return answer;
    }
    let mut answer = match look(&access, request.headers(), request.extensions()) {
        Ok(pass) => {
            request.extensions_mut().insert(pass);
            next.run(crate::whole::whole(request)).await
        }
        Err(problem) => problem.into_response(),
    };
    if let Some(page) = page {
        page.told(&mut answer);
    }
    answer
}

fn look(
    access: &Access,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<crate::Pass, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let shown = given.next().map(|value| value.as_bytes());
    if given.next().is_some() {
        let text = "there is more than one Authorization header: which one counts?";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", text));
    }
    Ok(access.admit(shown, extensions)?)
}

//! Uploads by tus 1.0: content that comes in parts, over broken connections and restarts of both
//! ends, for a receiver who may be away. `POST /v1/uploads/{peer}/{inbox}` begins one, and
//! `/v1/uploads/{id}` is it.
//!
//! Invariant: an offset that is told is that of bytes which are sealed and synced. Content goes on
//! its way when all of it is there, once, by the id of the upload, whoever goes away meanwhile.

mod append;
mod headers;
#[cfg(test)]
mod tests;
mod uploads;

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, head, options};
use axum::{Extension, Router};
use estafette::TransferId;
use estafette::delivery::ContentName;
use estafette::node::OutboxState;
use estafette_actors::copy::Parts;

pub(crate) use self::uploads::Uploads;

use self::append::{End, append};
use self::uploads::{Found, KEPT_FOR, Note, Turn, in_future, on_disk, so_far, text_of};
use super::Seat;
use super::checksum::{ALGORITHMS, Checksums};
use super::problem::Problem;
use super::target;
use crate::tokens::Pass;

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Its paths.
pub(crate) fn routes() -> Router<Seat> {
    let upload: MethodRouter<Seat> =
        head(look).patch(patch).delete(terminate).post(overridden).options(tell);
    Router::new()
        .route("/v1/uploads/{peer}/{inbox}", options(tell).post(create))
        .route("/v1/uploads/{id}", upload)
        .layer(axum::middleware::map_response(async |mut response: Response| {
            let said = [("tus-resumable", headers::VERSION), ("cache-control", "no-store")];
            for (name, value) in said {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            response
        }))
}

/// Tells what this door can do.
async fn tell(State(seat): State<Seat>) -> Response {
    let most = seat.tus.most().to_string();
    let told = [
        ("tus-version", headers::VERSION),
        ("tus-extension", headers::EXTENSIONS),
        ("tus-max-size", &most),
        ("tus-checksum-algorithm", ALGORITHMS),
    ];
    (StatusCode::NO_CONTENT, told).into_response()
}

/// Begins an upload, and takes what comes with that.
async fn create(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let Path((peer, inbox)) = path.map_err(|error| target::bad(error.body_text()))?;
    let given = request.headers();
    headers::version(given)?;
    let reached = seat.access.reach(&pass, &peer, &inbox)?;
    if target::one(given, "upload-concat")?.is_some() {
        return Err(target::bad("uploads are not put together here: send one"));
    }
    let length = headers::length(given)?;
    let (metadata, name) = headers::metadata(given)?;
    ContentName::new(name.clone()).map_err(|error| target::bad(error.to_string()))?;
    let (peer, expires) = (reached.peer.to_string(), in_future(KEPT_FOR));
    let ends = Some(seat.access.node().time_lived() + KEPT_FOR.as_secs());
    let note = Note { peer, inbox, name, length, metadata, expires, ends };
    let brings = given.contains_key(header::CONTENT_TYPE);
    if brings {
        headers::is_part(given)?;
    }
    let checksums = Checksums::of_part(given)?;
    seat.tus.ready().await;
    in_background(async move {
        let (id, turn) = seat.tus.create(&pass, &note).await?;
        let place = HeaderValue::from_str(&format!("/v1/uploads/{id}"));
        let place = place.map_err(|error| uploads::storage(&error))?;
        let body = if brings { request.into_body() } else { Body::empty() };
        let step = Step { offset: 0, length: None, checksums, body };
        let begun = go_on(&seat, &pass, (id, turn), step).await;
        // It was made, and its client goes on with it where it broke off.
        let mut response =
            begun.map_err(|problem| problem.with(header::LOCATION, place.clone()))?;
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(header::LOCATION, place);
        Ok(response)
    })
    .await
}

/// A request to append.
struct Step {
    offset: u64,
    /// Told now, where it was not told before.
    length: Option<u64>,
    checksums: Checksums,
    body: Body,
}

/// Appends a part. A client that goes away leaves what has come.
async fn patch(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let id = read_id(id)?;
    let given = request.headers();
    headers::version(given)?;
    headers::is_part(given)?;
    let offset = headers::count(given, "upload-offset")?;
    let offset = offset.ok_or_else(|| target::bad("say Upload-Offset: where the part begins"))?;
    let length = headers::count(given, "upload-length")?;
    let checksums = Checksums::of_part(given)?;
    let turn = seat.tus.turn(&pass, id).await?;
    let step = Step { offset, length, checksums, body: request.into_body() };
    in_background(async move { go_on(&seat, &pass, (id, turn), step).await }).await
}

/// Appends, and sends content on its way that is whole.
async fn go_on(
    seat: &Seat,
    pass: &Pass,
    (id, turn): (TransferId, Turn),
    Step { offset, length, checksums, body }: Step,
) -> Result<Response, Problem> {
    let (parts, mut note) = match seat.tus.find(pass, id).await? {
        Found::Open(parts, note) => (parts, note),
        Found::Over(entry) => {
            // Who has not heard that all is there may say its end again, which brings nothing.
            let all = entry.length.unwrap_or_default();
            if offset != all {
                return Err(elsewhere(all));
            }
            let nothing = append::nothing(body, checksums, all).await;
            return nothing
                .map(|()| moved(all, None))
                .map_err(|problem| problem.with(OFFSET, all.into()));
        }
    };
    seat.access.reach(pass, &note.peer, &note.inbox)?;
    let (there, small) = so_far(&parts).await?;
    if offset != there {
        return Err(elsewhere(there));
    }
    tell_length(seat, id, (&parts, &mut note), (there, small, length)).await?;
    if small > 0 {
        seat.tus.reserve(id, note.length.unwrap_or(there), small)?;
    }
    let told = http_body::Body::size_hint(&body);
    if let Some(length) = note.length
        && told.lower() > length - there
    {
        return Err(append::too_long(length));
    }
    let _place = seat.upload(pass)?;
    let node = seat.access.node().clone();
    let end = End { node, id, parts: parts.clone(), note: note.clone(), offset, small, checksums };
    if note.length == Some(0) {
        on_disk(move || end.write_empty()).await?;
        seat.tus.hand_over(id, parts, &note).await?;
        return Ok(moved(0, Some(seat.tus.left(&note))));
    }
    let (there, fault, _turn) = append(&seat.tus, turn, end, body).await;
    if note.length == Some(there) {
        // It is whole, whatever was wrong with the request that brought the end of it.
        seat.tus.hand_over(id, parts, &note).await?;
    }
    match fault {
        Some(fault) => Err(fault.with(OFFSET, there.into())),
        None => Ok(moved(there, Some(seat.tus.left(&note)))),
    }
}

/// Notes a length that was to be told later.
async fn tell_length(
    seat: &Seat,
    id: TransferId,
    (parts, note): (&Parts, &mut Note),
    (there, small, told): (u64, u64, Option<u64>),
) -> Result<(), Problem> {
    let Some(told) = told.filter(|told| note.length != Some(*told)) else { return Ok(()) };
    if let Some(length) = note.length {
        let text = format!("Upload-Length was {length}, and can't become {told}");
        return Err(target::bad(text));
    }
    if told < there {
        let text = format!("Upload-Length is {told}, and {there} bytes are there already");
        return Err(target::bad(text));
    }
    seat.tus.reserve(id, told, small)?;
    note.length = Some(told);
    let (parts, text) = (parts.clone(), text_of(note)?);
    on_disk(move || parts.write_note(&text)).await
}

/// Tells how far an upload is. Whoever still writes to it is stopped, and what came is kept.
async fn look(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    id: Result<Path<String>, PathRejection>,
    given: HeaderMap,
) -> Result<Response, Problem> {
    let id = read_id(id)?;
    headers::version(&given)?;
    let turn = seat.tus.turn_of_another(&pass, id).await?;
    in_background(async move { look_at(&seat, &pass, (id, turn)).await }).await
}

async fn look_at(
    seat: &Seat,
    pass: &Pass,
    (id, _turn): (TransferId, Turn),
) -> Result<Response, Problem> {
    let mut response = match seat.tus.find(pass, id).await? {
        Found::Over(entry) => {
            let all = entry.length.unwrap_or_default();
            let mut response = moved(all, None);
            response.headers_mut().insert("upload-length", all.into());
            response
        }
        Found::Open(parts, note) => {
            let (there, _) = so_far(&parts).await?;
            if note.length == Some(there) {
                // Its end came, and could not be stored.
                seat.tus.hand_over(id, parts, &note).await?;
            }
            let mut response = moved(there, Some(seat.tus.left(&note)));
            let own = response.headers_mut();
            match note.length {
                Some(length) => own.insert("upload-length", length.into()),
                None => own.insert("upload-defer-length", HeaderValue::from_static("1")),
            };
            if let Ok(metadata) = HeaderValue::from_str(&note.metadata)
                && !metadata.is_empty()
            {
                own.insert("upload-metadata", metadata);
            }
            response
        }
    };
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

/// Gives an upload up.
async fn terminate(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    id: Result<Path<String>, PathRejection>,
    given: HeaderMap,
) -> Result<Response, Problem> {
    let id = read_id(id)?;
    headers::version(&given)?;
    let turn = seat.tus.turn_of_another(&pass, id).await?;
    in_background(async move {
        let _turn = turn;
        match seat.tus.find(&pass, id).await? {
            Found::Open(parts, _) => seat.tus.remove(id, parts).await?,
            Found::Over(entry) => return Err(over(id, &entry.state)),
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// The answer to who gives up what is whole.
fn over(id: TransferId, state: &OutboxState) -> Problem {
    let (kind, text) = match state {
        OutboxState::Delivered { .. } | OutboxState::Processed { .. } => {
            ("delivered", "it was delivered already: its receiver has it".into())
        }
        OutboxState::Dead { .. } => {
            let text = "all of it is there, and could not be delivered";
            ("dead", format!("{text}: `estafette outbox drop {id}` forgets it"))
        }
        _ => {
            let text = "all of it is there, and it is on its way";
            ("on-its-way", format!("{text}: `estafette outbox cancel {id}` takes it out"))
        }
    };
    Problem::new(StatusCode::CONFLICT, kind, text)
}

/// For who can say POST and GET alone.
async fn overridden(
    seat: State<Seat>,
    pass: Extension<Pass>,
    id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let given = request.headers();
    match target::one(given, "x-http-method-override")?.map(|text| text.parse()) {
        Some(Ok(Method::PATCH)) => patch(seat, pass, id, request).await,
        Some(Ok(Method::DELETE)) => {
            let given = given.clone();
            terminate(seat, pass, id, given).await
        }
        Some(Ok(Method::HEAD)) => {
            let given = given.clone();
            look(seat, pass, id, given).await
        }
        _ => {
            let allowed = HeaderValue::from_static("HEAD,PATCH,DELETE,POST,OPTIONS");
            Err(Problem::method().with(header::ALLOW, allowed))
        }
    }
}

/// Does it to its end, though its client goes away.
async fn in_background(
    work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(uploads::storage(&error)),
    }
}

fn read_id(id: Result<Path<String>, PathRejection>) -> Result<TransferId, Problem> {
    let Path(id) = id.map_err(|error| target::bad(error.body_text()))?;
    id.parse().map_err(|_| {
        let text = "no upload has this id";
        Problem::new(StatusCode::NOT_FOUND, "no-such-upload", text)
    })
}

/// An upload is so far now, and is given up after this time.
fn moved(offset: u64, left: Option<Duration>) -> Response {
    let mut response = (StatusCode::NO_CONTENT, [(OFFSET, offset.to_string())]).into_response();
    let end = |left| UNIX_EPOCH + Duration::from_secs(in_future(left));
    let date = left.map(|left| httpdate::fmt_http_date(end(left)));
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(&date).ok()) {
        response.headers_mut().insert("upload-expires", date);
    }
    response
}

fn elsewhere(there: u64) -> Problem {
    let text = format!("{there} bytes of it are here: go on there");
    Problem::new(StatusCode::CONFLICT, "offset", text).with(OFFSET, there.into())
}

//! The door for HTTP.

mod answer;
mod ask;
mod body;
mod checksum;
mod deliver;
mod download;
mod events;
mod guard;
mod inbox;
mod open;
mod openapi;
mod parameters;
mod problem;
mod send;
mod target;
mod tell;
mod tus;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get, post, put};

use self::problem::Problem;
use self::tus::Uploads;
use crate::access::Access;
use crate::room::{Held, Room};
use crate::shared::Shared;
use crate::tokens::Pass;

/// The memory that bodies of requests may hold, in bytes; a quarter of it, those of one token.
const BODIES: usize = 64 << 20;
/// The memory that answers may hold which their clients have not taken, in bytes; a quarter of it,
/// those of one token.
const ANSWERS: usize = 72 << 20;

/// The door for HTTP as a router, for a host that has an axum server, or for
/// [`serve`](crate::serve). All its paths begin with `/v1/`, but for `/openapi.json`; it checks
/// tokens and origins by itself.
pub fn http(access: &Access) -> Router {
    let access = &Arc::new(access.clone());
    let seat = Seat(Arc::new(Common {
        access: Arc::clone(access),
        shared: Shared::of(access.node()),
        bodies: Room::of(BODIES),
        answers: Room::of(ANSWERS),
        tus: Uploads::of(access.node()),
    }));
    let router = Router::new()
        .route("/v1/ask/{peer}/{name}/{message}", post(ask::ask))
        .route("/v1/tell/{peer}/{name}/{message}", post(tell::tell))
        .route("/v1/deliver/{peer}/{name}/{message}", post(deliver::deliver))
        .route("/v1/events/{peer}/{name}", post(events::event))
        .route("/v1/deliveries/{key}", get(deliver::delivery))
        .route("/v1/download/{peer}/{name}/{message}", post(download::download))
        .route("/v1/open/{peer}/{name}/{message}", get(open::open))
        .route("/v1/send/{peer}/{inbox}/{file}", put(send::send))
        .route("/v1/transfers/{id}", get(send::transfer))
        .route("/v1/inbox/{inbox}", get(inbox::list))
        .route("/v1/inbox/{inbox}/{id}", get(inbox::content))
        .route("/v1/inbox/{inbox}/{id}/processed", post(inbox::processed))
        .merge(tus::routes())
        .route("/openapi.json", get(openapi::openapi))
        .method_not_allowed_fallback(async || Problem::method())
        .route("/v1/{*rest}", any(async || Problem::nothing_here()))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(access), guard::guard))
        .with_state(seat);
    crate::counted::counted(router, access, "http")
}

/// The state that all requests share. Each of them clones it several times.
#[derive(Clone, Debug)]
struct Seat(Arc<Common>);

#[derive(Debug)]
struct Common {
    access: Arc<Access>,
    shared: Arc<Shared>,
    bodies: Arc<Room>,
    answers: Arc<Room>,
    tus: Arc<Uploads>,
}

impl Deref for Seat {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.0
    }
}

impl Common {
    /// A place for one more content.
    fn upload(&self, pass: &Pass) -> Result<Held, Problem> {
        self.shared.uploads.take(&pass.name, 1).ok_or_else(|| Problem::busy("contents"))
    }

    /// A place for one more stream.
    fn stream(&self, pass: &Pass) -> Result<Held, Problem> {
        self.shared.streams.take(&pass.name, 1).ok_or_else(|| Problem::busy("streams"))
    }
}

/// A status code, by its number.
fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

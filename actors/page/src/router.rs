//! The endpoints.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use estafette::{Node, PeerId};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::answer::{JSON, refused, typed};
use crate::feed::{Feed, Frame};
use crate::guard::{self, Guard};
use crate::metrics;
use crate::{Page, View};

/// The longest silence of a stream: what lies between does not take it for dead.
const ALIVE: Duration = Duration::from_secs(15);
/// The time after which a browser comes back whose stream has ended.
const RETRY: Duration = Duration::from_secs(2);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

#[derive(Clone)]
struct Seat {
    node: Node,
    feed: Arc<Feed>,
    streams: Arc<Semaphore>,
    needed: Arc<[PeerId]>,
    view: Option<Arc<dyn View>>,
}

pub(crate) fn router(page: &Page) -> Router {
    let seat = Seat {
        node: page.node.clone(),
        feed: Feed::new(&page.node),
        streams: Arc::new(Semaphore::new(Page::STREAMS)),
        needed: page.needed.clone().into(),
        view: page.view.clone(),
    };
    let hosts = page.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    let guard = Arc::new(Guard { token: page.token.clone(), hosts });
    Router::new()
        .route("/", get(async || typed(HTML, include_str!("../assets/page.html"))))
        .route("/page.css", get(async || typed(CSS, include_str!("../assets/page.css"))))
        .route("/page.js", get(async || typed(SCRIPT, include_str!("../assets/page.js"))))
        .route("/topology.js", get(async || typed(SCRIPT, include_str!("../assets/topology.js"))))
        .route("/icon.svg", get(async || typed(IMAGE, include_str!("../assets/icon.svg"))))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_now))
        .route("/api/v1/snapshot", get(snapshot))
        .route("/api/v1/events", get(events))
        .route("/api/v1/topology", get(topology))
        .route("/topology.svg", get(drawing))
        .route("/topology.css", get(style))
        .route("/api/v1/openapi.json", get(async || typed(JSON, OPENAPI)))
        .fallback(async || {
            refused(StatusCode::NOT_FOUND, "nothing is here: /api/v1/openapi.json says what is")
        })
        .method_not_allowed_fallback(async || {
            refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing is changed here")
        })
        .layer(axum::middleware::from_fn_with_state(guard, guard::guard))
        .with_state(seat)
}

/// The description of what is served, in the words of OpenAPI 3.1.
pub(crate) const OPENAPI: &str = include_str!("../assets/openapi.json");

async fn healthz(State(seat): State<Seat>) -> Response {
    let alive = seat.node.answers().await;
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, typed(JSON, json!({ "alive": alive }).to_string())).into_response()
}

async fn readyz(State(seat): State<Seat>) -> Response {
    let why = seat.node.snapshot_with(&seat.needed).await.unready(&seat.needed);
    let status = if why.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body: Value = json!({ "ready": why.is_empty(), "why": why });
    (status, typed(JSON, body.to_string())).into_response()
}

async fn metrics_now(State(seat): State<Seat>) -> Response {
    match metrics::text(seat.node.snapshot().await) {
        Ok(text) => typed(metrics::KIND, text),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn snapshot(State(seat): State<Seat>) -> Response {
    match serde_json::to_string(&seat.node.snapshot().await) {
        Ok(text) => typed(JSON, text),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The answer where the node is a part of nothing that is known.
fn alone() -> Response {
    refused(StatusCode::NOT_FOUND, "this node is run by itself, not by a topology")
}

async fn topology(State(seat): State<Seat>) -> Response {
    match &seat.view {
        Some(view) => typed(JSON, view.now().await.to_string()),
        // Each page asks: a browser would note an error for every other answer.
        None => typed(JSON, "null"),
    }
}

async fn drawing(State(seat): State<Seat>) -> Response {
    let Some(view) = seat.view else { return alone() };
    match tokio::task::spawn_blocking(move || view.drawing()).await {
        Ok(Ok(drawing)) => typed(IMAGE, drawing),
        Ok(Err(why)) => refused(StatusCode::NOT_FOUND, &why),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn style(State(seat): State<Seat>) -> Response {
    seat.view.map_or_else(alone, |view| typed(CSS, view.style()))
}

async fn events(State(seat): State<Seat>, headers: HeaderMap) -> Response {
    let Ok(place) = Arc::clone(&seat.streams).try_acquire_owned() else {
        let text = format!("{} event streams are open, which is all there may be", Page::STREAMS);
        let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, &text);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    };
    let last = headers.get("last-event-id").and_then(|id| read_id(id.to_str().ok()?));
    let listening = Listening {
        frames: seat.feed.listen(),
        is_new: true,
        told: last,
        ready: Vec::new(),
        _place: place,
    };
    let events = stream::unfold(listening, |mut listening| async move {
        let event = listening.next().await?;
        Some((Ok::<_, Infallible>(event), listening))
    });
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response();
    // A proxy that collects before it passes on would hold it back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The id of an event: when its node was started, and the number of what happened.
fn read_id(id: &str) -> Option<(u64, u64)> {
    let (since, number) = id.split_once('-')?;
    Some((since.parse().ok()?, number.parse().ok()?))
}

/// A client that listens.
struct Listening {
    frames: watch::Receiver<Option<Arc<Frame>>>,
    /// It has not looked yet: others may listen already.
    is_new: bool,
    /// The last thing that it was told of, and of which process.
    told: Option<(u64, u64)>,
    /// Events of the last frame that are still to be sent, the first one last.
    ready: Vec<Event>,
    _place: OwnedSemaphorePermit,
}

impl Listening {
    /// `None` when there is nothing more to come.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(event);
            }
            if !std::mem::take(&mut self.is_new) {
                self.frames.changed().await.ok()?;
            }
            let frame = self.frames.borrow_and_update().clone();
            if let Some(frame) = frame {
                self.take(&frame);
            }
        }
    }

    fn take(&mut self, frame: &Frame) {
        let after = self.told.filter(|told| told.0 == frame.since).map_or(0, |told| told.1);
        let event = |(number, text): &(u64, String)| {
            let id = format!("{}-{number}", frame.since);
            Event::default().event("happening").id(id).data(text)
        };
        let news = frame.happenings.iter().filter(|(number, _)| *number > after);
        self.ready.extend(news.rev().map(event));
        let last = frame.happenings.iter().map(|(number, _)| *number).max().unwrap_or(0);
        self.told = Some((frame.since, after.max(last)));
        let snapshot = Event::default().event("snapshot").retry(RETRY).data(&frame.snapshot);
        self.ready.push(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, numbers: std::ops::RangeInclusive<u64>) -> Option<Arc<Frame>> {
        let happenings = numbers.map(|number| (number, format!("no. {number}"))).collect();
        Some(Arc::new(Frame { snapshot: name.to_owned(), happenings, since: 7 }))
    }

    fn listening(
        frames: watch::Receiver<Option<Arc<Frame>>>,
        told: Option<(u64, u64)>,
    ) -> Listening {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Listening { frames, is_new: true, told, ready: Vec::new(), _place: place }
    }

    /// The text of an event, as far as a test looks.
    async fn said(listening: &mut Listening) -> String {
        format!("{:?}", listening.next().await.unwrap())
    }

    #[tokio::test]
    async fn who_is_slow_gets_the_newest_snapshot_and_each_happening_once() {
        let (latest, frames) = watch::channel(None);
        let mut slow = listening(frames, None);
        latest.send_replace(frame("first", 1..=2));
        for wanted in ["first", "no. 1", "no. 2"] {
            let said = said(&mut slow).await;
            assert!(said.contains(wanted), "{said}");
        }
        for (name, last) in [("second", 3), ("third", 4), ("fourth", 5)] {
            latest.send_replace(frame(name, 2..=last));
        }
        for wanted in ["fourth", "no. 3", "no. 4", "no. 5"] {
            let said = said(&mut slow).await;
            assert!(said.contains(wanted), "{said}");
        }
        drop(latest);
        assert!(slow.next().await.is_none(), "there is nothing more to come");
    }

    #[tokio::test]
    async fn who_comes_back_is_told_what_is_later_of_the_same_process() {
        for (told, wanted) in [((7, 2), "no. 3"), ((6, 2), "no. 1"), ((7, 9), "second")] {
            let (latest, frames) = watch::channel(frame("first", 1..=3));
            let mut back = listening(frames, Some(told));
            assert!(said(&mut back).await.contains("first"));
            if wanted == "second" {
                latest.send_replace(frame("second", 1..=3));
            }
            let said = said(&mut back).await;
            assert!(said.contains(wanted), "{told:?}: {said}");
        }
    }

    #[test]
    fn an_id_is_two_numbers() {
        assert_eq!(read_id("17-3"), Some((17, 3)));
        for bad in ["", "17", "17-", "-3", "a-3", "17-3-4", "18446744073709551616-1"] {
            assert_eq!(read_id(bad), None, "{bad}");
        }
    }
}

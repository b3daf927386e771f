//! `GET /v1/open/{peer}/{name}/{type}`: on a WebSocket, a stream of messages and one of answers.
//!
//! ```text
//! a frame of text    an item, as JSON; from the client an empty one says that there are no more
//! close 1000         the answers are over
//! close 4404         a problem: 4000 and its status, and as the reason the word of its type
//! close 1002, 1003   what came is no frame, or none of text; 1007: no UTF-8; 1009: too long
//!                    a client's own close cancels the call, and is answered with its code
//! ```
//! Invariant: a frame is read when the actor has room for its item, and an answer is taken from the
//! actor when the client has room for it.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;
use estafette::RemoteError;
use estafette::remote::{JsonDownload, JsonRemote, JsonUpload};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};

use super::Seat;
use super::problem::Problem;
use super::target::{Target, with_room};
use crate::room::Held;
use crate::status::{self, Status};
use crate::tokens::{Pass, Tokens};

/// The most bytes of an item, as of any stream of messages.
const ITEM_MOST: usize = 1 << 20;
/// The most bytes of a frame that is read, so that who sends a larger item hears why it is none.
const FRAME_MOST: usize = 2 << 20;
/// The interval of pings to a client, and the longest that it may be silent.
const PING: Duration = Duration::from_secs(20);
const SILENT_MOST: Duration = Duration::from_secs(60);
/// The time that a client has for taking the last words.
const LAST_WITHIN: Duration = Duration::from_secs(5);

type Sink = SplitSink<WebSocket, Message>;

/// Begins the call, then the socket.
pub(crate) async fn open(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    target: Target,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let socket = socket.map_err(|error| {
        let text = format!("this path is a WebSocket of HTTP/1.1: {}", error.body_text());
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade", text)
            .with(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
    })?;
    let place = seat.stream(&pass)?;
    let Target { remote, reached, wait } = target;
    let remote = match wait {
        Some(wait) => remote.within(wait),
        None => remote,
    };
    let ((upload, download), call) = with_room(&seat, &pass, &reached, remote.open()).await?;
    let socket = socket.max_message_size(FRAME_MOST).max_frame_size(FRAME_MOST);
    Ok(socket.on_upgrade(move |socket| async move {
        let tokens = seat.access.tokens().clone();
        run(socket, (upload, download), (tokens, pass), [place, call]).await;
    }))
}

/// Carries items both ways until the answers are over, or one end goes.
async fn run(
    socket: WebSocket,
    (upload, mut download): (JsonUpload, JsonDownload),
    (tokens, pass): (Tokens, Pass),
    _places: [Held; 2],
) {
    let (mut sink, mut stream) = socket.split();
    let calling = carry(&mut sink, &mut stream, (upload, &mut download), (&tokens, &pass));
    let close = match calling.await {
        Last::Close(close) => Some(close),
        Last::Answer => None,
        Last::Nothing => return,
    };
    // The call is over; what its client still says is read, lest it misses the last words.
    drop(download);
    let last = async {
        if let Some(close) = close {
            let _ = sink.send(Message::Close(Some(close))).await;
        }
        // Reading writes the answer to a close, too.
        while let Some(Ok(_)) = stream.next().await {}
    };
    // Whoever is gone hears nothing.
    let _ = tokio::time::timeout(LAST_WITHIN, last).await;
}

/// The last words of a socket.
enum Last {
    /// A close, which the client answers.
    Close(CloseFrame),
    /// The answer to the client's own close.
    Answer,
    /// None: the client is gone.
    Nothing,
}

/// Carries items until one end has had enough.
async fn carry(
    sink: &mut Sink,
    stream: &mut SplitStream<WebSocket>,
    (upload, download): (JsonUpload, &mut JsonDownload),
    (tokens, pass): (&Tokens, &Pass),
) -> Last {
    let mut requests = std::pin::pin!(requests(stream, upload));
    let mut ended = std::pin::pin!(tokens.ended(pass));
    let mut pings = tokio::time::interval(PING);
    loop {
        let said = tokio::select! {
            said = requests.as_mut() => match said {
                Ended::Wrong(close) => return Last::Close(close),
                // Dropped, the call is cancelled.
                Ended::Closed => return Last::Answer,
                Ended::Gone => return Last::Nothing,
            },
            answer = download.next() => match answer {
                Some(Ok(json)) => Message::Text(json.into()),
                Some(Err(error)) => return Last::Close(failed(&error)),
                None => return Last::Close(closing(1000, "end")),
            },
            _ = ended.as_mut() => return Last::Close(closing(4401, "token-ended")),
            _ = pings.tick() => Message::Ping(Default::default()),
        };
        tokio::select! {
            sent = tokio::time::timeout(SILENT_MOST, sink.send(said)) => match sent {
                Ok(Ok(())) => {}
                _ => return Last::Nothing,
            },
            // A client that reads nothing keeps its call no longer either.
            _ = ended.as_mut() => return Last::Close(closing(4401, "token-ended")),
        }
    }
}

/// The end of what a client sends.
enum Ended {
    Wrong(CloseFrame),
    /// The client has said that it closes.
    Closed,
    Gone,
}

/// Gives items to the actor, as it has room. Behind the last one, only a client that goes is of
/// interest.
async fn requests(stream: &mut SplitStream<WebSocket>, upload: JsonUpload) -> Ended {
    let mut upload = Some(upload);
    loop {
        let message = match tokio::time::timeout(SILENT_MOST, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return broken(error),
            Ok(None) | Err(_) => return Ended::Gone,
        };
        match (message, &mut upload) {
            (Message::Ping(_) | Message::Pong(_), _) => {}
            (Message::Close(_), _) => return Ended::Closed,
            (Message::Text(text), _) if text.len() > ITEM_MOST => {
                return Ended::Wrong(closing(1009, "an item has 1 MiB at most"));
            }
            (Message::Text(text), Some(_))
                if !text.is_empty() && JsonRemote::check(&text).is_err() =>
            {
                return Ended::Wrong(closing(4400, "no-json"));
            }
            (Message::Text(text), Some(open)) if !text.is_empty() => {
                if let Err(error) = open.send(&text).await {
                    // What has ended the call is told by its answers.
                    if error.kind == estafette::RemoteErrorKind::Unencodable {
                        return Ended::Wrong(failed(&error));
                    }
                    std::future::pending::<()>().await;
                }
            }
            (Message::Text(text), _) if text.is_empty() => {
                if let Some(open) = upload.take() {
                    open.finish();
                }
            }
            (Message::Text(_), None) => {
                return Ended::Wrong(closing(1008, "an empty frame was the end of the items"));
            }
            _ => return Ended::Wrong(closing(1003, "a frame is an item of JSON, as text")),
        }
    }
}

/// The end of a client whose frames are none, as RFC 6455 has it; or of one that is gone.
fn broken(error: axum::Error) -> Ended {
    use tungstenite::Error;
    let Ok(error) = error.into_inner().downcast::<Error>() else { return Ended::Gone };
    Ended::Wrong(match *error {
        Error::Utf8(_) => closing(1007, "a text is no UTF-8"),
        Error::Capacity(_) => closing(1009, "an item has 1 MiB at most"),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            return Ended::Gone;
        }
        Error::Protocol(_) => closing(1002, "this is no frame"),
        _ => return Ended::Gone,
    })
}

fn failed(error: &RemoteError) -> CloseFrame {
    closing(4000 + Status::of(error.kind).http, status::name(error.kind))
}

fn closing(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

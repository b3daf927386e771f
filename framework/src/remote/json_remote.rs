//! The handle of an actor on another node, for messages as JSON.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::calls::{Call, Download, Requesting, item_fits, unsent_item};
use super::error::{RemoteError, RemoteErrorKind};
use super::exchange::{Begun, Deadline, Exchange, Opening, Target};
use super::handle::ANSWER_WITHIN;
use super::json::SUFFIX;
use super::letters::{Delivery, LetterKey, Letters, Posting, stopped};
use crate::wire::codec::DEPTH_LIMIT;
use crate::wire::message::{MESSAGE_LIMIT, NAME_LIMIT, Shape};
use crate::wire::{Along, TraceContext};

/// An actor on another node, for messages of one type, written as JSON: for programs that don't
/// have the type. Made by [`Node::remote_json`](crate::Node::remote_json). Cloning it is cheap.
///
/// The other program takes the type as JSON ([`Hosted::takes_json`](crate::node::Hosted), or `json`
/// in its derive); else it answers [`RemoteErrorKind::NoSuchMessage`]. The promises are those of
/// [`Remote`](super::Remote). What is sent this way and what is sent natively has separate credit,
/// and no order between the two.
///
/// ```no_run
/// # async fn example(node: estafette::Node) -> Result<(), estafette::RemoteError> {
/// let shop = node.remote_json("paris/shop", "shop.Order", 1)?;
/// let cents = shop.ask(r#"{"article":"tea"}"#).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct JsonRemote {
    exchange: Arc<Exchange>,
    letters: Option<Arc<Letters>>,
    target: Arc<Target>,
    within: Option<Duration>,
    along: Option<Arc<Along>>,
}

/// The replies of a call as they come, each a text of JSON.
pub type JsonDownload = Download<String>;

/// The requests of a call, as texts of JSON. Dropped without [`finish`](Self::finish), it cancels
/// the call.
#[derive(Debug)]
pub struct JsonUpload(Requesting);

impl JsonRemote {
    pub(crate) fn new(
        exchange: Arc<Exchange>,
        letters: Option<Arc<Letters>>,
        name: &str,
        (message, version): (&str, u32),
    ) -> Result<Self, RemoteError> {
        let most = NAME_LIMIT - SUFFIX.len();
        if message.is_empty() || message.len() > most || message.chars().any(char::is_control) {
            let text = format!(
                "{message:?} can't be the name of a type of message: 1 to {most} bytes, no control \
                 characters"
            );
            return Err(RemoteError::new(RemoteErrorKind::NoSuchMessage, text));
        }
        let target = exchange.target(name, &format!("{message}{SUFFIX}"), version)?;
        Ok(Self { exchange, letters, target, within: None, along: None })
    }

    /// Checks that a text is a message: one value of JSON, no longer and no deeper than messages
    /// are. Any other is [`RemoteErrorKind::Unencodable`] to what sends it, as an answer may be
    /// that is too large; who checks before knows that nothing was sent.
    ///
    /// # Errors
    /// The reason why it is none, for a person.
    pub fn check(json: &str) -> Result<(), String> {
        checked(json)
    }

    /// Waits so long for answers, instead of 30 s. A call with streams, which has no limit of its
    /// own, ends after that, too.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// Sends along the trace that messages belong to.
    #[must_use]
    pub fn traced(mut self, trace: TraceContext) -> Self {
        let along = self.along.take().map(Arc::unwrap_or_clone).unwrap_or_default();
        self.along = Some(Arc::new(Along { trace: Some(trace), ..along }));
        self
    }

    /// Says for whom messages are sent: what a door does for the token by which its client came in.
    /// The receiver has it as this node's word ([`Reply::on_behalf`](super::Reply::on_behalf)).
    /// A text that is empty, has characters of control, or is longer than 256 bytes is not said at
    /// all, since a part of it could be the name of somebody else; to nodes of earlier builds,
    /// nothing is.
    #[must_use]
    pub fn on_behalf_of(mut self, who: &str) -> Self {
        let along = self.along.take().map(Arc::unwrap_or_clone).unwrap_or_default();
        self.along = along.on_behalf_of(who).any().map(Arc::new);
        self
    }

    /// Sends a message without an answer; see [`Remote::tell`](super::Remote::tell).
    pub async fn tell(&self, json: &str) -> Result<(), RemoteError> {
        let body = self.checked(json)?;
        let put = || self.exchange.tell(&self.target, body, self.along.as_deref());
        self.exchange.when_possible(self.target.room(), true, self.until(None), put).await
    }

    /// Asks, and waits for the answer, a text of JSON; see [`Remote::ask`](super::Remote::ask).
    pub async fn ask(&self, json: &str) -> Result<String, RemoteError> {
        let body = self.checked(json)?;
        let deadline = self.until(Some(ANSWER_WITHIN));
        let put = || self.exchange.ask(&self.target, &self.opening(Shape::Ask, body, deadline));
        let room = self.target.room();
        let (begun, answered) = self.exchange.when_possible(room, false, deadline, put).await?;
        let call = self.call(begun);
        let answer = answered.await;
        call.is_over();
        let stopping = |_| RemoteError::new(RemoteErrorKind::ShuttingDown, "this node is stopping");
        read(&answer.map_err(stopping)??)
    }

    /// Stores a message, which is delivered once, even if this process ends now; see
    /// [`Remote::deliver`](super::Remote::deliver).
    pub async fn deliver(&self, json: &str) -> Result<Delivery, RemoteError> {
        self.post(None, json).await
    }

    async fn post(&self, key: Option<LetterKey>, json: &str) -> Result<Delivery, RemoteError> {
        let body = self.checked(json)?.to_vec();
        let Some(letters) = &self.letters else {
            let text = "this node keeps no letters: start it with a spool, `.spool(…)`, to \
                        deliver messages";
            return Err(RemoteError::new(RemoteErrorKind::Storage, text));
        };
        let (exchange, target) = (Arc::clone(&self.exchange), Arc::clone(&self.target));
        let posted =
            letters.post(Posting { exchange, target, body, along: self.along.clone(), key });
        posted?.await.map_err(|_| stopped())?
    }

    /// [`deliver`](Self::deliver), once for this key: posted again under it, in a later life of this
    /// node, too, it is the same letter, whatever has become of it. A key is remembered for as long
    /// as letters are worth delivering ([`NodeConfig::expiry`](crate::NodeConfig)), and for a day at
    /// least; 100,000 of them at most, of the whole node.
    ///
    /// # Errors
    /// As of [`deliver`](Self::deliver). [`RemoteErrorKind::Conflict`]: another letter was delivered
    /// under this key. [`RemoteErrorKind::Full`], too, when no more keys can be remembered: nothing
    /// was stored then.
    pub async fn deliver_once(&self, key: LetterKey, json: &str) -> Result<Delivery, RemoteError> {
        self.post(Some(key), json).await
    }

    /// Sends one request, and takes a stream of replies.
    pub async fn download(&self, json: &str) -> Result<JsonDownload, RemoteError> {
        let (upload, download) = self.begin(Shape::Replies, self.checked(json)?).await?;
        upload.0.holds_all();
        Ok(download)
    }

    /// Sends a stream of requests, and takes one reply, which ends the call: it may come before the
    /// last request.
    pub async fn upload(&self) -> Result<(JsonUpload, JsonDownload), RemoteError> {
        self.begin(Shape::Requests, &[]).await
    }

    /// Sends a stream of requests, and takes a stream of replies.
    pub async fn open(&self) -> Result<(JsonUpload, JsonDownload), RemoteError> {
        self.begin(Shape::Both, &[]).await
    }

    async fn begin(
        &self,
        shape: Shape,
        body: &[u8],
    ) -> Result<(JsonUpload, JsonDownload), RemoteError> {
        let deadline = self.until(None);
        let put = || self.exchange.open(&self.target, &self.opening(shape, body, deadline));
        let seat = self.target.room();
        let (begun, replies, room) = self.exchange.when_possible(seat, true, deadline, put).await?;
        let call = Arc::new(self.call(begun));
        let upload = JsonUpload(Requesting::new(Arc::clone(&call), room));
        Ok((upload, Download::read_by(call, replies, read)))
    }

    fn call(&self, begun: Begun) -> Call {
        Call::new(Arc::clone(&self.exchange), begun)
    }

    fn opening<'a>(
        &'a self,
        shape: Shape,
        body: &'a [u8],
        deadline: Option<Deadline>,
    ) -> Opening<'a> {
        Opening { shape, body, along: self.along.as_deref(), deadline }
    }

    fn until(&self, otherwise: Option<Duration>) -> Option<Deadline> {
        let after = self.within.or(otherwise)?;
        Some(Deadline { after, until: None }.begin())
    }

    /// The bytes of what is to be sent: that it is JSON is seen to here, what its fields are is
    /// for its receiver to say.
    fn checked<'a>(&self, json: &'a str) -> Result<&'a [u8], RemoteError> {
        checked(json)
            .map_err(|why| {
                let message = self.target.message.trim_end_matches(SUFFIX);
                let text = format!("a {message} can't be sent: {why}");
                RemoteError::new(RemoteErrorKind::Unencodable, text)
            })
            .map(|()| json.as_bytes())
    }
}

impl JsonUpload {
    /// One more request; waits while the actor has as many as it can take.
    ///
    /// # Errors
    /// The call is over: the replies tell why.
    pub async fn send(&mut self, json: &str) -> Result<(), RemoteError> {
        checked(json)
            .and_then(|()| item_fits(json.as_bytes()))
            .map_err(|why| unsent_item("request", &why))?;
        self.0.send(json.as_bytes()).await
    }

    /// There are no more requests.
    pub fn finish(self) {
        self.0.finish();
    }
}

/// An answer. What a peer says is JSON, and no deeper than any is, before anybody here looks at it.
fn read(body: &[u8]) -> Result<String, RemoteError> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string());
    text.and_then(|text| checked(text).map(|()| text.to_owned())).map_err(|why| {
        let text = format!("an answer can't be read: {why}");
        RemoteError::new(RemoteErrorKind::BadReply, text)
    })
}

/// Checks that it is one value of JSON, within the limits of messages.
fn checked(text: &str) -> Result<(), String> {
    if text.len() > MESSAGE_LIMIT {
        let length = text.len();
        return Err(format!("it has {length} bytes, {MESSAGE_LIMIT} are allowed"));
    }
    // What is passed over takes no stack.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("it is no JSON: {error}"))?;
    if depth(text) > DEPTH_LIMIT {
        return Err(format!("it is nested more than {DEPTH_LIMIT} deep"));
    }
    Ok(())
}

/// Returns how deep the lists and objects of a JSON text are nested.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl fmt::Debug for JsonRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { name, message, .. } = &*self.target;
        write!(f, "JsonRemote<{message}>({}/{name})", self.exchange.peer_name())
    }
}

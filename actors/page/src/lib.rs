//! The live page of an estafette node: in a browser, what is linked, what moves, what is slow and
//! what is broken; beside it metrics, health and a JSON API.
//!
//! ```no_run
//! # async fn example(node: estafette::Node) -> Result<(), Box<dyn std::error::Error>> {
//! use estafette_page::Page;
//!
//! let serving = Page::of(&node).serve("127.0.0.1:7480").await?;
//! println!("http://{}/", serving.address());
//! # Ok(())
//! # }
//! ```
//!
//! [`Page::serve`] has a thread and a runtime of its own, which read and answer requests; the node's
//! thread is asked for what it knows: `/healthz` costs it one message, a snapshot one for each link,
//! and all event streams share one. [`Page::router`] is for a host that has an axum server already.
//! Nothing is changed by it, and nothing is done while nobody looks. `framework/docs/page.md` has every endpoint, limit
//! and rule.

mod answer;
mod error;
mod feed;
mod guard;
mod metrics;
mod router;
mod serve;
mod token;
mod view;

use std::sync::Arc;

use axum::Router;
use estafette::{Node, PeerId};

pub use self::error::ServeError;
pub use self::serve::Serving;
pub use self::token::{Token, TokenError};
pub use self::view::View;

/// The page of a node.
#[derive(Clone, Debug)]
#[must_use = "it is not served yet"]
pub struct Page {
    node: Node,
    token: Option<Token>,
    hosts: Vec<String>,
    needed: Vec<PeerId>,
    view: Option<Arc<dyn View>>,
}

impl Page {
    /// The most event streams at once; a further one is answered 503.
    pub const STREAMS: usize = 64;
    /// The most connections at once of [`Page::serve`]; further ones wait to be accepted.
    pub const CONNECTIONS: usize = 256;

    /// The page of this node: for this machine alone, without a token.
    pub fn of(node: &Node) -> Self {
        Self { node: node.clone(), token: None, hosts: Vec::new(), needed: Vec::new(), view: None }
    }

    /// Wants this token of everyone, but for `/healthz`: as a bearer token, or as the password of
    /// HTTP's basic authentication, which browsers ask for.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Answers to one more name of a host, besides `localhost` and IP addresses: that of a proxy in
    /// front of it. Any other name is refused, since it may be that of a page elsewhere which has
    /// made its name lead here (DNS rebinding). It is the name alone, without a port
    /// ([`Page::check_host`]); any other text matches nothing, and [`Page::serve`] refuses it.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Is ready (`/readyz`) only while the link with this peer is up.
    pub fn needs(mut self, peer: PeerId) -> Self {
        self.needed.push(peer);
        self
    }

    /// Shows what the node is a part of as well: a drawing, with what goes where.
    pub fn view(mut self, view: Arc<dyn View>) -> Self {
        self.view = Some(view);
        self
    }

    /// Refuses an address at which a page with a token, or without one, can't be served, as far as
    /// that can be told without listening there. It may ask for a name, and blocks meanwhile.
    ///
    /// # Errors
    /// As of [`Page::serve`].
    pub fn check(address: &str, has_token: bool) -> Result<(), ServeError> {
        let found = std::net::ToSocketAddrs::to_socket_addrs(address)
            .map_err(|error| ServeError::Listen { address: address.to_owned(), error })?;
        serve::check(address, &found.collect::<Vec<_>>(), has_token)
    }

    /// Refuses what can't be a name of a host: one with a port, say.
    ///
    /// # Errors
    /// As of [`Page::serve`].
    pub fn check_host(name: &str) -> Result<(), ServeError> {
        guard::check_host(name)
    }

    /// All of it as a router, for a host that serves more than this. It checks hosts, origins and
    /// the token by itself; limits of connections are the host's. It may be nested under a path
    /// that ends with a slash.
    pub fn router(&self) -> Router {
        router::router(self)
    }

    /// Serves it at an address, `host:port`, on a thread of its own, until what is returned is
    /// dropped. Port 0 is any free one.
    ///
    /// # Errors
    /// If the address is not of this machine alone and there is no token, or can't be listened at;
    /// or if the name of a host is none.
    pub async fn serve(self, address: &str) -> Result<Serving, ServeError> {
        serve::serve(self, address).await
    }
}

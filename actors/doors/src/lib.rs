//! Doors of an estafette node: whoever speaks HTTP, or gRPC, reaches actors of other nodes, with
//! the guarantees that a node has, and the same words for errors.
//!
//! **Sealing end to end ends at the door**: what comes in by it is read here, and sealed from here
//! on. Who a client is, is told by its token; what other nodes see is this node.
//!
//! ```no_run
//! # async fn example(node: estafette::Node) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use estafette::node::FileStore;
//! use estafette_doors::{Access, Tokens};
//!
//! let tokens = Tokens::load(Arc::new(FileStore::open("/etc/shop/node.key.trust")?))?;
//! let issued = tokens.add("till", &["paris/shop".parse()?], Some("10/s".parse()?), None)?;
//! println!("{}", issued.text());
//! let serving =
//!     estafette_doors::serve(estafette_doors::http(&Access::of(&node, &tokens)), "127.0.0.1:7480")
//!         .await?;
//! println!("http://{}/v1/ask/paris/shop/shop.Order", serving.address());
//! # Ok(()) }
//! ```
//!
//! A host with an axum server of its own merges the router into its own:
//! `router.merge(estafette_doors::http(&access))`; limits of connections are then the host's.
//! `framework/docs/doors.md` has every path, limit and rule.
#![cfg_attr(
    not(any(feature = "http", feature = "grpc")),
    allow(dead_code, reason = "what doors share is of use where there is one")
)]

mod access;
mod begun;
#[cfg(all(feature = "http", feature = "grpc"))]
mod both;
mod busy;
#[cfg(any(feature = "http", feature = "grpc"))]
mod content;
mod counted;
#[cfg(any(feature = "http", feature = "grpc"))]
mod ending;
#[cfg(feature = "grpc")]
pub mod grpc;
mod head;
#[cfg(feature = "http")]
mod http;
#[cfg(any(feature = "http", feature = "grpc"))]
mod inbox;
mod kinds;
mod over;
mod pages;
mod rest;
#[cfg(any(feature = "http", feature = "grpc"))]
mod room;
#[cfg(any(feature = "http", feature = "grpc"))]
mod sent;
mod serve;
#[cfg(any(feature = "http", feature = "grpc"))]
mod shared;
#[cfg(any(feature = "http", feature = "grpc"))]
mod states;
mod status;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
#[cfg(any(feature = "http", feature = "grpc"))]
mod trace;
#[cfg(feature = "webhooks")]
mod webhook;
#[cfg(any(feature = "http", feature = "grpc"))]
mod whole;

/// The router of a door, for programs that name no crate for it.
pub use axum::Router;

pub use self::access::{Access, Reached};
#[cfg(all(feature = "http", feature = "grpc"))]
pub use self::both::both;
#[cfg(feature = "http")]
pub use self::http::http;
pub use self::kinds::with_kinds;
pub use self::pages::{Origin, OriginError};
#[cfg(feature = "tls")]
pub use self::serve::serve_tls;
pub use self::serve::{CONNECTIONS, ServeError, Serving, serve, serve_at_most};
pub use self::status::{HANDLED, Status};
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
pub use self::tokens::{
    Issued, Pass, Rate, RateError, Refusal, Right, RightError, TokenInfo, Tokens, TokensError,
};
#[cfg(feature = "webhooks")]
pub use self::webhook::{
    Disabled, Format, Kept, KeptError, KeptMessage, KeptState, Network, NetworkError, OpenWebhook,
    Rests, SecretError, Webhook, WebhookError, unopened_webhooks, webhook_folder, webhooks_of,
};

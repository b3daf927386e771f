//! The gRPC door: stock clients of gRPC call actors of other nodes.
//!
//! ```no_run
//! # fn example(access: estafette_doors::Access) -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use estafette_doors::grpc::{Method, Methods, Way, grpc};
//!
//! let methods = Methods::new()
//!     .method("/helloworld.Greeter/SayHello", &Method::raw("paris/greeter", Way::Download))?
//!     .method("/shop.Shop/Order", &Method::json("paris/shop", "shop.Order", Way::Ask))?;
//! # Ok(grpc(&access, methods)) }
//! ```
//! Two ways without generated code: messages as the bytes they are, for an actor that takes
//! [`Raw`](estafette::remote::Raw), and texts of JSON, for one that takes a type as JSON. With the
//! feature `proto`, a proto that is read when the door starts makes any client of that proto one of
//! actors that take JSON.
//!
//! A third way, with code that the build script of a program generates (`estafette-build`): the
//! messages of a proto are types of the actor, and [`Methods::typed`] leads a service to it.
//!
//! Pages of browsers call by gRPC-Web, if their origins were told ([`Access::pages_of`]).
//!
//! The end-to-end sealing of estafette ends at the door: between it and its client there is what
//! the connection has. `framework/docs/doors.md` has the codes, limits and rules.

mod arrivals;
mod body;
mod call;
mod codec;
mod contents;
mod deadline;
mod door;
mod ending;
mod form;
mod health;
mod messages;
mod method;
mod naming;
mod node;
mod once;
mod own;
mod packed;
mod payload;
#[cfg(feature = "proto")]
mod proto;
#[cfg(feature = "proto")]
mod reflection;
mod status;
mod target;
#[cfg(feature = "proto")]
mod translation;
mod typed;
mod watching;
mod web;

use std::collections::HashMap;

use self::method::Route;
pub use self::method::{Method, Way};
#[cfg(feature = "proto")]
pub use self::proto::{ProtoError, Protos, Service};
pub use self::typed::{TypedMethod, TypedService};
#[cfg(feature = "http")]
pub(crate) use self::web::is_call;
use crate::Access;
use axum::Router;

/// The most bytes of a message: those of estafette's own.
pub(crate) const MESSAGE_MOST: usize = 16 << 20;
/// The most bytes of messages that have begun to come and are not whole, of all calls together.
pub(crate) const UNFINISHED_MOST: usize = 64 << 20;
/// The most bytes of answers that their clients have not taken, of calls with one; a quarter of
/// them by one token: that of a message, as a text.
pub(crate) const ANSWERS_MOST: usize = 96 << 20;

/// The methods of a door, and the actors behind them.
#[derive(Clone, Debug, Default)]
pub struct Methods {
    routes: HashMap<String, Route>,
    #[cfg(feature = "proto")]
    protos: Vec<Protos>,
}

/// A method of a door that can't be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MethodError(String);

impl Methods {
    /// No methods yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A method, by the path that its clients call: `/package.Service/Method`.
    ///
    /// # Errors
    /// If the path or the actor can't be one, or the path is there already.
    pub fn method(self, path: &str, method: &Method) -> Result<Self, MethodError> {
        method::check_path(path).map_err(MethodError)?;
        let route = Route::of(path, method).map_err(MethodError)?;
        self.route(path, route)
    }

    fn route(mut self, path: &str, route: Route) -> Result<Self, MethodError> {
        if self.routes.insert(path.to_owned(), route).is_some() {
            return Err(MethodError(format!("{path} leads to two actors: name it once")));
        }
        Ok(self)
    }
}

/// The door for gRPC as a router, for [`serve`](crate::serve) or a host that serves more than this.
/// What has no route of its own is taken for a call, so that one port may have both doors:
/// `http(&access).merge(grpc(&access, methods))`.
pub fn grpc(access: &Access, methods: Methods) -> Router {
    door::router(access, methods)
}

//! The seam below lanes: how another node is reached.
//!
//! A transport is registered for a scheme, the part of an address before its first colon, and sees
//! the rest alone. One over any stream of bytes is short: [`Streamed`] makes a connection of it.

mod schemes;
mod streamed;

use std::fmt::Debug;
use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use schemes::Schemes;
pub use streamed::Streamed;

/// A way to reach other nodes: TCP, Unix sockets, or a user's own. Addresses come and go without
/// their scheme.
pub trait Transport: Debug + Send + Sync + 'static {
    /// All addresses that one stands for, such as those behind a name, the best first. Each is
    /// dialled by itself, a little apart, until one leads to the peer. By default, an address
    /// stands for itself.
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move { Ok(vec![address.to_owned()]) })
    }

    /// Says why nobody can ever be reached at an address of this transport's kind. The node does
    /// not ask: whoever is given addresses, and keeps them, asks `StageRegistry::check_address`,
    /// as the command does. By default, any address may be good.
    fn check(&self, address: &str) -> Result<(), String> {
        let _ = address;
        Ok(())
    }

    /// Connects to an address of this transport's kind, as [`Transport::resolve`] returned it.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>>;

    /// Begins to accept connections at an address. What the listener says of its own address may
    /// differ: port 0 becomes a real one.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// Accepts connections.
pub trait Listener: Debug + Send + 'static {
    /// The address others can dial.
    fn address(&self) -> String;

    /// Waits for the next connection. An error is not the end: the node waits a little and tries
    /// again.
    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>>;
}

/// A connection that belongs to no thread yet.
pub trait Connection: Debug + Send + 'static {
    /// Returns a name of the other end, for logs and for limits per source. An address of IP, with
    /// a port or without, is limited by its network, any other text as it is: it begins with the
    /// scheme, so that sources of two transports are never one.
    fn remote(&self) -> String;

    /// Makes it usable on the current thread's runtime.
    fn attach(self: Box<Self>) -> io::Result<Box<dyn Io>>;
}

/// A byte stream both ways, usable on one thread's runtime.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    /// Frees it from that thread, so that another one can attach it. Nothing it has read may be
    /// lost.
    fn detach(self: Box<Self>) -> io::Result<Box<dyn Connection>>;
}

//! Connections and listeners over TCP.
//!
//! Addresses are `host:port`, link-local ones `[fe80::1%eth0]:port`; names are looked up at every
//! dial, and the node tries all that they stand for, side by side.

use std::io;
use std::net::SocketAddr;

use estafette::node::{Connection, Listener, Streamed, Transport};
use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::address::{check_address, check_own, resolve};

/// The most addresses of one name that are tried.
const MOST: usize = 16;

/// The transport over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move {
            Ok(resolve(address)
                .await?
                .into_iter()
                .take(MOST)
                .map(|found| found.to_string())
                .collect())
        })
    }

    fn check(&self, address: &str) -> Result<(), String> {
        check_address(address).map_err(|error| error.to_string())
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(&resolve(address).await?[..]).await?;
            let remote = stream.peer_addr()?;
            connection(stream, remote)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            check_own(address)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let listener = bind(&resolve(address).await?)?;
            let address = listener.local_addr()?;
            Ok(Box::new(TcpAcceptor { listener, address }) as Box<dyn Listener>)
        })
    }
}

/// Connections that wait to be accepted, as the standard library has it.
const BACKLOG: u32 = 1024;

/// The first of these that can be listened at.
fn bind(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind_one(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_reuseaddr(true)?;
    // A wildcard takes both families, whatever the system's default is (`net.ipv6.bindv6only`);
    // where a system has no such listeners, one of them is better than none.
    if address.is_ipv6()
        && address.ip().is_unspecified()
        && let Err(error) = SockRef::from(&socket).set_only_v6(false)
    {
        tracing::warn!(%address, %error, "this listener takes connections over IPv6 alone");
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[derive(Debug)]
struct TcpAcceptor {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener for TcpAcceptor {
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let (stream, remote) = self.listener.accept().await?;
            // A listener for both families shows the older one inside the newer.
            connection(stream, SocketAddr::new(remote.ip().to_canonical(), remote.port()))
        })
    }
}

fn connection(stream: TcpStream, remote: SocketAddr) -> io::Result<Box<dyn Connection>> {
    // Frames are written whole: waiting for more to fill a packet would only delay the small ones.
    stream.set_nodelay(true)?;
    let moved = |stream: TcpStream| TcpStream::from_std(stream.into_std()?);
    Ok(Box::new(Streamed::new(stream, remote.to_string()).rebinding(moved)))
}

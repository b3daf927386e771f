//! Connections and listeners over TCP.
//!
//! Addresses are `host:port`, link-local ones `[fe80::1%eth0]:port`; names are looked up at every
//! dial, and the node tries all that they stand for, side by side.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use estafette::node::{Connection, Io, Listener, Transport};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::address::resolve;

/// How many addresses of one name are tried.
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

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(&resolve(address).await?[..]).await?;
            let remote = stream.peer_addr()?;
            Detached::of(stream, remote)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(&resolve(address).await?[..]).await?;
            let address = listener.local_addr()?;
            Ok(Box::new(TcpAcceptor { listener, address }) as Box<dyn Listener>)
        })
    }
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
            Detached::of(stream, SocketAddr::new(remote.ip().to_canonical(), remote.port()))
        })
    }
}

/// A connection no runtime watches.
#[derive(Debug)]
struct Detached {
    stream: std::net::TcpStream,
    remote: SocketAddr,
}

impl Detached {
    fn of(stream: TcpStream, remote: SocketAddr) -> io::Result<Box<dyn Connection>> {
        // Frames are written whole: waiting for more to fill a packet would only delay the small
        // ones.
        stream.set_nodelay(true)?;
        Ok(Box::new(Self { stream: stream.into_std()?, remote }))
    }
}

impl Connection for Detached {
    fn remote(&self) -> String {
        self.remote.to_string()
    }

    fn attach(self: Box<Self>) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(Attached { stream: TcpStream::from_std(self.stream)?, remote: self.remote }))
    }
}

#[derive(Debug)]
struct Attached {
    stream: TcpStream,
    remote: SocketAddr,
}

impl Io for Attached {
    fn detach(self: Box<Self>) -> io::Result<Box<dyn Connection>> {
        Detached::of(self.stream, self.remote)
    }
}

impl AsyncRead for Attached {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Attached {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

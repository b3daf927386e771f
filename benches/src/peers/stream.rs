//! Moving the stream over any byte pipe: raw TCP and TLS share it. Invariant: after the bytes come
//! the sender's digest, if one is made, and one byte back.

use std::future::Future;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::check::{Check, Digester};
use crate::side::{Side, Usage};

/// Runs one end. One thread: with a single connection a second one only adds wake-ups.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

pub(crate) async fn listen() -> Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("listening on loopback")
}

pub(crate) async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

pub(crate) async fn connect(address: &str) -> Result<TcpStream> {
    let socket =
        TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Sends over a pipe whose handshake is done.
pub(crate) async fn send(
    side: &Side,
    mut pipe: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<Usage> {
    pipe.write_all(&[READY]).await?;
    pipe.flush().await?;
    ensure!(pipe.read_u8().await? == READY, "the receiver is not ready");
    let clock = side.start();
    let mut digester = Digester::new(side.check);
    for piece in side.pieces() {
        digester.add(&piece);
        pipe.write_all(&piece).await?;
    }
    pipe.write_all(&digester.finish()).await?;
    pipe.flush().await?;
    ensure!(
        pipe.read_u8().await.context("the receiver did not verify")? == VERIFIED,
        "the receiver did not verify"
    );
    clock.stop()
}

/// Receives over a pipe whose handshake is done.
pub(crate) async fn receive(
    side: &Side,
    mut pipe: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<Usage> {
    let mut checker = side.checker();
    let mut buffer = vec![0; side.job.piece];
    ensure!(pipe.read_u8().await? == READY, "the sender is not ready");
    pipe.write_all(&[READY]).await?;
    pipe.flush().await?;
    let clock = side.start();
    let mut left = side.job.bytes;
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = pipe.read(&mut buffer[..most]).await?;
        ensure!(length > 0, "the sender left {left} bytes before the end");
        checker.take(&buffer[..length])?;
        left -= length as u64;
    }
    let mut digest = vec![0; if side.check == Check::Digest { blake3::OUT_LEN } else { 0 }];
    pipe.read_exact(&mut digest).await?;
    checker.finish(&digest)?;
    pipe.write_all(&[VERIFIED]).await?;
    pipe.flush().await?;
    clock.stop()
}

const READY: u8 = 1;
const VERIFIED: u8 = 2;

//! libzmq: two DEALER sockets over TCP, with CURVE (XSalsa20-Poly1305 by libsodium) and without.
//! libzmq sets `TCP_NODELAY` itself. Invariant: queues of 16 messages at each end, so that memory
//! stays comparable; the default of 1000 would hold 256 MiB.

use anyhow::{Context as _, Result, ensure};
use zmq::{CurveKeyPair, Socket, SocketType};

use crate::check::{Check, Digester};
use crate::contender::Contender;
use crate::side::{Side, Usage};

pub(crate) const CURVE: Contender = Contender {
    name: "zmq-curve",
    about: "libzmq, CURVE (XSalsa20-Poly1305)",
    check: Check::Compare,
    receive: |side| receive(&side, true),
    send: |side, whereabouts| send(&side, whereabouts),
};
pub(crate) const PLAIN: Contender = Contender {
    name: "zmq",
    about: "libzmq; no security",
    check: Check::Compare,
    receive: |side| receive(&side, false),
    send: |side, whereabouts| send(&side, whereabouts),
};

fn receive(side: &Side, curve: bool) -> Result<Usage> {
    let socket = socket()?;
    let mut key = String::new();
    if curve {
        let pair = pair()?;
        socket.set_curve_server(true)?;
        socket.set_curve_secretkey(&pair.secret_key)?;
        key = zmq::z85_encode(&pair.public_key)?;
    }
    socket.bind("tcp://127.0.0.1:*")?;
    let endpoint =
        socket.get_last_endpoint()?.map_err(|_| anyhow::anyhow!("libzmq gave no endpoint"))?;
    side.announce(&format!("{endpoint} {key}"));
    let mut checker = side.checker();
    let mut message = zmq::Message::new();
    socket.recv(&mut message, 0)?;
    ensure!(*message == *READY, "the sender is not ready");
    socket.send(READY, 0)?;
    let clock = side.start();
    while !checker.is_complete() {
        socket.recv(&mut message, 0)?;
        checker.take(&message)?;
    }
    socket.recv(&mut message, 0)?;
    checker.finish(&message)?;
    socket.send(VERIFIED, 0)?;
    clock.stop()
}

fn send(side: &Side, whereabouts: &str) -> Result<Usage> {
    let socket = socket()?;
    let (endpoint, key) = whereabouts.split_once(' ').context("an endpoint and a key")?;
    if !key.is_empty() {
        let pair = pair()?;
        socket.set_curve_serverkey(&zmq::z85_decode(key)?)?;
        socket.set_curve_publickey(&pair.public_key)?;
        socket.set_curve_secretkey(&pair.secret_key)?;
    }
    socket.connect(endpoint)?;
    socket.send(READY, 0)?;
    ensure!(socket.recv_bytes(0)? == READY, "the receiver is not ready");
    let clock = side.start();
    let mut digester = Digester::new(side.check);
    for piece in side.pieces() {
        digester.add(&piece);
        socket.send(&*piece, 0)?;
    }
    socket.send(digester.finish(), 0)?;
    ensure!(
        socket.recv_bytes(0).context("the receiver did not verify")? == VERIFIED,
        "the receiver did not verify"
    );
    clock.stop()
}

fn socket() -> Result<Socket> {
    let socket = zmq::Context::new().socket(SocketType::DEALER)?;
    socket.set_sndhwm(QUEUE)?;
    socket.set_rcvhwm(QUEUE)?;
    Ok(socket)
}

fn pair() -> Result<CurveKeyPair> {
    ensure!(
        zmq::has("curve") == Some(true),
        "the system's libzmq has no CURVE: install one built with libsodium"
    );
    Ok(CurveKeyPair::new()?)
}

const QUEUE: i32 = 16;
const READY: &[u8] = b"ready";
const VERIFIED: &[u8] = b"verified";

//! libzmq: two DEALER sockets over TCP, with CURVE (XSalsa20-Poly1305 by libsodium). libzmq batches
//! by itself, on a thread of its own.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use estafette::wire::codec;
use zmq::{CurveKeyPair, Socket, SocketType};

use super::{Clock, Measured, Messenger, Ping, Task, announce, wait_for_the_end};

pub(crate) const CURVE: Messenger = Messenger {
    name: "zmq-curve",
    about: "libzmq, CURVE (XSalsa20-Poly1305), bincode",
    serve,
    drive,
    takes_bulk: false,
};

fn send(socket: &Socket, ping: &Ping, scratch: &mut Vec<u8>) -> Result<()> {
    scratch.clear();
    codec::encode_message(ping, scratch)?;
    Ok(socket.send(&scratch[..], 0)?)
}

fn serve() -> Result<()> {
    std::thread::spawn(|| {
        wait_for_the_end();
        std::process::exit(0);
    });
    let socket = zmq::Context::new().socket(SocketType::DEALER)?;
    let pair = CurveKeyPair::new()?;
    socket.set_curve_server(true)?;
    socket.set_curve_secretkey(&pair.secret_key)?;
    socket.bind("tcp://127.0.0.1:*")?;
    let endpoint =
        socket.get_last_endpoint()?.map_err(|_| anyhow::anyhow!("libzmq gave no endpoint"))?;
    announce(&format!("{endpoint} {}", zmq::z85_encode(&pair.public_key)?))?;
    let (mut message, mut scratch, mut seen) = (zmq::Message::new(), Vec::new(), 0);
    loop {
        socket.recv(&mut message, 0)?;
        let ping: Ping = codec::decode_message(&message)?;
        seen += 1;
        if ping.is_question() {
            send(&socket, &ping.answer(seen), &mut scratch)?;
        }
    }
}

fn drive(whereabouts: &str, task: Task) -> Result<Measured> {
    let socket = zmq::Context::new().socket(SocketType::DEALER)?;
    let (endpoint, key) = whereabouts.split_once(' ').context("an endpoint and a key")?;
    let pair = CurveKeyPair::new()?;
    socket.set_curve_serverkey(&zmq::z85_decode(key)?)?;
    socket.set_curve_publickey(&pair.public_key)?;
    socket.set_curve_secretkey(&pair.secret_key)?;
    socket.connect(endpoint)?;
    let (mut message, mut scratch) = (zmq::Message::new(), Vec::new());
    // The handshake is over when an answer has come.
    send(&socket, &Ping::question(0), &mut scratch)?;
    socket.recv(&mut message, 0)?;
    let (count, in_flight) = match task {
        Task::Tell(count) => {
            let clock = Clock::start();
            for number in 0..count {
                send(&socket, &Ping::note(number), &mut scratch)?;
            }
            send(&socket, &Ping::question(count), &mut scratch)?;
            socket.recv(&mut message, 0)?;
            let answer: Ping = codec::decode_message(&message)?;
            ensure!(
                answer.number() == count + 2,
                "{} of {count} messages arrived",
                answer.number() - 2
            );
            return Ok(clock.stop(count));
        }
        Task::Ask(count, in_flight) => (count, in_flight as u64),
        Task::AskBesideBulk(_) => anyhow::bail!("it has no bulk"),
    };
    let mut clock = Clock::start();
    let (mut asked, mut answered) = (0, 0);
    while answered < count {
        while asked < count && asked - answered < in_flight {
            send(&socket, &Ping::question(asked), &mut scratch)?;
            asked += 1;
        }
        let since = Instant::now();
        socket.recv(&mut message, 0)?;
        codec::decode_message::<Ping>(&message)?;
        answered += 1;
        if in_flight == 1 {
            clock.answered(since);
        }
    }
    Ok(clock.stop(count))
}

//! The reference: length, then bincode, on a plain TCP connection; one thread a side; no security.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BytesMut};
use estafette::wire::codec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

use super::{Clock, Measured, Messenger, Ping, Task, announce, wait_for_the_end};

pub(crate) const RAW: Messenger = Messenger {
    name: "raw",
    about: "plain TCP, length and bincode, one thread a side; no security",
    serve,
    drive,
    takes_bulk: false,
};

fn put(out: &mut Vec<u8>, ping: &Ping) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    codec::encode_message(ping, out)?;
    let length = u32::try_from(out.len() - start - 4)?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn take(bytes: &mut BytesMut) -> Result<Option<Ping>> {
    let Some(length) = bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
    else {
        return Ok(None);
    };
    if bytes.len() < 4 + length {
        return Ok(None);
    }
    let ping = codec::decode_message(&bytes[4..4 + length])?;
    bytes.advance(4 + length);
    Ok(Some(ping))
}

/// Answers those that are odd, as [`Ping::question`] makes them.
fn serve() -> Result<()> {
    std::thread::spawn(|| {
        wait_for_the_end();
        std::process::exit(0);
    });
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(&listener.local_addr()?.to_string())?;
        let (mut socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (mut bytes, mut out, mut seen) = (BytesMut::with_capacity(256 << 10), Vec::new(), 0);
        while socket.read_buf(&mut bytes).await? > 0 {
            while let Some(ping) = take(&mut bytes)? {
                seen += 1;
                if ping.is_question() {
                    put(&mut out, &ping.answer(seen))?;
                }
            }
            if !out.is_empty() {
                socket.write_all(&out).await?;
                out.clear();
            }
            bytes.reserve(256 << 10);
        }
        Ok(())
    })
}

fn drive(whereabouts: &str, task: Task) -> Result<Measured> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let socket = TcpStream::connect(whereabouts).await.context("connecting")?;
        socket.set_nodelay(true)?;
        match task {
            Task::Tell(count) => tell(socket, count).await,
            Task::Ask(count, 1) => ask(socket, count).await,
            Task::Ask(count, in_flight) => ask_many(socket, count, in_flight).await,
            Task::AskBesideBulk(_) => anyhow::bail!("it has no bulk"),
        }
    })
}

async fn tell(mut socket: TcpStream, count: u64) -> Result<Measured> {
    let clock = Clock::start();
    let mut out = Vec::with_capacity(128 << 10);
    for number in 0..count {
        put(&mut out, &Ping::note(number))?;
        if out.len() >= 64 << 10 {
            socket.write_all(&out).await?;
            out.clear();
        }
    }
    put(&mut out, &Ping::question(count))?;
    socket.write_all(&out).await?;
    let mut bytes = BytesMut::new();
    let answer = loop {
        ensure!(socket.read_buf(&mut bytes).await? > 0, "the server has gone");
        if let Some(answer) = take(&mut bytes)? {
            break answer;
        }
    };
    ensure!(answer.number() == count + 1, "{} of {count} messages arrived", answer.number() - 1);
    Ok(clock.stop(count))
}

async fn ask(mut socket: TcpStream, count: u64) -> Result<Measured> {
    let mut clock = Clock::start();
    let (mut bytes, mut out) = (BytesMut::with_capacity(256 << 10), Vec::new());
    for number in 0..count {
        let since = Instant::now();
        out.clear();
        put(&mut out, &Ping::question(number))?;
        socket.write_all(&out).await?;
        while take(&mut bytes)?.is_none() {
            bytes.reserve(256 << 10);
            ensure!(socket.read_buf(&mut bytes).await? > 0, "the server has gone");
        }
        clock.answered(since);
    }
    Ok(clock.stop(count))
}

/// The state that the callers of one connection share.
#[derive(Default)]
struct Calls {
    out: RefCell<Vec<u8>>,
    filled: Notify,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Ping>>>,
    next: Cell<u64>,
}

impl Calls {
    async fn ask(&self, number: u64) -> Result<Ping> {
        let (answer, answered) = oneshot::channel();
        let mark = self.next.replace(self.next.get() + 1);
        self.waiting.borrow_mut().insert(mark, answer);
        put(&mut self.out.borrow_mut(), &Ping::question(number).marked(mark))?;
        self.filled.notify_one();
        Ok(answered.await?)
    }
}

/// As many callers as may be in flight, each of which waits for its own answer: one lock step of
/// them all would be no calls.
async fn ask_many(socket: TcpStream, count: u64, in_flight: usize) -> Result<Measured> {
    let (mut reading, mut writing) = socket.into_split();
    let calls = Rc::<Calls>::default();
    let clock = Clock::start();
    let writer = Rc::clone(&calls);
    tokio::task::spawn_local(async move {
        loop {
            writer.filled.notified().await;
            tokio::task::yield_now().await;
            let out = writer.out.take();
            writing.write_all(&out).await?;
        }
        #[allow(unreachable_code, reason = "it says what the task fails with")]
        anyhow::Ok(())
    });
    let reader = Rc::clone(&calls);
    tokio::task::spawn_local(async move {
        let mut bytes = BytesMut::with_capacity(256 << 10);
        while reading.read_buf(&mut bytes).await? > 0 {
            while let Some(ping) = take(&mut bytes)? {
                if let Some(caller) = reader.waiting.borrow_mut().remove(&ping.mark()) {
                    // A caller that is gone has failed already.
                    let _ = caller.send(ping);
                }
            }
            bytes.reserve(256 << 10);
        }
        anyhow::Ok(())
    });
    let share = count / in_flight as u64;
    let callers = (0..in_flight).map(|_| {
        let calls = Rc::clone(&calls);
        tokio::task::spawn_local(async move {
            for number in 0..share {
                calls.ask(number).await?;
            }
            anyhow::Ok(())
        })
    });
    for caller in futures_util::future::join_all(callers).await {
        caller??;
    }
    Ok(clock.stop(share * in_flight as u64))
}

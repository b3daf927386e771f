//! The actor at the door: it takes connections in, on a thread of its own.
//!
//! Everything up to the first message of a link or a lane happens here: sockets are accepted and
//! dialled, preambles read, keys exchanged, peers let in or refused. The thread that carries the
//! links hears of connections whose peer is known, and of no others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, Addr, Arbiter, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
    ResponseFuture,
};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};

use super::accept::{self, LinkAccepted};
use super::disk::bulk_thread;
use super::half_open::{HalfOpen, Source, Standing};
use super::shared::NodeShared;
use super::transport::{Connection, Listener};

/// The wait after a failed `accept`: most often the process has run out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Door {
    shared: Arc<NodeShared>,
    accepted: Recipient<LinkAccepted>,
    listening: Vec<JoinHandle<()>>,
    half_open: HalfOpen<AbortHandle>,
    shut: bool,
}

/// Begin to accept connections; answers with the address others can dial.
#[derive(Debug, Message)]
#[rtype(result = "io::Result<String>")]
pub(crate) struct Listen(pub(crate) String);

/// A connection has come in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Incoming(Box<dyn Connection>);

/// Take nothing more in, and give up what is in its handshake.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Shut;

/// Counts connections in their handshake.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub(crate) struct CountHalfOpen;

/// The thread of the door. It steps back as those of bulk transfers do: a flood of handshakes takes
/// no core from messages.
pub(super) fn door_thread(niceness: u8) -> io::Result<Arbiter> {
    let arbiter = bulk_thread(niceness)?;
    #[cfg(target_os = "linux")]
    arbiter.spawn_fn(|| {
        // For whoever looks which thread is busy.
        let _ = rustix::thread::set_name(c"estafette-door");
    });
    Ok(arbiter)
}

/// Does something on the thread of the door, and waits for what comes of it; `None` where the node
/// stops.
pub(super) async fn at_the_door<F, T>(
    shared: &NodeShared,
    work: impl FnOnce() -> F + Send + 'static,
) -> Option<T>
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let (done, is_done) = oneshot::channel();
    shared.door.spawn_fn(move || {
        actix::spawn(async move {
            // Whoever asked may be gone.
            let _ = done.send(work().await);
        });
    });
    is_done.await.ok()
}

impl Door {
    /// Must be called where an actix system runs.
    pub(crate) fn open(shared: Arc<NodeShared>, accepted: Recipient<LinkAccepted>) -> Addr<Self> {
        let thread = shared.door.clone();
        Self::start_in_arbiter(&thread, |_| {
            let half_open = HalfOpen::new(shared.config.half_open);
            Self { shared, accepted, listening: Vec::new(), half_open, shut: false }
        })
    }
}

impl Actor for Door {
    type Context = Context<Self>;
}

impl Handler<Listen> for Door {
    type Result = ResponseFuture<io::Result<String>>;

    fn handle(&mut self, Listen(address): Listen, ctx: &mut Context<Self>) -> Self::Result {
        let (transport, door) = (Arc::clone(&self.shared.transport), ctx.address());
        Box::pin(async move {
            let listener = transport.listen(&address).await?;
            let address = listener.address();
            let accepting = actix::spawn(accept_all(listener, door.clone()));
            door.do_send(Listening(accepting));
            Ok(address)
        })
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Listening(JoinHandle<()>);

impl Handler<Listening> for Door {
    type Result = ();

    fn handle(&mut self, Listening(accepting): Listening, _: &mut Context<Self>) {
        if self.shut {
            accepting.abort();
        }
        self.listening.push(accepting);
    }
}

async fn accept_all(mut listener: Box<dyn Listener>, door: Addr<Door>) {
    loop {
        match listener.accept().await {
            // Awaited: connections come in no faster than they are looked at.
            Ok(connection) => {
                if door.send(Incoming(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(
                    %error, address = listener.address(),
                    "accepting a connection failed; trying again"
                );
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

impl Handler<Incoming> for Door {
    type Result = ();

    fn handle(&mut self, Incoming(connection): Incoming, _: &mut Context<Self>) {
        if self.shut {
            return;
        }
        self.half_open.retain(|handshake| !handshake.is_finished());
        let (source, standing) = (Source::of(&connection.remote()), Standing::default());
        while let Some(handshake) = self.half_open.make_room(&source) {
            handshake.abort();
        }
        let (shared, accepted) = (Arc::clone(&self.shared), self.accepted.clone());
        let serving = actix::spawn(accept::serve(
            shared,
            accepted,
            connection,
            (source.clone(), standing.clone()),
        ));
        self.half_open.push(source, standing, serving.abort_handle());
    }
}

impl Handler<CountHalfOpen> for Door {
    type Result = MessageResult<CountHalfOpen>;

    fn handle(&mut self, _: CountHalfOpen, _: &mut Context<Self>) -> Self::Result {
        self.half_open.retain(|handshake| !handshake.is_finished());
        MessageResult(self.half_open.len())
    }
}

impl Handler<Shut> for Door {
    type Result = ();

    fn handle(&mut self, _: Shut, _: &mut Context<Self>) {
        self.shut = true;
        self.listening.iter().for_each(JoinHandle::abort);
        self.half_open.drain().for_each(|handshake| handshake.abort());
    }
}

//! The network: names as addresses, and one task for each direction of each connection, on a thread
//! of its own.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::Random;
use crate::node::{Connection, Listener, Streamed, Transport};
use crate::wire::PREAMBLE_LENGTH;

/// The bytes that a connection's buffers hold in each direction, like a socket's.
const BUFFER: usize = 64 << 10;

/// A network that nodes of one process meet on. Cloning it shares it.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    seed: u64,
    state: Mutex<State>,
    carried: watch::Sender<u64>,
    /// The thread that carries: no node's, as none of them is the road.
    road: tokio::runtime::Handle,
    /// The thread ends when this is dropped.
    _open: oneshot::Sender<()>,
}

#[derive(Default)]
struct State {
    listeners: HashMap<String, mpsc::UnboundedSender<Box<dyn Connection>>>,
    plan: Option<Plan>,
    open: Vec<Wire>,
    dialed: u64,
    refusing: Vec<String>,
}

type Plan = Arc<dyn Fn(&Connecting, &mut Random) -> Faults + Send + Sync>;

/// A connection that is up, or was.
struct Wire {
    from: String,
    to: String,
    bulk: bool,
    mode: watch::Sender<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    Stalled,
    Cut,
}

/// A connection whose faults are to be decided.
#[derive(Clone, Debug)]
pub struct Connecting {
    /// The name of the node that dialled.
    pub from: String,
    /// The name of the node that was dialled.
    pub to: String,
    /// The number of this connection in the network, from 0.
    pub number: u64,
    /// True if it is a bulk lane, false if it is the express lane of a link.
    pub bulk: bool,
}

/// The faults of one connection. Positions count the bytes of a direction from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The delay of bytes from the side that dialled.
    pub delay_there: Duration,
    /// The delay of bytes to the side that dialled.
    pub delay_back: Duration,
    /// Breaks when the side that dialled has sent so many bytes.
    pub cut_there: Option<u64>,
    /// Breaks when so many bytes came back.
    pub cut_back: Option<u64>,
    /// Bits that change, of the bytes from the side that dialled: position and mask.
    pub flips_there: Vec<(u64, u8)>,
    /// Bits that change, of the bytes that come back.
    pub flips_back: Vec<(u64, u8)>,
}

impl Network {
    /// A network without faults; those that a plan brings are drawn from `seed`.
    ///
    /// # Panics
    /// When the operating system gives no thread.
    pub fn seeded(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without sockets needs nothing");
        let (road, (open, closed)) = (runtime.handle().clone(), oneshot::channel::<()>());
        let carrying = move || drop(runtime.block_on(closed));
        std::thread::Builder::new()
            .name("network".into())
            .spawn(carrying)
            .expect("the system gives a thread");
        Self(Arc::new(Shared {
            seed,
            state: Mutex::default(),
            carried: watch::channel(0).0,
            road,
            _open: open,
        }))
    }

    /// Makes the transport by which the node `name` reaches others on this network. The node
    /// listens at its name.
    pub fn transport(&self, name: impl Into<String>) -> MemoryTransport {
        MemoryTransport { network: self.clone(), name: name.into() }
    }

    /// Plans the faults of connections from now on. Each connection has a generator of its own,
    /// made from the seed and its number.
    pub fn plan(&self, plan: impl Fn(&Connecting, &mut Random) -> Faults + Send + Sync + 'static) {
        self.state().plan = Some(Arc::new(plan));
    }

    /// No more faults on new connections.
    pub fn calm(&self) {
        self.state().plan = None;
    }

    /// Breaks all connections there are; how many.
    pub fn cut(&self) -> usize {
        self.switch(Mode::Cut, |_| true)
    }

    /// Breaks the bulk lanes, and leaves the express lanes.
    pub fn cut_bulk(&self) -> usize {
        self.switch(Mode::Cut, |wire| wire.bulk)
    }

    /// Breaks one bulk lane, chosen by `random`; whether there was one.
    pub fn cut_one_lane(&self, random: &mut Random) -> bool {
        let mut state = self.state();
        state.open.retain(|wire| !wire.mode.is_closed());
        let lanes: Vec<_> = state
            .open
            .iter()
            .filter(|wire| wire.bulk && *wire.mode.borrow() == Mode::Open)
            .collect();
        let Some(count) = u64::try_from(lanes.len()).ok().filter(|&count| count > 0) else {
            return false;
        };
        lanes[random.below(count) as usize].mode.send_replace(Mode::Cut);
        true
    }

    /// Bytes stay where they are on all connections there are: each side seems to read no more.
    pub fn stall(&self) -> usize {
        self.switch(Mode::Stalled, |wire| *wire.mode.borrow() == Mode::Open)
    }

    /// Stalled connections go on.
    pub fn go_on(&self) -> usize {
        self.switch(Mode::Open, |wire| *wire.mode.borrow() == Mode::Stalled)
    }

    /// Dials of `name` are refused from now on, or no longer.
    pub fn refuse(&self, name: &str, refused: bool) {
        let refusing = &mut self.state().refusing;
        refusing.retain(|other| other != name);
        if refused {
            refusing.push(name.to_owned());
        }
    }

    /// Connections that are up.
    pub fn open(&self) -> usize {
        let mut state = self.state();
        state.open.retain(|wire| !wire.mode.is_closed());
        state.open.len()
    }

    /// Connections that were ever dialled.
    pub fn dialed(&self) -> u64 {
        self.state().dialed
    }

    /// Bytes carried so far, in both directions of all connections.
    pub fn carried(&self) -> u64 {
        *self.0.carried.borrow()
    }

    /// Waits until `more` bytes have been carried from now on.
    pub async fn carries(&self, more: u64) {
        let goal = self.carried() + more;
        let mut carried = self.0.carried.subscribe();
        // The sender lives as long as the network.
        let _ = carried.wait_for(|&carried| carried >= goal).await;
    }

    fn switch(&self, mode: Mode, which: impl Fn(&Wire) -> bool) -> usize {
        let mut state = self.state();
        state.open.retain(|wire| !wire.mode.is_closed());
        let mut switched = 0;
        for wire in state.open.iter().filter(|wire| which(wire)) {
            wire.mode.send_replace(mode);
            switched += 1;
        }
        switched
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, from: &str, to: &str) -> io::Result<Box<dyn Connection>> {
        let refused =
            || io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens at {to}"));
        let (near, near_wire) = tokio::io::duplex(BUFFER);
        let (far, far_wire) = tokio::io::duplex(BUFFER);
        let mut state = self.state();
        if state.refusing.iter().any(|name| name == to) {
            return Err(refused());
        }
        let listener = state.listeners.get(to).ok_or_else(refused)?;
        listener.send(Box::new(Streamed::new(far, from))).map_err(|_| refused())?;
        let connecting = Connecting {
            from: from.to_owned(),
            to: to.to_owned(),
            number: state.dialed,
            bulk: false,
        };
        state.dialed += 1;
        drop(state);
        self.0.road.spawn(self.clone().carry(connecting, near_wire, far_wire));
        Ok(Box::new(Streamed::new(near, to)))
    }

    /// Carries the bytes of one connection until it ends.
    async fn carry(self, mut connecting: Connecting, mut near: DuplexStream, far: DuplexStream) {
        // What it is for stands in the preamble.
        let mut preamble = vec![0; PREAMBLE_LENGTH];
        let mut filled = 0;
        while filled < PREAMBLE_LENGTH {
            match near.read(&mut preamble[filled..]).await {
                Ok(0) | Err(_) => break,
                Ok(read) => filled += read,
            }
        }
        preamble.truncate(filled);
        connecting.bulk = preamble.get(8) == Some(&1);
        let (mode, watched) = watch::channel(Mode::Open);
        let plan = self.state().plan.clone();
        let mut random =
            Random::seeded(self.0.seed ^ connecting.number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let faults = plan.map_or_else(Faults::default, |plan| plan(&connecting, &mut random));
        let Connecting { from, to, bulk, .. } = connecting;
        self.state().open.push(Wire { from, to, bulk, mode });
        let (near_reader, near_writer) = tokio::io::split(near);
        let (far_reader, far_writer) = tokio::io::split(far);
        let way = |cut, flips, delay| Way {
            network: self.clone(),
            mode: watched.clone(),
            cut,
            flips,
            delay,
            at: 0,
        };
        let there = way(faults.cut_there, faults.flips_there, faults.delay_there);
        let back = way(faults.cut_back, faults.flips_back, faults.delay_back);
        let mut there = Box::pin(there.run(preamble, near_reader, far_writer));
        let mut back = Box::pin(back.run(Vec::new(), far_reader, near_writer));
        // Who has said all may still listen.
        tokio::select! {
            ended = &mut there => if ended { back.await; },
            ended = &mut back => if ended { there.await; },
        }
    }
}

/// One direction of a connection.
struct Way {
    network: Network,
    mode: watch::Receiver<Mode>,
    cut: Option<u64>,
    flips: Vec<(u64, u8)>,
    delay: Duration,
    at: u64,
}

impl Way {
    /// Ends when the connection does, or when all was said in this direction: then with `true`.
    async fn run(
        mut self,
        first: Vec<u8>,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
    ) -> bool {
        let mut mode = self.mode.clone();
        tokio::select! {
            biased;
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => false,
            passed = self.pass_all(first, &mut from, &mut to) => passed.is_ok(),
        }
    }

    async fn pass_all(
        &mut self,
        first: Vec<u8>,
        from: &mut ReadHalf<DuplexStream>,
        to: &mut WriteHalf<DuplexStream>,
    ) -> io::Result<()> {
        self.pass(first, to).await?;
        loop {
            let mut bytes = vec![0; 16 << 10];
            let read = from.read(&mut bytes).await?;
            if read == 0 {
                return to.shutdown().await;
            }
            bytes.truncate(read);
            self.pass(bytes, to).await?;
        }
    }

    async fn pass(
        &mut self,
        mut bytes: Vec<u8>,
        to: &mut WriteHalf<DuplexStream>,
    ) -> io::Result<()> {
        let end = self.at + bytes.len() as u64;
        for &(position, mask) in
            self.flips.iter().filter(|(position, _)| (self.at..end).contains(position))
        {
            bytes[(position - self.at) as usize] ^= mask;
        }
        let broken = self.cut.filter(|&cut| cut <= end);
        if let Some(cut) = broken {
            bytes.truncate(cut.saturating_sub(self.at) as usize);
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        // An error means that the connection is gone.
        let _ = self.mode.wait_for(|mode| *mode != Mode::Stalled).await;
        to.write_all(&bytes).await?;
        self.at += bytes.len() as u64;
        self.network.0.carried.send_modify(|carried| *carried += bytes.len() as u64);
        if broken.is_some() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let open: Vec<_> = state
            .open
            .iter()
            .filter(|wire| !wire.mode.is_closed())
            .map(|wire| (&wire.from, &wire.to, wire.bulk))
            .collect();
        f.debug_struct("Network")
            .field("seed", &self.0.seed)
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

/// The network, as one node sees it.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    network: Network,
    name: String,
}

impl Transport for MemoryTransport {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move { self.network.connect(&self.name, address) })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, connections) = mpsc::unbounded_channel();
            let mut state = self.network.state();
            if state.listeners.get(address).is_some_and(|listener| !listener.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            state.listeners.insert(address.to_owned(), sender);
            Ok(Box::new(MemoryListener { address: address.to_owned(), connections })
                as Box<dyn Listener>)
        })
    }
}

#[derive(Debug)]
struct MemoryListener {
    address: String,
    connections: mpsc::UnboundedReceiver<Box<dyn Connection>>,
}

impl Listener for MemoryListener {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            self.connections.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
        })
    }
}

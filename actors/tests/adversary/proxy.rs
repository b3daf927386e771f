//! A road between two nodes that somebody else owns: it listens, dials on, and damages, cuts or
//! writes down what passes.

use std::sync::{Arc, Mutex};

use estafette::testing::{Connecting, Faults, Random};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The bytes that the side that dialled has said, of each connection.
type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;
type Plan = Box<dyn FnMut(&Connecting, &mut Random) -> Faults + Send>;

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    /// Counts cuts: connections end when it changes.
    cuts: watch::Sender<u64>,
    carried: Arc<watch::Sender<u64>>,
    recorded: Recorded,
    _tasks: JoinSet<()>,
}

struct Road {
    target: String,
    plan: Plan,
    random: Random,
    cuts: watch::Receiver<u64>,
    carried: Arc<watch::Sender<u64>>,
    recorded: Recorded,
}

impl Proxy {
    /// A road to `target`. What goes wrong on a connection is drawn from the seed and the number of
    /// the connection.
    pub(crate) async fn start(
        target: &str,
        seed: u64,
        plan: impl FnMut(&Connecting, &mut Random) -> Faults + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cuts, cut) = watch::channel(0);
        let (carried, recorded) = (Arc::new(watch::channel(0).0), Recorded::default());
        let (plan, random) = (Box::new(plan), Random::seeded(seed));
        let road = Road {
            target: target.to_owned(),
            plan,
            random,
            cuts: cut,
            carried: Arc::clone(&carried),
            recorded: Arc::clone(&recorded),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(road.serve(listener));
        Self { address, cuts, carried, recorded, _tasks: tasks }
    }

    /// A road without faults.
    pub(crate) async fn clean(target: &str) -> Self {
        Self::start(target, 0, |_, _| Faults::default()).await
    }

    /// Breaks all connections there are.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn carried(&self) -> u64 {
        *self.carried.borrow()
    }

    /// Waits until `more` bytes have passed from now on.
    pub(crate) async fn carries(&self, more: u64) {
        let goal = self.carried() + more;
        self.carried.subscribe().wait_for(|&carried| carried >= goal).await.unwrap();
    }

    pub(crate) fn recorded(&self) -> Vec<Vec<u8>> {
        self.recorded.lock().unwrap().clone()
    }
}

impl Road {
    async fn serve(mut self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        for number in 0.. {
            let Ok((near, from)) = listener.accept().await else { return };
            self.recorded.lock().unwrap().push(Vec::new());
            let Ok(far) = TcpStream::connect(&self.target).await else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let mut purpose = [0; 9];
            let peeked = near.peek(&mut purpose).await.unwrap_or(0);
            let bulk = peeked == purpose.len() && purpose[8] == 1;
            let connecting =
                Connecting { from: from.to_string(), to: self.target.clone(), number, bulk };
            let faults = (self.plan)(&connecting, &mut self.random);
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let way = |flips, cut, record| Way {
                flips,
                cut,
                record,
                at: 0,
                carried: Arc::clone(&self.carried),
            };
            let there = way(
                faults.flips_there,
                faults.cut_there,
                Some((Arc::clone(&self.recorded), number as usize)),
            );
            let back = way(faults.flips_back, faults.cut_back, None);
            let mut cuts = self.cuts.clone();
            cuts.mark_unchanged();
            connections.spawn(async move {
                tokio::select! {
                    _ = cuts.changed() => {}
                    () = there.run(near_in, far_out) => {}
                    () = back.run(far_in, near_out) => {}
                }
            });
        }
    }
}

/// One direction of a connection.
struct Way {
    flips: Vec<(u64, u8)>,
    cut: Option<u64>,
    record: Option<(Recorded, usize)>,
    at: u64,
    carried: Arc<watch::Sender<u64>>,
}

impl Way {
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            let (piece, end) = (&mut bytes[..read], self.at + read as u64);
            if let Some((recorded, number)) = &self.record {
                recorded.lock().unwrap()[*number].extend_from_slice(piece);
            }
            for &(position, mask) in
                self.flips.iter().filter(|(position, _)| (self.at..end).contains(position))
            {
                piece[(position - self.at) as usize] ^= mask;
            }
            let broken = self.cut.filter(|&cut| cut <= end);
            let pass = broken.map_or(read, |cut| cut.saturating_sub(self.at) as usize);
            if to.write_all(&piece[..pass]).await.is_err() || broken.is_some() {
                return;
            }
            self.at = end;
            self.carried.send_modify(|carried| *carried += pass as u64);
        }
    }
}

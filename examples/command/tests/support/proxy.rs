//! A road that counts what crosses it, damages it when it is told to, and whose far end can be
//! moved.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};

use super::process::PATIENCE;

#[derive(Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    /// Bytes towards the target.
    crossed: u64,
    connections: u64,
    tell: Option<Sender<u64>>,
    /// After so many bytes, of either direction, this bit is flipped.
    flip: Option<(u64, u32)>,
    flips: u64,
}

impl Proxy {
    /// Leads nowhere yet: whoever dials it is hung up on.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = proxy.clone();
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for here in listener.incoming().flatten() {
                serving.serve(here);
            }
        });
        proxy
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn lead_to(&self, target: &str) {
        self.state.0.lock().unwrap().target = Some(target.parse().unwrap());
    }

    /// Tells how many bytes have crossed, whenever some have.
    pub(crate) fn tell(&self, to: Sender<u64>) {
        self.state.0.lock().unwrap().tell = Some(to);
    }

    pub(crate) fn crossed(&self) -> u64 {
        self.state.0.lock().unwrap().crossed
    }

    pub(crate) fn connections(&self) -> u64 {
        self.state.0.lock().unwrap().connections
    }

    /// Flips a bit of the byte that crosses after so many others, whichever way.
    pub(crate) fn flip_after(&self, bytes: u64, bit: u32) {
        self.state.0.lock().unwrap().flip = Some((bytes, bit));
    }

    /// The number of bits that were flipped.
    pub(crate) fn flips(&self) -> u64 {
        self.state.0.lock().unwrap().flips
    }

    /// Waits until there have been so many connections in all.
    pub(crate) fn wait_for_connections(&self, connections: u64) {
        let (state, changed) = &*self.state;
        let state = state.lock().unwrap();
        let (state, waited) = changed
            .wait_timeout_while(state, PATIENCE, |state| state.connections < connections)
            .unwrap();
        assert!(
            !waited.timed_out(),
            "{} connections were made, and not {connections}",
            state.connections
        );
    }

    /// Waits until so many bytes have crossed in all.
    pub(crate) fn wait_for(&self, bytes: u64) {
        let (state, changed) = &*self.state;
        let state = state.lock().unwrap();
        let (state, waited) =
            changed.wait_timeout_while(state, PATIENCE, |state| state.crossed < bytes).unwrap();
        assert!(!waited.timed_out(), "{} bytes crossed, and not {bytes}", state.crossed);
    }

    fn serve(&self, here: TcpStream) {
        let target = {
            let mut state = self.state.0.lock().unwrap();
            state.connections += 1;
            self.state.1.notify_all();
            state.target
        };
        // A target that is gone is like none.
        let Some(there) = target.and_then(|target| TcpStream::connect(target).ok()) else { return };
        let (from, to) = (here.try_clone().unwrap(), there.try_clone().unwrap());
        let (proxy, back) = (self.clone(), self.clone());
        std::thread::spawn(move || {
            carry(here, there, |bytes| {
                proxy.damage(bytes);
                proxy.count(bytes.len());
            });
        });
        std::thread::spawn(move || carry(to, from, |bytes| back.damage(bytes)));
    }

    fn damage(&self, bytes: &mut [u8]) {
        let mut state = self.state.0.lock().unwrap();
        let Some((left, bit)) = state.flip else { return };
        match usize::try_from(left).ok().and_then(|at| bytes.get_mut(at)) {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                (state.flip, state.flips) = (None, state.flips + 1);
            }
            None => state.flip = Some((left - bytes.len() as u64, bit)),
        }
    }

    fn count(&self, bytes: usize) {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        state.crossed += bytes as u64;
        if let Some(tell) = &state.tell {
            // The test may be over.
            let _ = tell.send(state.crossed);
        }
        changed.notify_all();
    }
}

/// Until one end is gone; then the other one is hung up on.
fn carry(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&mut [u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        see(&mut buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // They may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

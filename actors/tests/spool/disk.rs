//! A disk in memory that can be full, fail, be slow, and lose its power: what was not synced may be
//! lost, torn, or reordered.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use estafette::testing::Random;
use redb::StorageBackend;

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    /// The bytes that a process sees.
    now: Vec<u8>,
    /// The bytes that are there after a power cut, whatever happens.
    synced: Vec<u8>,
    /// Changes that may be there, too.
    pending: Vec<Change>,
    /// Operations that have been asked for since the last plan.
    done: u64,
    plan: Plan,
    held: bool,
    /// Set while a sync waits to be released.
    syncing: bool,
    recording: bool,
    power_cuts: Vec<PowerCut>,
    /// The words of the test about now, as a number, kept with each power cut.
    mark: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
}

/// The operations that are to fail, counted from 0 when the plan is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Plan {
    #[default]
    Nothing,
    /// From the nth write on there is no room.
    FullFrom(u64),
    /// From the nth write on there is no room for a larger file; what is there can be written.
    NoGrowthFrom(u64),
    /// The nth operation of this kind fails, once.
    Sync(u64),
    Write(u64),
    Read(u64),
}

/// The bytes that a disk has been told when its power was cut.
#[derive(Clone, Debug)]
pub(crate) struct PowerCut {
    pub(crate) mark: u64,
    synced: Vec<u8>,
    pending: Vec<Change>,
}

impl Disk {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.state().now.clone_from(&bytes);
        disk.state().synced = bytes;
        disk
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state().now.clone()
    }

    pub(crate) fn plan(&self, plan: Plan) {
        let mut state = self.state();
        (state.plan, state.done) = (plan, 0);
    }

    /// The number of operations of the plan's kind that were asked for since it was made.
    pub(crate) fn done(&self) -> u64 {
        self.state().done
    }

    /// Lets no sync return until it is released.
    pub(crate) fn hold(&self, held: bool) {
        self.state().held = held;
        self.0.1.notify_all();
    }

    /// Waits until a sync waits to be released.
    pub(crate) fn wait_for_sync(&self) {
        let waited =
            self.0.1.wait_timeout_while(self.state(), PATIENCE, |state| !state.syncing).unwrap().1;
        assert!(!waited.timed_out(), "nothing is synced");
    }

    /// Remembers, from now on or no more, what a power cut would meet around each sync and after
    /// some other operations.
    pub(crate) fn record_power_cuts(&self, recording: bool) {
        self.state().recording = recording;
    }

    pub(crate) fn mark(&self, mark: u64) {
        self.state().mark = mark;
    }

    pub(crate) fn power_cuts(&self) -> Vec<PowerCut> {
        std::mem::take(&mut self.state().power_cuts)
    }

    /// Returns what a power cut would meet now.
    pub(crate) fn power_cut(&self) -> PowerCut {
        self.state().power_cut()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }
}

impl State {
    fn power_cut(&self) -> PowerCut {
        PowerCut { mark: self.mark, synced: self.synced.clone(), pending: self.pending.clone() }
    }

    fn remember(&mut self, always: bool) {
        // Between syncs, every third operation will do.
        if self.recording && (always || self.pending.len() % 3 == 1) {
            let power_cut = self.power_cut();
            self.power_cuts.push(power_cut);
        }
    }

    /// Returns `true` if the operation that is asked for is the one that is to fail.
    fn fails(&mut self, plan: fn(u64) -> Plan) -> bool {
        // The kinds are told apart by what they make of a number.
        if std::mem::discriminant(&plan(0)) != std::mem::discriminant(&self.plan) {
            return false;
        }
        self.done += 1;
        self.plan == plan(self.done - 1)
    }

    fn has_room(&mut self, grows: bool) -> io::Result<()> {
        let from = match self.plan {
            Plan::FullFrom(from) => from,
            Plan::NoGrowthFrom(from) if grows => from,
            _ => return Ok(()),
        };
        self.done += 1;
        if self.done > from { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
        self.remember(false);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.fails(Plan::Read) {
            return Err(broken());
        }
        let from = state.now.get(offset as usize..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let grows = len > state.now.len() as u64;
        state.has_room(grows)?;
        state.change(Change::Length(len));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.fails(Plan::Write) {
            return Err(broken());
        }
        state.has_room(false)?;
        state.change(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        while state.held {
            state.syncing = true;
            self.0.1.notify_all();
            state = self.0.1.wait(state).unwrap();
        }
        state.syncing = false;
        if state.fails(Plan::Sync) {
            // As kernels do: what could not be written counts as written from now on, and never is.
            state.pending.clear();
            return Err(broken());
        }
        state.remember(true);
        for change in std::mem::take(&mut state.pending) {
            apply(&mut state.synced, &change);
        }
        state.remember(true);
        Ok(())
    }
}

impl PowerCut {
    /// The disk after the power is back, if nothing had been written that was not synced.
    pub(crate) fn without_pending(&self) -> Disk {
        Disk::of(self.synced.clone())
    }

    /// If everything had been written, as when only the process is gone.
    pub(crate) fn with_pending(&self) -> Disk {
        let mut bytes = self.synced.clone();
        self.pending.iter().for_each(|change| apply(&mut bytes, change));
        Disk::of(bytes)
    }

    /// If some sectors had been written, in some order.
    pub(crate) fn torn(&self, random: &mut Random) -> Disk {
        let mut sectors: Vec<_> = self
            .pending
            .iter()
            .flat_map(Change::sectors)
            .filter(|_| random.below(2) == 0)
            .collect();
        for index in (1..sectors.len()).rev() {
            sectors.swap(index, random.below(index as u64 + 1) as usize);
        }
        let mut bytes = self.synced.clone();
        sectors.iter().for_each(|change| apply(&mut bytes, change));
        Disk::of(bytes)
    }
}

impl Change {
    fn sectors(&self) -> Vec<Self> {
        match self {
            Self::Length(len) => vec![Self::Length(*len)],
            Self::Write { offset, data } => {
                let sector = |(index, data): (usize, &[u8])| Self::Write {
                    offset: offset + (index * SECTOR) as u64,
                    data: data.to_vec(),
                };
                data.chunks(SECTOR).enumerate().map(sector).collect()
            }
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(len) => bytes.resize(*len as usize, 0),
        Change::Write { offset, data } => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(data);
        }
    }
}

/// An input/output error as the kernel says it.
fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

const SECTOR: usize = 512;
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

//! Watches transfers: bars for people, `progress` events for programs.
//!
//! Invariant: a slow reader of stdout delays only what is shown. News are taken at once; of
//! progress the latest is kept.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafette::delivery::{Failure, Receipt, TransferId};
use estafette::node::{Direction, NodeEvent, TransferEvent, Trust};
use estafette::{Node, PeerId};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::bar::bar;
use crate::error::CommandError;
use crate::event::{self, Delivered, Event};
use crate::left_out::LeftOut;
use crate::news::{News, tell_shared};
use crate::output::{self, Output};
use crate::units;

/// The interval at which what is shown changes.
const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Monitor {
    trust: Trust,
    output: Output,
    news: mpsc::UnboundedReceiver<(About, News)>,
    latest: Latest,
    tick: Interval,
    shown: HashMap<TransferId, Shown>,
    /// The id of the delivery that somebody else tells of.
    left: Option<String>,
    /// Of which the remarks were told.
    remarked: HashSet<TransferId>,
    /// Of which it was told that they wait: they may do so again when they begin anew.
    waited: HashSet<TransferId>,
    /// Of which nothing is sent: name and inbox.
    there: HashMap<TransferId, (String, String)>,
    left_out: HashMap<TransferId, LeftOut>,
    /// Entries that are not in what was delivered, since they could not be read.
    pub(crate) unread: Arc<AtomicU64>,
}

/// The transfer that news are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) transfer: TransferId,
    pub(crate) peer: PeerId,
    pub(crate) direction: Direction,
}

/// The sender of a monitor's news.
pub(crate) struct Feed {
    news: mpsc::UnboundedSender<(About, News)>,
    latest: Latest,
}

/// Bytes done and bytes there are, of each transfer.
type Latest = Arc<Mutex<HashMap<TransferId, (u64, Option<u64>)>>>;

struct Shown {
    direction: Direction,
    name: String,
    /// `None` where only its receiver knows it.
    inbox: Option<String>,
    /// The suite and the codec of its chunks.
    coding: (String, Option<String>),
    started: Instant,
    bytes: u64,
    total: Option<u64>,
    /// Bytes per second, smoothed over about a second.
    rate: f64,
    at: Instant,
    bar: ProgressBar,
}

/// A transfer that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) about: About,
    pub(crate) outcome: Result<Receipt, Failure>,
}

impl Feed {
    pub(crate) fn tell(&self, about: About, news: News) {
        match news {
            News::Progress { bytes, total } => {
                self.latest
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(about.transfer, (bytes, total));
            }
            // An error means that the monitor is gone: nobody watches.
            news => drop(self.news.send((about, news))),
        }
    }
}

impl Monitor {
    /// Watches a node from its start on.
    pub(crate) fn new(node: &Node, output: &Output) -> Self {
        let (monitor, feed) = Self::fed(node.trust().clone(), output);
        let mut events = node.events_since_start().unwrap_or_else(|| node.events());
        let (trust, own, output) = (node.trust().clone(), node.peer(), output.clone());
        tokio::spawn(async move {
            let mut told = HashSet::new();
            while let Some(event) = events.next().await {
                match event {
                    NodeEvent::Transfer(TransferEvent {
                        transfer, peer, direction, news, ..
                    }) => {
                        if let Some(news) = News::of(news) {
                            feed.tell(About { transfer, peer, direction }, news);
                        }
                    }
                    NodeEvent::KeyShared { key, link } if told.insert(key) => {
                        tell_shared(&output, &trust, (own, key, link))
                    }
                    _ => {}
                }
            }
        });
        monitor
    }

    /// Shows what its feed is told, until that is dropped.
    pub(crate) fn fed(trust: Trust, output: &Output) -> (Self, Feed) {
        let (latest, (to, news)) = (Latest::default(), mpsc::unbounded_channel());
        let feed = Feed { news: to, latest: Arc::clone(&latest) };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (shown, left, remarked, waited, there, left_out) = Default::default();
        let output = output.clone();
        let monitor = Self {
            trust,
            output,
            news,
            latest,
            tick,
            shown,
            left,
            remarked,
            waited,
            there,
            left_out,
            unread: Arc::default(),
        };
        (monitor, feed)
    }

    /// Shows what happens until a transfer ends; may be dropped while it waits. `None` when there
    /// will be no more news.
    pub(crate) async fn next(&mut self) -> Option<Ended> {
        loop {
            tokio::select! {
                biased;
                news = self.news.recv() => {
                    let (about, news) = news?;
                    if let Some(outcome) = self.take(about, news) {
                        return Some(Ended { about, outcome });
                    }
                }
                _ = self.tick.tick() => self.show(),
            }
        }
    }

    fn take(&mut self, about: About, news: News) -> Option<Result<Receipt, Failure>> {
        match news {
            News::Waiting { running } => self.wait(about, running),
            News::Started { name, total, inbox, suite, codec } => {
                self.begin(about, &units::printable(&name), total, (inbox, (suite, codec)))
            }
            News::AlreadyThere { name, inbox } => {
                _ = self.there.insert(about.transfer, (units::printable(&name), inbox))
            }
            News::Interrupted { reason } if self.shown.contains_key(&about.transfer) => {
                self.output.remark(&format!(
                    "the link broke ({}); going on when it is back",
                    units::printable(&reason)
                ));
            }
            News::Restarted { why } => {
                self.output
                    .event(&Event::Restarted { transfer: about.transfer.short(), message: &why });
                self.output.remark(&format!("beginning anew: {}", units::printable(&why)));
            }
            News::Delivered(receipt) => return Some(Ok(receipt)),
            News::Failed(failure) => return Some(Err(failure)),
            News::Remarks(lines) => self.remark(about, &lines),
            News::Deferred(failure) => self.defer(about, failure),
            News::Relayed { relay } => self.relayed(about, relay),
            News::Recalled => self.recalled(&about.transfer),
            News::LeftOut(left_out) => _ = self.left_out.insert(about.transfer, left_out),
            News::Interrupted { .. } | News::Progress { .. } => {}
        }
        None
    }

    /// Tells what is not as it was sent, unless it was told.
    pub(crate) fn remark(&mut self, About { transfer, direction, .. }: About, lines: &[String]) {
        if !lines.is_empty() && !self.remarked.insert(transfer) {
            return;
        }
        let whose = if direction == Direction::Outgoing { "the receiver says: " } else { "" };
        for line in lines {
            let message = format!("{whose}{line}");
            self.output.event(&Event::Remark { transfer: transfer.short(), message: &message });
            self.output.remark(&units::printable(&message));
        }
    }

    fn wait(&mut self, About { transfer, peer, .. }: About, running: u32) {
        let (transfer_id, peer_id) = (transfer.short(), peer.to_string());
        let waiting = event::Waiting { transfer: transfer_id, peer: peer_id, running };
        self.output.event(&Event::Waiting(waiting));
        if !self.waited.insert(transfer) {
            return;
        }
        let whose = match running {
            0 => String::new(),
            1 => ": one of your own deliveries is under way".into(),
            more => format!(": {more} of your own deliveries are under way"),
        };
        self.output.remark(&format!("waiting for room to send to {}{whose}", self.peer_name(peer)));
    }

    fn begin(
        &mut self,
        About { transfer, peer, direction }: About,
        name: &str,
        total: Option<u64>,
        (inbox, coding): (String, (String, Option<String>)),
    ) {
        self.take_off(&transfer);
        let whom = self.peer_name(peer);
        let label = match direction {
            Direction::Outgoing => format!("{name} → {whom}"),
            Direction::Incoming => format!("{name} ← {whom}"),
        };
        let bar = self
            .output
            .bars
            .add(bar(total, output::columns()).with_message(units::shorten(&label, 28)));
        let now = Instant::now();
        let (name, inbox) = (name.to_owned(), Some(inbox).filter(|inbox| !inbox.is_empty()));
        self.shown.insert(
            transfer,
            Shown {
                direction,
                name,
                inbox,
                coding,
                started: now,
                bytes: 0,
                total,
                rate: 0.0,
                at: now,
                bar,
            },
        );
    }

    /// Leaves it to somebody else to tell what becomes of this one.
    pub(crate) fn leave(&mut self, id: &str) {
        self.left = Some(id.to_owned());
    }

    fn relayed(&mut self, About { transfer, peer, direction }: About, relay: PeerId) {
        self.take_off(&transfer);
        let (id, who) = (transfer.short(), self.peer_name(peer));
        match direction {
            _ if self.is_left(transfer) => {}
            Direction::Outgoing => {
                self.output.event(&Event::Relayed {
                    transfer: id,
                    peer: peer.to_string(),
                    via: relay.to_string(),
                });
                self.output.result(&format!(
                    "relayed: {} keeps {transfer} until {who} comes",
                    self.peer_name(relay)
                ));
            }
            Direction::Incoming => {
                self.output.event(&Event::Kept { transfer: id, peer: peer.to_string() });
                self.output.result(&format!("kept: {transfer} of {who}"));
            }
        }
    }

    fn defer(&mut self, About { transfer, peer, .. }: About, failure: Failure) {
        self.take_off(&transfer);
        if self.is_left(transfer) {
            return;
        }
        let CommandError { kind, message, .. } = failure.into();
        self.output.event(&Event::Deferred { transfer: transfer.short(), message: &message, kind });
        let message = units::printable(&message);
        self.output.remark(&format!(
            "{transfer} to {} waits for another try: {message}",
            self.peer_name(peer)
        ));
    }

    fn is_left(&self, transfer: TransferId) -> bool {
        self.left.as_ref().is_some_and(|left| *left == transfer.to_string())
    }

    fn recalled(&mut self, transfer: &TransferId) {
        self.take_off(transfer);
        self.output.event(&Event::Recalled { transfer: transfer.short() });
    }

    /// Takes a transfer off the screen.
    pub(crate) fn take_off(&mut self, transfer: &TransferId) {
        drop((self.taken_off(transfer), self.left_out(transfer)));
    }

    /// Takes the list of what was left out of a transfer, for whoever tells that it is delivered.
    pub(crate) fn left_out(&mut self, transfer: &TransferId) -> LeftOut {
        self.left_out.remove(transfer).unwrap_or_default()
    }

    fn taken_off(&mut self, transfer: &TransferId) -> Option<Shown> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).remove(transfer);
        let shown = self.shown.remove(transfer)?;
        shown.bar.finish_and_clear();
        self.output.bars.remove(&shown.bar);
        Some(shown)
    }

    fn show(&mut self) {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (transfer, (bytes, total)) in latest {
            if let Some(shown) = self.shown.get_mut(&transfer).filter(|shown| shown.bytes < bytes) {
                shown.progress(bytes, total);
                self.output.event(&shown.event(transfer));
            }
        }
    }

    /// Takes a transfer off the screen and tells how it ended.
    pub(crate) fn conclude(
        &mut self,
        Ended { about, outcome }: &Ended,
    ) -> Result<(), CommandError> {
        let About { transfer, peer, .. } = about;
        self.remarked.remove(transfer);
        self.waited.remove(transfer);
        let (mut shown, there) = (self.taken_off(transfer), self.there.remove(transfer));
        let receipt = outcome.as_ref().map_err(|failure| {
            let error = match about.direction {
                Direction::Outgoing => CommandError::from(failure.clone()),
                Direction::Incoming => {
                    CommandError::of_arrival(&self.peer_name(about.peer), failure)
                }
            };
            error.about(about.transfer, about.peer)
        })?;
        let seconds = shown.as_ref().map_or(0.0, |shown| shown.started.elapsed().as_secs_f64());
        if let Some(shown) = &mut shown
            && shown.bytes < receipt.length
        {
            shown.progress(receipt.length, Some(receipt.length));
            self.output.event(&shown.event(*transfer));
        }
        let (suite, codec) = shown.as_ref().map(|shown| shown.coding.clone()).unwrap_or_default();
        let (name, inbox) = there
            .clone()
            .or_else(|| shown.map(|shown| (shown.name, shown.inbox.unwrap_or_default())))
            .unzip();
        self.output.event(&Event::Delivered(Delivered {
            transfer: transfer.short(),
            direction: event::direction(about.direction),
            inbox: inbox.filter(|inbox| !inbox.is_empty()),
            name,
            already_there: there.is_some(),
            suite: Some(suite).filter(|suite| !suite.is_empty()),
            codec,
            files: receipt.files,
            bytes: receipt.length,
            seconds,
            blake3: blake3::Hash::from_bytes(receipt.digest).to_hex().to_string(),
            peer: peer.to_string(),
            peer_name: self
                .trust
                .list()
                .into_iter()
                .find(|(id, _)| id == peer)
                .map(|(_, peer)| peer.name),
            fingerprint: peer.short(),
            place: receipt.place.clone(),
        }));
        self.output.result(&self.result(*about, receipt, there.is_none().then_some(seconds)));
        Ok(())
    }

    /// The line for what was delivered, in so many seconds, or was there already.
    fn result(&self, about: About, receipt: &Receipt, seconds: Option<f64>) -> String {
        let (size, peer) = (units::bytes(receipt.length), self.peer_name(about.peer));
        // What is handed on, to a stream or an actor, is no file and lies nowhere.
        let files = if receipt.files == 0 {
            String::new()
        } else {
            units::count(receipt.files, "file") + ", "
        };
        let place = if receipt.place.is_empty() {
            String::new()
        } else {
            format!(": {}", units::printable(&receipt.place))
        };
        let whom = match (about.direction, seconds) {
            (Direction::Outgoing, Some(_)) => format!("to {peer}"),
            (Direction::Outgoing, None) => format!("at {peer}"),
            (Direction::Incoming, _) => format!("from {peer}"),
        };
        let Some(seconds) = seconds else {
            return format!("already there, nothing sent: {files}{size} {whom}{place}");
        };
        // So little says nothing about speed.
        let speed = if receipt.length < 1 << 20 {
            String::new()
        } else {
            format!(" ({})", units::rate(units::per_second(receipt.length, seconds)))
        };
        format!("delivered {files}{size} {whom} in {}{speed}{place}", units::seconds(seconds))
    }

    pub(crate) fn peer_name(&self, peer: PeerId) -> String {
        units::printable(&self.trust.label(&peer))
    }

    /// The number of transfers to this node that run.
    pub(crate) fn incoming(&self) -> usize {
        self.shown.values().filter(|shown| shown.direction == Direction::Incoming).count()
    }

    /// The number of transfers that run.
    pub(crate) fn running(&self) -> usize {
        self.shown.len()
    }
}

impl Shown {
    fn progress(&mut self, bytes: u64, total: Option<u64>) {
        let passed = self.at.elapsed().as_secs_f64();
        if passed > 0.001 {
            let (now, weight) = ((bytes - self.bytes.min(bytes)) as f64 / passed, (-passed).exp());
            self.rate =
                if self.bytes == 0 { now } else { weight * self.rate + (1.0 - weight) * now };
        }
        (self.bytes, self.total, self.at) = (bytes.max(self.bytes), total, Instant::now());
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(self.bytes);
    }

    fn event(&self, transfer: TransferId) -> Event<'_> {
        Event::Progress {
            transfer: transfer.short(),
            direction: event::direction(self.direction),
            inbox: self.inbox.as_deref(),
            name: &self.name,
            bytes: self.bytes,
            total: self.total,
            bytes_per_second: self.rate as u64,
        }
    }
}

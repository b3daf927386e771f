//! The actor that takes what comes in a link's batches to where it belongs. One for each link that
//! is up.
//!
//! It runs where the link does, so that a message for an actor there crosses no thread. Invariant:
//! nothing in a batch makes it panic, and a batch that breaks the protocol, or does not follow the
//! one before it, ends the link: nothing behind a batch that was lost is looked at, whoever lost
//! it.

mod tells;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::admission::Admission;
use super::describe;
use super::directory::Directory;
use super::error::{RemoteError, RemoteErrorKind};
use super::exchange::{Exchange, LINK_WINDOW, cost, cost_along, no_credit};
use super::inbound::Inbound;
use super::letters::{Coming, Letters};
use super::mailbox::CallIn;
use super::presence::{self, Watched};
use super::serving::Served;
use super::teller::Teller;
use crate::pipeline::{Chunk, Parcel, Prefix};
use crate::store::ledger::{Charge, Full, Kind};
use crate::wire::message::{ITEM_LIMIT, Item, Items};
use crate::wire::{Along, PeerId};

/// The most names a peer may send to on one link, times types of messages; and the most it may
/// watch.
const TARGETS: usize = 1 << 16;

/// Answers and errors of so many bytes that wait for a peer end its link: the limit of answers, and
/// what errors an honest peer can have waiting.
const UNREAD_LIMIT: usize = 48 << 20;

pub(crate) struct Postbox {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) epoch: u64,
    pub(crate) peer: PeerId,
    pub(crate) directory: Directory,
    pub(crate) admission: Arc<dyn Admission>,
    letters: Option<Arc<Letters>>,
    /// Ends the link.
    pub(crate) end: Box<dyn Fn(String)>,
    /// The batch that comes next.
    next: u64,
    targets: Vec<Inbound>,
    /// The cost of tells that are not confirmed yet.
    outstanding: Arc<AtomicU64>,
    /// Set if the last tells of the batch that is being read are marked.
    marked: bool,
    /// The targets that were told something in that batch that is confirmed at its end.
    told: Vec<u32>,
    /// An item that comes in parts, and how long it is.
    partial: Option<(usize, Vec<u8>)>,
    watched: Watched,
    /// Set while it looks around by itself.
    looks: bool,
}

/// The link is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ClosePostbox;

impl Postbox {
    pub(crate) fn new(
        (exchange, epoch): (Arc<Exchange>, u64),
        peer: PeerId,
        directory: Directory,
        admission: Arc<dyn Admission>,
        letters: Option<Arc<Letters>>,
        end: impl Fn(String) + 'static,
    ) -> Self {
        Self {
            exchange,
            epoch,
            peer,
            directory,
            admission,
            letters,
            end: Box::new(end),
            next: 0,
            targets: Vec::new(),
            outstanding: Arc::default(),
            marked: false,
            told: Vec::new(),
            partial: None,
            watched: Watched::default(),
            looks: false,
        }
    }

    /// Takes all items of a batch.
    fn batch(&mut self, batch: &Bytes, ctx: &mut Context<Self>) -> Result<(), String> {
        let read = self.read(batch, ctx);
        // What was handed over counts until it is handled, however the batch ends.
        self.confirm();
        read?;
        if self.outstanding.load(Ordering::Relaxed) > LINK_WINDOW + ITEM_LIMIT as u64 {
            return Err("more messages than it has credit for".into());
        }
        Ok(())
    }

    fn read(&mut self, batch: &Bytes, ctx: &mut Context<Self>) -> Result<(), String> {
        if self.exchange.unread() > UNREAD_LIMIT {
            return Err("it asks, and does not read what it is answered".into());
        }
        self.marked = false;
        let mut items = Items::new(batch);
        // Tells that stand side by side, all to one target.
        let (mut target, mut row) = (0, Vec::new());
        // Replies that stand side by side, all to one call.
        let mut replies = Vec::new();
        let mut place = 0;
        loop {
            while let Some((to, body)) = items.next_tell() {
                if to != target {
                    self.tell_row(target, &mut row, None, (batch, place))?;
                }
                target = to;
                row.push(body);
                place += 1;
            }
            let Some((item, along)) = items.next_item().map_err(|error| error.to_string())? else {
                break;
            };
            self.tell_row(target, &mut row, None, (batch, place))?;
            place += 1;
            if let Item::Reply { call, body } = item {
                replies.push(body);
                replies.extend(std::iter::from_fn(|| items.next_reply(call)));
                place += replies.len() - 1;
                self.exchange.on_replies(call, &replies, |body| batch.slice_ref(body))?;
                replies.clear();
            } else {
                self.item(item, along, batch, place - 1, ctx)?;
            }
        }
        self.tell_row(target, &mut row, None, (batch, place))
    }

    /// Notes the last tell to each target, from this place on: an actor's mailbox can confirm no
    /// other, and that one is confirmed for all before it. Targets that are named further on
    /// must be known for that.
    fn mark_last(&mut self, batch: &Bytes, from: usize) -> Result<(), String> {
        let (mut items, mut place) = (Items::new(batch), 0);
        while let Some((item, _)) = items.next_item().map_err(|error| error.to_string())? {
            match item {
                Item::Bind { target, name, message, version } if place > from => {
                    self.bind(target, name, message, version)?
                }
                Item::Tell { target, .. } => _ = self.mark(target, place),
                _ => {}
            }
            place += 1;
        }
        self.marked = true;
        Ok(())
    }

    /// Marks a tell as the last to its target; what was marked before.
    fn mark(&mut self, target: u32, place: usize) -> Option<usize> {
        self.targets
            .get_mut(target as usize)
            .map(|inbound| std::mem::replace(&mut inbound.last, place))
    }

    fn item(
        &mut self,
        item: Item<'_>,
        along: Option<Along>,
        batch: &Bytes,
        place: usize,
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        let owned = |bytes: &[u8]| batch.slice_ref(bytes);
        match item {
            // When the batch was looked through.
            Item::Bind { .. } if self.marked => Ok(()),
            Item::Bind { target, name, message, version } => {
                self.bind(target, name, message, version)
            }
            Item::Tell { target, body } => {
                self.tell_row(target, &mut vec![body], along, (batch, place + 1))
            }
            Item::Call { call, target, shape, body } => {
                let (requests, coming) = if shape.streams_requests() {
                    let (requests, coming) = mpsc::unbounded_channel();
                    (Some(requests), Some(coming))
                } else {
                    (None, None)
                };
                let spent = cost(body.len()) + cost_along(along.as_ref());
                let room = self.exchange.serve(
                    self.epoch,
                    call,
                    spent,
                    requests,
                    shape.streams_replies(),
                )?;
                let charge = self.exchange.account().charge(Kind::Messages, spent);
                self.call(target, body, call, (along, charge), (shape, room, coming))
            }
            Item::Request { call, body } => {
                self.exchange.on_request(self.epoch, call, Some(owned(body)))
            }
            Item::RequestsEnd { call } => self.exchange.on_request(self.epoch, call, None),
            Item::Cancel { call } => {
                self.exchange.on_cancel(self.epoch, call);
                Ok(())
            }
            Item::Begin { total } => self.begin(total as usize),
            Item::Part { bytes } => self.part(bytes, ctx),
            Item::Watch { watch, name } => self.watch(watch, name, ctx),
            Item::Unwatch { watch } => {
                self.watched.remove(watch);
                Ok(())
            }
            Item::Status { watch, up, code } => {
                self.exchange.on_status(watch, up, code);
                Ok(())
            }
            Item::Deliver { log, number, before, target, expires, body } => {
                self.letter((log, number, before, expires), target, body, along)
            }
            Item::Taken { log, number, code, text } => match &self.letters {
                Some(letters) => letters.said(self.peer, self.epoch, (log, number), (code, text)),
                None => Err("a word about letters, which this node never sent".into()),
            },
            answer => self.exchange.heard(&answer, owned),
        }
    }

    fn letter(
        &self,
        (log, number, before, expires): ([u8; 16], u64, u64, u64),
        target: u32,
        body: &[u8],
        along: Option<Along>,
    ) -> Result<(), String> {
        let Inbound { name, message, version, .. } =
            self.targets.get(target as usize).ok_or("a target that was never named")?;
        if let Some(letters) = &self.letters {
            let coming = Coming {
                log,
                number,
                before,
                expires,
                name,
                message,
                version: *version,
                body,
                along,
            };
            return letters.take(self.peer, self.epoch, &coming);
        }
        if self.exchange.is_swamped() {
            return Err("it sends letters and takes no answers".into());
        }
        let text = "that node keeps no letters: it was started without a spool";
        let code = RemoteErrorKind::Storage.code();
        self.exchange.say(self.epoch, &Item::Taken { log, number, code, text }, text.len());
        Ok(())
    }

    fn bind(&mut self, target: u32, name: &str, message: &str, version: u32) -> Result<(), String> {
        if target as usize != self.targets.len() || self.targets.len() >= TARGETS {
            return Err(format!("target {target} is named out of turn, or is one too many"));
        }
        let teller = Teller { exchange: Arc::clone(&self.exchange), epoch: self.epoch, target };
        self.targets.push(Inbound::new(name, message, version, teller));
        Ok(())
    }

    /// Returns what a target stands for now. The error: the peer broke the protocol.
    fn find(&mut self, target: u32) -> Result<&mut Inbound, String> {
        let inbound =
            self.targets.get_mut(target as usize).ok_or("a target that was never named")?;
        let now = (self.directory.version(), self.admission.version());
        if inbound.seen != now {
            inbound.seen = now;
            let (directory, delivers) = (&self.directory, self.letters.is_some());
            let what = (&*inbound.name, &*inbound.message, inbound.version);
            let own = describe::own_mailbox(what, directory, &self.admission, delivers);
            // Who may send to nobody may ask that: it is told of nobody.
            inbound.mailbox = if let Some(own) = own {
                Ok(own)
            } else if self.admission.admits(&inbound.name) {
                self.directory.mailbox(&inbound.name, &inbound.message, inbound.version)
            } else {
                let text = format!(
                    "this node may not send to {:?}: ask whoever runs it to add that name to what \
                     it may",
                    inbound.name
                );
                Err(RemoteError::new(RemoteErrorKind::Forbidden, text))
            };
        }
        Ok(inbound)
    }

    fn call(
        &mut self,
        target: u32,
        body: &[u8],
        call: u64,
        (along, charge): (Option<Along>, Result<Charge, Full>),
        (shape, room, coming): (
            crate::wire::message::Shape,
            Option<Arc<Notify>>,
            Option<mpsc::UnboundedReceiver<super::exchange::Requested>>,
        ),
    ) -> Result<(), String> {
        let (exchange, epoch, caller) = (Arc::clone(&self.exchange), self.epoch, self.peer);
        let inbound = self.find(target)?;
        let (name, given_up_before) = (Arc::clone(&inbound.name), exchange.given_up_calls());
        let (full, _charge) = (charge.as_ref().err().copied(), charge.ok());
        let served = Served {
            exchange,
            epoch,
            call,
            name,
            caller,
            along,
            over: false,
            given_up_before,
            _charge,
        };
        if let Some(full) = full {
            served.fail(&no_credit(&full));
            return Ok(());
        }
        match &inbound.mailbox {
            Ok(mailbox) => mailbox.call(body, CallIn { shape, served, room, coming }),
            Err(error) => served.fail(error),
        }
        Ok(())
    }

    fn begin(&mut self, total: usize) -> Result<(), String> {
        if self.partial.is_some() || total > ITEM_LIMIT || total == 0 {
            return Err(format!(
                "an item of {total} bytes in parts, which is too long or within another one"
            ));
        }
        self.partial = Some((total, Vec::new()));
        Ok(())
    }

    fn part(&mut self, bytes: &[u8], ctx: &mut Context<Self>) -> Result<(), String> {
        let Some((total, mut so_far)) = self.partial.take() else {
            return Err("a part of nothing".into());
        };
        if bytes.is_empty() || so_far.len() + bytes.len() > total {
            return Err("a part that does not fit".into());
        }
        so_far.extend_from_slice(bytes);
        if so_far.len() < total {
            self.partial = Some((total, so_far));
            return Ok(());
        }
        self.whole(&Bytes::from(so_far), ctx)
    }

    /// Takes the one item that came in parts.
    fn whole(&mut self, whole: &Bytes, ctx: &mut Context<Self>) -> Result<(), String> {
        let mut items = Items::new(whole);
        let (first, second) = (
            items.next_item().map_err(|error| error.to_string())?,
            items.next_item().map_err(|error| error.to_string())?,
        );
        let (Some((item, along)), None) = (first, second) else {
            return Err("parts that are not one item".into());
        };
        match item {
            // Parts in parts could go on for ever.
            Item::Begin { .. } | Item::Part { .. } | Item::Bind { .. } => {
                Err("parts of what does not come in parts".into())
            }
            Item::Tell { target, .. } => {
                // In the middle of a batch: its marks must stay.
                let (before, marked) =
                    (self.mark(target, 0), std::mem::replace(&mut self.marked, true));
                let taken = self.item(item, along, whole, 0, ctx);
                before.map(|place| self.mark(target, place));
                self.marked = marked;
                taken
            }
            _ => self.item(item, along, whole, 0, ctx),
        }
    }

    fn watch(&mut self, watch: u64, name: &str, ctx: &mut Context<Self>) -> Result<(), String> {
        if self.watched.len() >= TARGETS {
            return Err(format!("more than {TARGETS} watches"));
        }
        if !std::mem::replace(&mut self.looks, true) {
            ctx.run_interval(presence::LOOK, |postbox, _| postbox.look_around(None));
        }
        self.watched.insert(watch, name);
        self.look_around(Some(watch));
        Ok(())
    }

    /// Says what has changed of what the peer watches, or of one thing that it does.
    fn look_around(&mut self, only: Option<u64>) {
        let (directory, admission) = (&self.directory, &self.admission);
        let (exchange, epoch) = (&self.exchange, self.epoch);
        let look = |name: &str| {
            if admission.admits(name) {
                directory.presence(name)
            } else {
                Err(RemoteErrorKind::Forbidden)
            }
        };
        self.watched.look(only, look, |watch, standing| {
            let (up, code) =
                standing.map_or_else(|kind: RemoteErrorKind| (false, kind.code()), |()| (true, 0));
            exchange.say(epoch, &Item::Status { watch, up, code }, 0);
        });
    }
}

impl Actor for Postbox {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Postbox {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, ctx: &mut Context<Self>) {
        let (index, next) = (chunk.custody().index(), self.next);
        if index != next {
            (self.end)(format!(
                "a batch of messages was lost: {index} came where {next} belongs; see the log of \
                 the stages"
            ));
            return ctx.stop();
        }
        self.next += 1;
        let batch = chunk.content().slice(Prefix::LENGTH.min(chunk.content().len())..);
        if let Err(why) = self.batch(&batch, ctx) {
            (self.end)(format!("the peer broke the protocol: {why}"));
            ctx.stop();
        }
        // Only now may another one come: one that has not been looked at costs memory.
        chunk.custody().finish(0);
    }
}

impl Handler<ClosePostbox> for Postbox {
    type Result = ();

    fn handle(&mut self, _: ClosePostbox, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

#[cfg(test)]
mod tests;

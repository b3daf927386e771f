//! Writes one delivery to a folder of its own.
//!
//! Invariant: everything is made in a staging folder, relative to handles of folders that were made
//! there, by names of one component, and never through a link. Memory and open handles are bounded
//! by the depth that the format allows.

use bytes::Bytes;
use estafette::delivery::ContentName;
use estafette::pipeline::{Committed, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::BoxFuture;

use super::errors::closed;
use super::home::{Home, Temporary};
use super::limits::{Limits, Meter, write_error};
use super::merging;
use super::on_conflict::OnConflict;
use super::policy::Policy;
use super::publish::{discard, publish};
use super::remarks;
use super::staging::Staging;
use super::there;
use super::unpacking::Unpacking;

/// Unpacks a tree stream while it comes and makes the tree visible when it is complete.
#[derive(Debug)]
pub(super) struct TreeSink {
    home: Home,
    name: ContentName,
    on_conflict: OnConflict,
    meter: Meter,
    unpacking: Unpacking,
    position: u64,
    staging: Option<Staging>,
}

impl TreeSink {
    pub(super) fn create(
        home: Home,
        offer: &Offer,
        on_conflict: OnConflict,
        limits: Limits,
        policy: Policy,
    ) -> Result<Self, Refusal> {
        let (name, root) = home.create_tree(offer.transfer, Temporary::Tree).map_err(|error| {
            Refusal::because(format!("the receiver can't write to {}", home.place(b"")), &error)
        })?;
        Ok(Self {
            home,
            name: offer.content.name.clone(),
            on_conflict,
            meter: Meter::new(limits),
            unpacking: Unpacking::new(limits),
            position: 0,
            staging: Some(Staging::new(name, root, limits, policy)),
        })
    }

    fn unpack(&mut self, offset: u64, input: &[u8]) -> Result<(), SinkError> {
        let Some(staging) = &mut self.staging else { return Err(closed()) };
        if offset != self.position {
            let reason = format!("bytes at {offset} came when those at {} were due", self.position);
            return Err(SinkError::Refused(Refusal::new(reason)));
        }
        self.meter.admit(offset, input.len() as u64, &self.home, || staging.extend())?;
        self.position += input.len() as u64;
        self.unpacking.feed(input, |event| {
            staging
                .apply(event, &self.home)
                .map_err(|failure| failure.explain(&self.home, self.name.as_bytes()))
        })
    }

    fn publish(&mut self, summary: &Summary) -> Result<Committed, SinkError> {
        let Some(staging) = &mut self.staging else { return Err(closed()) };
        let counts = self.unpacking.finish()?;
        let failed = |error| {
            write_error(&self.home, self.home.place(self.name.as_bytes()), summary.length, error)
        };
        let kept = self.on_conflict.keeps(self.name.as_bytes(), staging.unread());
        let turn = merging::turn(&self.home, self.on_conflict, self.name.as_bytes());
        let turn = turn.map_err(failed)?;
        staging.seal(&self.home, kept).map_err(failed)?;
        let inode = staging.inode().map_err(failed)?;
        let name = publish(
            &self.home,
            staging.name(),
            self.name.as_bytes(),
            self.on_conflict,
            true,
            |_, _| Ok(()),
        )?;
        drop(turn);
        let staging = self.staging.take().ok_or_else(closed)?;
        let mut committed = staging.committed(self.home.committed(&name), counts);
        let what = || committed.place.clone();
        self.home.sync().map_err(|error| SinkError::Write { what: what(), error })?;
        remarks::tell(&committed);
        there::remember(&mut committed, &self.home, &name, inode, summary);
        Ok(committed)
    }

    fn remove_staging(&mut self) {
        // Its descriptors are free by then: removing takes some.
        let name = self.staging.take().map(|staging| staging.name().to_owned());
        name.iter().for_each(|name| discard(&self.home, name));
    }
}

impl Sink for TreeSink {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move { self.unpack(offset, bytes) })
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async move { self.publish(summary) })
    }

    fn abort(&mut self, _reason: &str) {
        self.remove_staging();
    }
}

impl Drop for TreeSink {
    fn drop(&mut self) {
        self.remove_staging();
    }
}

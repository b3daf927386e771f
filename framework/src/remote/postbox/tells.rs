//! Tells of a batch, on their way to their actors, and their confirmation.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::exchange::{cost, cost_along};
use super::super::serving::Traced;
use super::Postbox;
use crate::store::ledger::Kind;
use crate::wire::Along;

impl Postbox {
    /// Tells that stand side by side in a batch, before the place `end`; one with which something
    /// goes along stands alone.
    pub(super) fn tell_row(
        &mut self,
        target: u32,
        row: &mut Vec<&[u8]>,
        along: Option<Along>,
        (batch, end): (&Bytes, usize),
    ) -> Result<(), String> {
        let count = row.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let (marked, caller) = (self.marked, self.peer);
        let inbound = self.find(target)?;
        let (name, message) = (&inbound.name, &inbound.message);
        let extra = cost_along(along.as_ref());
        let traced = along.map(|along| Traced {
            caller,
            name: Arc::clone(name),
            message: Arc::clone(message),
            along,
            is_letter: false,
        });
        let each = |body: &[u8]| cost(body.len()) + extra;
        if let Some(mailbox) = inbound.mailbox.as_ref().ok().filter(|mailbox| mailbox.confirms()) {
            let spent = row.iter().map(|body| each(body)).sum();
            if let Err(full) = inbound.teller.exchange.account().take_bare(Kind::Messages, spent) {
                inbound.refuse(count, spent, &full);
                row.clear();
                return Ok(());
            }
            let told = mailbox.tell_all(row, &inbound.teller, traced.as_ref());
            let is_first = inbound.unconfirmed.count == 0;
            inbound.unconfirmed.add(count, spent, told.is_ok());
            if let Err(error) = told {
                inbound.teller.undelivered(count, &error);
            }
            self.outstanding.fetch_add(spent, Ordering::Relaxed);
            // What its name led to before may have confirmed nothing, and wait for a mark that is
            // passed here.
            if is_first || marked {
                self.told.push(target);
            }
            row.clear();
            return Ok(());
        }
        let first = end - row.len();
        row.drain(..).enumerate().try_for_each(|(nth, body)| {
            self.tell(target, body, (each(body), traced.as_ref()), (batch, first + nth))
        })
    }

    /// One tell to an actor of which no more than its mailbox is known, or to nobody.
    pub(super) fn tell(
        &mut self,
        target: u32,
        body: &[u8],
        (spent, traced): (u64, Option<&Traced>),
        (batch, place): (&Bytes, usize),
    ) -> Result<(), String> {
        if !self.marked {
            self.mark_last(batch, place)?;
        }
        let outstanding = Arc::clone(&self.outstanding);
        let inbound = self.find(target)?;
        // Where it is the last one, those before it wait for the last one of a later batch.
        if let Err(full) = inbound.teller.exchange.account().take_bare(Kind::Messages, spent) {
            inbound.refuse(1, spent, &full);
            return Ok(());
        }
        outstanding.fetch_add(spent, Ordering::Relaxed);
        let told = if inbound.last == place {
            inbound.unconfirmed.add(1, spent, true);
            let done = inbound.settle(outstanding);
            match &inbound.mailbox {
                Ok(mailbox) => mailbox.tell_confirmed(body, done, traced),
                Err(error) => {
                    done.say(true);
                    Err(error.clone())
                }
            }
        } else {
            let told = inbound
                .mailbox
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|mailbox| mailbox.tell(body, &inbound.teller, traced));
            inbound.unconfirmed.add(1, spent, told.is_ok());
            told
        };
        if let Err(error) = told {
            inbound.teller.undelivered(1, &error);
        }
        Ok(())
    }

    /// Has what the batch told confirmed, where that can be done afterwards.
    pub(super) fn confirm(&mut self) {
        for target in self.told.drain(..) {
            let Some(inbound) = self
                .targets
                .get_mut(target as usize)
                .filter(|inbound| inbound.unconfirmed.count > 0)
            else {
                continue;
            };
            let done = inbound.settle(Arc::clone(&self.outstanding));
            match &inbound.mailbox {
                Ok(mailbox) => mailbox.confirm(&inbound.teller, done),
                // It was unregistered within the batch.
                Err(_) => done.say(true),
            }
        }
    }
}

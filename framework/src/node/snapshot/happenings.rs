//! The memory of what happened lately, for those who come later to look.
//!
//! Invariant: neither what is good nor what strangers do takes the place of a fault, and each list
//! has a bound.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Happening, HappeningKind, Severity, Totals};
use crate::delivery::TransferId;
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::wire::{PeerId, printable};

/// Faults that are kept.
const FAULTS: usize = 128;
/// Connections that were refused, which are kept: anybody can make them.
const REFUSED: usize = 32;
/// Other things that are kept.
const OTHERS: usize = 64;
/// Transfers whose names are known when they end.
const NAMES: usize = 256;
/// The time that a fault is kept, in milliseconds.
const HOUR: u64 = 3_600_000;
/// The most characters of a text.
const TEXT: usize = 512;

/// The latest happenings, and how many there were in all.
#[derive(Debug)]
pub(crate) struct Happenings {
    started: Instant,
    /// In milliseconds since the Unix epoch.
    started_at: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    faults: VecDeque<Happening>,
    refused: VecDeque<Happening>,
    others: VecDeque<Happening>,
    totals: Totals,
    /// Only what has begun says what it is called.
    names: VecDeque<(TransferId, Direction, String)>,
}

impl Default for Happenings {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_at = u64::try_from(since.as_millis()).unwrap_or(0);
        Self { started: Instant::now(), started_at, kept: Mutex::default() }
    }
}

impl Happenings {
    /// A moment in milliseconds since the Unix epoch: always the same for the same moment,
    /// whatever becomes of the wall clock.
    pub(crate) fn at(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.started).as_millis();
        self.started_at.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    pub(crate) fn started_at(&self) -> u64 {
        self.started_at
    }

    /// Notes an event, if it is one to be noted.
    pub(crate) fn hear(&self, event: &NodeEvent) {
        use HappeningKind as Kind;
        match event {
            NodeEvent::LinkUp { peer, name } => {
                self.note(Kind::LinkUp, Some(*peer), format!("linked with {}", printable(name)))
            }
            NodeEvent::LinkDown { peer, reason } => {
                self.note(Kind::LinkDown, Some(*peer), reason.clone())
            }
            NodeEvent::Refused { who, reason } => {
                self.kept().totals.refused += 1;
                self.note(Kind::Refused, None, format!("{who} was refused: {reason}"));
            }
            NodeEvent::KeyShared { key, link } => {
                let text = format!(
                    "two programs run with the key {}: stop one of them, or give it a key of its own",
                    key.short()
                );
                self.note(Kind::KeyShared, Some(*link), text);
            }
            NodeEvent::LetterRefused { peer, name, message, why, .. } => {
                let text = format!("a {message} to {name:?} is not handled: {why}");
                self.note(Kind::LetterRefused, Some(*peer), text);
            }
            NodeEvent::ActorGivenUp { name, deaths, why } => {
                let text = format!("the actor {name:?} is given up, deaths: {deaths}; {why}");
                self.note(Kind::ActorGivenUp, None, text);
            }
            NodeEvent::Transfer(event) => self.hear_of_transfer(event),
        }
    }

    /// A hosted actor has died, and is started anew.
    pub(crate) fn actor_died(&self, name: &str, why: &str) {
        self.note(HappeningKind::ActorDied, None, format!("the actor {name:?} has died: {why}"));
    }

    fn hear_of_transfer(&self, event: &TransferEvent) {
        use HappeningKind as Kind;
        let out = event.direction == Direction::Outgoing;
        let (kind, text) = match &event.news {
            TransferNews::Started { content, .. } | TransferNews::AlreadyThere { content, .. } => {
                let mut kept = self.kept();
                if kept.names.len() == NAMES {
                    kept.names.pop_front();
                }
                let name = content.name.to_string();
                return kept.names.push_back((event.transfer, event.direction, name));
            }
            TransferNews::Delivered { receipt } => {
                let totals = &mut self.kept().totals;
                let (count, bytes) = if out {
                    (&mut totals.delivered_out, &mut totals.delivered_out_bytes)
                } else {
                    (&mut totals.delivered_in, &mut totals.delivered_in_bytes)
                };
                *count += 1;
                *bytes += receipt.length;
                (Kind::Delivered, format!("delivered: {}", receipt.place))
            }
            TransferNews::Failed { failure } => {
                let totals = &mut self.kept().totals;
                *(if out { &mut totals.failed_out } else { &mut totals.failed_in }) += 1;
                (Kind::Failed, failure.to_string())
            }
            TransferNews::Deferred { failure } => {
                self.kept().totals.deferred += 1;
                (Kind::Deferred, failure.to_string())
            }
            TransferNews::Restarted { why, .. } => {
                self.kept().totals.restarted += 1;
                (Kind::Restarted, format!("begun anew: {why}"))
            }
            TransferNews::Relayed { relay } => {
                (Kind::Relayed, format!("the relay {} keeps it", relay.short()))
            }
            TransferNews::Remarks { lines } => {
                (Kind::Remark, lines.first().cloned().unwrap_or_default())
            }
            TransferNews::Skipped { total, .. } => {
                (Kind::Remark, format!("entries left out, since they could not be read: {total}"))
            }
            _ => return,
        };
        self.put(kind, Some(event.peer), Some((event.transfer, event.direction)), &text);
    }

    fn note(&self, kind: HappeningKind, peer: Option<PeerId>, text: String) {
        self.put(kind, peer, None, &text);
    }

    fn put(
        &self,
        kind: HappeningKind,
        peer: Option<PeerId>,
        transfer: Option<(TransferId, Direction)>,
        text: &str,
    ) {
        let at = self.at(Instant::now());
        let mut kept = self.kept();
        let named = transfer.and_then(|(id, direction)| {
            let known = kept.names.iter().rev().find(|name| (name.0, name.1) == (id, direction));
            known.map(|(.., name)| format!("{name}: {text}"))
        });
        let text = printable(named.as_deref().unwrap_or(text)).to_string();
        let text = match text.char_indices().nth(TEXT - 1) {
            Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
            _ => text,
        };
        let severity = severity(kind);
        kept.last += 1;
        let happening = Happening {
            number: kept.last,
            at,
            kind,
            severity,
            peer: peer.map(|peer| peer.to_string()),
            transfer: transfer.map(|(id, _)| id.to_string()),
            direction: transfer.map(|(_, direction)| direction),
            text,
        };
        let (list, most) = match (kind, severity) {
            (HappeningKind::Refused, _) => (&mut kept.refused, REFUSED),
            (_, Severity::Fault) => (&mut kept.faults, FAULTS),
            _ => (&mut kept.others, OTHERS),
        };
        if list.len() == most {
            list.pop_front();
        }
        list.push_back(happening);
    }

    /// Returns the happenings known at `now`, in their order; and how much there was in all.
    pub(crate) fn seen(&self, now: u64) -> (Vec<Happening>, Totals) {
        let mut kept = self.kept();
        while kept.faults.front().is_some_and(|fault| fault.at + HOUR < now) {
            kept.faults.pop_front();
        }
        let all = kept.faults.iter().chain(&kept.refused).chain(&kept.others);
        let mut seen: Vec<_> = all.cloned().collect();
        seen.sort_by_key(|happening| happening.number);
        (seen, kept.totals)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn severity(kind: HappeningKind) -> Severity {
    use HappeningKind as Kind;
    match kind {
        Kind::LinkUp | Kind::Delivered | Kind::Relayed => Severity::Good,
        Kind::Restarted | Kind::Remark | Kind::LinkDown | Kind::Refused => Severity::Note,
        Kind::KeyShared
        | Kind::LetterRefused
        | Kind::ActorDied
        | Kind::ActorGivenUp
        | Kind::Deferred
        | Kind::Failed => Severity::Fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(who: &str) -> NodeEvent {
        NodeEvent::Refused { who: who.into(), reason: "no".into() }
    }

    fn up() -> NodeEvent {
        NodeEvent::LinkUp { peer: PeerId::from_bytes([7; 32]), name: "paris".into() }
    }

    fn given_up(name: &str) -> NodeEvent {
        NodeEvent::ActorGivenUp { name: name.into(), deaths: 5, why: "it panicked".into() }
    }

    #[test]
    fn neither_good_news_nor_strangers_push_a_fault_out_and_all_have_a_bound() {
        let happenings = Happenings::default();
        happenings.hear(&given_up("shop"));
        (0..1000).for_each(|_| happenings.hear(&up()));
        (0..1000).for_each(|_| happenings.hear(&refused("a stranger")));
        let (seen, totals) = happenings.seen(happenings.started_at());
        assert_eq!((seen.len(), totals.refused), (1 + OTHERS + REFUSED, 1000));
        assert!(seen[0].text.contains("\"shop\""), "{:?}", seen[0]);
        (0..1000).for_each(|_| happenings.hear(&given_up("another")));
        let (seen, _) = happenings.seen(happenings.started_at());
        assert_eq!(seen.len(), FAULTS + OTHERS + REFUSED);
        assert!(seen.is_sorted_by(|a, b| a.number < b.number));
        assert_eq!(seen.last().map(|last| last.number), Some(3001));
    }

    #[test]
    fn a_fault_is_forgotten_after_an_hour() {
        let happenings = Happenings::default();
        happenings.hear(&given_up("shop"));
        let at = happenings.seen(0).0[0].at;
        assert_eq!(happenings.seen(at + HOUR).0.len(), 1);
        assert_eq!(happenings.seen(at + HOUR + 1).0, []);
    }

    #[test]
    fn a_text_of_others_is_printable_and_has_a_bound() {
        let happenings = Happenings::default();
        happenings.hear(&refused(&format!("\u{1b}[2J{}", "é".repeat(2000))));
        let text = &happenings.seen(0).0[0].text;
        assert!(text.starts_with(r"\u{1b}[2J") && text.ends_with('…'), "{text}");
        assert_eq!(text.chars().count(), TEXT);
    }
}

//! The page: pure, made of two looks at each node.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::units;

/// Parts of a kind that are named; further ones are counted.
const NAMED: usize = 6;

/// Rows and columns; more is cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    rows: usize,
    columns: usize,
}

impl Default for Size {
    /// Of what is no terminal.
    fn default() -> Self {
        Self { rows: usize::MAX, columns: 200 }
    }
}

impl Size {
    pub(super) fn of_terminal() -> Self {
        let size = rustix::termios::tcgetwinsize(std::io::stdout());
        let size = size.map(|size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        let (rows, columns) = size.unwrap_or((24, 80));
        Self { rows: rows.max(3), columns: columns.max(20) }
    }
}

/// One look at a node. What is not in its snapshot, as it is older, counts as nothing.
#[derive(Debug)]
pub(super) struct Seen {
    name: String,
    /// `None` where it does not run, or does not answer.
    snapshot: Option<Snapshot>,
    /// The reason why it does not answer.
    silent: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Snapshot {
    at: u64,
    answers: bool,
    node: Node,
    totals: Totals,
    links: Vec<Link>,
    more_links: u64,
    transfers: Vec<Transfer>,
    more_transfers: u64,
    stages: Vec<Stage>,
    actors: Vec<Actor>,
    outbox: Option<Outbox>,
    relay: Option<Relay>,
    room: Room,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    since: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Totals {
    delivered_out: u64,
    delivered_in: u64,
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    peer: String,
    name: String,
    state: String,
    rtt_us: Option<u64>,
    lanes: u64,
    sent_bytes: u64,
    received_bytes: u64,
    why: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Transfer {
    id: String,
    direction: String,
    peer_name: String,
    name: String,
    phase: String,
    bytes: u64,
    total: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stage {
    name: String,
    busy_us: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actor {
    name: String,
    alive: bool,
    waiting: u64,
    taken: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outbox {
    stored: Amount,
    dead: Amount,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Relay {
    kept: Amount,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Amount {
    count: u64,
    bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Room {
    outgoing: Way,
    incoming: Way,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Way {
    waiting: u64,
}

impl Seen {
    pub(super) fn new(name: &str, snapshot: Value) -> Self {
        let snapshot = serde_json::from_value(snapshot).ok();
        Self { name: name.to_owned(), snapshot, silent: None }
    }

    pub(super) fn silent(name: &str, why: String) -> Self {
        Self { name: name.to_owned(), snapshot: None, silent: Some(why) }
    }

    pub(super) fn runs(&self) -> bool {
        self.snapshot.is_some() || self.silent.is_some()
    }
}

/// The lines of the page, of which none is wider and which are no more than there is room for.
pub(super) fn lines(before: &[Seen], now: &[Seen], size: Size) -> Vec<String> {
    let mut lines = Vec::new();
    for seen in now {
        let name = units::printable(&seen.name);
        let Some(snapshot) = &seen.snapshot else {
            lines.push(match &seen.silent {
                Some(why) => format!("{name}  does not answer: {}", units::printable(why)),
                None => format!("{name}  does not run"),
            });
            continue;
        };
        let earlier = before.iter().find(|before| before.name == seen.name);
        let earlier = earlier.and_then(|before| before.snapshot.as_ref());
        // A node that was started again counts from the beginning.
        let earlier = earlier.filter(|before| before.node.since == snapshot.node.since);
        Differences { before: earlier, now: snapshot }.node(&name, &mut lines);
    }
    if lines.len() > size.rows {
        let more = lines.len() - size.rows + 1;
        lines.truncate(size.rows - 1);
        lines.push(format!("{more} more lines: make the terminal higher"));
    }
    lines.iter().map(|line| line.chars().take(size.columns).collect()).collect()
}

struct Differences<'s> {
    before: Option<&'s Snapshot>,
    now: &'s Snapshot,
}

impl Differences<'_> {
    fn seconds(&self) -> Option<f64> {
        let passed = self.now.at.saturating_sub(self.before?.at);
        (passed > 0).then_some(passed as f64 / 1000.0)
    }

    /// `-` where there is nothing to compare with yet.
    fn rate(&self, now: u64, before: Option<u64>) -> String {
        let rate = self.seconds().zip(before);
        rate.map_or_else(
            || "-".into(),
            |(seconds, before)| units::rate(units::per_second(now.saturating_sub(before), seconds)),
        )
    }

    fn node(&self, name: &str, lines: &mut Vec<String>) {
        let Self { before, now } = self;
        let up = Duration::from_millis(now.at.saturating_sub(now.node.since));
        let totals = &now.totals;
        let out = self.rate(totals.sent_bytes, before.map(|before| before.totals.sent_bytes));
        let came = self.rate(totals.received_bytes, before.map(|b| b.totals.received_bytes));
        let answers = if now.answers { "" } else { "  ITS THREAD DOES NOT ANSWER" };
        lines.push(format!(
            "{name}  up {}  out {out}  in {came}  delivered {} out, {} in{answers}",
            units::seconds(up.as_secs_f64()),
            totals.delivered_out,
            totals.delivered_in
        ));
        self.busiest(lines);
        self.links(lines);
        self.transfers(lines);
        self.backlog(lines);
    }

    /// The stages that worked most since the last look, and actors for which most waits.
    fn busiest(&self, lines: &mut Vec<String>) {
        if let (Some(before), Some(seconds)) = (self.before, self.seconds()) {
            let busy = |stage: &Stage| {
                let earlier = before.stages.iter().find(|before| before.name == stage.name);
                let earlier = earlier.map_or(0, |before| before.busy_us);
                stage.busy_us.saturating_sub(earlier) as f64 / 1e6 / seconds
            };
            let mut stages: Vec<_> =
                self.now.stages.iter().map(|stage| (busy(stage), &stage.name)).collect();
            stages.retain(|(busy, _)| *busy >= 0.001);
            stages.sort_by(|one, other| other.0.total_cmp(&one.0));
            let stages = stages.iter().take(NAMED);
            let stages = stages
                .map(|(busy, name)| format!("{} {:.1} %", units::printable(name), 100.0 * busy));
            let stages: Vec<_> = stages.collect();
            if !stages.is_empty() {
                lines.push(format!("  busiest   {}", stages.join(", ")));
            }
        }
        let mut actors: Vec<_> = self.now.actors.iter().collect();
        actors.sort_by_key(|actor| std::cmp::Reverse((!actor.alive, actor.waiting, actor.taken)));
        for actor in actors.iter().take(NAMED) {
            let dead = if actor.alive { "" } else { ", is started anew" };
            let name = units::printable(&actor.name);
            let (waiting, taken) = (actor.waiting, actor.taken);
            lines.push(format!("  actor     {name}: {waiting} wait, {taken} taken up{dead}"));
        }
        more(lines, self.now.actors.len(), 0, "actors");
    }

    fn links(&self, lines: &mut Vec<String>) {
        for link in self.now.links.iter().take(NAMED) {
            let name = units::printable(&link.name);
            if link.state != "up" {
                let why = link.why.as_deref().map(units::printable);
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                lines.push(format!("  link      {name} {}{why}", units::printable(&link.state)));
                continue;
            }
            let before = self
                .before
                .and_then(|before| before.links.iter().find(|before| before.peer == link.peer));
            let rtt = link
                .rtt_us
                .map_or_else(|| "-".into(), |rtt| format!("{:.1} ms", rtt as f64 / 1000.0));
            lines.push(format!(
                "  link      {name} up, {rtt}, {}, out {}, in {}",
                units::count(link.lanes, "lane"),
                self.rate(link.sent_bytes, before.map(|before| before.sent_bytes)),
                self.rate(link.received_bytes, before.map(|before| before.received_bytes)),
            ));
        }
        more(lines, self.now.links.len(), self.now.more_links, "links");
    }

    fn transfers(&self, lines: &mut Vec<String>) {
        for transfer in self.now.transfers.iter().take(NAMED) {
            let arrow = if transfer.direction == "outgoing" { "→" } else { "←" };
            let before = self
                .before
                .and_then(|before| before.transfers.iter().find(|before| before.id == transfer.id));
            let of = match transfer.total.filter(|total| *total > 0) {
                Some(total) => format!(
                    "{:.1} % of {}",
                    100.0 * transfer.bytes as f64 / total as f64,
                    units::bytes(total)
                ),
                None => units::bytes(transfer.bytes),
            };
            lines.push(format!(
                "  transfer  {arrow} {} {}: {}, {of}, {}",
                units::printable(&transfer.peer_name),
                units::printable(&transfer.name),
                units::printable(&transfer.phase.replace('_', " ")),
                self.rate(transfer.bytes, before.map(|before| before.bytes)),
            ));
        }
        more(lines, self.now.transfers.len(), self.now.more_transfers, "transfers");
    }

    fn backlog(&self, lines: &mut Vec<String>) {
        let mut backlog = Vec::new();
        if let Some(outbox) = &self.now.outbox {
            let (stored, dead) = (&outbox.stored, outbox.dead.count);
            let bytes = units::bytes(stored.bytes);
            if stored.count + dead > 0 {
                backlog.push(format!("outbox {} ({bytes}), {dead} dead", stored.count));
            }
        }
        if let Some(Relay { kept }) = &self.now.relay
            && kept.count > 0
        {
            backlog.push(format!("kept for others {} ({})", kept.count, units::bytes(kept.bytes)));
        }
        let waiting = self.now.room.outgoing.waiting + self.now.room.incoming.waiting;
        if waiting > 0 {
            backlog.push(format!("{} for room", units::count(waiting, "transfer")));
        }
        if !backlog.is_empty() {
            lines.push(format!("  waits     {}", backlog.join(", ")));
        }
    }
}

fn more(lines: &mut Vec<String>, listed: usize, further: u64, what: &str) {
    let more = listed.saturating_sub(NAMED) as u64 + further;
    if more > 0 {
        lines.push(format!("            {more} more {what}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(at: u64, sent: u64, busy: u64, done: u64) -> Seen {
        let snapshot = json!({
            "version": 1, "at": at, "answers": true, "node": { "since": 1000 },
            "totals": { "sent_bytes": sent, "delivered_out": 3 },
            "links": [{ "peer": "p", "name": "paris", "state": "up", "rtt_us": 1500, "lanes": 4,
                "sent_bytes": sent }, { "peer": "d", "name": "di\u{1b}jon", "state": "dialing",
                "why": "refused" }, { "peer": "b", "name": "brest", "state": "\u{1b}[2J" }],
            "stages": [{ "name": "seal", "busy_us": busy }, { "name": "idle", "busy_us": 5 }],
            "transfers": [{ "id": "1", "direction": "outgoing", "peer_name": "paris",
                "name": "big", "phase": "waits_for_room", "bytes": done, "total": 4096 },
                { "id": "2", "phase": "\u{1b}[2J" }],
            "outbox": { "stored": { "count": 2, "bytes": 0 }, "dead": { "count": 1 } },
        });
        Seen::new("lyon", snapshot)
    }

    #[test]
    fn rates_are_differences_and_what_peers_say_steers_nothing() {
        let (before, now) = (seen(11_000, 0, 0, 0), seen(13_000, 4_000_000, 1_000_000, 2048));
        let page = lines(&[before], &[now], Size::default()).join("\n");
        for said in [
            "lyon  up 12.0 s  out 2.0 MB/s",
            "seal 50.0 %",
            "paris up, 1.5 ms, 4 lanes, out 2.0 MB/s",
            "dialing: refused",
            "→ paris big: waits for room, 50.0 % of 4.0 KiB",
            "outbox 2 (0 B), 1 dead",
        ] {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(!page.contains('\u{1b}') && !page.contains("idle"), "{page}");
    }

    #[test]
    fn a_first_look_has_no_rates_and_a_node_that_began_anew_neither() {
        let first = lines(&[], &[seen(2000, 5, 5, 5)], Size::default()).join("\n");
        assert!(first.contains("out -  in -"), "{first}");
        let mut again = seen(9000, 1, 1, 1);
        again.snapshot.as_mut().unwrap().node.since = 8000;
        let again = lines(&[seen(5000, 9, 9, 9)], &[again], Size::default()).join("\n");
        assert!(again.contains("out -  in -"), "{again}");
        let away = lines(&[], &[Seen::new("paris", Value::Null)], Size::default());
        assert_eq!(away, ["paris  does not run"]);
        let silent = Seen::silent("paris", "it hangs\u{1b}".into());
        assert!(silent.runs());
        let page = lines(&[], &[silent, seen(2000, 5, 5, 5)], Size::default());
        assert!(page[0].starts_with("paris  does not answer: it hangs"), "{page:?}");
        assert!(page[1].starts_with("lyon  up") && !page[0].contains('\u{1b}'), "{page:?}");
    }

    #[test]
    fn a_page_is_no_larger_than_its_terminal() {
        let size = Size { rows: 3, columns: 30 };
        let page = lines(&[], &[seen(2000, 5, 5, 5), seen(2000, 5, 5, 5)], size);
        assert_eq!(page.len(), 3);
        assert!(page.iter().all(|line| line.chars().count() <= 30), "{page:?}");
        assert!(page[2].contains("more lines"), "{page:?}");
    }
}

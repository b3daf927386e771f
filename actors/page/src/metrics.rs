//! A snapshot as metrics, in the text format of OpenMetrics.

use std::fmt;

use estafette::node::{
    ActorSnapshot, Amount, Direction, DoorSnapshot, LinkSnapshot, LinkState, Snapshot,
    StageSnapshot, TransferPhase,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Its content type.
pub(crate) const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn text(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("estafette");
    registry.register_collector(Box::new(Collected(snapshot)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Collected(Snapshot);

/// The name of a metric, its help, and its unit.
type About = (&'static str, &'static str, Option<Unit>);

/// The values of one name.
type Rows<'a, V> = Vec<(Vec<(&'static str, &'a str)>, V)>;

struct Writer<'w, 'e>(&'w mut DescriptorEncoder<'e>);

impl Writer<'_, '_> {
    fn counters(&mut self, about: About, rows: Rows<'_, u64>) -> fmt::Result {
        self.write(about, rows.into_iter().map(|(labels, n)| (labels, ConstCounter::new(n))))
    }

    fn seconds(&mut self, about: About, rows: Rows<'_, f64>) -> fmt::Result {
        self.write(about, rows.into_iter().map(|(labels, n)| (labels, ConstCounter::new(n))))
    }

    fn gauges(&mut self, about: About, rows: Rows<'_, u64>) -> fmt::Result {
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        self.write(about, rows.into_iter().map(|(labels, n)| (labels, gauge(n))))
    }

    fn write<'a, V: EncodeMetric>(
        &mut self,
        (name, help, unit): About,
        rows: impl Iterator<Item = (Vec<(&'static str, &'a str)>, V)>,
    ) -> fmt::Result {
        let rows: Vec<_> = rows.collect();
        let Some((_, first)) = rows.first() else { return Ok(()) };
        let kind = first.metric_type();
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in &rows {
            value.encode(family.encode_family(&labels.as_slice())?)?;
        }
        Ok(())
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut Writer(&mut encoder);
        node(&self.0, to)?;
        links(&self.0, to)?;
        transfers(&self.0, to)?;
        stages(&self.0, to)?;
        actors(&self.0, to)?;
        doors(&self.0, to)?;
        stored(&self.0, to)
    }
}

/// One value, without a label.
fn one<'a, V>(value: V) -> Rows<'a, V> {
    vec![(Vec::new(), value)]
}

/// Values by direction.
fn ways<'a>(out: u64, coming: u64) -> Rows<'a, u64> {
    vec![(vec![("direction", "outgoing")], out), (vec![("direction", "incoming")], coming)]
}

fn node(snapshot: &Snapshot, to: &mut Writer<'_, '_>) -> fmt::Result {
    let (node, totals) = (&snapshot.node, &snapshot.totals);
    let labels = vec![("id", &*node.id), ("name", &*node.name), ("version", &*node.version)];
    to.gauges(("node", "The node, by its labels", None), vec![(labels, 1)])?;
    let up = (snapshot.at.saturating_sub(node.since)) / 1000;
    to.gauges(("uptime", "Time since its start", Some(Unit::Seconds)), one(up))?;
    let answers = one(u64::from(snapshot.answers));
    to.gauges(("answers", "1 if the node's thread answers", None), answers)?;
    let delivered = ways(totals.delivered_out, totals.delivered_in);
    to.counters(("delivered", "Deliveries made", None), delivered)?;
    let bytes = ways(totals.delivered_out_bytes, totals.delivered_in_bytes);
    let about = ("delivered_content", "Content of deliveries made", Some(Unit::Bytes));
    to.counters(about, bytes)?;
    to.counters(("failed", "Deliveries failed", None), ways(totals.failed_out, totals.failed_in))?;
    to.counters(("deferred", "Tries that failed for now", None), one(totals.deferred))?;
    to.counters(("restarted", "Attempts begun anew", None), one(totals.restarted))?;
    to.counters(("refused", "Connections refused", None), one(totals.refused))?;
    let wire = ways(totals.sent_bytes, totals.received_bytes);
    to.counters(("wire", "Bytes written to peers and read", Some(Unit::Bytes)), wire)
}

fn links(snapshot: &Snapshot, to: &mut Writer<'_, '_>) -> fmt::Result {
    let links = &snapshot.links;
    let each = |value: fn(&LinkSnapshot) -> u64| -> Rows<'_, u64> {
        links.iter().map(|link| (of_peer(link), value(link))).collect()
    };
    let up = each(|link| u64::from(link.state == LinkState::Up));
    to.gauges(("link_up", "1 if the link with the peer is up", None), up)?;
    let rtt = links
        .iter()
        .filter_map(|link| Some((of_peer(link), ConstGauge::new(link.rtt_us? as f64 / 1e6))));
    to.write(("link_round_trip", "Time of the last ping", Some(Unit::Seconds)), rtt)?;
    to.gauges(("link_lanes", "Connections for content", None), each(|link| link.lanes))?;
    let sent = each(|link| link.sent_bytes);
    to.counters(("link_sent", "Bytes written in this session", Some(Unit::Bytes)), sent)?;
    let received = each(|link| link.received_bytes);
    to.counters(("link_received", "Bytes read in this session", Some(Unit::Bytes)), received)
}

/// The labels of a peer.
fn of_peer(link: &LinkSnapshot) -> Vec<(&'static str, &str)> {
    vec![("peer", &*link.peer), ("name", &*link.name)]
}

fn transfers(snapshot: &Snapshot, to: &mut Writer<'_, '_>) -> fmt::Result {
    let phases = [
        (TransferPhase::Running, "running"),
        (TransferPhase::Finishing, "finishing"),
        (TransferPhase::Starting, "starting"),
        (TransferPhase::Offered, "offered"),
        (TransferPhase::Paused, "paused"),
        (TransferPhase::Interrupted, "interrupted"),
        (TransferPhase::WaitsForRoom, "waits_for_room"),
        (TransferPhase::WaitsForLink, "waits_for_link"),
    ];
    let ways = [(Direction::Outgoing, "outgoing"), (Direction::Incoming, "incoming")];
    let rows = ways.iter().flat_map(|(direction, way)| {
        phases.iter().map(|(phase, name)| {
            let listed = snapshot.transfers.iter();
            let is_one = |seen: &&estafette::node::TransferSnapshot| {
                (seen.phase, seen.direction) == (*phase, *direction)
            };
            let count = listed.filter(is_one).count() as u64;
            (vec![("direction", *way), ("phase", *name)], count)
        })
    });
    to.gauges(("transfers", "Transfers under way that are listed", None), rows.collect())?;
    let more = one(snapshot.more_transfers);
    to.gauges(("transfers_more", "Transfers under way beyond these", None), more)?;
    let room = &snapshot.room;
    let running = self::ways(room.outgoing.running, room.incoming.running);
    to.gauges(("room_running", "Transfers that have room", None), running)?;
    let waiting = self::ways(room.outgoing.waiting, room.incoming.waiting);
    to.gauges(("room_waiting", "Transfers that wait for room", None), waiting)?;
    let bytes = self::ways(room.outgoing.bytes, room.incoming.bytes);
    to.gauges(("room_taken", "Room that is set aside", Some(Unit::Bytes)), bytes)
}

fn doors(snapshot: &Snapshot, to: &mut Writer<'_, '_>) -> fmt::Result {
    let doors = &snapshot.doors;
    let each = |value: fn(&DoorSnapshot) -> u64| -> Rows<'_, u64> {
        let row = |door| (of_door(door), value(door));
        doors.iter().map(row).collect()
    };
    to.counters(("door_calls", "Requests by a door", None), each(|door| door.calls))?;
    let open = each(|door| door.open);
    to.gauges(("door_open", "Requests whose answers have not ended", None), open)?;
    let refused = each(|door| door.refused);
    to.counters(("door_refused", "Requests not let in, or without room", None), refused)?;
    let received = each(|door| door.received_bytes);
    let about = ("door_received", "Content of requests by a door", Some(Unit::Bytes));
    to.counters(about, received)?;
    let about = ("door_sent", "Content of answers by a door", Some(Unit::Bytes));
    to.counters(about, each(|door| door.sent_bytes))
}

/// The labels of a door.
fn of_door(door: &DoorSnapshot) -> Vec<(&'static str, &str)> {
    vec![("door", &*door.name), ("kind", &*door.kind)]
}

fn stages(snapshot: &Snapshot, to: &mut Writer<'_, '_>) -> fmt::Result {
    let stages = &snapshot.stages;
    let each = |value: fn(&StageSnapshot) -> u64| -> Rows<'_, u64> {
        stages.iter().map(|stage| (vec![("stage", &*stage.name)], value(stage))).collect()
    };
    to.counters(("stage_chunks", "Chunks done", None), each(|stage| stage.chunks))?;
    let came = each(|stage| stage.bytes_in);
    to.counters(("stage_in", "Bytes that came in", Some(Unit::Bytes)), came)?;
    let went = each(|stage| stage.bytes_out);
    to.counters(("stage_out", "Bytes that went out", Some(Unit::Bytes)), went)?;
    let busy =
        stages.iter().map(|stage| (vec![("stage", &*stage.name)], stage.busy_us as f64 / 1e6));
    to.seconds(("stage_busy", "Time spent working", Some(Unit::Seconds)), busy.collect())?;
    let most = each(|stage| stage.high_water);
    to.gauges(("stage_high_water", "The most messages that waited at once", None), most)?;
    to.counters(("stage_panics", "Panics caught", None), each(|stage| stage.panics))?;
    to.counters(("stage_restarts", "Actors started anew", None), each(|stage| stage.restarts))
}

fn actors(snapshot: &Snapshot, to: &mut Writer<'_, '_>) -> fmt::Result {
    let each = |value: &dyn Fn(&ActorSnapshot) -> u64| -> Rows<'_, u64> {
        let row = |actor| (vec![("actor", name(actor))], value(actor));
        snapshot.actors.iter().map(row).collect()
    };
    let at = snapshot.at;
    to.gauges(("actor_alive", "1 if it lives", None), each(&|actor| u64::from(actor.alive)))?;
    to.gauges(("actor_waiting", "Messages that wait for it", None), each(&|actor| actor.waiting))?;
    to.gauges(("actor_in_hand", "Messages it has in hand", None), each(&|actor| actor.in_hand))?;
    let busy = each(&|actor| actor.busy_since.map_or(0, |since| at.saturating_sub(since) / 1000));
    to.gauges(("actor_busy_for", "Time since its last turn", Some(Unit::Seconds)), busy)?;
    to.counters(("actor_taken", "Messages taken up", None), each(&|actor| actor.taken))?;
    to.counters(("actor_deaths", "Times it has died", None), each(&|actor| actor.deaths))
}

fn name(actor: &ActorSnapshot) -> &str {
    &actor.name
}

fn stored(snapshot: &Snapshot, to: &mut Writer<'_, '_>) -> fmt::Result {
    if let Some(spool) = &snapshot.spool {
        let failed = one(u64::from(spool.failure.is_some()));
        to.gauges(("spool_failed", "1 if the spool takes nothing more", None), failed)?;
    }
    if let Some(outbox) = &snapshot.outbox {
        let states = [
            ("stored", outbox.stored),
            ("relayed", outbox.relayed),
            ("delivered", outbox.delivered),
            ("processed", outbox.processed),
            ("dead", outbox.dead),
        ];
        let each = |value: fn(&Amount) -> u64| -> Rows<'_, u64> {
            let row =
                |(name, amount): &(&'static str, Amount)| (vec![("state", *name)], value(amount));
            states.iter().map(row).collect()
        };
        to.gauges(("outbox", "Deliveries in the outbox", None), each(|amount| amount.count))?;
        let bytes = each(|amount| amount.bytes);
        to.gauges(("outbox_content", "Their content", Some(Unit::Bytes)), bytes)?;
        let taken = one(outbox.folder_bytes);
        to.gauges(("spool_taken", "Packages and copies", Some(Unit::Bytes)), taken)?;
        let most = one(outbox.folder_most);
        to.gauges(("spool_most", "The most of these", Some(Unit::Bytes)), most)?;
    }
    if let Some(relay) = &snapshot.relay {
        to.gauges(("relay_kept", "Packages kept for others", None), one(relay.kept.count))?;
        let bytes = one(relay.kept.bytes);
        to.gauges(("relay_kept_content", "Their size", Some(Unit::Bytes)), bytes)?;
    }
    if let Some(letters) = &snapshot.letters {
        let ways = ways(letters.outgoing, letters.incoming);
        to.gauges(("letters", "Durable messages that are not over", None), ways)?;
        to.gauges(("letters_dead", "Durable messages given up", None), one(letters.dead))?;
        to.gauges(("letters_handed", "Letters with their actors", None), one(letters.handed))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use estafette::wire::Identity;
    use estafette::{Node, TrustedPeer};

    use super::*;

    #[tokio::test]
    async fn each_line_is_of_the_format_whatever_a_peer_is_called() {
        let node = Node::builder().stages(estafette_actors::standard()).start().await.unwrap();
        node.trust().add(Identity::generate().peer(), TrustedPeer::new("café")).unwrap();
        let mut snapshot = node.snapshot().await;
        // The name of an actor may have anything that can be seen.
        snapshot.links[0].name = r#"a "quoted" \ name"#.into();
        let text = text(snapshot).unwrap();
        let escaped = r#"name="a \"quoted\" \\ name"} 0"#;
        assert!(text.contains(escaped), "{text}");
        for line in text.lines() {
            let is_about = ["# HELP ", "# TYPE ", "# UNIT ", "# EOF"].iter();
            let is_about = is_about.clone().any(|start| line.starts_with(start));
            let is_value = line.rsplit_once(' ').is_some_and(|(name, value)| {
                name.starts_with("estafette_")
                    && !name.contains("{}")
                    && value.parse::<f64>().is_ok()
            });
            assert!(is_about || is_value, "{line}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}

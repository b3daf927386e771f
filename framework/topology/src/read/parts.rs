//! Nodes, inboxes, routes and doors, each from its table.

use std::time::Duration;

use estafette::node::{NodeConfig, RelayQuota};
use estafette::pipeline::Priority;
use serde::Deserialize;
use toml::Value;

use super::{Broken, Fields, tests};
use crate::fault::{Fault, quoted};
use crate::model::{
    Deliver, DoorSpec, EachSpec, Expected, HttpSpec, InboxSpec, Kind, Line, NodeSpec,
    ReceiptWanted, RouteSpec, Schedule, Shows, SourceSpec, StageSpec, TapSpec, Target, Then,
    Topology,
};

/// Reads all of it.
pub(super) fn read(
    value: Value,
    topology: &mut Topology,
    broken: &mut Broken,
    faults: &mut Vec<Fault>,
) {
    let Some(mut fields) = Fields::of(String::new(), value, faults) else { return };
    if let Some(state) = fields.path("state") {
        topology.state = state;
    }
    for (name, value) in fields.tables("node") {
        let node = node(format!("node.{}", quoted(&name)), value, fields.faults);
        topology.nodes.insert(name, node.unwrap_or_default());
    }
    for (name, value) in fields.tables("inbox") {
        let at = format!("inbox.{}", quoted(&name));
        match inbox(at, value, fields.faults) {
            Some((inbox, true)) => drop(topology.inboxes.insert(name, inbox)),
            Some((inbox, false)) => drop(broken.inboxes.insert(name, inbox)),
            None => {}
        }
    }
    for (name, value) in fields.tables("route") {
        let at = format!("route.{}", quoted(&name));
        match route(at, value, fields.faults) {
            Some((route, true)) => drop(topology.routes.insert(name, route)),
            Some((route, false)) => drop(broken.routes.insert(name, route)),
            None => {}
        }
    }
    for (name, value) in fields.tables("door") {
        let at = format!("door.{}", quoted(&name));
        match door(at, value, fields.faults) {
            Some((door, true)) => drop(topology.doors.insert(name, door)),
            Some((door, false)) => drop(broken.doors.insert(name, door)),
            None => {}
        }
    }
    for (index, value) in fields.list("test").into_iter().enumerate() {
        let test = tests::read(format!("test[{index}]"), value, fields.faults);
        topology.tests.push(test.unwrap_or_default());
    }
    fields.finish();
}

fn node(at: String, value: Value, faults: &mut Vec<Fault>) -> Option<NodeSpec> {
    let mut fields = Fields::of(at, value, faults)?;
    let id = fields.text("id");
    let node = NodeSpec {
        id: id.and_then(|id| fields.parsed("id", id.parse())),
        key: fields.path("key"),
        spool: fields.path("spool"),
        listen: fields.texts("listen"),
        addresses: fields.texts("addresses"),
        trust: fields.texts("trust"),
        observe: fields.texts("observe"),
        relay: relay(&mut fields),
        limits: limits(&mut fields),
        http: http(&mut fields),
        line: line(&mut fields),
    };
    fields.finish();
    Some(node)
}

/// `relay = true`, or a table of its quota.
fn relay(fields: &mut Fields<'_>) -> Option<RelayQuota> {
    match fields.value("relay")? {
        Value::Boolean(relay) => relay.then(RelayQuota::default),
        table @ Value::Table(_) => {
            let at = fields.key("relay");
            let mut quota = Fields::of(at, table, fields.faults)?;
            let default = RelayQuota::default();
            let packages = quota.value("packages");
            let packages = match packages {
                None => Some(default.packages),
                Some(Value::Integer(count)) => quota
                    .parsed("packages", usize::try_from(count).map_err(|_| "a count is wanted")),
                Some(other) => quota.wrong("packages", &other, "a count"),
            };
            let bytes = quota.size("bytes").unwrap_or(default.bytes);
            quota.finish();
            Some(RelayQuota { packages: packages?, bytes })
        }
        other => fields.wrong("relay", &other, "`true` or a table"),
    }
}

/// `http = "127.0.0.1:7480"`, or a table.
fn http(fields: &mut Fields<'_>) -> Option<HttpSpec> {
    match fields.value("http")? {
        Value::String(listen) => Some(HttpSpec { listen, ..HttpSpec::default() }),
        table => {
            let at = fields.key("http");
            let mut http = Fields::of(at, table, fields.faults)?;
            let listen = http.needed("listen", "\"127.0.0.1:7480\"");
            let listen = listen.and_then(|listen| http.as_text("listen", listen));
            let (token_file, hosts) = (http.path("token_file"), http.texts("hosts"));
            http.finish();
            Some(HttpSpec { listen: listen?, token_file, hosts })
        }
    }
}

/// `line = "12MiB"`, or a table.
fn line(fields: &mut Fields<'_>) -> Option<Line> {
    match fields.value("line")? {
        table @ Value::Table(_) => {
            let mut line = Fields::of(fields.key("line"), table, fields.faults)?;
            let speed = line.needed("speed", "\"12MiB\"");
            let speed = speed.and_then(|speed| line.as_size("speed", &speed));
            let latency = line.time("latency").unwrap_or_default();
            line.finish();
            Some(Line { speed: speed?, latency })
        }
        speed => {
            let speed = fields.as_size("line", &speed)?;
            Some(Line { speed, latency: Duration::ZERO })
        }
    }
}

/// Returns what is expected of a route: `{ bytes = "10GiB", every = "1d", ratio = 0.5 }`.
fn expected(fields: &mut Fields<'_>) -> Option<Expected> {
    let table = fields.value("expected")?;
    let mut expected = Fields::of(fields.key("expected"), table, fields.faults)?;
    let bytes = expected.needed("bytes", "\"10MiB\"");
    let bytes = bytes.and_then(|bytes| expected.as_size("bytes", &bytes));
    let every = expected.needed("every", "\"1h\"");
    let every = every.and_then(|every| expected.as_time("every", &every));
    let ratio = match expected.value("ratio") {
        None => Some(1.0),
        Some(Value::Float(ratio)) => Some(ratio),
        Some(Value::Integer(ratio)) => Some(ratio as f64),
        Some(other) => expected.wrong("ratio", &other, "a number, such as 0.5"),
    };
    expected.finish();
    Some(Expected { bytes: bytes?, every: every?, ratio: ratio? })
}

/// `tap = "content"`, or a table.
fn tap(fields: &mut Fields<'_>) -> TapSpec {
    match fields.value("tap") {
        None => TapSpec::default(),
        Some(table @ Value::Table(_)) => {
            let at = fields.key("tap");
            let Some(mut tap) = Fields::of(at, table, fields.faults) else {
                return TapSpec::default();
            };
            let shows = tap.text("shows").and_then(|shown| tap.parsed("shows", shows(&shown)));
            let record = tap.texts("record");
            tap.finish();
            TapSpec { shows: shows.unwrap_or_default(), record }
        }
        Some(shown) => {
            let shown = fields.as_text("tap", shown);
            let shows = shown.and_then(|shown| fields.parsed("tap", shows(&shown)));
            TapSpec { shows: shows.unwrap_or_default(), ..TapSpec::default() }
        }
    }
}

fn shows(shown: &str) -> Result<Shows, &'static str> {
    let found = Shows::NAMES.iter().find(|(name, _)| *name == shown);
    found
        .map(|(_, shows)| *shows)
        .ok_or("\"nothing\", \"sizes\", \"names\" or \"content\" is wanted")
}

/// The limits of a node, each key by itself, so that all faults are found.
fn limits(fields: &mut Fields<'_>) -> NodeConfig {
    let Some(value) = fields.value("limits") else { return NodeConfig::default() };
    let at = fields.key("limits");
    let Value::Table(mut table) = value else {
        Fields::of(at, value, fields.faults);
        return NodeConfig::default();
    };
    table.retain(|key, value| {
        let at = format!("{at}.{}", quoted(key));
        if key == "relay" {
            let fault = Fault::new("unknown-key", at, "`relay` is said of the node, not here");
            fields.faults.push(fault.help("move it out of the limits: relay = true"));
            return false;
        }
        let one = toml::Table::from_iter([(key.to_owned(), value.clone())]);
        let Err(error) = NodeConfig::deserialize(one) else { return true };
        let fault = of_setting(&at, key, error.message(), fields.faults.len());
        fields.faults.push(fault);
        false
    });
    let config = NodeConfig::deserialize(table);
    fields.parsed("limits", config).unwrap_or_default()
}

/// A fault of a setting, in serde's words.
pub(crate) fn of_setting(at: &str, key: &str, why: &str, before: usize) -> Fault {
    let Some((unknown, known)) = unknown_in(why) else {
        let fault = Fault::new("wrong-value", at, format!("`{at}` can't be read"));
        return fault.label(why.trim_end());
    };
    let at = if unknown == key { at.to_owned() } else { format!("{at}.{}", quoted(unknown)) };
    let fault = Fault::new("unknown-key", at, format!("there is no setting `{unknown}` here"));
    fault.label("there is no such key").nearest(before, unknown, known)
}

/// Returns the field that serde says a type does not have, and those that it has.
fn unknown_in(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field `")?.split('`').step_by(2);
    let unknown = quoted.next()?;
    Some((unknown, quoted.filter(|known| !known.is_empty()).collect()))
}

/// An inbox, and whether all of it could be read.
fn inbox(at: String, value: Value, faults: &mut Vec<Fault>) -> Option<(InboxSpec, bool)> {
    let mut fields = Fields::of(at, value, faults)?;
    let nodes = fields.needed("node", "\"NAME\"");
    let nodes = nodes.map(|nodes| fields.as_texts("node", nodes));
    let sink = fields.needed("sink", "{ folder = \"in/\" }");
    let sink = sink.and_then(|sink| kind(&mut fields, "sink", sink));
    fields.finish();
    let whole = nodes.is_some() && sink.is_some();
    let sink = sink.unwrap_or_else(|| Kind::new("", String::new()));
    Some((InboxSpec { nodes: nodes.unwrap_or_default(), sink }, whole))
}

/// A table of one key: the kind, and its settings.
fn kind(fields: &mut Fields<'_>, key: &str, value: Value) -> Option<Kind> {
    let at = fields.key(key);
    let choice = Fields::of(at, value, fields.faults)?;
    let (name, settings) = choice.only("kind", &format!("{key} = {{ KIND = SETTINGS }}"))?;
    Some(Kind { name, settings })
}

/// A door, and whether all of it could be read.
fn door(at: String, value: Value, faults: &mut Vec<Fault>) -> Option<(DoorSpec, bool)> {
    let mut fields = Fields::of(at, value, faults)?;
    let node = fields.needed("node", "\"NAME\"");
    let node = node.and_then(|node| fields.as_text("node", node));
    let door = fields.needed("door", "{ http = \"127.0.0.1:7480\" }");
    let door = door.and_then(|door| kind(&mut fields, "door", door));
    let before = fields.faults.len();
    // Whether it leads in or out is known by its kind, which the checks look at.
    let to = match door {
        None => fields.needed("to", "\"NODE/NAME\""),
        Some(_) => fields.value("to"),
    };
    let to = to.map(|to| fields.as_list("to", to)).unwrap_or_default();
    let to = targets(&mut fields, &to);
    let from = fields.value("from").map(|from| fields.as_list("from", from)).unwrap_or_default();
    let from: Vec<_> = from.into_iter().flatten().collect();
    let has_all = fields.faults.len() == before;
    fields.finish();
    let whole = node.is_some() && door.is_some() && has_all;
    let door = door.unwrap_or_else(|| Kind::new("", String::new()));
    Some((DoorSpec { node: node.unwrap_or_default(), door, to, from }, whole))
}

/// A route, and whether all that it needs could be read. What could not has faults already, at the
/// places where others would be found.
fn route(at: String, value: Value, faults: &mut Vec<Fault>) -> Option<(RouteSpec, bool)> {
    let mut fields = Fields::of(at, value, faults)?;
    let from = fields.needed("from", "\"NAME\"");
    let from = from.and_then(|from| fields.as_text("from", from));
    let source = fields.needed("source", "{ paths = \"out/\" }");
    let source = source.and_then(|source| source_of(&mut fields, source));
    let to = fields.needed("to", "\"NODE/INBOX\"");
    let to = to.map(|to| fields.as_list("to", to));
    let before = fields.faults.len();
    let has_all = to.as_ref().is_some_and(|to| to.iter().all(Option::is_some));
    let targets = to.map(|to| targets(&mut fields, &to));
    let has_all = has_all && fields.faults.len() == before;
    let whole = from.is_some() && source.is_some() && has_all;
    let chunk_size = match fields.size("chunk_size").map(u32::try_from) {
        Some(Err(_)) => fields.parsed("chunk_size", Err("it is 4 MiB at most")),
        size => size.and_then(Result::ok),
    };
    let route = RouteSpec {
        from: from.unwrap_or_default(),
        source: source.unwrap_or_else(|| SourceSpec::Kind(Kind::new("", String::new()))),
        to: targets.unwrap_or_default(),
        deliver: deliver(&mut fields),
        via: via(&mut fields),
        stages: stages(&mut fields),
        codec: fields.text("codec"),
        expiry: fields.time("expires"),
        chunk_size,
        rate: fields.size("rate"),
        priority: priority(&mut fields),
        receipt: receipt(&mut fields),
        schedule: schedule(&mut fields),
        empties: fields.flag("empties"),
        patience: fields.time("patience"),
        expected: expected(&mut fields),
        tap: tap(&mut fields),
    };
    fields.finish();
    Some((route, whole))
}

/// A name, or a list of names and of tables of one key: `{ redact = { fields = ["card"] } }`.
fn stages(fields: &mut Fields<'_>) -> Vec<StageSpec> {
    let list = match fields.value("stages") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let several = list.len() > 1;
    let mut stages = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let at = if several { format!("stages[{index}]") } else { "stages".into() };
        let stage = match value {
            Value::String(name) => Some(StageSpec::new(name)),
            table @ Value::Table(_) => kind(fields, &at, table)
                .map(|Kind { name, settings }| StageSpec { name, settings: Some(settings) }),
            other => fields.wrong(&at, &other, "a name, or a table { NAME = SETTINGS }"),
        };
        // What could not be read keeps the places of the others.
        stages.push(stage.unwrap_or_else(|| StageSpec::new("")));
    }
    stages
}

fn targets(fields: &mut Fields<'_>, to: &[Option<String>]) -> Vec<Target> {
    let mut targets = Vec::new();
    for (index, text) in to.iter().enumerate() {
        let key = if to.len() > 1 { format!("to[{index}]") } else { "to".into() };
        let target = text.as_ref().and_then(|text| fields.parsed(&key, target(text)));
        targets.push(target.unwrap_or_else(|| Target::new("", "")));
    }
    targets
}

/// A relay, or a list of relays.
fn via(fields: &mut Fields<'_>) -> Vec<String> {
    let Some(via) = fields.value("via") else { return Vec::new() };
    fields.as_texts("via", via)
}

fn deliver(fields: &mut Fields<'_>) -> Deliver {
    match fields.text("deliver").as_deref() {
        None | Some("all") => Deliver::All,
        Some("one") => Deliver::One,
        Some(_) => {
            fields.parsed("deliver", Err("\"all\" or \"one\" is wanted")).unwrap_or_default()
        }
    }
}

fn priority(fields: &mut Fields<'_>) -> Priority {
    match fields.text("priority").as_deref() {
        None | Some("normal") => Priority::Normal,
        Some("high") => Priority::High,
        Some("low") => Priority::Low,
        Some(_) => fields
            .parsed("priority", Err("\"high\", \"normal\" or \"low\" is wanted"))
            .unwrap_or_default(),
    }
}

fn receipt(fields: &mut Fields<'_>) -> ReceiptWanted {
    match fields.text("receipt").as_deref() {
        None | Some("delivered") => ReceiptWanted::Delivered,
        Some("processed") => ReceiptWanted::Processed,
        Some(_) => fields
            .parsed("receipt", Err("\"delivered\" or \"processed\" is wanted"))
            .unwrap_or_default(),
    }
}

fn target(text: &str) -> Result<Target, &'static str> {
    match text.split_once('/') {
        Some((node, inbox)) if !node.is_empty() && !inbox.is_empty() => {
            Ok(Target::new(node, inbox))
        }
        _ => Err("\"NODE/INBOX\" is wanted"),
    }
}

fn source_of(fields: &mut Fields<'_>, value: Value) -> Option<SourceSpec> {
    let Kind { name, settings } = kind(fields, "source", value)?;
    let at = fields.key(&format!("source.{}", quoted(&name)));
    match (name.as_str(), settings) {
        ("inbox", Value::String(inbox)) => Some(SourceSpec::Inbox(inbox)),
        ("inbox", other) => {
            Fields::of(at, other, fields.faults)?.only("name", "{ inbox = \"NAME\" }")?;
            None
        }
        ("each", Value::String(folder)) => {
            Some(SourceSpec::Each(EachSpec { folder: folder.into(), then: Then::Keep }))
        }
        ("each", settings) => {
            let mut fields = Fields::of(at, settings, fields.faults)?;
            let folder = fields.needed("folder", "\"out/\"");
            let folder = folder.and_then(|folder| fields.as_text("folder", folder));
            let then = match fields.text("then").as_deref() {
                None | Some("keep") => Some(Then::Keep),
                Some("remove") => Some(Then::Remove),
                Some(_) => fields.parsed("then", Err("\"keep\" or \"remove\" is wanted")),
            };
            fields.finish();
            Some(SourceSpec::Each(EachSpec { folder: folder?.into(), then: then? }))
        }
        (_, settings) => Some(SourceSpec::Kind(Kind { name, settings })),
    }
}

/// `"once"`, `"change"`, or `{ every = "1h" }`.
fn schedule(fields: &mut Fields<'_>) -> Schedule {
    const WANTED: &str = "\"once\", \"change\" or { every = \"1h\" } is wanted";
    let schedule = match fields.value("schedule") {
        None => return Schedule::Once,
        Some(Value::String(text)) => match text.as_str() {
            "once" => Some(Schedule::Once),
            "change" => Some(Schedule::Change),
            _ => fields.parsed("schedule", Err(WANTED)),
        },
        Some(Value::Table(mut table)) if table.len() == 1 && table.contains_key("every") => {
            let every = table.remove("every").unwrap_or(Value::Boolean(false));
            fields.as_time("schedule.every", &every).map(Schedule::Every)
        }
        Some(_) => fields.parsed("schedule", Err(WANTED)),
    };
    schedule.unwrap_or_default()
}

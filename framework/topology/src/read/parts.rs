//! Nodes, inboxes and routes, each from its table.

use estafette::node::{NodeConfig, RelayQuota};
use serde::Deserialize;
use toml::Value;

use super::{Fields, tests};
use crate::fault::Fault;
use crate::model::{
    Deliver, EachSpec, HttpSpec, InboxSpec, Kind, NodeSpec, RouteSpec, Schedule, SourceSpec,
    Target, Then, Topology,
};

/// Reads all of it.
pub(super) fn read(value: Value, topology: &mut Topology, faults: &mut Vec<Fault>) {
    let Some(mut fields) = Fields::of(String::new(), value, faults) else { return };
    if let Some(state) = fields.path("state") {
        topology.state = state;
    }
    for (name, value) in fields.tables("node") {
        let node = node(format!("node.{name}"), value, fields.faults);
        topology.nodes.insert(name, node.unwrap_or_default());
    }
    for (name, value) in fields.tables("inbox") {
        if let Some(inbox) = inbox(format!("inbox.{name}"), value, fields.faults) {
            topology.inboxes.insert(name, inbox);
        }
    }
    for (name, value) in fields.tables("route") {
        if let Some(route) = route(format!("route.{name}"), value, fields.faults) {
            topology.routes.insert(name, route);
        }
    }
    for (index, value) in fields.list("test").into_iter().enumerate() {
        if let Some(test) = tests::read(format!("test[{index}]"), value, fields.faults) {
            topology.tests.push(test);
        }
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
        relay: relay(&mut fields),
        limits: limits(&mut fields),
        http: http(&mut fields),
    };
    fields.finish();
    Some(node)
}

/// `relay = true`, or a table of its quota.
fn relay(fields: &mut Fields<'_>) -> Option<RelayQuota> {
    match fields.value("relay")? {
        Value::Boolean(relay) => relay.then(RelayQuota::default),
        table => {
            let at = fields.key("relay");
            let mut quota = Fields::of(at, table, fields.faults)?;
            let default = RelayQuota::default();
            let packages = quota.value("packages");
            let packages = match packages {
                None => Some(default.packages),
                Some(Value::Integer(count)) => {
                    quota.parsed("packages", usize::try_from(count).map_err(|_| "a count"))
                }
                Some(_) => quota.parsed("packages", Err("a count")),
            };
            let bytes = quota.size("bytes").unwrap_or(default.bytes);
            quota.finish();
            Some(RelayQuota { packages: packages?, bytes })
        }
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
            let listen = listen.and_then(|listen| http.as_texts("listen", listen).pop());
            let (token_file, hosts) = (http.path("token_file"), http.texts("hosts"));
            http.finish();
            Some(HttpSpec { listen: listen?, token_file, hosts })
        }
    }
}

/// The limits of a node, each key by itself, so that all faults are found.
fn limits(fields: &mut Fields<'_>) -> NodeConfig {
    let Some(value) = fields.value("limits") else { return NodeConfig::default() };
    let at = fields.key("limits");
    let Value::Table(table) = value else {
        Fields::of(at, value, fields.faults);
        return NodeConfig::default();
    };
    let before = fields.faults.len();
    for (key, value) in &table {
        let at = format!("{at}.{key}");
        if key == "relay" {
            let fault = Fault::new("unknown-key", at, "`relay` is said of the node, not here");
            fields.faults.push(fault.help("move it out of the limits: relay = true"));
            continue;
        }
        let one = toml::Table::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = NodeConfig::deserialize(one) {
            fields.faults.push(of_setting(&at, key, error.message()));
        }
    }
    if fields.faults.len() > before {
        return NodeConfig::default();
    }
    let config = NodeConfig::deserialize(table);
    fields.parsed("limits", config).unwrap_or_default()
}

/// A fault of a setting, in serde's words.
pub(crate) fn of_setting(at: &str, key: &str, why: &str) -> Fault {
    let Some((unknown, known)) = unknown_in(why) else {
        let fault = Fault::new("wrong-value", at, format!("`{at}` can't be read"));
        return fault.label(why.trim_end());
    };
    let at = if unknown == key { at.to_owned() } else { format!("{at}.{unknown}") };
    let fault = Fault::new("unknown-key", at, format!("there is no setting `{unknown}` here"));
    fault.label("there is no such key").nearest(unknown, known)
}

/// What serde says of a field that a type does not have.
fn unknown_in(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field `")?.split('`').step_by(2);
    let unknown = quoted.next()?;
    Some((unknown, quoted.filter(|known| !known.is_empty()).collect()))
}

fn inbox(at: String, value: Value, faults: &mut Vec<Fault>) -> Option<InboxSpec> {
    let mut fields = Fields::of(at, value, faults)?;
    let nodes = fields.needed("node", "\"NAME\"");
    let nodes = nodes.map(|nodes| fields.as_texts("node", nodes));
    let sink = fields.needed("sink", "{ folder = \"in/\" }");
    let sink = sink.and_then(|sink| kind(&mut fields, "sink", sink));
    fields.finish();
    Some(InboxSpec { nodes: nodes?, sink: sink? })
}

/// A table of one key: the kind, and its settings.
fn kind(fields: &mut Fields<'_>, key: &str, value: Value) -> Option<Kind> {
    let at = fields.key(key);
    let choice = Fields::of(at, value, fields.faults)?;
    let (name, settings) = choice.only("kind", &format!("{key} = {{ KIND = SETTINGS }}"))?;
    Some(Kind { name, settings })
}

fn route(at: String, value: Value, faults: &mut Vec<Fault>) -> Option<RouteSpec> {
    let mut fields = Fields::of(at, value, faults)?;
    let from = match fields.needed("from", "\"NAME\"") {
        Some(Value::String(from)) => Some(from),
        Some(other) => fields.as_texts("from", other).pop(),
        None => None,
    };
    let source = fields.needed("source", "{ paths = \"out/\" }");
    let source = source.and_then(|source| source_of(&mut fields, source));
    let to = fields.needed("to", "\"NODE/INBOX\"");
    let to = to.map(|to| fields.as_texts("to", to)).unwrap_or_default();
    let several = to.len() > 1;
    let to: Vec<_> = to
        .into_iter()
        .enumerate()
        .filter_map(|(index, to)| {
            let key = if several { format!("to[{index}]") } else { "to".into() };
            fields.parsed(&key, target(&to))
        })
        .collect();
    let chunk_size = fields.size("chunk_size").map(u32::try_from);
    let route = RouteSpec {
        from: from.unwrap_or_default(),
        source: source.unwrap_or_else(|| SourceSpec::Inbox(String::new())),
        to,
        deliver: deliver(&mut fields),
        via: fields.text("via"),
        stages: fields.texts("stages"),
        codec: fields.text("codec"),
        expiry: fields.time("expires"),
        chunk_size: chunk_size.and_then(|size| fields.parsed("chunk_size", size)),
        schedule: schedule(&mut fields),
    };
    fields.finish();
    let whole = !route.from.is_empty() && !route.to.is_empty();
    (whole && route.source != SourceSpec::Inbox(String::new())).then_some(route)
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
    let at = fields.key(&format!("source.{name}"));
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
            let folder = folder.and_then(|folder| fields.as_texts("folder", folder).pop());
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

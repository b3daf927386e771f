//! The JSON schema of a topology, for editors that complete and check: with all kinds, stages,
//! codecs and transports of a program.
//!
//! Invariant: what it refuses, [`Topology::check`] refuses, too. What needs more than one place to
//! be seen, such as a node that is named and not there, only `check` finds.

mod kinds;

use estafette::NodeConfig;
use estafette::node::units::{SizeText, TimeText};
use estafette::node::{RelayQuota, StageRegistry};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::model::{Shows, Topology};

impl Topology {
    /// Returns the JSON schema (draft 2020-12) of topologies for a program with these stages and
    /// kinds. What a kind says nothing of ([`StageRegistry::kind_schema`]) may be anything.
    pub fn schema(registry: &StageRegistry) -> Value {
        let mut making = Making {
            registry,
            generator: SchemaSettings::draft2020_12().for_deserialize().into_generator(),
        };
        let properties = json!({
            "state": text("The folder of keys, spools and what routes remember, of nodes that name \
                           no other one. Default: .estafette/FILE, beside the file"),
            "node": tables("The nodes", making.node()),
            "inbox": tables("The inboxes", making.inbox()),
            "route": tables("The routes: what goes from one node to the inboxes of others",
                making.route()),
            "door": tables("The doors: ways in for programs that are no nodes, and out to them", making.door()),
            "test": { "type": "array", "description": "What is expected of it",
                "items": making.test() },
        });
        let definitions = making.definitions();
        let mut schema = table("A topology of estafette: nodes, inboxes and routes", properties);
        if let Some(schema) = schema.as_object_mut() {
            let draft = "https://json-schema.org/draft/2020-12/schema";
            schema.insert("$schema".into(), draft.into());
            schema.insert("title".into(), "Topology".into());
            schema.insert("$defs".into(), definitions);
        }
        schema
    }
}

struct Making<'r> {
    registry: &'r StageRegistry,
    generator: SchemaGenerator,
}

impl Making<'_> {
    fn size(&mut self, description: &str) -> Value {
        described(description, self.generator.subschema_for::<SizeText>().to_value())
    }

    fn time(&mut self, description: &str) -> Value {
        described(description, self.generator.subschema_for::<TimeText>().to_value())
    }

    fn node(&mut self) -> Value {
        let schemes: Vec<_> = self.registry.schemes().map(|scheme| format!("{scheme}:")).collect();
        let schemes = match schemes.is_empty() {
            true => String::new(),
            false => format!("; schemes here: {}", schemes.join(", ")),
        };
        let quota = self.generator.subschema_for::<RelayQuota>().to_value();
        let limits = self.generator.subschema_for::<NodeConfig>().to_value();
        let hosts = "Names by which it may be asked for, besides localhost and IP addresses";
        let page = table(
            "The page that shows what the node does",
            json!({
                "listen": text("The address it is served at: 127.0.0.1:7480"),
                "token_file": text("The file of the token that whoever looks has to have"),
                "hosts": texts(hosts),
            }),
        );
        let page = required(page, &["listen"]);
        table(
            "A node",
            json!({
                "id": text("Its id, as `estafette id` prints it; a node without one is of this \
                            machine"),
                "key": text("The file of its key"),
                "spool": text("The folder that keeps deliveries between processes"),
                "listen": texts(&format!("The addresses it listens at: HOST:PORT{schemes}")),
                "addresses": texts("The addresses by which others dial it; default: those of \
                                    listen"),
                "trust": texts("Nodes that may deliver to all of its inboxes, whatever the routes \
                                say"),
                "observe": texts("Nodes that may see what it does, by the sealed link"),
                "relay": any("Whether it keeps deliveries for others, or how many of each sender",
                    [json!({ "type": "boolean" }), quota]),
                "http": any("The address of its page, or a table",
                    [json!({ "type": "string" }), page]),
                "line": any("What its line carries, for what `validate` calculates", [
                    self.size("Bytes in each second, each way"),
                    required(table("Its line", json!({
                        "speed": self.size("Bytes in each second, each way"),
                        "latency": self.time("From the node to the other end of its line"),
                    })), &["speed"]),
                ]),
                "limits": described("The limits of the node", limits),
            }),
        )
    }

    fn inbox(&mut self) -> Value {
        let sink = self.sink();
        let inbox = table(
            "An inbox",
            json!({
                "node": texts("The nodes that have it"),
                "sink": described("What becomes of deliveries: a kind and its settings, in which \
                                   {node} is the name of the node", sink),
            }),
        );
        required(inbox, &["node", "sink"])
    }

    fn door(&mut self) -> Value {
        let door = table(
            "A door",
            json!({
                "node": text("The node that has it"),
                "door": described("What it is: a kind and its settings, in which {node} is the \
                                   name of the node", self.doors()),
                "to": described("Inboxes and actors that are reached through it: NODE/NAME",
                    one_or_more(json!({ "type": "string", "pattern": "^[^/]+/." }))),
                "from": texts("Of one that leads out, as a webhook does: the nodes that may deliver \
                               to its name at its node"),
            }),
        );
        required(door, &["node", "door"])
    }

    fn route(&mut self) -> Value {
        let route = json!({
            "from": text("The node that sends"),
            "source": described("The content", self.source()),
            "to": described("The inboxes that deliveries go to: NODE/INBOX",
                one_or_more(json!({ "type": "string", "pattern": "^[^/]+/." }))),
            "deliver": { "enum": ["all", "one"],
                "description": "Whether each delivery goes to all, or to the one that has least \
                                to do" },
            "via": texts("The relays that keep deliveries for receivers who are away, in their order"),
            "stages": described("Filters that the content passes at the sender, and then coders \
                                 that every chunk passes", self.stages()),
            "codec": { "enum": self.codecs(), "description": "The codec of chunks" },
            "expires": self.time("The time for which a delivery is worth delivering, 30 days at \
                                  most"),
            "chunk_size": self.size("Bytes of a chunk, a power of two from 1 KiB to 4 MiB"),
            "rate": self.size("Bytes of content in each second, of all its deliveries together"),
            "priority": { "enum": ["high", "normal", "low"],
                "description": "Who goes first where room at the sender is scarce" },
            "receipt": { "enum": ["delivered", "processed"],
                "description": "The word of the receiver by which a delivery is done" },
            "schedule": any("The times at which the source is sent", [
                json!({ "enum": ["once", "change"] }),
                choice(json!({ "every": self.time("So long after each time; a second at least") })),
            ]),
            "empties": { "type": "boolean", "default": false,
                "description": "Whether a source that has become empty all at once is sent, too, \
                                which empties mirrors" },
            "patience": self.time("The time after which, of a source that is always written to, \
                                   what is quiet is sent; a minute unless it is said"),
            "tap": any("What `estafette tap` may show of what passes, or a table", [
                json!({ "enum": Shows::NAMES.map(|(name, _)| name) }),
                table("What may be seen of it", json!({
                    "shows": { "enum": Shows::NAMES.map(|(name, _)| name),
                        "description": "What `estafette tap` may show; default: names" },
                    "record": texts("Nodes for which `estafette record` may seal what passes"),
                })),
            ]),
            "expected": required(table("What comes by it, for what `validate` calculates", json!({
                "bytes": self.size("Bytes of a delivery"),
                "every": self.time("From one delivery to the next"),
                "ratio": { "type": "number", "exclusiveMinimum": 0, "maximum": 2,
                    "description": "What is left of each byte when it is compressed; default 1" },
            })), &["bytes", "every"]),
        });
        required(table("A route", route), &["from", "source", "to"])
    }

    fn test(&mut self) -> Value {
        let content = json!({ "anyOf": [
            { "type": "string" },
            choice(json!({ "file": text("A file beside the topology") })),
            choice(json!({ "bytes": self.size("So many bytes that do not compress") })),
        ] });
        let files = |description: &str| {
            json!({ "type": "object", "description": description,
                "additionalProperties": content })
        };
        table(
            "A test",
            json!({
                "name": text("Its name"),
                "given": files("Files that are there before, by their paths"),
                "expect": files("Files that must be there after, by their paths"),
                "absent": texts("Paths where nothing may be after"),
                "within": self.time("The longest that all of it may take; a minute unless it is \
                                     said"),
            }),
        )
    }

    /// The types of settings that are referred to.
    fn definitions(&mut self) -> Value {
        let mut definitions = self.generator.take_definitions(true);
        // The keys of a topology that say it stand elsewhere.
        let limits =
            definitions.get_mut("NodeConfig").and_then(|limits| limits.get_mut("properties"));
        if let Some(limits) = limits.and_then(Value::as_object_mut) {
            limits.remove("relay");
        }
        definitions.into()
    }
}

/// A table with these keys, and no others.
fn table(description: &str, properties: Value) -> Value {
    json!({ "type": "object", "description": description, "properties": properties,
        "additionalProperties": false })
}

/// A table of one of these keys.
fn choice(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false,
        "minProperties": 1, "maxProperties": 1 })
}

/// Tables of any names.
fn tables(description: &str, of: Value) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": of })
}

fn required(mut table: Value, keys: &[&str]) -> Value {
    if let Some(table) = table.as_object_mut() {
        table.insert("required".into(), keys.to_vec().into());
    }
    table
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn texts(description: &str) -> Value {
    described(description, one_or_more(json!({ "type": "string" })))
}

/// One value, or a list of such values.
fn one_or_more(value: Value) -> Value {
    json!({ "anyOf": [value, { "type": "array", "items": value }] })
}

fn any<const N: usize>(description: &str, of: [Value; N]) -> Value {
    json!({ "description": description, "anyOf": of.to_vec() })
}

/// A schema with a description of its own.
fn described(description: &str, schema: Value) -> Value {
    let mut described = match schema {
        Value::Object(schema) => schema,
        Value::Bool(true) => Map::new(),
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    described.insert("description".into(), description.into());
    described.into()
}

//! The JSON schema of topologies: what has no fault is valid, and what is at fault in one place is
//! not; every key of the document is in it.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::path::Path;

use estafette::node::StageRegistry;
use estafette::pipeline::{Pipeline, Source};
use estafette_actors::standard;
use estafette_topology::{Document, Topology};
use jsonschema::Validator;
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/topologies.md");

const WHOLE: &str = r#"state = "state"
[node.lyon]
relay = { packages = 3, bytes = "1GiB" }
http = { listen = "127.0.0.1:7480", hosts = ["lyon"] }
limits = { window = "16MiB", link = { heartbeat = "2s" }, compression = "codec:20", stall = 5 }
line = { speed = "12MiB", latency = "20ms" }
[node.paris]
observe = "lyon"
line = "1MiB"
listen = ["127.0.0.1:7411"]
relay = true
[inbox.letters]
node = ["paris", "lyon"]
sink = { folder = { into = "in-{node}", max_bytes = "1MiB", on_conflict = "rename" } }
[inbox.null]
node = "paris"
sink = { null = {} }
[route.post]
from = "lyon"
source = { each = { folder = "out", then = "remove" } }
to = ["paris/letters", "paris/null"]
stages = [{ blank = { anything = 3 } }, "blank", "mask"]
codec = "lz4"
expires = "7d"
chunk_size = "64K"
rate = "1MiB"
priority = "low"
receipt = "processed"
expected = { bytes = "1GiB", every = "1d", ratio = 0.5 }
tap = { shows = "content", record = "paris" }
[route.more]
from = "lyon"
source = { paths = ["a", "b"] }
to = "paris/null"
schedule = { every = "1h" }
[[test]]
given = { "out/a" = "Dear Paris", "out/b" = { file = "b" } }
expect = { "in-paris/a" = { bytes = "3MiB" } }
within = "30s"
"#;

/// Texts in the topology above, and their replacements: at fault in one place.
const FAULTS: &[(&str, &str)] = &[
    ("[node.lyon]", "[node.lyon]\nlisen = \"127.0.0.1:7411\""),
    ("[node.lyon]", "[nodes.paris]\n[node.lyon]"),
    ("relay = true", "relay = \"yes\""),
    ("packages = 3", "pakcages = 3"),
    ("bytes = \"1GiB\"", "bytes = \"one\""),
    ("listen = \"127.0.0.1:7480\", ", ""),
    ("window = \"16MiB\"", "windwo = \"16MiB\""),
    ("window = \"16MiB\"", "relay = { packages = 1 }"),
    ("heartbeat = \"2s\"", "heartbeat = \"soon\""),
    ("codec:20", "zip"),
    ("into = \"in-{node}\", ", ""),
    ("max_bytes = \"1MiB\"", "max_bytes = true"),
    ("on_conflict = \"rename\"", "on_conflict = \"keep\""),
    ("{ null = {} }", "{ null = { into = \"x\" } }"),
    ("{ null = {} }", "{ nul = {} }"),
    ("{ null = {} }", "{ null = {}, folder = \"x\" }"),
    ("latency = \"20ms\"", "latency = \"20 miles\""),
    ("speed = \"12MiB\", ", ""),
    ("rate = \"1MiB\"", "rate = \"fast\""),
    ("priority = \"low\"", "priority = \"urgent\""),
    ("\"processed\"", "\"read\""),
    ("ratio = 0.5", "ratio = 0"),
    ("\"content\"", "\"contents\""),
    ("record = \"paris\"", "recorded = \"paris\""),
    ("every = \"1d\", ", ""),
    ("from = \"lyon\"\nsource = { each", "source = { each"),
    ("then = \"remove\"", "then = \"forget\""),
    ("\"paris/null\"]", "\"paris\"]"),
    ("{ blank = { anything = 3 } }", "{ blnk = {} }"),
    ("\"mask\"", "\"maks\""),
    ("\"lz4\"", "\"zip\""),
    ("\"7d\"", "\"7 years\""),
    ("\"64K\"", "\"64 pages\""),
    ("{ every = \"1h\" }", "\"hourly\""),
    ("{ bytes = \"3MiB\" }", "{ bits = 3 }"),
    ("within = \"30s\"", "wihtin = \"30s\""),
];

/// The standard parts, a coder, and a filter that does not describe its settings.
fn registry() -> StageRegistry {
    estafette_doors::with_kinds(standard())
        .coder("mask", Pipeline::new(), Pipeline::new())
        .filter_kind("blank", |_: toml::Table, source: Box<dyn Source>| Ok::<_, Infallible>(source))
}

fn value(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

fn validator(registry: &StageRegistry) -> Validator {
    let schema = Topology::schema(registry);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

#[test]
fn what_has_no_fault_is_valid_and_each_fault_of_one_place_is_not() {
    let (registry, validator) = (registry(), validator(&registry()));
    assert!(Document::parse("t.toml", WHOLE).check(&registry).is_empty());
    validator.validate(&value(WHOLE)).unwrap();
    for (right, wrong) in FAULTS {
        assert!(WHOLE.contains(right), "{right}");
        let text = WHOLE.replacen(right, wrong, 1);
        assert!(!Document::parse("t.toml", text.as_str()).check(&registry).is_empty(), "{wrong}");
        assert!(!validator.is_valid(&value(&text)), "{wrong}");
    }
}

#[test]
fn examples_and_documents_are_valid() {
    let validator = validator(&registry());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/topologies");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let mut texts: Vec<_> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(texts.len() >= 9);
    texts.extend(
        DOCUMENT
            .split("```toml\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap().to_owned()),
    );
    for text in texts {
        validator.validate(&value(&text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

#[test]
fn a_program_without_stages_of_its_own_takes_none() {
    let validator = validator(&standard());
    assert!(!validator.is_valid(&value(WHOLE)));
    let without = WHOLE.replace("stages = [{ blank = { anything = 3 } }, \"blank\", \"mask\"]", "");
    assert!(validator.is_valid(&value(&without)));
}

/// The keys in the tables of a section of the document.
fn documented(section: &str) -> BTreeSet<String> {
    let text = DOCUMENT.split("\n## ").find(|text| text.starts_with(section)).unwrap();
    let table = text.split("| key |").nth(1).unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let keys = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    keys.map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_document_is_described_and_no_other() {
    let schema = Topology::schema(&standard());
    for (section, table) in [("Nodes", "node"), ("Routes", "route")] {
        let keys = schema["properties"][table]["additionalProperties"]["properties"].as_object();
        let keys = keys.unwrap();
        assert_eq!(keys.keys().cloned().collect::<BTreeSet<_>>(), documented(section));
        for (key, schema) in keys {
            assert!(schema["description"].as_str().is_some_and(|said| !said.is_empty()), "{key}");
        }
    }
    let limits = schema["$defs"]["NodeConfig"]["properties"].as_object().unwrap();
    assert!(limits["window"]["description"].as_str().unwrap().contains("6 MiB"));
    assert!(!limits.contains_key("relay"));
}

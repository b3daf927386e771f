//! Broken topologies: the faults of each, their lines and what is advised. Nothing else is told,
//! and each fault as if the others were not there.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::collections::BTreeSet;
use std::convert::Infallible;

use estafette::node::StageRegistry;
use estafette::pipeline::{Pipeline, Source};
use estafette_actors::standard;
use estafette_topology::{Document, Fault, Topology};

const DOCUMENT: &str = include_str!("../../docs/topologies.md");

/// A topology without a fault, into which some are put. Its lines are counted on.
const WHOLE: &str = r#"[node.lyon]
[node.paris]
listen = "127.0.0.1:7411"
[inbox.letters]
node = "paris"
sink = { folder = "received" }
[route.post]
from = "lyon"
source = { paths = "out" }
to = "paris/letters"
"#;

/// A text, its replacement, and the faults of that: code, line, and a part of the help.
type Case = (&'static str, &'static str, &'static [(&'static str, usize, &'static str)]);

const CASES: &[Case] = &[
    (
        "[node.lyon]",
        "[node.lyon]\nhttp = { listen = \"127.0.0.1:1\", hosts = [\"a.b\", \"http://a\", \"a:1\", \"\"] }",
        &[("wrong-value", 2, "hosts = "), ("wrong-value", 2, ""), ("wrong-value", 2, "")],
    ),
    ("to = ", "rate = 0\nto = ", &[("bad-limit", 10, "")]),
    ("to = ", "receipt = \"read\"\nto = ", &[("wrong-value", 10, "")]),
    // What is calculated with.
    ("[node.lyon]", "[node.lyon]\nline = 0", &[("bad-limit", 2, "")]),
    ("[node.lyon]", "[node.lyon]\nline = { latency = 1 }", &[("missing-key", 2, "speed = ")]),
    (
        "to = ",
        "expected = { bytes = 0, every = 0, ratio = 3 }\nto = ",
        &[("bad-limit", 10, ""), ("bad-limit", 10, ""), ("bad-limit", 10, "")],
    ),
    (
        "to = ",
        "expected = { ratio = true }\nto = ",
        &[("missing-key", 10, "bytes"), ("missing-key", 10, "every"), ("wrong-type", 10, "")],
    ),
    // Doors.
    (
        "[inbox.letters]",
        "[door.web]\n[inbox.letters]",
        &[
            ("missing-key", 4, "node = "),
            ("missing-key", 4, "http = "),
            ("missing-key", 4, "NODE/NAME"),
        ],
    ),
    (
        "[inbox.letters]",
        "[door.web]\nnode = \"lion\"\ndoor = { htp = \"127.0.0.1:1\" }\nto = \"pariss/x\"\n[inbox.letters]",
        &[
            ("unknown-node", 5, "`lyon`"),
            ("unknown-kind", 6, "`http`"),
            ("unknown-node", 7, "`paris`"),
        ],
    ),
    (
        "[inbox.letters]",
        "[door.web]\nnode = \"lyon\"\ndoor = { http = \"here\" }\nto = [\"lyon/x\", \"paris/*\", \"paris/*\"]\n[inbox.letters]",
        &[("bad-address", 6, ""), ("twice", 7, ""), ("itself", 7, "")],
    ),
    (
        "[inbox.letters]",
        "[door.web]\nnode = \"paris\"\ndoor = { http = { listen = \"127.0.0.1:7411\", token = 1 } }\nto = \"lyon/\\u0000\"\n[inbox.letters]",
        &[("unknown-key", 6, "tokens"), ("bad-name", 7, "")],
    ),
    (
        "[inbox.letters]",
        "[door.web]\nnode = \"paris\"\ndoor = { http = \"127.0.0.1:7411\" }\nto = \"lyon/shop\"\n[inbox.letters]",
        &[("same-address", 6, "another port")],
    ),
    (
        "[inbox.letters]",
        "[node.brest]\n[door.web]\nnode = \"lyon\"\ndoor = { http = \"127.0.0.1:1\" }\nto = \"brest/shop\"\n[inbox.letters]",
        &[("unreachable", 8, "[node.brest] listen")],
    ),
    (
        "[inbox.letters]",
        "[door.out]\nnode = \"paris\"\ndoor = { webhook = { url = \"http://a/\", secret_file = \"s\" } }\nfrom = \"lion\"\n[inbox.letters]",
        &[("bad-address", 6, ""), ("unknown-node", 7, "`lyon`")],
    ),
    (
        "[inbox.letters]",
        "[door.letters]\nnode = \"paris\"\ndoor = { webhook = { url = \"https://a/\", secret_file = \"s\", retry = 1 } }\nfrom = [\"lyon\", \"lyon\", \"paris\"]\n[inbox.letters]",
        &[("twice", 4, ""), ("unknown-key", 6, "retries"), ("twice", 7, ""), ("itself", 7, "")],
    ),
    (
        "[inbox.letters]",
        "[door.letters]\nnode = \"paris\"\ndoor = { webhook = { url = \"https://a/\", secret_file = \"s\" } }\nto = \"lyon/x\"\n[inbox.letters]",
        &[("twice", 4, ""), ("missing-key", 4, "from = "), ("wrong-value", 7, "from = ")],
    ),
    (
        "[inbox.letters]",
        "[node.brest]\n[door.out]\nnode = \"lyon\"\ndoor = { webhook = { url = \"https://a/\", secret_file = \"s\" } }\nfrom = \"brest\"\n[inbox.letters]",
        &[("unreachable", 8, "[node.brest] listen")],
    ),
    (
        "[inbox.letters]",
        "[door.web]\nnode = \"lyon\"\ndoor = { http = \"127.0.0.1:1\" }\nto = \"paris/x\"\nfrom = \"paris\"\n[inbox.letters]",
        &[("wrong-value", 8, "take it out")],
    ),
    // The text.
    ("[node.lyon]", "[node.lyon", &[("syntax", 1, "")]),
    ("\"out\"", "out", &[("syntax", 9, "in quotes")]),
    ("\"out\"", "\"C:\\out\\x\"", &[("syntax", 9, "single quotes")]),
    (
        "to = ",
        "[node.paris]\nlisten = \"127.0.0.1:1\"\n[x]\nto = ",
        &[
            ("missing-key", 7, "add one: to"),
            ("twice", 10, "another name"),
            ("unknown-key", 12, "known are"),
        ],
    ),
    ("to = ", "from = \"lyon\"\nto = ", &[("twice", 10, "leave one")]),
    // Keys and types.
    ("from = ", "form = ", &[("unknown-key", 8, "`from`")]),
    (
        "from = \"lyon\"",
        "form = \"lyon\"\nto = 3 # \u{65e5}\u{672c}",
        &[("unknown-key", 8, "`from`"), ("wrong-type", 9, ""), ("twice", 11, "leave one")],
    ),
    ("from = \"lyon\"\n", "", &[("missing-key", 7, "from = \"NAME\"")]),
    ("from = \"lyon\"", "from = [\"lyon\", \"paris\"]", &[("wrong-type", 8, "")]),
    ("[node.lyon]", "node.lyon = 3\n[node]", &[("wrong-type", 1, ""), ("twice", 2, "")]),
    (
        "[node.lyon]\n[node.paris]\nlisten = \"127.0.0.1:7411\"",
        "node = 3",
        &[
            ("wrong-type", 1, ""),
            ("unknown-node", 3, ""),
            ("unknown-node", 6, ""),
            ("unknown-node", 8, ""),
        ],
    ),
    ("\"paris/letters\"", "\"paris\"", &[("wrong-value", 10, "")]),
    ("\"paris/letters\"", "[]", &[("missing-key", 10, "NODE/INBOX")]),
    (
        "\"paris/letters\"",
        "[3, \"a\", \"pars/letters\"]",
        &[("wrong-type", 10, ""), ("wrong-value", 10, ""), ("unknown-node", 10, "`paris`")],
    ),
    ("{ paths = \"out\" }", "{ inbox = \"\" }", &[("unknown-inbox", 9, "letters")]),
    ("{ paths = \"out\" }", "{ each = \"\" }", &[("wrong-value", 9, "")]),
    (
        "to = ",
        "stages = [\"mask\", { blank = {} }]\nto = ",
        &[("stage-order", 10, "before all coders")],
    ),
    ("to = ", "stages = [{ mask = 1 }]\nto = ", &[("wrong-type", 10, "write \"mask\"")]),
    ("to = ", "stages = [{ blank = 1 }]\nto = ", &[("wrong-value", 10, "")]),
    ("to = ", "stages = 3\nto = ", &[("wrong-type", 10, "")]),
    ("[node.lyon]", "[node.lyon]\nobserve = \"pari\"", &[("unknown-node", 2, "`paris`")]),
    ("to = ", "tap = \"all\"\nto = ", &[("wrong-value", 10, "")]),
    ("to = ", "tap = { show = \"sizes\" }\nto = ", &[("unknown-key", 10, "`shows`")]),
    ("to = ", "tap = { record = \"pars\" }\nto = ", &[("unknown-node", 10, "`paris`")]),
    ("to = ", "stages = [{}]\nto = ", &[("wrong-value", 10, "KIND")]),
    ("to = ", "stages = [{ redact = 1 }]\nto = ", &[("unknown-stage", 10, "")]),
    (
        "{ paths = \"out\" }",
        "{ each = { folder = 3, foo = 1 } }",
        &[("wrong-type", 9, ""), ("unknown-key", 9, "folder, then")],
    ),
    ("{ paths = \"out\" }", "{ pths = \"out\", b = 1 }", &[("wrong-value", 9, "KIND")]),
    ("{ paths = \"out\" }", "{ pths = \"out\" }", &[("unknown-kind", 9, "`paths`")]),
    ("{ folder = \"received\" }", "{ fodler = \"received\" }", &[("unknown-kind", 6, "`folder`")]),
    (
        "{ folder = \"received\" }",
        "{ folder = { into = \"x\", intoo = 1 } }",
        &[("unknown-key", 6, "`into`")],
    ),
    ("[node.paris]", "[node.paris]\nrelay = \"yes\"", &[("wrong-type", 3, "")]),
    (
        "[node.lyon]",
        "state = \"\"\n[node.lyon]\nkey = \"\"",
        &[("wrong-value", 1, ""), ("wrong-value", 3, "")],
    ),
    (
        "[node.lyon]",
        "[node.lyon.limits]\nfoo = 1\nchunk_size = 1000",
        &[("unknown-key", 2, "known are"), ("bad-limit", 3, "")],
    ),
    ("to = ", "chunk_size = \"5GiB\"\nto = ", &[("wrong-value", 10, "")]),
    (
        "to = ",
        "chunk_size = 1\nexpires = 0\nschedule = { every = \"1ms\" }\nto = ",
        &[("bad-limit", 10, ""), ("bad-limit", 11, ""), ("bad-limit", 12, "")],
    ),
    // Names.
    ("\"lyon\"", "\"lyn\"", &[("unknown-node", 8, "`lyon`")]),
    ("\"lyon\"", "\"l\\nn\"", &[("unknown-node", 8, "lyon, paris")]),
    ("paris/letters", "paris/leters", &[("unknown-inbox", 10, "`letters`")]),
    (
        "[inbox.letters]",
        "[inbox.\"\"]",
        &[("bad-name", 4, ""), ("unknown-inbox", 10, "[inbox.letters]")],
    ),
    ("[route.post]", "[route.\"../x\"]", &[("bad-name", 7, "")]),
    ("[route.post]", "[route.\"a\\u001b[31m\\n\"]", &[("bad-name", 7, "")]),
    (
        "[route.post]\nfrom",
        "[route.a.b]\n[route.\"a.b\"]\nform",
        &[
            ("missing-key", 7, "add one: from"),
            ("missing-key", 7, "add one: source"),
            ("missing-key", 7, "add one: to"),
            ("unknown-key", 7, "from"),
            ("unknown-key", 9, "`from`"),
        ],
    ),
    (
        "to = ",
        "stages = [\"redact\"]\ncodec = \"zip\"\nto = ",
        &[("unknown-stage", 10, ""), ("unknown-codec", 11, "snappy")],
    ),
    ("node = \"paris\"", "node = [\"paris\", \"paris\"]", &[("twice", 5, "")]),
    ("node = \"paris\"", "node = []", &[("missing-key", 5, "")]),
    ("node = \"paris\"", "node = [\"paris\", \"lyon\"]", &[("same-folder", 6, "{node}")]),
    (
        "[route.post]",
        "[inbox.two]\nnode = \"paris\"\nsink = { folder = \"./received/\" }\n[route.post]",
        &[("same-folder", 9, "another folder")],
    ),
    (
        "[node.lyon]",
        "[node.lyon]\ntrust = [\"lyon\", \"paris\", \"paris\"]",
        &[("twice", 2, ""), ("itself", 2, "")],
    ),
    ("to = \"paris/letters\"", "to = [\"paris/letters\", \"paris/letters\"]", &[("twice", 10, "")]),
    ("from = \"lyon\"", "from = \"paris\"", &[("itself", 10, "")]),
    // Addresses and ways.
    ("127.0.0.1:7411", "127.0.0.1", &[("bad-address", 3, "")]),
    ("127.0.0.1:7411", "127.0.0.1:99999", &[("bad-address", 3, "")]),
    ("127.0.0.1:7411", "", &[("bad-address", 3, "")]),
    ("[node.lyon]", "[node.lyon]\naddresses = \"0.0.0.0:1\"", &[("bad-address", 2, "")]),
    ("[node.lyon]", "[node.lyon]\nhttp = \"7480\"", &[("bad-address", 2, "127.0.0.1:7480")]),
    (
        "[node.lyon]",
        "[node.lyon]\nhttp = { listen = \"127.0.0.1:7411\" }",
        &[("same-address", 4, "another port")],
    ),
    ("listen = ", "lisen = ", &[("unknown-key", 3, "`listen`")]),
    ("listen = \"127.0.0.1:7411\"\n", "", &[("unreachable", 9, "[node.paris] listen")]),
    (
        "[node.lyon]",
        "[node.lyon]\nlisten = \"127.0.0.1:7411\"",
        &[("same-address", 4, "another port")],
    ),
    (
        "[node.lyon]",
        "[node.lyon]\nlisten = \"0.0.0.0:7411\"",
        &[("same-address", 4, "another port")],
    ),
    (
        "[node.lyon]",
        "[node.lyon]\nlisten = \"localhost:7411\"",
        &[("same-address", 4, "another port")],
    ),
    ("[node.lyon]", "[node.lyon]\nkey = \"k\"\n[node.nice]\nkey = \"k\"", &[("same-id", 4, "")]),
    ("to = ", "via = \"nice\"\nto = ", &[("unknown-node", 10, "lyon, paris")]),
    (
        "from = \"lyon\"",
        "via = \"nice\"\nfrom = \"lyon\"\n[node.nice]\nlisten = \"h:1\"\n[route.post]",
        &[("twice", 12, "another name")],
    ),
    (
        "[route.post]",
        "[node.nice]\nlisten = \"h:1\"\n[route.post]\nvia = \"nice\"",
        &[("no-relay", 10, "[node.nice] relay = true")],
    ),
    (
        "[route.post]",
        "[node.nice]\nlisten = \"h:1\"\nrelay = true\n[route.post]\nvia = [\"nice\", \"brest\", \"nice\"]",
        &[("itself", 11, ""), ("unknown-node", 11, "")],
    ),
    (
        "[route.post]",
        "[node.nice]\nrelay = true\n[node.brest]\nrelay = true\n[route.post]\nvia = [\"nice\", \"brest\"]",
        &[("unreachable", 12, ""), ("unreachable", 12, "")],
    ),
    (
        "[route.post]",
        "[node.nice]\nlisten = \"h:1\"\nrelay = true\n[node.brest]\nlisten = \"h:2\"\nrelay = true\n[route.back]\nfrom = \"lyon\"\nsource = { paths = \"out\" }\nto = \"paris/letters\"\nvia = [\"brest\", \"nice\"]\n[route.post]\nvia = [\"nice\", \"brest\"]",
        &[("two-ways", 19, "choose one"), ("two-ways", 19, "choose one")],
    ),
    (
        "[node.lyon]\n[node.paris]\nlisten = \"127.0.0.1:7411\"\n[inbox.letters]\nnode = \"paris\"\nsink = { folder = \"received\" }\n[route.post]\nfrom = \"lyon\"\nsource = { paths = \"out\" }\nto = \"paris/letters\"\n",
        "",
        &[("no-nodes", 0, "[node.paris]")],
    ),
    ("to = ", "deliver = \"one\"\nto = ", &[("no-queue", 10, "each")]),
    ("source = { paths = \"out\" }", "source = 3\ndeliver = \"one\"", &[("wrong-type", 9, "")]),
    // What goes on.
    (
        "to = \"paris/letters\"",
        "to = \"paris/letters\"\n[route.back]\nfrom = \"paris\"\nsource = { inbox = \"letters\" }\nschedule = \"change\"\nto = \"lyon/more\"\n[inbox.more]\nnode = \"lyon\"\nsink = { folder = \"more\" }\n[route.forth]\nfrom = \"lyon\"\nsource = { inbox = \"more\" }\nto = \"paris/letters\"",
        &[("no-schedule", 14, "leave it out"), ("cycle", 15, "another inbox")],
    ),
    ("{ paths = \"out\" }", "{ each = \"./x/../\" }", &[("cycle", 10, "another folder")]),
    (
        "{ folder = \"received\" }",
        "{ null = {} }\n[route.on]\nfrom = \"paris\"\nsource = { inbox = \"letters\" }\nto = \"lyon/l\"\n[inbox.l]\nnode = \"lyon\"\nsink = { folder = \"l\" }",
        &[("no-folder", 9, "folder")],
    ),
    // Tests.
    (
        "to = ",
        "to = \"paris/letters\"\n[[test]]\nto = ",
        &[("missing-key", 11, "add expect"), ("unknown-key", 12, "known are")],
    ),
    (
        "to = \"paris/letters\"",
        "to = \"paris/letters\"\n[[test]]\nwithin = 0\nexpect = { a.x = 3, \"b.c\" = { bytes = \"2TiB\" } }",
        &[("bad-limit", 12, ""), ("wrong-value", 13, ""), ("bad-limit", 13, "")],
    ),
];

/// The standard parts, a coder and a filter.
fn registry() -> StageRegistry {
    estafette_doors::with_kinds(standard())
        .coder("mask", Pipeline::new(), Pipeline::new())
        .filter_kind("blank", |_: toml::Table, source: Box<dyn Source>| Ok::<_, Infallible>(source))
}

fn faults(text: &str) -> Vec<(Fault, usize)> {
    let report = Document::parse("topology.toml", text).check(&registry());
    let line = |fault: &Fault| report.position(fault).map_or(0, |(line, _)| line);
    report.faults().iter().map(|fault| (fault.clone(), line(fault))).collect()
}

#[test]
fn each_broken_topology_has_its_faults_at_their_lines_and_no_others() {
    assert_eq!(faults(WHOLE), []);
    let mut wrong = Vec::new();
    for (old, new, expected) in CASES {
        assert!(WHOLE.contains(old), "{old:?}");
        let text = WHOLE.replacen(old, new, 1);
        let found = faults(&text);
        let told: Vec<_> = found.iter().map(|(fault, line)| (fault.code, *line)).collect();
        let helps = found.iter().zip(*expected).all(|((fault, _), (_, _, help))| {
            help.is_empty() || fault.help.as_ref().is_some_and(|given| given.contains(help))
        });
        if told != expected.iter().map(|(code, line, _)| (*code, *line)).collect::<Vec<_>>()
            || !helps
        {
            let report = Document::parse("topology.toml", text).check(&registry());
            wrong.push(format!("{new:?}: {expected:?} expected\n{report}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_code_of_the_document_is_among_the_cases() {
    let line = DOCUMENT.lines().find(|line| line.starts_with("`syntax`,")).unwrap();
    let documented: BTreeSet<_> = line.split('`').skip(1).step_by(2).collect();
    let tried = CASES.iter().flat_map(|(_, _, faults)| faults.iter().map(|(code, ..)| *code));
    // That one is of files.
    assert_eq!(documented, tried.chain(["exposed"]).collect());
}

#[test]
fn a_topology_of_a_program_has_the_faults_of_the_same_file() {
    for (old, new, expected) in CASES {
        let document = Document::parse("topology.toml", WHOLE.replacen(old, new, 1));
        let topology: &Topology = document.topology();
        let made: BTreeSet<_> = topology.check(&registry()).into_iter().map(|f| f.code).collect();
        let read: BTreeSet<_> =
            document.check(&registry()).faults().iter().map(|f| f.code).collect();
        // What can't be read at all, no program could make.
        let unread = ["syntax", "wrong-type", "unknown-key", "wrong-value", "missing-key", "twice"];
        if expected.iter().all(|(code, ..)| !unread.contains(code)) {
            assert_eq!(made, read, "{new:?}");
        }
    }
}

#[test]
fn what_is_no_file_is_an_error_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let error = Document::open(&pipe).unwrap_err().to_string();
    assert!(error.contains("no regular file"), "{error}");
    let text = folder.path().join("latin.toml");
    std::fs::write(&text, b"[node.lyon]\nlisten = \"\xf6\"\n").unwrap();
    let error = Document::open(&text).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn two_files_have_two_folders_for_what_they_keep() {
    let state = |path: &str| Document::parse(path, WHOLE).topology().state.clone();
    assert!(state("a.toml").ends_with(".estafette/a"));
    assert_ne!(state("a.toml"), state("a.txt"));
    assert_ne!(state("a.txt"), state("a.conf"));
}

#[test]
fn a_file_goes_on_with_the_keys_that_an_earlier_build_made_for_it() {
    let place = tempfile::tempdir().unwrap();
    let make = |name: &str| std::fs::create_dir_all(place.path().join(".estafette").join(name));
    let state = || {
        let document = Document::parse(place.path().join("office.conf"), WHOLE);
        document.topology().state.file_name().unwrap().to_owned()
    };
    assert_eq!(state(), "office.conf");
    make("office").unwrap();
    assert_eq!(state(), "office");
    // It is that of the other one.
    std::fs::write(place.path().join("office.toml"), "").unwrap();
    assert_eq!(state(), "office.conf");
    std::fs::remove_file(place.path().join("office.toml")).unwrap();
    make("office.conf").unwrap();
    assert_eq!(state(), "office.conf");
}

#[test]
fn a_drawing_moves_no_cursor() {
    let text = "[node.\"a\\u001b[31m\\nb\"]\nx = \"\u{1b}\"\n[route.\"a\\u001b[2J\"]\n";
    for text in [text.to_owned(), text.replace('\u{1b}', "")] {
        let drawn = Document::parse("a\u{1b}[31m\n.toml", text).check(&registry()).draw(false);
        let moves = |c: char| c.is_control() && c != '\n';
        assert!(!drawn.contains(moves), "{drawn:?}");
    }
}

#[test]
fn of_a_long_circle_the_first_routes_are_named() {
    let mut text = String::from("[node.a]\nlisten = \"h:1\"\n[node.b]\nlisten = \"h:2\"\n");
    for at in 0..1000 {
        let next = (at + 1) % 1000;
        let (from, to) = if at % 2 == 0 { ("a", "b") } else { ("b", "a") };
        text.push_str(&format!(
            "[inbox.i{at}]\nnode = \"{from}\"\nsink = {{ folder = \"f{at}\" }}\n\
             [route.r{at}]\nfrom = \"{from}\"\nsource = {{ inbox = \"i{at}\" }}\nto = \"{to}/i{next}\"\n"
        ));
    }
    let found = faults(&text);
    assert_eq!(found.len(), 1);
    assert!(found[0].0.label.contains("and 994 more"), "{}", found[0].0.label);
}

#[test]
fn nodes_of_several_machines_may_have_folders_of_one_name() {
    let ids = [(); 2].map(|()| estafette::Identity::generate().peer());
    let text = format!(
        "[node.paris]\nid = \"{}\"\nlisten = \"paris:7400\"\n[node.brest]\nid = \"{}\"\nlisten = \
         \"brest:7400\"\n[inbox.files]\nnode = [\"paris\", \"brest\"]\nsink = {{ folder = \"/srv/in\" }}",
        ids[0], ids[1]
    );
    let report = Document::parse("topology.toml", text).check(&registry());
    assert!(report.is_empty(), "{report}");
}

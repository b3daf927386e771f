//! Topologies with anything in them: none panics, and every place of a fault is in the text.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::path::Path;

use estafette_actors::standard;
use estafette_topology::Document;
use proptest::prelude::*;

/// The topologies of the examples, and those of the document.
fn texts() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/topologies");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    let mut texts: Vec<_> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.sort();
    texts
}

/// Pieces to put in: signs of TOML, names that mean something, and what nobody expects.
const PIECES: &[&str] = &[
    "",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    "\n",
    "\r\n",
    "\t",
    "#",
    ",",
    "\\",
    "3",
    "-1",
    "nan",
    "true",
    "\u{feff}",
    "\u{202e}",
    "日本語",
    "مدينة",
    "\u{0}",
    "\u{1b}[31m",
    "[node.lyon]\n",
    "[\"a.b\"]\n",
    "[[test]]\n",
    "inbox",
    "each = ",
    "{ inbox = \"\" }",
    "to = []\n",
    "1979-05-27",
    "\"\\u0000\"",
    "'''",
    "[[[[[[[[",
    "from = \"x\"\n",
    "via = \"\"\n",
    "99999999999999999999",
];

fn change(text: &mut String, at: usize, length: usize, piece: usize) {
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(at % (text.len() + 1));
    let end = boundary((start + length).min(text.len())).max(start);
    text.replace_range(start..end, PIECES[piece % PIECES.len()]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_a_topology_or_has_faults_within_it(
        which in any::<usize>(),
        changes in prop::collection::vec((any::<u16>(), 0..40usize, any::<usize>()), 1..8),
    ) {
        let texts = texts();
        let mut text = texts[which % texts.len()].clone();
        for (at, length, piece) in changes {
            change(&mut text, at.into(), length, piece);
        }
        let report = Document::parse("topology.toml", text.as_str()).check(&standard());
        for fault in report.faults() {
            if let Some(span) = &fault.span {
                prop_assert!(text.get(span.clone()).is_some(), "{span:?} of {fault:?}");
                let (line, column) = report.position(fault).unwrap();
                prop_assert!(line >= 1 && column >= 1 && line <= text.matches('\n').count() + 1);
            }
        }
        for colored in [false, true] {
            prop_assert!(report.draw(colored).lines().count() > report.faults().len().min(50));
        }
    }
}

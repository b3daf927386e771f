//! Mermaid, which code hosts and wikis draw.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::words::shown;
use super::{Graph, GraphNode, GraphPart, PartKind};

/// The kind of chart, with room for two lines above the parts of a node.
const HEAD: &str = "\
%%{init: {\"flowchart\": {\"subGraphTitleMargin\": {\"bottom\": 26}}}}%%
flowchart TB
";

pub(super) fn write(graph: &Graph) -> String {
    let mut text = String::from(HEAD);
    let mut ids = BTreeMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        write_node(at, node, &mut ids, &mut text);
    }
    for (edge, words) in graph.words() {
        // What a route names is there, be it missing.
        let (Some(from), Some(to)) = (ids.get(&*edge.from), ids.get(&*edge.to)) else { continue };
        let arrow = if edge.crosses { "==>" } else { "-->" };
        line(&mut text, format_args!("  p{from} {arrow}|\"{}\"| p{to}", lines(words)));
    }
    text.push_str("  classDef missing stroke:#cf222e,stroke-dasharray:4 3\n");
    text
}

fn write_node<'a>(
    at: usize,
    node: &'a GraphNode,
    ids: &mut BTreeMap<&'a str, usize>,
    text: &mut String,
) {
    let listen = node.listen.join(", ");
    let second = if node.missing { "missing" } else { &listen };
    let second = (!second.is_empty()).then_some(second);
    let words = lines(std::iter::once(node.name.as_str()).chain(second));
    if node.parts.is_empty() {
        // A subgraph without anything in it is not drawn.
        line(text, format_args!("  n{at}[\"{words}\"]"));
    } else {
        line(text, format_args!("  subgraph n{at}[\"{words}\"]"));
        for part in &node.parts {
            let id = ids.len();
            ids.insert(&part.id, id);
            write_part(id, part, text);
        }
        text.push_str("  end\n");
    }
    if node.missing {
        line(text, format_args!("  class n{at} missing"));
    }
}

fn write_part(id: usize, part: &GraphPart, text: &mut String) {
    let (open, close) = match part.kind {
        PartKind::Inbox => ("[/", "\\]"),
        PartKind::Relay => ("[(", ")]"),
        PartKind::Door => ("{{", "}}"),
        PartKind::Source => ("([", "])"),
        PartKind::Route => ("[", "]"),
    };
    let stages = part.stages.join(" → ");
    let live = part.live.as_ref().map_or("", |live| live.words.as_str());
    let detail =
        [part.detail.as_str(), &stages, live].into_iter().filter(|words| !words.is_empty());
    let words =
        std::iter::once(part.name.as_str()).chain(part.missing.then_some("missing")).chain(detail);
    line(text, format_args!("    p{id}{open}\"{}\"{close}", lines(words)));
    if part.missing {
        line(text, format_args!("    class p{id} missing"));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes everything");
}

/// Lines of a label, escaped.
fn lines<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(escaped).collect::<Vec<_>>().join("<br/>")
}

/// Text within quotes. All that could mean something, there or in Markdown, goes as its number.
fn escaped(words: &str) -> String {
    let words: Vec<char> = shown(words).chars().collect();
    let mut text = String::with_capacity(words.len());
    for (at, &c) in words.iter().enumerate() {
        let is_inside = || {
            let beside = [at.checked_sub(1), Some(at + 1)].map(|at| words.get(at?).copied());
            beside.iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()))
        };
        match c {
            ' ' | ':' | ',' | '/' => text.push(c),
            '.' | '-' | '_' if is_inside() => text.push(c),
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                write!(text, "#{};", u32::from(c)).expect("a string takes everything");
            }
            _ => text.push(c),
        }
    }
    text
}

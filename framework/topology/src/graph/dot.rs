//! DOT, the language of Graphviz.

use std::fmt::Write as _;

use super::words::shown;
use super::{Graph, GraphNode, GraphPart, PartKind};

pub(super) fn write(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph estafette {\n  graph [rankdir=TB, fontname=\"sans-serif\"];\n  \
         node [fontname=\"sans-serif\", fontsize=11];\n  \
         edge [fontname=\"sans-serif\", fontsize=9];\n",
    );
    for node in &graph.nodes {
        write_node(node, &mut text);
    }
    for (edge, words) in graph.words() {
        let style = if edge.crosses { ", style=bold" } else { "" };
        let (from, to, words) = (&edge.from, &edge.to, lines(words));
        line(&mut text, format_args!("  \"{from}\" -> \"{to}\" [label=\"{words}\"{style}];"));
    }
    text.push_str("}\n");
    text
}

fn write_node(node: &GraphNode, text: &mut String) {
    let relay = node.relay.then_some("relay");
    let words = std::iter::once(node.name.as_str())
        .chain(relay)
        .chain(node.missing.then_some("missing"))
        .chain(node.listen.iter().map(String::as_str));
    let (id, words) = (&node.id, lines(words));
    let style = if node.missing { "dashed" } else { "rounded" };
    line(text, format_args!("  subgraph \"cluster_{id}\" {{"));
    line(text, format_args!("    label=\"{words}\"; style={style};"));
    if node.parts.is_empty() {
        // A cluster without anything in it is not drawn.
        line(text, format_args!("    \"{id}\" [label=\"\", shape=point, style=invis];"));
    }
    for part in &node.parts {
        write_part(part, text);
    }
    text.push_str("  }\n");
}

fn write_part(part: &GraphPart, text: &mut String) {
    let shape = match part.kind {
        PartKind::Inbox => "folder",
        PartKind::Relay => "cylinder",
        PartKind::Door => "component",
        PartKind::Source => "note",
        PartKind::Route => "cds",
    };
    let stages = part.stages.join(" → ");
    let live = part.live.as_ref().map_or("", |live| live.words.as_str());
    let detail =
        [part.detail.as_str(), &stages, live].into_iter().filter(|words| !words.is_empty());
    let words =
        std::iter::once(part.name.as_str()).chain(part.missing.then_some("missing")).chain(detail);
    let (id, words) = (&part.id, lines(words));
    let style = if part.missing { ", style=dashed" } else { "" };
    line(text, format_args!("    \"{id}\" [label=\"{words}\", shape={shape}{style}];"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes everything");
}

/// Lines of a label, escaped.
fn lines<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(escaped).collect::<Vec<_>>().join("\\n")
}

/// Text within quotes. Labels have escapes of their own, and entities as in HTML.
fn escaped(words: &str) -> String {
    shown(words).replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}

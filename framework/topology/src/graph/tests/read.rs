//! Reads drawings again: which parts they have, by kind and name, and which edges.

use std::collections::{BTreeMap, BTreeSet};

use super::super::words::shown;
use super::super::{Graph, PartKind};

/// The parts of a drawing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// The first line of each node's words.
    pub(super) nodes: Vec<String>,
    /// For each node the first line of each part's words.
    pub(super) parts: BTreeSet<(String, String, String)>,
    /// Of each edge the parts, as node and first line.
    pub(super) edges: Vec<[(String, String); 2]>,
}

/// Returns the parts that a drawing of a graph ought to have.
pub(super) fn expected(graph: &Graph) -> Drawn {
    let mut drawn = Drawn::default();
    let mut ids = BTreeMap::new();
    for node in &graph.nodes {
        let name = shown(&node.name);
        drawn.nodes.push(name.clone());
        for part in &node.parts {
            ids.insert(part.id.as_str(), (name.clone(), shown(&part.name)));
            let kind = kind(part.kind).to_owned();
            drawn.parts.insert((name.clone(), kind, shown(&part.name)));
        }
    }
    drawn.edges = graph
        .edges
        .iter()
        .map(|edge| [ids[edge.from.as_str()].clone(), ids[edge.to.as_str()].clone()])
        .collect();
    drawn.in_order()
}

fn kind(kind: PartKind) -> &'static str {
    match kind {
        PartKind::Inbox => "inbox",
        PartKind::Relay => "relay",
        PartKind::Door => "door",
        PartKind::Source => "source",
        PartKind::Route => "route",
    }
}

impl Drawn {
    fn in_order(mut self) -> Self {
        self.nodes.sort();
        self.edges.sort();
        self
    }
}

/// Reads what `dot.rs` writes: statements of a line each, with text in quotes.
pub(super) fn dot(text: &str) -> Drawn {
    let mut drawn = Drawn::default();
    let mut ids: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut depth = 0;
    let mut edges = Vec::new();
    for line in text.lines() {
        let (bare, quoted) = tokens(line);
        depth += bare.matches('{').count() as i32 - bare.matches('}').count() as i32;
        match bare.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["digraph", "estafette", "{"] | ["}"] => {}
            ["graph" | "node" | "edge", ..] => assert_eq!(depth, 1),
            ["subgraph", "\"\"", "{"] => assert_eq!(depth, 2),
            ["label=\"\";", style] => {
                assert!(style.starts_with("style="), "{line}");
                drawn.nodes.push(first_line(&quoted[0]));
            }
            ["\"\"", "->", "\"\"", ..] => {
                assert_eq!(depth, 1);
                edges.push([quoted[0].clone(), quoted[1].clone()]);
            }
            ["\"\"", "[label=\"\",", shape, ..] => {
                assert_eq!(depth, 2);
                let kind = match shape.trim_end_matches(['(', ']', ';', ',']) {
                    "shape=folder" => "inbox",
                    "shape=cylinder" => "relay",
                    "shape=note" => "source",
                    "shape=cds" => "route",
                    "shape=point" => continue,
                    other => panic!("{other} in {line}"),
                };
                let node = drawn.nodes.last().expect("a node around it").clone();
                let name = first_line(&quoted[1]);
                drawn.parts.insert((node.clone(), kind.into(), name.clone()));
                assert!(ids.insert(quoted[0].clone(), (node, name)).is_none(), "twice: {line}");
            }
            other => panic!("not understood: {other:?}"),
        }
    }
    assert_eq!(depth, 0, "brackets are in pairs");
    drawn.edges = edges.into_iter().map(|ends| ends.map(|id| ids[&id].clone())).collect();
    drawn.in_order()
}

/// A line with its quoted texts left out, and these, still escaped.
fn tokens(line: &str) -> (String, Vec<String>) {
    let (mut bare, mut quoted) = (String::new(), Vec::new());
    let mut open: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (&mut open, c) {
            (None, '"') => open = Some(String::new()),
            (None, _) => bare.push(c),
            (Some(_), '"') => {
                quoted.extend(open.take());
                bare.push_str("\"\"");
            }
            (Some(text), '\\') => {
                text.push('\\');
                text.extend(chars.next());
            }
            (Some(text), _) => text.push(c),
        }
    }
    assert_eq!(open, None, "a quote has no end: {line}");
    (bare, quoted)
}

/// The first line of a label of DOT.
fn first_line(label: &str) -> String {
    let mut text = String::new();
    let mut chars = label.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') | None => break,
                Some(c) => text.push(c),
            },
            _ => text.push(c),
        }
    }
    text.replace("&amp;", "&")
}

/// Reads what `mermaid.rs` writes.
pub(super) fn mermaid(text: &str) -> Drawn {
    let mut drawn = Drawn::default();
    let mut ids: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut is_inside = false;
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("%%{init: {")));
    assert_eq!(lines.next(), Some("flowchart TB"));
    for line in lines {
        let (bare, quoted) = tokens(line);
        let words: Vec<_> = quoted.iter().map(|label| mermaid_words(label)).collect();
        match bare.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["subgraph", node] => {
                assert!(!is_inside && node.ends_with("[\"\"]"), "{line}");
                is_inside = true;
                drawn.nodes.push(words[0].clone());
            }
            ["end"] => is_inside = false,
            ["class" | "classDef", ..] => {}
            [from, arrow, to] => {
                assert!(matches!(*arrow, "-->|\"\"|" | "==>|\"\"|"), "{line}");
                drawn.edges.push([ids[*from].clone(), ids[*to].clone()]);
            }
            [node] if node.starts_with('n') => drawn.nodes.push(words[0].clone()),
            [part] => {
                assert!(is_inside, "{line}");
                let at = part.find(['[', '(']).expect("a shape");
                let kind = match &part[at..] {
                    "[/\"\"\\]" => "inbox",
                    "[(\"\")]" => "relay",
                    "([\"\"])" => "source",
                    "[\"\"]" => "route",
                    other => panic!("{other} in {line}"),
                };
                let node = drawn.nodes.last().expect("a node around it").clone();
                drawn.parts.insert((node.clone(), kind.into(), words[0].clone()));
                ids.insert(part[..at].to_owned(), (node, words[0].clone()));
            }
            other => panic!("not understood: {other:?}"),
        }
    }
    assert!(!is_inside);
    drawn.in_order()
}

/// The first line of a label of Mermaid.
fn mermaid_words(label: &str) -> String {
    let line = label.split("<br/>").next().expect("one at least");
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('#') {
        let (number, after) = after.split_once(';').expect("an entity has an end");
        text.push_str(before);
        text.extend(number.parse().ok().and_then(char::from_u32));
        rest = after;
    }
    assert!(!rest.contains(['<', '"', '`', ';']), "not escaped: {label}");
    text + rest
}

/// Reads a picture: what boxes say when one points at them, which frame they lie in, and which ones
/// edges say they lead to.
pub(super) fn svg(text: &str) -> Drawn {
    let document = roxmltree::Document::parse(text).expect("a picture is XML");
    let mut drawn = Drawn::default();
    let (mut frames, mut names) = (Vec::new(), BTreeMap::new());
    let mut ids = BTreeSet::new();
    for group in document.descendants().filter(|element| element.has_attribute("data-id")) {
        assert!(ids.insert(group.attribute("data-id")), "an id twice");
        let of = |name: &str| group.children().find(|child| child.has_tag_name(name));
        let title = of("title").and_then(|title| title.text()).expect("words about it");
        let (sort, name) =
            title.lines().next().and_then(|line| line.split_once(' ')).expect("a name");
        let rect = corners(of("rect").expect("a box"));
        if sort == "node" {
            frames.push((name.to_owned(), rect));
            drawn.nodes.push(name.to_owned());
            continue;
        }
        let class = group.attribute("class").expect("a class");
        assert_eq!(class.split(' ').next(), Some(sort));
        let is_in = |(_, frame): &&(String, [f64; 4])| {
            let [left, top, right, bottom] = *frame;
            rect[0] >= left && rect[1] >= top && rect[2] <= right && rect[3] <= bottom
        };
        let around: Vec<_> = frames.iter().filter(is_in).collect();
        let [(node, _)] = around.as_slice() else { panic!("{name} is in {around:?}") };
        drawn.parts.insert((node.clone(), sort.to_owned(), name.to_owned()));
        names.insert(group.attribute("data-id"), (node.clone(), name.to_owned()));
    }
    for edge in document.descendants().filter(|element| element.has_attribute("data-from")) {
        let way = |child: &roxmltree::Node<'_, '_>| child.attribute("class") == Some("way");
        assert_eq!(edge.children().filter(way).count(), 1);
        let ends = ["data-from", "data-to"].map(|end| edge.attribute(end));
        drawn.edges.extend(
            names.get(&ends[0]).cloned().zip(names.get(&ends[1]).cloned()).map(<[_; 2]>::from),
        );
    }
    drawn.in_order()
}

/// Left, top, right and bottom of a box.
fn corners(rect: roxmltree::Node<'_, '_>) -> [f64; 4] {
    let number = |name| rect.attribute(name).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    let (x, y): (f64, f64) = (number("x"), number("y"));
    [x, y, x + number("width"), y + number("height")]
}

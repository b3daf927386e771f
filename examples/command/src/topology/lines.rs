//! The events of several nodes as one stream: lines with the name of the node for people, objects
//! with it for programs.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::control::Outcome;
use crate::event::Event;
use crate::output::Output;
use crate::units::{self, printable};

/// Colours of names, by turns: none of them means good or bad.
const COLORS: [u8; 6] = [36, 35, 34, 96, 95, 94];

pub(super) struct Lines {
    names: Vec<String>,
    width: usize,
    output: Output,
}

impl Lines {
    pub(super) fn new(names: &[String], output: &Output) -> Self {
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { names: names.to_vec(), width, output: output.clone() }
    }

    /// The beginning of a line that a person reads, `name |`, and its style.
    fn begin(&self, name: &str) -> (String, (String, &'static str)) {
        let shown = printable(name);
        let room = " ".repeat(self.width.saturating_sub(shown.chars().count()));
        let index = self.names.iter().position(|known| known == name).unwrap_or(0);
        let style = match self.output.color {
            true => (format!("\x1b[{}m", COLORS[index % COLORS.len()]), "\x1b[0m"),
            false => (String::new(), ""),
        };
        (format!("{shown}{room} |"), style)
    }

    /// A line that a person reads.
    fn say(&self, name: &str, text: &str) {
        let (words, (begin, end)) = self.begin(name);
        for line in text.lines() {
            self.output.remark_styled((&begin, end), &words, line);
        }
    }

    /// A node that was not there at the start.
    pub(super) fn add(&mut self, name: &str) {
        self.names.push(name.to_owned());
        self.width = self.width.max(name.chars().count());
    }

    /// Says what a reload does to a node, or why it does not.
    pub(super) fn reloaded(&self, outcome: &Outcome) {
        if self.output.json {
            return self.output.value(&outcome.event().into());
        }
        let not = if outcome.kind.is_some() { "not reloaded: " } else { "" };
        self.say(&outcome.node, &format!("{not}{}", printable(&outcome.change)));
    }

    /// A line of its log: on stderr, whoever reads the events.
    pub(super) fn log(&self, name: &str, text: &str) {
        if let Ok(mut line) = serde_json::from_str::<Map<String, Value>>(text) {
            line.insert("node".into(), name.into());
            return self.output.log_json(&Value::Object(line));
        }
        let (words, (begin, end)) = self.begin(name);
        for line in text.lines() {
            self.output.log_styled((&begin, end), &words, line);
        }
    }

    /// An event of a node.
    pub(super) fn event(&self, name: &str, event: &Map<String, Value>) {
        if self.output.json {
            let mut event = event.clone();
            event.insert("node".into(), name.into());
            self.output.value(&Value::Object(event));
        } else if let Some(text) = words(event) {
            self.say(name, &text);
        }
    }

    /// A process has ended, which is started again after some time, or when a file is mended.
    pub(super) fn ended(
        &self,
        name: &str,
        code: Option<i32>,
        (again, lacks_file): (Option<Duration>, bool),
    ) {
        // In whole seconds, of which none is at once.
        let seconds = again.map(|again| again.as_secs() + u64::from(again.subsec_nanos() > 0));
        if self.output.json {
            let event = serde_json::to_value(Event::NodeEnded { code, seconds });
            if let Ok(Value::Object(event)) = event {
                self.event(name, &event);
            }
            return;
        }
        let how = code.map_or_else(|| "was killed".into(), |code| format!("ended with {code}"));
        let next = match again {
            Some(again) => format!("started again in {}", units::span(again)),
            None if lacks_file => "started again when that file is mended; others go on".into(),
            None => "it is not started again: others go on".into(),
        };
        self.say(name, &format!("its process {how}; {next}"));
    }
}

/// An event in words; `None` for what people are not told, such as progress.
fn words(event: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| printable(event.get(key).and_then(Value::as_str).unwrap_or("?"));
    let number = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or(0);
    let words = match event.get("event")?.as_str()? {
        "ready" => {
            let addrs = event.get("addrs").and_then(Value::as_array).into_iter().flatten();
            let addrs: Vec<_> = addrs.filter_map(Value::as_str).map(printable).collect();
            match &addrs[..] {
                [] => "runs".to_owned(),
                addrs => format!("listens at {}", addrs.join(", ")),
            }
        }
        "page" => format!("what it does is shown at {}", text("url")),
        "routed" => format!("{} goes to {}, by route {}", text("name"), text("to"), text("route")),
        "route_removed" => format!("{} is delivered to all, and removed", text("name")),
        "route_moved" => {
            format!("{} is taken from {}: {}", text("name"), text("from"), text("message"))
        }
        "route_failed" => {
            let again = units::span(Duration::from_secs(number("seconds")));
            format!("route {}: {}; tried again in {again}", text("route"), text("message"))
        }
        "delivered" => {
            // What goes by a relay has no name there, nor at a sender that is told of it later.
            let name = event.get("name").and_then(Value::as_str);
            let name = name.filter(|name| !name.ends_with(".package"));
            let what = name.map_or_else(|| text("transfer"), printable);
            let (bytes, peer) = (units::bytes(number("bytes")), text("peer_name"));
            match event.get("direction")?.as_str()? {
                "incoming" => format!("has {what} ({bytes}) from {peer}: {}", text("place")),
                // It is of two others.
                _ if peer == "?" => format!("{what} ({bytes}) is delivered"),
                _ => format!("delivered {what} ({bytes}) to {peer}"),
            }
        }
        "reloaded" if event.get("failed").and_then(Value::as_bool) == Some(true) => {
            format!("not reloaded: {}", text("change"))
        }
        "reloaded" => format!("reloaded: {}", text("change")),
        "relayed" | "kept" => format!("the relay keeps {}", text("transfer")),
        "deferred" => format!("{}; tried again", text("message")),
        "restarted" | "remark" => text("message"),
        "waiting" => "waits for room".into(),
        "error" => {
            match event.get("hint").and_then(Value::as_str).filter(|hint| !hint.is_empty()) {
                Some(hint) => format!("error: {}\n  → {}", text("message"), printable(hint)),
                None => format!("error: {}", text("message")),
            }
        }
        _ => return None,
    };
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_words_and_words_of_others_steer_no_terminal() {
        let event = |json: Value| words(json.as_object().unwrap_or(&Map::new()));
        let routed = serde_json::json!({
            "event": "routed", "route": "post", "name": "a\u{1b}[2J", "to": "paris/in", "transfer": "1"
        });
        let said = event(routed).unwrap_or_default();
        assert!(said.contains("goes to paris/in, by route post") && !said.contains('\u{1b}'));
        assert_eq!(event(serde_json::json!({ "event": "progress" })), None);
        let delivered = |name: Option<&str>, peer: Option<&str>| {
            event(serde_json::json!({
                "event": "delivered", "direction": "outgoing", "name": name, "bytes": 3,
                "transfer": "b5de8b3768496e13", "peer_name": peer
            }))
        };
        for (name, peer, said) in [
            (Some("letter"), Some("paris"), "delivered letter (3 B) to paris"),
            (Some("b5de8b.package"), Some("paris"), "delivered b5de8b3768496e13 (3 B) to paris"),
            (None, None, "b5de8b3768496e13 (3 B) is delivered"),
        ] {
            assert_eq!(delivered(name, peer).as_deref(), Some(said));
        }
        assert_eq!(
            event(serde_json::json!({ "event": "ready", "addrs": [] })),
            Some("runs".into())
        );
    }
}

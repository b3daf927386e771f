//! The parts that a program has by name: kinds of sinks, sources and filters, coders and codecs.

use estafette::node::KindOf;
use serde_json::{Map, Value, json};

use super::{Making, any, choice, described, one_or_more, required, table, text};

impl Making<'_> {
    pub(super) fn sink(&mut self) -> Value {
        let kinds = self.registry.inbox_kinds().map(str::to_owned).collect();
        choice(self.settings(KindOf::Inbox, kinds).into())
    }

    pub(super) fn doors(&mut self) -> Value {
        let kinds = self.registry.door_kinds().map(str::to_owned).collect();
        choice(self.settings(KindOf::Door, kinds).into())
    }

    pub(super) fn source(&mut self) -> Value {
        let kinds = self.registry.source_kinds().map(str::to_owned).collect();
        let mut kinds = self.settings(KindOf::Source, kinds);
        let then = json!({ "enum": ["keep", "remove"],
            "description": "What becomes of an entry that was delivered to all" });
        let each = table(
            "A folder each entry of which is a delivery",
            json!({ "folder": text("The folder"), "then": then }),
        );
        let each = required(each, &["folder"]);
        let folder = json!({ "type": "string" });
        kinds.insert("each".into(), any("Each entry of a folder", [folder, each]));
        let inbox = "An inbox of this node: what arrives there goes on, once";
        kinds.insert("inbox".into(), text(inbox));
        choice(kinds.into())
    }

    pub(super) fn stages(&mut self) -> Value {
        let filters: Vec<_> = self.registry.filter_kinds().map(str::to_owned).collect();
        let coders = self.registry.stages().coder_names().map(str::to_owned);
        let names: Vec<_> = coders.chain(filters.iter().cloned()).collect();
        if names.is_empty() {
            // This program has no stages of its own.
            return json!({ "type": "array", "maxItems": 0 });
        }
        let mut stages = vec![json!({ "enum": names })];
        if !filters.is_empty() {
            stages.push(choice(self.settings(KindOf::Filter, filters).into()));
        }
        one_or_more(json!({ "anyOf": stages }))
    }

    pub(super) fn codecs(&self) -> Vec<String> {
        let codecs = self.registry.stages().codecs().map(|codec| codec.name().to_owned());
        codecs.chain(["off".to_owned()]).collect()
    }

    /// Each kind and the schema of its settings.
    fn settings(&mut self, of: KindOf, kinds: Vec<String>) -> Map<String, Value> {
        let mut settings = Map::new();
        for kind in kinds {
            let schema = self.registry.schema_of_kind(of, &kind, &mut self.generator);
            let schema = schema.map_or_else(
                || described("Settings that the program does not describe", true.into()),
                schemars::Schema::to_value,
            );
            settings.insert(kind, schema);
        }
        settings
    }
}

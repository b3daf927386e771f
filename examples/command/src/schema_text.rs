//! A JSON schema in a line, for whoever is about to write such JSON.
//!
//! It comes from another node: however it is made, the line is made of [`PARTS_MOST`] parts at
//! most, nested [`DEPTH_MOST`] deep, and ends after [`LINE_MOST`] bytes.

use serde_json::Value;

/// Parts of a schema that are looked at.
const PARTS_MOST: usize = 100;
/// The depth to which they may be nested.
const DEPTH_MOST: usize = 8;

/// A longer schema is not shown: nodes leave them out.
const SCHEMA_MOST: usize = 16 << 10;
/// The end of the line, whatever is not said yet: a part may be as long as the schema.
const LINE_MOST: usize = 4 << 10;

/// The form of JSON of this schema; `None` where that is no schema, or one that is too long.
pub(crate) fn line(schema: &str) -> Option<String> {
    if schema.len() > SCHEMA_MOST {
        return None;
    }
    let root: Value = serde_json::from_str(schema).ok()?;
    let mut line = Lines { root: &root, left: PARTS_MOST }.of(&root, 0);
    if line.len() > LINE_MOST {
        let end = (0..=LINE_MOST).rev().find(|at| line.is_char_boundary(*at));
        line.truncate(end.unwrap_or(0));
        line.push('…');
    }
    Some(line)
}

struct Lines<'a> {
    root: &'a Value,
    left: usize,
}

impl<'a> Lines<'a> {
    fn of(&mut self, schema: &'a Value, depth: usize) -> String {
        if self.left == 0 || depth > DEPTH_MOST {
            return "…".into();
        }
        self.left -= 1;
        if let Some(place) = schema["$ref"].as_str() {
            let found = place.strip_prefix('#').and_then(|place| self.root.pointer(place));
            return found.map_or("…".into(), |found| self.of(found, depth + 1));
        }
        if let Some(one) = schema.get("const") {
            return one.to_string();
        }
        if let Some(some) = schema["enum"].as_array() {
            return some
                .iter()
                .take(PARTS_MOST)
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(" | ");
        }
        let among = ["oneOf", "anyOf"].into_iter().find_map(|key| schema[key].as_array());
        if let Some(some) = among {
            return self.all(some, depth).join(" | ");
        }
        match &schema["type"] {
            Value::String(kind) => self.kind(kind, schema, depth),
            Value::Array(kinds) => {
                let kinds = kinds.iter().filter_map(Value::as_str).take(8);
                kinds.map(|kind| self.kind(kind, schema, depth)).collect::<Vec<_>>().join(" | ")
            }
            _ => "anything".into(),
        }
    }

    fn kind(&mut self, kind: &str, schema: &'a Value, depth: usize) -> String {
        match kind {
            "object" => self.object(schema, depth),
            "array" => match schema["prefixItems"].as_array() {
                Some(items) => format!("[{}]", self.all(items, depth).join(", ")),
                None => format!("[{}, …]", self.of(&schema["items"], depth + 1)),
            },
            other => other.into(),
        }
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> String {
        let required = schema["required"].as_array();
        let is_required =
            |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
        let mut fields = Vec::new();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            if self.left == 0 {
                fields.push("…".into());
                break;
            }
            let optional = if is_required(name) { "" } else { "?" };
            let name = Value::from(name.as_str());
            fields.push(format!("{name}{optional}: {}", self.of(field, depth + 1)));
        }
        if schema["additionalProperties"].is_object() {
            fields.push(format!("…: {}", self.of(&schema["additionalProperties"], depth + 1)));
        }
        format!("{{{}}}", fields.join(", "))
    }

    fn all(&mut self, schemas: &'a [Value], depth: usize) -> Vec<String> {
        schemas.iter().take(self.left.max(1)).map(|one| self.of(one, depth + 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_line() {
        for (schema, wanted) in [
            ("true", "anything"),
            (r#"{"type":"null"}"#, "null"),
            (r#"{"type":["string","null"]}"#, "string | null"),
            (r#"{"type":"array","items":{"type":"integer"}}"#, "[integer, …]"),
            (r#"{"type":"array","prefixItems":[{"type":"integer"},true]}"#, "[integer, anything]"),
            (r#"{"oneOf":[{"const":"Plain"},{"enum":[1,"a"]}]}"#, r#""Plain" | 1 | "a""#),
            (
                r##"{"type":"object","required":["a"],"properties":{"a":{"$ref":"#/$defs/A"},
                    "b":{"type":"boolean"}},"additionalProperties":{"type":"number"},
                    "$defs":{"A":{"type":"string"}}}"##,
                r#"{"a": string, "b"?: boolean, …: number}"#,
            ),
            (r##"{"$ref":"#/nowhere"}"##, "…"),
        ] {
            assert_eq!(line(schema).as_deref(), Some(wanted), "{schema}");
        }
        assert_eq!(line("{"), None);
    }

    #[test]
    fn one_that_never_ends_or_is_very_broad_is_a_short_line() {
        let endless = r##"{"oneOf":[{"$ref":"#"},{"$ref":"#"},{"$ref":"#"}]}"##;
        assert!(line(endless).unwrap().len() < 2000);
        let broad: String = (0..1000).map(|nth| format!("\"{nth}\":true,")).collect();
        let broad = format!("{{\"type\":\"object\",\"properties\":{{{broad}\"x\":true}}}}");
        assert!(line(&broad).unwrap().len() < 3000);
    }

    #[test]
    fn one_of_long_parts_ends_and_a_long_one_is_not_shown() {
        let text = "é".repeat(3000);
        let constant = format!("{{\"const\":\"{text}\"}}");
        let each = format!("{{\"enum\":[\"{text}\",\"{text}\"]}}");
        let again = [r##"{"$ref":"#/$defs/A"}"##; 90].join(",");
        let again = format!("{{\"oneOf\":[{again}],\"$defs\":{{\"A\":{constant}}}}}");
        for schema in [constant, each, again] {
            let line = line(&schema).unwrap();
            assert!(line.len() <= LINE_MOST + '…'.len_utf8(), "{} bytes", line.len());
            assert!(line.ends_with("éé…"), "{line}");
        }
        assert_eq!(line(&format!("{{\"const\":\"{}\"}}", "x".repeat(SCHEMA_MOST))), None);
    }
}

//! Messages of a proto, and the JSON of the types that actors take.
//!
//! The JSON is the canonical one of protocol buffers, but for what Rust's types take otherwise:
//! names of fields as the proto writes them, numbers of 64 bits as numbers, defaults written out.

use bytes::Bytes;
use prost_reflect::prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions,
};
use serde_json::Value;
use tonic::{Code, Status};

use super::status::{TEXT_MOST, handled};

/// The most bytes of a message, in either form: gRPC's own limit. A message that is mostly empty
/// ones takes a hundred times its bytes while it is translated, one at a time.
const MOST: usize = 4 << 20;

/// The requests and replies of a method.
#[derive(Clone, Debug)]
pub(super) struct Translation {
    input: MessageDescriptor,
    output: MessageDescriptor,
}

impl Translation {
    pub(super) fn of(method: &MethodDescriptor) -> Self {
        Self { input: method.input(), output: method.output() }
    }

    /// The JSON of a request.
    pub(super) fn request(&self, message: &[u8]) -> Result<Bytes, String> {
        let name = self.input.full_name();
        if message.len() > MOST {
            return Err(format!("a {name} of {} bytes: {MOST} are allowed", message.len()));
        }
        let message = DynamicMessage::decode(self.input.clone(), message)
            .map_err(|error| format!("the request is no {name}: {error}"))?;
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(false)
            .use_proto_field_name(true)
            .skip_default_fields(false);
        let mut json = Vec::new();
        message
            .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
            .map_err(|error| format!("the {name} has no JSON: {error}"))?;
        Ok(json.into())
    }

    /// The reply of some JSON; an actor's own error becomes a status.
    pub(super) fn reply(&self, json: &[u8]) -> Result<Bytes, Status> {
        let name = self.output.full_name();
        let bad = |why: String| handled(Code::Internal, "BAD_REPLY", &why);
        if json.len() > MOST {
            let text = format!("an answer of {} bytes: {MOST} are allowed", json.len());
            return Err(handled(Code::ResourceExhausted, "FULL", &text));
        }
        let json: Value = serde_json::from_slice(json)
            .map_err(|error| bad(format!("the answer can't be read: {error}")))?;
        let json = self.shaped(json)?;
        DynamicMessage::deserialize_with_options(
            self.output.clone(),
            json,
            &DeserializeOptions::new().deny_unknown_fields(false),
        )
        .map(|message| message.encode_to_vec().into())
        .map_err(|error| bad(format!("the answer is no {name}: {error}")))
    }

    /// Returns an answer of a Rust type as a message: of a `Result` what is in it, of a value that
    /// is no object the one field there is, of `()` nothing.
    fn shaped(&self, json: Value) -> Result<Value, Status> {
        let json = match json {
            Value::Object(mut fields) if fields.len() == 1 && !self.has_field(&fields) => {
                if let Some(error) = fields.remove("Err") {
                    return Err(own(&error));
                }
                fields.remove("Ok").unwrap_or(Value::Object(fields))
            }
            json => json,
        };
        if self.output.full_name().starts_with("google.protobuf.") && !json.is_null() {
            return Ok(json);
        }
        let mut fields = self.output.fields();
        Ok(match (json, fields.next(), fields.next()) {
            (Value::Null, ..) => Value::Object(serde_json::Map::new()),
            (json @ Value::Object(_), ..) => json,
            (json, Some(only), None) => {
                let named = (only.json_name().to_owned(), json);
                Value::Object(serde_json::Map::from_iter([named]))
            }
            (json, ..) => json,
        })
    }

    /// Returns `true` if the one field of an object is one of the message.
    fn has_field(&self, fields: &serde_json::Map<String, Value>) -> bool {
        fields.keys().all(|name| {
            self.output.get_field_by_name(name).is_some()
                || self.output.get_field_by_json_name(name).is_some()
        })
    }
}

/// The status of an actor's own error: `code` and `message` where it has these, or its text.
fn own(error: &Value) -> Status {
    let number = error.get("code").and_then(Value::as_i64).and_then(|code| code.try_into().ok());
    // What is an error can't end as what went well.
    let code = number.map(Code::from_i32).filter(|code| *code != Code::Ok);
    let text = match error.get("message").unwrap_or(error) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text: String = text.chars().take(TEXT_MOST).collect();
    handled(code.unwrap_or(Code::Unknown), "OTHER", &text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use prost_reflect::DescriptorPool;
    use protox::file::{File, FileResolver};
    use serde_json::json;

    use super::*;

    const PROTO: &str = r#"
        syntax = "proto3";
        package shop;
        message Order {
            string article = 1; uint64 cents = 2; int32 pieces = 3; optional string note = 4;
            Kind kind = 5; repeated Order with = 6;
        }
        enum Kind { PLAIN = 0; GIFT = 1; }
        message Price { uint64 cents = 1; }
        service Shop { rpc Buy(Order) returns (Price); rpc Echo(Order) returns (Order); }
    "#;

    fn translation(method: usize) -> Translation {
        let mut compiler = protox::Compiler::with_file_resolver(Only);
        compiler.open_file("shop.proto").unwrap();
        let pool: DescriptorPool = compiler.descriptor_pool();
        let method = pool.services().next().unwrap().methods().nth(method).unwrap();
        Translation::of(&method)
    }

    struct Only;

    impl FileResolver for Only {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            File::from_source(name, PROTO)
        }
    }

    fn message(descriptor: &MessageDescriptor, json: Value) -> Vec<u8> {
        DynamicMessage::deserialize(descriptor.clone(), json).unwrap().encode_to_vec()
    }

    #[test]
    fn a_request_becomes_the_json_that_a_rust_type_takes() {
        let buy = translation(0);
        let order = json!({
            "article": "tea", "cents": "18446744073709551615", "kind": "GIFT", "with": [{}]
        });
        let json: Value =
            serde_json::from_slice(&buy.request(&message(&buy.input, order)).unwrap()).unwrap();
        assert_eq!(json["cents"], json!(u64::MAX), "a number, and exact");
        assert_eq!(json["pieces"], json!(0), "a default is written");
        assert_eq!(json["kind"], json!("GIFT"));
        assert!(json.get("note").is_none(), "what is optional and not there is not written");
        assert_eq!(json["with"][0]["article"], json!(""));
        assert!(buy.request(b"\xff\xff").unwrap_err().contains("no shop.Order"));
    }

    #[test]
    fn an_answer_becomes_its_message_whatever_shape_the_rust_type_has() {
        let (buy, echo) = (translation(0), translation(1));
        let price = message(&buy.output, json!({ "cents": 5 }));
        for answer in ["5", r#"{"cents":5}"#, r#"{"Ok":5}"#, r#"{"Ok":{"cents":5}}"#] {
            assert_eq!(buy.reply(answer.as_bytes()).unwrap(), price, "{answer}");
        }
        assert_eq!(buy.reply(b"null").unwrap(), "", "nothing");
        let order = message(&echo.output, json!({ "article": "tea" }));
        assert_eq!(echo.reply(br#"{"article":"tea","more":1}"#).unwrap(), order);
    }

    #[test]
    fn an_actors_own_error_is_a_status_and_a_bad_answer_is_internal() {
        let buy = translation(0);
        let failed = |answer: &str| {
            let status = buy.reply(answer.as_bytes()).unwrap_err();
            (status.code(), status.message().to_owned())
        };
        assert_eq!(failed(r#"{"Err":"of nothing?"}"#), (Code::Unknown, "of nothing?".into()));
        let own = r#"{"Err":{"code":9,"message":"closed"}}"#;
        assert_eq!(failed(own), (Code::FailedPrecondition, "closed".into()));
        assert_eq!(failed(r#"{"Err":{"code":0,"message":"x"}}"#).0, Code::Unknown);
        for bad in ["[]", "{", r#"{"cents":"many"}"#, r#""x""#] {
            assert_eq!(failed(bad).0, Code::Internal, "{bad}");
        }
    }
}

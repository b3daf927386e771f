//! The webhook as a kind of door, made of settings in a topology:
//! `door = { webhook = { url = "https://example.org/hooks", secret_file = "orders.secret" } }`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use estafette::node::units::path::from_base;
use estafette::node::units::{parse_time, size, time};
use estafette::node::{Door, DoorPlace, OpenDoor, StageRegistry};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer};

use super::target::Url;
use super::{AT_ONCE, Format, Kept, OpenWebhook, Webhook, WebhookError};
use super::{BYTES, CONNECT_WITHIN, MESSAGES, WITHIN};

/// Registers the kind `webhook`.
pub(crate) fn with_kind(registry: StageRegistry) -> StageRegistry {
    #[cfg(feature = "schema")]
    let registry = registry.kind_schema::<WebhookTable>(estafette::node::KindOf::Door, "webhook");
    registry.door_kind("webhook", |table: WebhookTable| {
        let settings = Settings { url: table.url.clone(), webhook: table.webhook()? };
        settings.webhook.parts().map(|_| settings)
    })
}

/// A webhook: durable messages that come to the name of the door are posted to a URL.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    /// The URL that is posted to: https://HOST/PATH
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    url: Url,
    /// The file of the secret that signs, or, while it is changed, the new one and the one before
    #[serde(deserialize_with = "one_or_more")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMore"))]
    secret_file: Vec<PathBuf>,
    /// The types that it takes, such as shop.Order; default: all
    #[serde(default)]
    types: Vec<String>,
    /// The form in which they are posted
    #[serde(default)]
    format: Format,
    /// One after the other, as they came: one that fails keeps those behind it waiting
    #[serde(default)]
    ordered: bool,
    /// The most POSTs at once
    #[serde(default = "at_once")]
    at_once: usize,
    /// The waits before the second try and those after it; default: 5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h
    #[serde(default)]
    retries: Option<Vec<String>>,
    /// The longest that connecting may take
    #[serde(default = "connect_within", with = "time")]
    #[cfg_attr(feature = "schema", schemars(with = "estafette::node::units::TimeText"))]
    connect_timeout: Duration,
    /// The longest that an answer may take, in all
    #[serde(default = "within", with = "time")]
    #[cfg_attr(feature = "schema", schemars(with = "estafette::node::units::TimeText"))]
    timeout: Duration,
    /// The most messages that wait
    #[serde(default = "messages")]
    messages: usize,
    /// The most bytes of messages that wait
    #[serde(default = "bytes", with = "size")]
    #[cfg_attr(feature = "schema", schemars(with = "estafette::node::units::SizeText"))]
    bytes: u64,
    /// Networks that are allowed though they are not the public internet: 10.1.0.0/16
    #[serde(default)]
    allow: Vec<String>,
    /// By http, too, which anybody on the way can read and change
    #[serde(default)]
    allow_http: bool,
    /// A file with the authorities of servers, instead of those of the machine
    #[serde(default)]
    ca: Option<PathBuf>,
}

const fn at_once() -> usize {
    AT_ONCE
}

const fn connect_within() -> Duration {
    CONNECT_WITHIN
}

const fn within() -> Duration {
    WITHIN
}

const fn messages() -> usize {
    MESSAGES
}

const fn bytes() -> u64 {
    BYTES
}

/// A path, or several.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(path) => vec![path],
        OneOrMore::More(paths) => paths,
    };
    Ok(paths.into_iter().map(from_base).collect())
}

impl WebhookTable {
    fn webhook(self) -> Result<Webhook, String> {
        let mut webhook = Webhook::to(self.url.0, self.secret_file)
            .types(self.types)
            .format(self.format)
            .at_once(self.at_once)
            .within(self.connect_timeout.min(self.timeout), self.timeout)
            .keeps(self.messages, self.bytes);
        webhook.is_ordered = self.ordered;
        webhook.allow_http = self.allow_http;
        webhook.authority = self.ca.map(from_base);
        if let Some(retries) = &self.retries {
            let waits: Result<Vec<_>, _> = retries.iter().map(|wait| parse_time(wait)).collect();
            webhook = webhook.retries(waits.map_err(|error| format!("retries: {error}"))?);
        }
        for network in &self.allow {
            webhook = webhook.allow(network.parse().map_err(|error| format!("allow: {error}"))?);
        }
        Ok(webhook)
    }
}

#[derive(Clone, Debug)]
struct Settings {
    url: Url,
    webhook: Webhook,
}

impl Door for Settings {
    fn address(&self) -> &str {
        &self.url.0
    }

    fn leads_out(&self) -> bool {
        true
    }

    fn private_files(&self) -> Vec<(&'static str, PathBuf)> {
        self.webhook.secrets.iter().map(|file| ("secret_file", file.clone())).collect()
    }

    fn prepare(&self) -> Result<(), String> {
        self.webhook.make("").map(drop).map_err(|error| error.to_string())
    }

    fn keeps(&self, name: &str, key: &Path) -> Result<usize, String> {
        let folder = super::webhook_folder(key, name);
        if !folder.is_dir() {
            return Ok(0);
        }
        let waiting = Kept::open(&folder).and_then(|kept| kept.waiting());
        waiting.map_err(|error| WebhookError::Queue { folder, error }.to_string())
    }

    fn open(&self, at: DoorPlace) -> BoxFuture<'static, Result<Box<dyn OpenDoor>, String>> {
        let webhook = self.webhook.clone();
        Box::pin(async move {
            let folder = super::webhook_folder(&at.key, &at.name);
            let open = webhook.open(&at.node, &at.name, folder).await;
            let open = open.map_err(|error| error.to_string())?;
            Ok(Box::new(open) as Box<dyn OpenDoor>)
        })
    }
}

impl OpenDoor for OpenWebhook {
    fn address(&self) -> String {
        self.target().to_owned()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin((*self).close())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use serde_json::{Value, json};

    use super::*;

    fn made(settings: Value) -> Result<String, String> {
        let registry = with_kind(StageRegistry::new());
        let door = registry.door_of("webhook", settings).and_then(|door| door.make());
        door.map(|door| format!("{} {}", door.address(), door.leads_out()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_webhook_is_made_of_a_table_and_nothing_is_passed_over() {
        let table = |more: Value| {
            let mut table = json!({ "url": "https://example.org/", "secret_file": "a.secret" });
            table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            made(table)
        };
        let well = Ok("https://example.org/ true".to_owned());
        assert_eq!(table(json!({})), well);
        assert_eq!(
            table(json!({
                "secret_file": ["new", "old"], "types": ["a.B"], "format": "structured",
                "ordered": true, "at_once": 2, "retries": ["5s", "1m"], "connect_timeout": "2s",
                "timeout": "5s", "messages": 10, "bytes": "1MiB", "allow": ["10.0.0.0/8"],
                "allow_http": true, "ca": "ca.pem",
            })),
            well
        );
        // The default of the one may be more than all that is given.
        assert_eq!(table(json!({ "timeout": "5s" })), well);
        for (more, said) in [
            (json!({ "url": "http://example.org/" }), "allow_http"),
            (json!({ "secret_file": [] }), "0 secrets"),
            (json!({ "format": "xml" }), "unknown variant `xml`"),
            (json!({ "retries": ["soon"] }), "retries"),
            (json!({ "allow": ["10"] }), "ADDRESS/BITS"),
            (json!({ "retry": [] }), "unknown field `retry`"),
            (json!({ "at_once": 0 }), "1 to 64"),
            (json!({ "timeout": "0s" }), "takes time"),
        ] {
            let why = table(more).unwrap_err();
            assert!(why.contains(said), "{said}: {why}");
        }
        assert!(made(json!({ "url": "https://a/" })).unwrap_err().contains("secret_file"));
    }
}

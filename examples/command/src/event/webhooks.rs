//! Events about webhooks.

use serde::Serialize;

/// A webhook that is open.
#[derive(Debug, Serialize)]
pub(crate) struct WebhookOpen<'a> {
    pub(crate) name: &'a str,
    /// Without the path of its URL, which may be a secret.
    pub(crate) to: &'a str,
}

/// The state of a webhook.
#[derive(Debug, Serialize)]
pub(crate) struct Webhook<'a> {
    pub(crate) name: &'a str,
    pub(crate) waiting: usize,
    pub(crate) dead: usize,
    /// The reason, if it is.
    pub(crate) disabled: Option<&'a str>,
    /// The end of the rest that its receiver has asked for, in seconds since the Unix epoch.
    pub(crate) rests: Option<u64>,
    /// Set if some process has it open, and posts.
    pub(crate) open: bool,
}

/// The cause for which nothing is posted, whatever is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Held {
    /// No process has it open.
    NotOpen,
    Disabled,
    Rests,
    /// Another message goes first, as it posts one after the other.
    Behind,
}

/// A message that a webhook has; times are in seconds since the Unix epoch.
#[derive(Debug, Serialize)]
pub(crate) struct WebhookMessage<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) id: &'a str,
    pub(crate) from: &'a str,
    pub(crate) message: &'a str,
    pub(crate) version: u32,
    pub(crate) state: &'static str,
    pub(crate) created: u64,
    pub(crate) tries: u32,
    pub(crate) next: u64,
    pub(crate) held: Option<Held>,
    pub(crate) last: Option<u64>,
    pub(crate) status: Option<u16>,
    pub(crate) why: Option<&'a str>,
    pub(crate) bytes: u64,
    pub(crate) body: Option<&'a str>,
}

/// A message of a webhook that something was done with.
#[derive(Debug, Serialize)]
pub(crate) struct OfWebhook<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) id: &'a str,
}

/// A message of a webhook that is to be posted again.
#[derive(Debug, Serialize)]
pub(crate) struct Retried<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) id: &'a str,
    pub(crate) held: Option<Held>,
}

#[derive(Debug, Serialize)]
pub(crate) struct WebhookEnabled<'a> {
    pub(crate) name: &'a str,
    pub(crate) was_disabled: bool,
}

//! Webhooks: durable messages that come to a name of a node are posted, each as JSON, to a URL of
//! somebody else.
//!
//! ```text
//!  letter ─▶ letterbox ─▶ queue (durable) ─▶ try: resolve, look, connect, POST ─▶ 2xx: removed
//!            processed ◀──┘                   └─▶ again after a wait … dead, kept, replayed
//! ```
//! Signed as [Standard Webhooks](https://www.standardwebhooks.com) has it. `framework/docs/webhooks.md`
//! has every rule and limit.
//!
//! Invariant: each try of a message carries the same `webhook-id`. A process that ends between a
//! POST and the record of it posts once more when it is started again, and loses none.

mod guard;
mod kept;
mod kind;
mod letters;
mod open;
mod payload;
mod post;
mod queue;
mod record;
mod schedule;
mod secret;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use estafette::remote::DirectoryError;
use estafette::{Node, RemoteMessage};
use tokio::sync::Semaphore;

pub use self::guard::{Network, NetworkError};
pub use self::kept::{Kept, KeptError, KeptMessage, KeptState};
pub(crate) use self::kind::with_kind;
use self::letters::Readers;
pub use self::open::OpenWebhook;
pub use self::payload::Format;
use self::post::{LOOKUPS, Poster, trust};
use self::queue::Limits;
pub use self::record::{Disabled, Rests};
use self::schedule::Schedule;
pub use self::secret::SecretError;
use self::secret::{SECRETS_MOST, Secrets};
use self::target::{Target, Url};

/// The most messages, and bytes of them, that wait, unless it is said otherwise.
const MESSAGES: usize = 1000;
const BYTES: u64 = 64 << 20;
/// The most that they may be set to.
const MESSAGES_MOST: usize = 10_000;
const BYTES_MOST: u64 = 1 << 30;
/// The dead messages that are kept.
const DEAD: usize = 1000;
/// The bytes that are left free on the disk of the queue, as spools do unless it is said otherwise.
const FREE: u64 = 64 << 20;
/// The most POSTs at once, unless it is said otherwise, and at all.
const AT_ONCE: usize = 8;
const AT_ONCE_MOST: usize = 64;
/// The longest that a try may take to be connected, and in all, unless it is said otherwise.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(30);
/// The most that these may be set to.
const WITHIN_MOST: Duration = Duration::from_secs(300);
/// The most names and types that it takes, and networks that are allowed.
const NAMES_MOST: usize = 64;

/// The settings of a webhook: what goes where, and how. [`open`](Self::open) begins it.
///
/// ```no_run
/// # async fn example(node: estafette::Node) -> Result<(), estafette_doors::WebhookError> {
/// use estafette_doors::Webhook;
///
/// let orders = Webhook::to("https://example.org/hooks/orders", ["orders.secret"])
///     .ordered()
///     .open(&node, "orders", "node.key.webhooks/orders")
///     .await?;
/// // What others deliver to "paris/orders" is posted from now on, as long as this is kept.
/// # drop(orders);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Webhook {
    url: Url,
    secrets: Vec<PathBuf>,
    names: Vec<String>,
    types: Vec<String>,
    readers: Readers,
    allow: Vec<Network>,
    allow_http: bool,
    authority: Option<PathBuf>,
    format: Format,
    is_ordered: bool,
    at_once: usize,
    retries: Option<Vec<Duration>>,
    connect_within: Duration,
    within: Duration,
    limits: Limits,
}

/// An error of a webhook.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// It can't be as it is set.
    #[error("the webhook {name:?}: {why}")]
    Settings {
        /// Its name.
        name: String,
        /// The reason.
        why: String,
    },
    /// A secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its queue can't be opened.
    #[error("the queue of the webhook in {}: {error}", folder.display())]
    Queue {
        /// Its folder.
        folder: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// Its name can't be had.
    #[error(transparent)]
    Name(#[from] DirectoryError),
}

/// Returns the folder of a webhook of that name, of the node whose key is in that file: beside it.
/// Characters that could mean something else to a file system are percent-encoded.
pub fn webhook_folder(key: &Path, name: &str) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let mut folder = String::new();
    for byte in name.bytes() {
        match plain(byte) {
            true => folder.push(char::from(byte)),
            false => folder.push_str(&format!("%{byte:02X}")),
        }
    }
    webhooks_folder(key).join(folder)
}

/// Returns the names of the webhooks of the node whose key is in that file, in their order: of
/// those that have a folder, whether or not they are open.
pub fn webhooks_of(key: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(webhooks_folder(key)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?.file_name();
        names.extend(entry.to_str().and_then(decoded).filter(|name| !name.is_empty()));
    }
    names.sort();
    Ok(names)
}

/// Returns the names of the webhooks of the node whose key is in that file which have messages that
/// wait, and which no process has open, so that nobody posts them; and how many wait. It blocks.
pub fn unopened_webhooks(key: &Path) -> std::io::Result<Vec<(String, usize)>> {
    let mut unopened = Vec::new();
    for name in webhooks_of(key)? {
        let folder = webhook_folder(key, &name);
        if folder.is_dir() && !open::is_open(&folder)? {
            let waiting = Kept::open(folder)?.waiting()?;
            unopened.extend((waiting > 0).then_some((name, waiting)));
        }
    }
    Ok(unopened)
}

/// The name of a webhook, of that of its folder.
fn decoded(folder: &str) -> Option<String> {
    let mut parts = folder.split('%');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        name.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        name.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(name).ok()
}

/// The folder of all webhooks of the node whose key is in that file.
fn webhooks_folder(key: &Path) -> PathBuf {
    let mut folder = key.to_owned().into_os_string();
    folder.push(".webhooks");
    folder.into()
}

/// The parts made of the settings, before anything is opened.
pub(crate) struct Made {
    poster: Poster,
    secrets: Secrets,
    schedule: Schedule,
}

impl Webhook {
    /// A webhook to that URL, signed by the secrets in these files: one, or while it is changed the
    /// new one and the one before it. A file has `whsec_` and 24 to 64 bytes as base64, and its
    /// owner alone can read it; it is read again when it changes.
    pub fn to<P: Into<PathBuf>>(
        url: impl Into<String>,
        secrets: impl IntoIterator<Item = P>,
    ) -> Self {
        Self {
            url: Url(url.into()),
            secrets: secrets.into_iter().map(Into::into).collect(),
            names: Vec::new(),
            types: Vec::new(),
            readers: Readers::default(),
            allow: Vec::new(),
            allow_http: false,
            authority: None,
            format: Format::default(),
            is_ordered: false,
            at_once: AT_ONCE,
            retries: None,
            connect_within: CONNECT_WITHIN,
            within: WITHIN,
            limits: Limits { messages: MESSAGES, bytes: BYTES, dead: DEAD, free: FREE },
        }
    }

    /// Takes what comes to these names, instead of to its own.
    #[must_use]
    pub fn names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Takes messages of these types alone, such as `shop.Order`. Default: of all.
    #[must_use]
    pub fn types<N: Into<String>>(mut self, types: impl IntoIterator<Item = N>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Takes messages of this type from who writes them natively, too, and posts them as JSON. What
    /// was delivered as JSON needs no type.
    #[must_use]
    pub fn takes<M: RemoteMessage>(mut self) -> Self {
        self.readers.add::<M>();
        self
    }

    /// Goes to addresses of this network, too, which are not of the public internet.
    #[must_use]
    pub fn allow(mut self, network: Network) -> Self {
        self.allow.push(network);
        self
    }

    /// Goes by `http`, too, which anybody on the way can read and change.
    #[must_use]
    pub const fn allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Trusts the authorities of servers in this file of PEM alone, instead of those that the
    /// machine trusts.
    #[must_use]
    pub fn authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.authority = Some(file.into());
        self
    }

    /// Posts in this form. Default: [`Format::Json`].
    #[must_use]
    pub const fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Posts one after the other, in the order in which messages came: one that fails keeps those
    /// behind it waiting, until it is answered well, or is dead.
    #[must_use]
    pub const fn ordered(mut self) -> Self {
        self.is_ordered = true;
        self
    }

    /// Posts so many at once, 1 to 64. Default: 8.
    #[must_use]
    pub const fn at_once(mut self, most: usize) -> Self {
        self.at_once = most;
        self
    }

    /// Waits so long before the second try and each one after it; then the message is dead. Each
    /// wait is longer by up to a fifth, by chance. Default: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h,
    /// 14 h, 20 h, 24 h.
    #[must_use]
    pub fn retries(mut self, waits: impl IntoIterator<Item = Duration>) -> Self {
        self.retries = Some(waits.into_iter().collect());
        self
    }

    /// Waits so long for a connection, and for an answer in all. Default: 10 s and 30 s.
    #[must_use]
    pub const fn within(mut self, connect: Duration, all: Duration) -> Self {
        (self.connect_within, self.within) = (connect, all);
        self
    }

    /// Keeps so many messages, and bytes of them, that wait. Default: 1,000 and 64 MiB.
    #[must_use]
    pub const fn keeps(mut self, messages: usize, bytes: u64) -> Self {
        (self.limits.messages, self.limits.bytes) = (messages, bytes);
        self
    }

    /// Begins to take and to post what comes to its name at this node, with its queue in that
    /// folder, where it goes on with what is left there.
    ///
    /// # Errors
    /// As [`WebhookError`] says.
    pub async fn open(
        self,
        node: &Node,
        name: &str,
        folder: impl AsRef<Path>,
    ) -> Result<OpenWebhook, WebhookError> {
        let (settings, own) = (self.clone(), name.to_owned());
        let made = estafette::node::blocking(move || settings.make(&own)).await;
        let made = made.unwrap_or_else(|error| Err(self.wrong(name, &error.to_string())))?;
        open::open(self, made, node, name, folder.as_ref()).await
    }

    /// Reads its files and looks for what is wrong with it, and opens nothing. It blocks.
    ///
    /// # Errors
    /// As [`WebhookError`] says.
    pub fn look(&self, name: &str) -> Result<(), WebhookError> {
        self.make(name).map(drop)
    }

    fn wrong(&self, name: &str, why: &str) -> WebhookError {
        WebhookError::Settings { name: name.to_owned(), why: why.to_owned() }
    }

    /// The parts made of its settings, as far as no file is needed for that.
    fn parts(&self) -> Result<(Target, Schedule), String> {
        let target = Target::parse(&self.url.0, self.allow_http)?;
        let schedule =
            self.retries.clone().map_or_else(|| Ok(Schedule::default()), Schedule::new)?;
        let (Limits { messages, bytes, .. }, secrets) = (self.limits, self.secrets.len());
        if secrets == 0 || secrets > SECRETS_MOST {
            return Err(format!(
                "it has {secrets} secrets: 1 or, while it is changed, 2 are wanted"
            ));
        }
        if !(1..=AT_ONCE_MOST).contains(&self.at_once) {
            return Err(format!("at once it posts 1 to {AT_ONCE_MOST}"));
        }
        if self.connect_within.is_zero() || self.within < self.connect_within {
            return Err(
                "an answer takes as long as a connection at least, and that takes time".into()
            );
        }
        if self.within > WITHIN_MOST {
            return Err(format!("a try takes {} s at most", WITHIN_MOST.as_secs()));
        }
        if !(1..=MESSAGES_MOST).contains(&messages) || !(1..=BYTES_MOST).contains(&bytes) {
            return Err(format!("it keeps 1 to {MESSAGES_MOST} messages, of 1 GiB at most"));
        }
        if [self.names.len(), self.types.len(), self.allow.len()]
            .into_iter()
            .any(|n| n > NAMES_MOST)
        {
            return Err(format!("names, types and networks are {NAMES_MOST} at most, each"));
        }
        Ok((target, schedule))
    }

    /// Makes its parts, and reads the files for them. It blocks.
    pub(crate) fn make(&self, name: &str) -> Result<Made, WebhookError> {
        let (target, schedule) = self.parts().map_err(|why| self.wrong(name, &why))?;
        let secrets = Secrets::of_files(&self.secrets)?;
        let authority = self.authority.as_deref();
        let tls = target.is_https.then(|| trust(authority)).transpose();
        let tls = tls.map_err(|why| self.wrong(name, &why))?;
        let poster = Poster {
            target,
            allow: self.allow.clone(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            connect_within: self.connect_within,
            within: self.within,
            tls,
        };
        Ok(Made { poster, secrets, schedule })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn folders_have_the_names_of_webhooks_and_lead_nowhere_else() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("node.key");
        assert!(webhooks_of(&key).unwrap().is_empty());
        let names = ["..", "a b", "bills", "orders-1_x", "ü%25"];
        for name in names {
            let folder = webhook_folder(&key, name);
            assert_eq!(folder.parent().unwrap(), home.path().join("node.key.webhooks"));
            std::fs::create_dir_all(folder).unwrap();
        }
        assert_eq!(webhooks_of(&key).unwrap(), names);
    }
}

//! The place that a webhook posts to.

use std::fmt;

use hyper::Uri;
use serde::Deserialize;

/// A URL as it was given. It may have a secret, and shows no more of itself than where it leads.
#[derive(Clone, Deserialize)]
pub(super) struct Url(pub(super) String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}/…")
    }
}

/// A URL, in the parts that a request needs.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_https: bool,
    /// As it is written: a name, or an address, one of version 6 in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `host`: with the port, where it is not the usual one.
    pub(super) authority: String,
    /// With its query.
    pub(super) path: Uri,
}

impl Target {
    /// The parts of a URL.
    ///
    /// # Errors
    /// The reason, for a person; a URL may have a secret, and is not said again.
    pub(super) fn parse(url: &str, allow_http: bool) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("its URL can't be read: {error}"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if allow_http => false,
            Some("http") => {
                return Err(
                    "its URL is http, which anybody on the way can read and change: take https, \
                     or allow it (allow_http = true)"
                        .into(),
                );
            }
            _ => return Err("its URL is to begin with https://".into()),
        };
        let authority = uri.authority().ok_or("its URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("its URL has a user or a password: the signature says who posts".into());
        }
        let host = authority.host().to_owned();
        if host.is_empty() {
            return Err("its URL names no host".into());
        }
        let usual = if is_https { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str() != host => return Err("its URL has no such port".into()),
            None => usual,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|error| format!("its URL can't be read: {error}"))?;
        let authority = if port == usual { host.clone() } else { format!("{host}:{port}") };
        Ok(Self { is_https, host, port, authority, path })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without its path, which may have a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn what_may_be_secret_of_a_url_is_not_shown() {
        for (url, shown) in [
            ("https://example.org/secret?secret", "https://example.org/…"),
            ("https://example.org:1?secret", "https://example.org:1/…"),
            ("https://me:secret@example.org#secret", "https://example.org/…"),
            ("/secret", ":///…"),
        ] {
            assert_eq!(format!("{:?}", Url(url.into())), shown);
        }
        let target = Target::parse("https://example.org/secret?secret", false).unwrap();
        assert_eq!(format!("{target:?}"), "https://example.org");
        let webhook = crate::Webhook::to("https://example.org/hidden?hidden", ["file"]);
        let shown = format!("{webhook:?}");
        assert!(shown.contains("example.org") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_url_is_read_and_what_is_none_is_told() {
        let target = Target::parse("https://example.org/hook?a=b#part", false).unwrap();
        assert_eq!((target.port, target.path.to_string()), (443, "/hook?a=b".into()));
        assert_eq!(
            (&*target.authority, target.to_string()),
            ("example.org", "https://example.org".into())
        );
        let target = Target::parse("http://[::1]:8080", true).unwrap();
        assert_eq!((&*target.host, &*target.authority), ("[::1]", "[::1]:8080"));
        assert_eq!((target.port, target.path.to_string()), (8080, "/".into()));
        for (url, said) in [
            ("http://example.org/", "allow_http"),
            ("ftp://example.org/", "https://"),
            ("example.org", "https://"),
            ("/hook", "https://"),
            ("https://", "can't be read"),
            ("https://me:secret@example.org/", "password"),
            ("https://example.org:99999/", "port"),
            ("https://exa mple.org/", "can't be read"),
        ] {
            let why = Target::parse(url, false).unwrap_err();
            assert!(why.contains(said) && !why.contains("secret"), "{url}: {why}");
        }
    }
}

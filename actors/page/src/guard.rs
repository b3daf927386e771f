//! The guard at the door: whom a request comes from, by which name it came, and what browsers are
//! told to be careful with.
//!
//! Invariant: what it refuses has not reached a handler, and learns nothing about the node.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::answer::refused;
use crate::error::ServeError;
use crate::token::Token;

/// For everything that is answered.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The header of browsers that says how the origin of who asks is to this one.
const FETCH_SITE: &str = "sec-fetch-site";
/// The header of theirs that says if the answer is to be shown.
const FETCH_MODE: &str = "sec-fetch-mode";

/// The rule of who may come in.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) token: Option<Token>,
    /// Names of hosts, in lower case.
    pub(crate) hosts: Vec<String>,
}

pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = request.uri().path() == "/healthz";
    let mut response = match guard.check(request.uri(), request.headers(), is_open) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Host,
    Origin,
    Token,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "this host is not known here: use an IP address or localhost, or name it when the \
                 node is started (--http-host)",
            ),
            Self::Origin => (StatusCode::FORBIDDEN, "no page of another origin may ask"),
            Self::Token => (StatusCode::UNAUTHORIZED, "a token is wanted, or another one"),
        };
        let mut response = refused(status, text);
        if self == Self::Token {
            let realm =
                HeaderValue::from_static("Basic realm=\"estafette: the token as password\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

impl Guard {
    fn check(&self, uri: &Uri, headers: &HeaderMap, is_open: bool) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let named = match hosts.next() {
            Some(host) => host.to_str().ok(),
            // By HTTP/2 it is a part of the place that is asked for.
            None => uri.authority().map(|authority| authority.as_str()),
        };
        let named = named.map(str::to_ascii_lowercase);
        let host = named.filter(|_| hosts.next().is_none()).ok_or(Refusal::Host)?;
        // A request to a proxy names a host of its own.
        let is_direct =
            uri.authority().is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(&host));
        if !is_direct || !self.is_known(&host) {
            return Err(Refusal::Host);
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if let Some(origin) = origins.next() {
            let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
            let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if of != Some(&host) || origins.next().is_some() {
                return Err(Refusal::Origin);
            }
        }
        if !comes_from_here(uri, headers) {
            return Err(Refusal::Origin);
        }
        let knows = |token: &Token| {
            let given = headers.get(header::AUTHORIZATION);
            given.is_some_and(|given| token.is_in(given.as_bytes()))
        };
        if is_open || self.token.as_ref().is_none_or(knows) { Ok(()) } else { Err(Refusal::Token) }
    }

    /// Returns `true` if nobody else can have made the name lead here: an address is no name, and
    /// those of this machine are its own.
    fn is_known(&self, host: &str) -> bool {
        let name = name_of(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || self.hosts.iter().any(|known| known == name)
    }
}

/// Returns `true` if a browser, which says more than an origin, says that the page itself asks or
/// whoever sits before it. A link from elsewhere may lead to the page, which holds nothing.
fn comes_from_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_link = uri.path() == "/"
        && headers.get(FETCH_MODE).is_some_and(|mode| mode.as_bytes() == b"navigate");
    let mut sites = headers.get_all(FETCH_SITE).iter();
    is_link || sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Refuses what no browser can say as a name of a host; with what is to be written instead, where
/// that can be told.
pub(crate) fn check_host(name: &str) -> Result<(), ServeError> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.split('.').all(|part| {
                let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                !part.is_empty() && part.bytes().all(is_fine)
            })
    };
    if is_name(name) {
        return Ok(());
    }
    let bare = name.trim();
    let bare = bare.split_once("://").map_or(bare, |(_, rest)| rest);
    let bare = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let bare = name_of(bare).trim_end_matches('.');
    let instead = if is_name(bare) { bare } else { "node.example" };
    Err(ServeError::Host { name: name.to_owned(), instead: instead.to_owned() })
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn check(guard: &Guard, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        check_at("/api/v1/snapshot", guard, headers)
    }

    fn check_at(path: &str, guard: &Guard, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        guard.check(&path.parse().unwrap(), &map, false)
    }

    fn open() -> Guard {
        Guard { token: None, hosts: vec!["node.example".into()] }
    }

    #[test]
    fn hosts_are_addresses_this_machine_and_those_that_were_named() {
        for known in [
            "127.0.0.1:80",
            "127.0.0.1",
            "[::1]:7480",
            "LOCALHOST:1",
            "192.0.2.7",
            "node.example:443",
            "Node.Example",
        ] {
            assert_eq!(check(&open(), &[("host", known)]), Ok(()), "{known}");
        }
        for foreign in [
            "evil.example",
            "evil.example:7480",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "127.0.0.1:80:80x",
            "node.example.",
            "[::1",
        ] {
            assert_eq!(check(&open(), &[("host", foreign)]), Err(Refusal::Host), "{foreign}");
        }
        assert_eq!(check(&open(), &[]), Err(Refusal::Host), "none");
        for (place, outcome) in [
            ("https://node.example:443/", Ok(())),
            ("https://127.0.0.1:7480/metrics", Ok(())),
            ("https://evil.example/", Err(Refusal::Host)),
        ] {
            assert_eq!(check_at(place, &open(), &[]), outcome, "by HTTP/2: {place}");
        }
        let two = [("host", "127.0.0.1"), ("host", "evil.example")];
        assert_eq!(check(&open(), &two), Err(Refusal::Host));
    }

    #[test]
    fn only_the_origin_that_was_asked_for_may_ask() {
        let host = ("host", "127.0.0.1:80");
        for own in ["http://127.0.0.1:80", "https://127.0.0.1:80"] {
            assert_eq!(check(&open(), &[host, ("origin", own)]), Ok(()), "{own}");
        }
        for foreign in
            ["http://evil.example", "null", "http://127.0.0.1:81", "http://localhost:80", ""]
        {
            let refused = check(&open(), &[host, ("origin", foreign)]);
            assert_eq!(refused, Err(Refusal::Origin), "{foreign}");
        }
        let own = ("origin", "http://127.0.0.1:80");
        let two = check(&open(), &[host, own, ("origin", "http://evil.example")]);
        assert_eq!(two, Err(Refusal::Origin), "which one counts?");
    }

    #[test]
    fn what_a_browser_asks_for_a_page_elsewhere_is_refused_but_a_link_to_the_page() {
        let host = ("host", "127.0.0.1:80");
        let (get, link) = (("sec-fetch-mode", "no-cors"), ("sec-fetch-mode", "navigate"));
        for own in ["same-origin", "none"] {
            assert_eq!(check(&open(), &[host, ("sec-fetch-site", own), get]), Ok(()), "{own}");
        }
        for foreign in ["cross-site", "same-site", "", "what comes"] {
            for mode in [get, link] {
                let refused = check(&open(), &[host, ("sec-fetch-site", foreign), mode]);
                assert_eq!(refused, Err(Refusal::Origin), "{foreign}: {mode:?}");
            }
            let (site, mode) = (("sec-fetch-site", foreign), link);
            assert_eq!(check_at("/", &open(), &[host, site, mode]), Ok(()), "{foreign}");
            let embedded = check_at("/", &open(), &[host, site, get]);
            assert_eq!(embedded, Err(Refusal::Origin), "{foreign}");
        }
        let both = [host, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert_eq!(check(&open(), &both), Err(Refusal::Origin));
    }

    #[test]
    fn a_host_that_no_browser_can_say_is_refused_with_what_to_write() {
        for name in ["node.example", "node", "xn--bcher-kva.example", "a_b.C3"] {
            assert!(check_host(name).is_ok(), "{name}");
        }
        for (bad, instead) in [
            ("node.example:7480", "node.example"),
            ("https://node.example:7480/look/", "node.example"),
            (" node.example", "node.example"),
            ("node.example.", "node.example"),
            ("node.example/", "node.example"),
            ("node..example", "node.example"),
            ("*.example", "node.example"),
            ("bücher.example", "node.example"),
            ("", "node.example"),
        ] {
            let error = check_host(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
            assert!(error.contains(&format!("write {instead},")), "{error}");
        }
    }

    #[test]
    fn a_token_is_wanted_where_there_is_one() {
        let guard = Guard { token: Some(Token::new(TOKEN).unwrap()), hosts: Vec::new() };
        let host = ("host", "127.0.0.1");
        let with = |value: &str| check(&guard, &[host, ("authorization", value)]);
        assert_eq!(check(&guard, &[host]), Err(Refusal::Token));
        assert_eq!(with("Bearer 0123456789abcdeg"), Err(Refusal::Token));
        assert_eq!(with(&format!("Bearer {TOKEN}")), Ok(()));
        let foreign = [("host", "evil.example"), ("authorization", &*format!("Bearer {TOKEN}"))];
        assert_eq!(check(&guard, &foreign), Err(Refusal::Host), "whoever knows it");
    }
}

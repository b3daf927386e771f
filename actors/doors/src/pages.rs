//! Pages of browsers that may ask a door: CORS.
//!
//! Invariant: a page gets in where its origin is one of those that the door was told of, and there
//! with a token, as everybody; where none was told, no page does.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode, Uri};

use crate::busy::Anybodys;

/// The time for which a browser need not ask again whether a page may, in seconds.
const KNOWN_FOR: HeaderValue = HeaderValue::from_static("600");
/// The most origins of a door.
const ORIGINS_MOST: usize = 64;

/// The origin of pages, as browsers tell it: `https://shop.example`, `http://localhost:8080`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(String);

/// A text that is no origin.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no origin of pages: write it as browsers do, https://HOST or https://HOST:PORT, with \
     nothing behind that, and without the port 80 of http and 443 of https"
)]
pub struct OriginError(String);

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let wrong = || OriginError(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(wrong()),
        };
        let text = text.to_ascii_lowercase();
        let is_whole = text == format!("{scheme}://{authority}").to_ascii_lowercase();
        let port = authority.port();
        let has_port = authority.as_str().ends_with(authority.host()) == port.is_none();
        let is_usual = authority.port_u16() == Some(usual);
        // What no browser writes would never fit a page, and nobody would be told.
        let host = authority.host();
        let is_name = |at: u8| at.is_ascii_alphanumeric() || b"-._".contains(&at);
        let is_written_so = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(ip) => {
                ip.parse().is_ok_and(|read: Ipv6Addr| read.to_string() == ip.to_lowercase())
            }
            None => host.bytes().all(is_name),
        };
        let has_user = authority.as_str().contains('@');
        if !is_whole || !has_port || is_usual || has_user || !is_written_so {
            return Err(wrong());
        }
        Ok(Self(text))
    }
}

impl Origin {
    /// Returns `true` if a browser calls it so.
    pub(crate) fn is(&self, text: &[u8]) -> bool {
        self.0.as_bytes() == text
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the fault of so many origins.
pub(crate) fn check(origins: usize) -> Result<(), String> {
    if origins > ORIGINS_MOST {
        return Err(format!("a door has {ORIGINS_MOST} origins of pages at most, not {origins}"));
    }
    Ok(())
}

/// A page that asks, and may.
#[derive(Clone, Debug)]
pub(crate) struct Page(HeaderValue);

/// A page that may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stranger;

/// The words for it.
pub(crate) const STRANGER: &str =
    "a page of a browser asks, whose origin this door was not told of";

impl Page {
    /// The page that asks, of those that may by this, if one does.
    pub(crate) fn of(
        headers: &HeaderMap,
        may: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Self>, Stranger> {
        let mut given = headers.get_all(header::ORIGIN).iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(None),
            (Some(origin), None) if may(origin.as_bytes()) => Ok(Some(Self(origin.clone()))),
            _ => Err(Stranger),
        }
    }

    /// The answer to a browser that asks first whether its page may ask so; it may, in any way. What
    /// it may not, its token says.
    pub(crate) fn before<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if request.method() != Method::OPTIONS {
            return None;
        }
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let told = answer.headers_mut();
        told.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            told.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        told.insert(header::ACCESS_CONTROL_MAX_AGE, KNOWN_FOR);
        told.insert(HeaderName::from_static(crate::HANDLED), HeaderValue::from_static("no"));
        answer.extensions_mut().insert(Anybodys);
        self.told(&mut answer);
        Some(answer)
    }

    /// Lets the page see an answer, and all its headers.
    pub(crate) fn told<B>(&self, answer: &mut Response<B>) {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for text in ["https://shop.example", "http://localhost:8080", "http://[::1]:3000"] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        assert_eq!("HTTPS://Shop.Example".parse::<Origin>().unwrap().0, "https://shop.example");
        for text in [
            "",
            "*",
            "null",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/till",
            "https://shop.example?x",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://shop.example:",
            "https://me@shop.example",
            "ftp://shop.example",
            "https://*.shop.example",
            "https://*.shop.example/",
            "https://shop.example%2F",
            "http://[0:0::1]:3000",
            "https://shop.exämple",
        ] {
            let error = text.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains("https://HOST"), "{text}: {error}");
        }
    }
}

//! The actor behind a method, and how it is called.

use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use super::MethodError;
use super::form::Form;
use super::target::Takes;

/// A way in which an actor is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// One request, one answer: what a proto calls a unary method.
    Ask,
    /// One request, a stream of answers.
    Download,
    /// A stream of requests, one answer.
    Upload,
    /// Streams both ways.
    Open,
}

/// An actor behind a method, and how it is called.
///
/// ```toml
/// "/helloworld.Greeter/SayHello" = { to = "paris/greeter", type = "greeter.SayHello", way = "download" }
/// "/helloworld.Greeter/Raw" = { to = "paris/raw", way = "ask" }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Method {
    /// The actor, `peer/name`.
    pub to: String,
    /// The type of message it takes as JSON. `None`: it takes
    /// [`Raw`](estafette::remote::Raw), the bytes as they are.
    #[serde(default, rename = "type")]
    pub message: Option<String>,
    /// The version of that type; 1 unless it is said.
    #[serde(default = "first")]
    pub version: u32,
    /// The way.
    pub way: Way,
}

fn first() -> u32 {
    1
}

impl Method {
    /// The bytes of the client's messages as they are, for an actor that takes
    /// [`Raw`](estafette::remote::Raw).
    pub fn raw(to: impl Into<String>, way: Way) -> Self {
        Self { to: to.into(), message: None, version: 1, way }
    }

    /// Texts of JSON, for an actor that takes this type as JSON.
    pub fn json(to: impl Into<String>, message: impl Into<String>, way: Way) -> Self {
        Self { to: to.into(), message: Some(message.into()), version: 1, way }
    }

    /// Another version of the type than 1.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }
}

/// As it is written on a command line: `download:paris/greeter` for bytes,
/// `ask:paris/shop:shop.Order` for JSON, `ask:paris/shop:shop.Order@2` for another version than 1.
impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        let wrong = |why: &str| {
            MethodError(format!(
                "{text:?} is no way to an actor ({why}): write WAY:PEER/NAME, or \
                 WAY:PEER/NAME:TYPE@VERSION for messages as JSON; the ways are ask, download, \
                 upload and open"
            ))
        };
        let mut parts = text.splitn(3, ':');
        let way = match parts.next() {
            Some("ask") => Way::Ask,
            Some("download") => Way::Download,
            Some("upload") => Way::Upload,
            Some("open") => Way::Open,
            _ => return Err(wrong("it begins with none")),
        };
        let to = parts.next().filter(|to| actor(to).is_ok()).ok_or_else(|| wrong("no actor"))?;
        let (message, version) = match parts.next() {
            None => (None, 1),
            Some(message) => {
                let (message, version) = of_version(message).map_err(|why| wrong(&why))?;
                (Some(message.to_owned()), version)
            }
        };
        Ok(Self { to: to.to_owned(), message, version, way })
    }
}

/// The name and the version of a type: `shop.Order@2`, or 1.
pub(super) fn of_version(message: &str) -> Result<(&str, u32), String> {
    let (name, version) = message.split_once('@').unwrap_or((message, "1"));
    match version.parse() {
        Ok(version) if !name.is_empty() => Ok((name, version)),
        _ => Err(format!("{message:?} is no type and version")),
    }
}

/// A method, looked up by its path.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) peer: Arc<str>,
    /// The name of the actor there.
    pub(super) name: Arc<str>,
    pub(super) takes: Takes,
    pub(super) form: Form,
    pub(super) way: Way,
}

impl Route {
    /// The route of a method; the error says what is wrong with it.
    pub(super) fn of(path: &str, method: &Method) -> Result<Self, String> {
        let (peer, name) = actor(&method.to)?;
        let (takes, form) = match &method.message {
            None => (Takes::Raw(path.into()), Form::Raw),
            Some(message) => (Takes::Json(message.as_str().into(), method.version), Form::Json),
        };
        Ok(Self { peer: peer.into(), name: name.into(), takes, form, way: method.way })
    }
}

/// The peer and the name of `peer/name`.
pub(super) fn actor(to: &str) -> Result<(&str, &str), String> {
    match to.split_once('/') {
        Some((peer, name)) if !peer.is_empty() && !name.is_empty() => Ok((peer, name)),
        _ => Err(format!("{to:?} is no actor: write peer/name, such as \"paris/greeter\"")),
    }
}

/// Refuses what is no path of a method.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let is_path = path.strip_prefix('/').and_then(|path| path.split_once('/')).is_some_and(
        |(service, method)| {
            let is_name = |name: &str| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
            };
            is_name(service) && is_name(method)
        },
    );
    if is_path {
        return Ok(());
    }
    Err(format!("{path:?} is no method: write /package.Service/Method, as its clients call it"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn a_method_is_read_as_it_is_written() {
        let read = |text: &str| text.parse::<Method>();
        assert_eq!(read("download:paris/a b").unwrap(), Method::raw("paris/a b", Way::Download));
        let order = Method::json("paris/shop", "shop.Order", Way::Ask);
        assert_eq!(read("ask:paris/shop:shop.Order").unwrap(), order);
        assert_eq!(read("ask:paris/shop:shop.Order@2").unwrap(), order.version(2));
        for wrong in ["", "ask", "ask:", "ask:paris", "tell:paris/x", "ask:paris/", "ask:paris/x:"]
        {
            assert!(read(wrong).unwrap_err().to_string().contains("WAY:PEER/NAME"), "{wrong}");
        }
        assert!(read("ask:paris/x:T@two").is_err());
    }

    #[test]
    fn a_path_is_one_that_clients_of_grpc_can_call() {
        for right in ["/helloworld.Greeter/SayHello", "/A/b", "/a.b_c.D1/E2"] {
            assert_eq!(check_path(right), Ok(()), "{right}");
        }
        for wrong in ["", "/", "/a", "/a/", "//b", "a/b", "/a/b/c", "/a/b?c", "/a b/c", "/ä/b"] {
            assert!(check_path(wrong).is_err(), "{wrong}");
        }
    }
}

//! Events about what passes a route.

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Tapping<'a> {
    pub(crate) route: &'a str,
    pub(crate) stage: &'a str,
}

/// A piece of a delivery, or how much has passed.
#[derive(Debug, Serialize)]
pub(crate) struct Passed<'a, T> {
    pub(crate) route: &'a str,
    pub(crate) stage: &'a str,
    #[serde(flatten)]
    pub(crate) news: &'a T,
}

#[derive(Debug, Serialize)]
pub(crate) struct Recorded<'a> {
    pub(crate) route: &'a str,
    pub(crate) transfer: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) to: &'a str,
    pub(crate) file: Option<&'a str>,
    pub(crate) bytes: Option<u64>,
    pub(crate) message: Option<&'a str>,
    pub(crate) dropped: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Replayed<'a> {
    pub(crate) route: &'a str,
    pub(crate) transfer: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) to: &'a str,
}

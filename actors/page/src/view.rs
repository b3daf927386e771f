//! The seam for whoever knows what a node is a part of.

use std::fmt::Debug;

use futures_util::future::BoxFuture;

/// Tells the page what its node is a part of.
pub trait View: Debug + Send + Sync + 'static {
    /// Returns the drawing as it is now, an SVG without a `style` element, which the page's policy
    /// does not allow.
    /// It may block: it has a thread of its own. An error is for a person.
    fn drawing(&self) -> Result<String, String>;

    /// Returns the style of drawings, in CSS.
    fn style(&self) -> &'static str;

    /// Returns how it is at this moment, as JSON. A page that is looked at asks once a second, and
    /// for the drawing when the number `drawing` in it is another one.
    fn now(&self) -> BoxFuture<'static, serde_json::Value>;
}

//! Packages: what goes in comes out for its receiver and for nobody else, whatever happens to the
//! file in between.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod bounds;
mod forgery;
mod growing;
mod harness;
mod identity;
mod packing;
mod rot;
mod unpacking;

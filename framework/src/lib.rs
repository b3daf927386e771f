//! The runtime of estafette.

pub mod delivery;
pub mod pipeline;
pub mod wire;

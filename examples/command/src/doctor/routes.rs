//! The routes of the node of a topology whose key it is: whether one sends nothing, or not all.

use estafette_topology::waiting_routes;

use crate::arguments::Global;
use crate::error::CommandError;
use crate::finding::{Finding, Severity};
use crate::settings;
use crate::units::printable;

/// The folder beside the key, where it is at its place in the state of a topology.
const ROUTES: &str = "routes";

pub(super) fn look(global: &Global) -> Result<Vec<Finding>, CommandError> {
    let folder = settings::key_path(global)?.with_file_name(ROUTES);
    // Of a node without a topology there is none.
    let waiting = match waiting_routes(&folder) {
        Ok(waiting) => waiting,
        Err(error) => {
            let advice = "let this user read and write it";
            return Ok(vec![Finding::at(Severity::Damage, &folder, error, advice)]);
        }
    };
    let found = |(route, why): (String, String)| {
        let what = format!("the route {} waits: {why}", printable(&route));
        Finding::at(Severity::Warning, &folder, what, "do as it says, and it goes on by itself")
    };
    Ok(waiting.into_iter().map(found).collect())
}

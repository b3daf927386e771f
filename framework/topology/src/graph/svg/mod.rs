//! The picture: boxes and edges at their places.

mod counts;
mod curve;
mod overview;
mod parts;
mod scene;
mod write;

use super::{DrawError, Graph};

pub(super) const STYLE: &str = write::STYLE;

pub(super) fn draw(graph: &Graph) -> Result<String, DrawError> {
    let parts: usize = graph.nodes.iter().map(|node| node.parts.len().max(1)).sum();
    let is_small = parts <= Graph::PARTS_DRAWN && graph.edges.len() <= Graph::EDGES_DRAWN;
    let scene = if is_small { parts::scene(graph) } else { overview::scene(graph)? };
    Ok(write::write(&scene, &scene.plan().place()))
}

/// The places of a graph with its parts, and between which boxes its edges lead.
#[cfg(test)]
pub(super) fn places(graph: &Graph) -> (super::layout::Places, Vec<(usize, usize)>) {
    let scene = parts::scene(graph);
    let ends = scene.arrows.iter().map(|arrow| (arrow.from, arrow.to));
    (scene.plan().place(), ends.collect())
}

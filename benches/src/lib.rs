//! Benchmarks of estafette.

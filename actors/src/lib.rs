//! The standard actors of estafette.

//! The door for gRPC.

//! What the client wants.

//! Where things are in a JSON text.

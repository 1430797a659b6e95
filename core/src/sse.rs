//! Event streams: bytes to events, across any split.

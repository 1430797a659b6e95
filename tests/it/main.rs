//! Scenarios over the real binary, real sockets and real files; only the vendors are simulated.

mod tidy;

//! HTTP/1.1 as a language (RFC 9110, RFC 9112).

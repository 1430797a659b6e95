//! Which fields end at this hop (RFC 9110 section 7.6.1): they speak of one connection, not of the message.

use crate::http1::head::{Fields, Known};
use crate::http1::list_holds;

/// The fields that go beyond this hop, in their order, as (name, value): all but the connection's own and those that
/// `Connection` names.
///
/// Content-Length is among them, since it describes the message; who passes a body on frames it anew, and then writes
/// its own. Whether a field may go on to the other side at all is not decided here.
pub fn end_to_end<'a>(fields: &'a Fields, buf: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    // What nearly every Connection says names no field, and isn't looked through again for each.
    let names_fields = fields.every(buf, Known::Connection).any(|list| !is_option(list));
    fields.iter(buf).filter(move |(name, _)| {
        let named = || fields.every(buf, Known::Connection).any(|list| list_holds(list, name));
        !(is_hop_by_hop(name) || names_fields && named())
    })
}

/// Whether a field of this name, in any case, is about one connection whatever `Connection` says.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"proxy-";
    // Told apart by their length, so that most names are compared with nothing.
    let candidates: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        7 => &[b"trailer", b"upgrade"],
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"http2-settings"],
        17 => &[b"transfer-encoding"],
        _ => &[],
    };
    candidates.iter().any(|hop| name.eq_ignore_ascii_case(hop))
        || (matches!(name.first(), Some(b'p' | b'P'))
            && name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)))
}

/// Whether a `Connection` is one of the two options that aren't the names of fields to be left out: `keep-alive` is
/// left out anyway.
fn is_option(list: &[u8]) -> bool {
    list.eq_ignore_ascii_case(b"keep-alive") || list.eq_ignore_ascii_case(b"close")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{ResponseHead, Search};
    use crate::limits::Limits;

    #[test]
    fn the_connections_own_fields_and_those_it_names_stop_here() {
        let text = b"HTTP/1.1 200 OK\r\n\
            Connection: close, X-Named\r\nconnection: ,, \tx-also\t,\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
            Trailer: x\r\nTransfer-Encoding: chunked\r\nUPGRADE: h2c\r\nHTTP2-Settings: AA\r\n\
            Proxy-Authenticate: a\r\nProxy-Connection: b\r\nproxy-anything: c\r\nx-named: d\r\nX-ALSO: e\r\n\
            Content-Type: text/plain\r\nProxy: f\r\nX-Name: g\r\nX-Nameds: h\r\nTea: i\r\n\r\n";
        let (mut search, mut fields) = (Search::default(), Fields::default());
        ResponseHead::parse(text, &mut search, &mut fields, &Limits::default()).expect("well-formed").expect("whole");
        let names: Vec<_> = end_to_end(&fields, text).map(|(name, _)| name.escape_ascii().to_string()).collect();
        assert_eq!(names, ["Content-Type", "Proxy", "X-Name", "X-Nameds", "Tea"]);
    }
}

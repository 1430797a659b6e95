//! The one way to a running gateway: its admin socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use kt_core::http1::head::{Fields, ResponseHead, Search};
use kt_core::limits::{Limits, MIB};
use kt_proxy::state::StateDir;

use crate::args::GatewayArgs;

/// How long the gateway may take to answer. A reload waits for every core.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer: numbers of thousands of arms.
const ANSWER_BYTES_MAX: u64 = 64 * MIB as u64;

/// An answer of the gateway.
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// JSON, or a sentence.
    pub(crate) body: Vec<u8>,
}

/// Asks the gateway that `args` name.
pub(crate) fn ask(args: &GatewayArgs, method: &str, path: &str) -> anyhow::Result<Answer> {
    let socket = socket_of(args)?;
    let mut stream = UnixStream::connect(&socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(
            "no gateway is running on {}; start one with `kt gateway run`, or name its --state-dir",
            socket.display()
        ),
        _ => anyhow!("cannot reach the gateway on {}: {error}", socket.display()),
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: kt\r\n\r\n").context("cannot ask the gateway")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).context("the gateway does not answer")?;
    let (mut search, mut fields) = (Search::default(), Fields::default());
    match ResponseHead::parse(&bytes, &mut search, &mut fields, &Limits::default()) {
        Ok(Some(head)) => Ok(Answer { status: head.status, body: bytes.split_off(head.len) }),
        Ok(None) | Err(_) => bail!("the gateway on {} gave no answer; see its log", socket.display()),
    }
}

fn socket_of(args: &GatewayArgs) -> anyhow::Result<PathBuf> {
    match &args.admin {
        Some(socket) => Ok(socket.clone()),
        None => Ok(StateDir::locate(args.state.state_dir.as_deref())?.admin_socket()),
    }
}

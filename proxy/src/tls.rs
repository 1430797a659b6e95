//! TLS to the vendors: rustls' buffered interface over a [`Socket`], and the roots it trusts.
//!
//! Server names are always sent and certificates always verified; there is no switch for either. ALPN offers HTTP/1.1
//! alone. Sessions are resumed per core: each core has its own store, so no lock is shared.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::rt::Socket;

/// Sessions that one core remembers, over all vendors.
const SESSIONS_MAX: usize = 256;

/// One end of a TLS connection, without its socket.
pub struct Session {
    connection: ClientConnection,
    /// Plain bytes that have been read.
    inbox: Vec<u8>,
    /// Room for sealed bytes, reused.
    sealed: Vec<u8>,
}

impl Session {
    /// The client's end of a connection to `host`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `host` is neither a DNS name nor an address.
    pub fn to(host: &str, config: &Arc<ClientConfig>) -> io::Result<Box<Self>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(invalid)?;
        Ok(Box::new(Self { connection, inbox: Vec::new(), sealed: Vec::new() }))
    }

    /// Shakes hands over `socket`, whose deadline the caller has set.
    ///
    /// # Errors
    ///
    /// `InvalidData` with rustls' reason, `UnexpectedEof`, or the kernel's.
    pub async fn handshake(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.connection.is_handshaking() {
            self.flush(socket).await?;
            if self.connection.is_handshaking() && self.connection.wants_read() {
                if poll_fn(|cx| socket.poll_fill(cx)).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if let Err(error) = self.open(socket.bytes()) {
                    // The alert that says why is worth a try; its own failure is not news.
                    let _ = self.flush(socket).await;
                    return Err(error);
                }
            }
        }
        self.flush(socket).await
    }

    /// What has been read and opened.
    pub fn inbox(&mut self) -> &mut Vec<u8> {
        &mut self.inbox
    }

    /// Reads and opens records until there is something to see, or the stream has ended.
    ///
    /// # Errors
    ///
    /// As [`crate::wire::Wire::poll_fill`].
    pub fn poll_fill(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let came = ready!(socket.poll_fill(cx))?;
            if came == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let before = self.inbox.len();
            let ended = self.open(socket.bytes())?;
            let opened = self.inbox.len() - before;
            if opened > 0 || ended {
                return Poll::Ready(Ok(opened));
            }
        }
    }

    /// Seals `bytes` into a buffer that is ready to be sent.
    ///
    /// # Errors
    ///
    /// rustls', when the session has failed.
    pub fn seal(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.clear();
        while !bytes.is_empty() {
            let taken = self.connection.writer().write(bytes)?;
            bytes = &bytes[taken..];
            while self.connection.wants_write() {
                self.connection.write_tls(&mut sealed)?;
            }
        }
        Ok(sealed)
    }

    /// Takes a buffer of [`Self::seal`] back.
    pub fn reuse(&mut self, sealed: Vec<u8>) {
        self.sealed = sealed;
    }

    /// Opens all whole records of `bytes`, and takes them out. Says whether the other side has ended the stream.
    fn open(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let mut rest = bytes.as_slice();
        let mut ended = false;
        while !rest.is_empty() && !ended {
            self.connection.read_tls(&mut rest)?;
            let state = self.connection.process_new_packets().map_err(invalid)?;
            let plain = state.plaintext_bytes_to_read();
            ended = state.peer_has_closed();
            if plain > 0 {
                let at = self.inbox.len();
                self.inbox.resize(at + plain, 0);
                self.connection.reader().read_exact(&mut self.inbox[at..])?;
            }
        }
        bytes.clear();
        Ok(ended)
    }

    async fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            let mut sealed = std::mem::take(&mut self.sealed);
            sealed.clear();
            self.connection.write_tls(&mut sealed)?;
            let mut from = 0;
            while from < sealed.len() {
                let end = sealed.len();
                let sent;
                (sent, sealed) = socket.write(sealed, from..end).await;
                from += sent?;
            }
            self.sealed = sealed;
        }
        Ok(())
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What is trusted when a target names no `ca_file`: the platform's roots, or Mozilla's where it has none.
///
/// # Errors
///
/// A sentence when rustls can't be set up.
pub fn default_config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    config(roots)
}

/// What is trusted when a target names a `ca_file`: the certificates in it, and nothing else.
///
/// # Errors
///
/// A sentence that names the file and what is wrong with it.
pub fn config_of(ca_file: &Path) -> Result<Arc<ClientConfig>, String> {
    let say = |what: String| format!("ca_file {}: {what}", ca_file.display());
    let file = File::open(ca_file).map_err(|error| say(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)) {
        let certificate = certificate.map_err(|error| say(format!("not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| say(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(say("holds no certificate".to_owned()));
    }
    config(roots)
}

/// The same configuration with a session store of its own, for one core.
pub fn of_this_core(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut own = ClientConfig::clone(config);
    own.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Arc::new(own)
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS can't be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

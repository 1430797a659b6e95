//! TLS on both sides: rustls' buffered interface over a [`Socket`], what is trusted of vendors, and what clients are
//! shown.
//!
//! To vendors, server names are always sent and certificates always verified; there is no switch for either. ALPN is
//! HTTP/1.1 alone, on both sides. Sessions with vendors are resumed per core: each core has its own store, so no lock is
//! shared. Clients resume theirs by tickets, which any core can read: the kernel decides on which one they come in.

use std::fs::{self, File};
use std::future::poll_fn;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kt_core::config::file::TlsFiles;
use kt_core::limits::KIB;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, InconsistentKeys, RootCertStore, ServerConfig, ServerConnection,
};

use crate::rt::{Reads, Socket};

/// Sessions that one core remembers, over all vendors.
const SESSIONS_MAX: usize = 256;
/// The only protocol that is spoken over TLS (RFC 7301 section 6).
const ALPN: &[u8] = b"http/1.1";
/// Room for sealed bytes that a connection keeps between two writes: a record and what surrounds it. What a large body
/// needed on top is given back, for most connections idle.
const SEALED_ROOM: usize = 18 * KIB;

/// One end of a TLS connection, without its socket.
pub struct Session {
    connection: Connection,
    /// Plain bytes that have been read.
    inbox: Vec<u8>,
    /// Room for sealed bytes, reused.
    sealed: Vec<u8>,
    /// The other side has said that it will send no more.
    ended: bool,
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
        Ok(Self::new(connection.into()))
    }

    /// The server's end of a connection that a client has made.
    ///
    /// # Errors
    ///
    /// rustls', when it can't be set up.
    pub fn of_client(config: &Arc<ServerConfig>) -> io::Result<Box<Self>> {
        let connection = ServerConnection::new(Arc::clone(config)).map_err(invalid)?;
        Ok(Self::new(connection.into()))
    }

    fn new(connection: Connection) -> Box<Self> {
        Box::new(Self { connection, inbox: Vec::new(), sealed: Vec::new(), ended: false })
    }

    /// Shakes hands over `socket`, whose deadline the caller has set. What has been read of it already comes first.
    ///
    /// # Errors
    ///
    /// `InvalidData` with rustls' reason, `UnexpectedEof`, or the kernel's.
    pub async fn handshake(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.connection.is_handshaking() {
            self.flush(socket).await?;
            if self.connection.is_handshaking() && self.connection.wants_read() {
                if socket.bytes().is_empty() && poll_fn(|cx| socket.poll_fill(cx)).await? == 0 {
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
    pub fn poll_fill(&mut self, reads: &mut Reads<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while !self.ended {
            let came = ready!(reads.poll_fill(cx))?;
            if came == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let before = self.inbox.len();
            self.open(reads.bytes())?;
            let opened = self.inbox.len() - before;
            if opened > 0 {
                return Poll::Ready(Ok(opened));
            }
        }
        Poll::Ready(Ok(0))
    }

    /// Seals `bytes` into a buffer that is ready to be sent.
    ///
    /// # Errors
    ///
    /// rustls', when the session has failed.
    pub fn seal(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.clear();
        loop {
            let taken = self.connection.writer().write(bytes)?;
            bytes = &bytes[taken..];
            while self.connection.wants_write() {
                self.connection.write_tls(&mut sealed)?;
            }
            if bytes.is_empty() {
                return Ok(sealed);
            }
        }
    }

    /// Takes a buffer of [`Self::seal`] back.
    pub fn reuse(&mut self, sealed: Vec<u8>) {
        if sealed.capacity() <= SEALED_ROOM {
            self.sealed = sealed;
        }
    }

    /// What says that nothing more will come (RFC 8446 section 6.1), ready to be sent. Nothing can be sealed behind it.
    ///
    /// # Errors
    ///
    /// As [`Self::seal`].
    pub fn farewell(&mut self) -> io::Result<Vec<u8>> {
        self.connection.send_close_notify();
        self.seal(&[])
    }

    /// Opens all whole records of `bytes`, and takes them out.
    fn open(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && !self.ended {
            self.connection.read_tls(&mut rest)?;
            let state = self.connection.process_new_packets().map_err(invalid)?;
            let plain = state.plaintext_bytes_to_read();
            self.ended = state.peer_has_closed();
            if plain > 0 {
                let at = self.inbox.len();
                self.inbox.resize(at + plain, 0);
                self.connection.reader().read_exact(&mut self.inbox[at..])?;
            }
        }
        bytes.clear();
        Ok(())
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
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(not_set_up)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// What clients are shown: the certificate chain and the key of `gateway.tls`. Tickets of an earlier configuration are
/// not taken, so nobody goes on with a certificate that has been replaced.
///
/// # Errors
///
/// A sentence that names the file and what is wrong with it, or that the two don't belong together.
pub fn listener_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(&files.cert)?;
    let key = private_key(&files.key)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(not_set_up)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("gateway.tls: the key in {} is not that of the certificate in {}", files.key, files.cert)
            }
            error => format!("gateway.tls: {error} ({}, {})", files.cert, files.key),
        })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(not_set_up)?;
    Ok(Arc::new(config))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let say = |what: String| format!("gateway.tls.cert {path}: {what}");
    let pem = fs::read(path).map_err(|error| say(error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| say(format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(say("holds no certificate".to_owned()));
    }
    Ok(chain)
}

/// What can't be read isn't repeated: it may be a part of the key.
fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    let say = |what: &str| format!("gateway.tls.key {path}: {what}");
    let pem = fs::read(path).map_err(|error| say(&error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        // RFC 7468 section 11 has it in the label, RFC 1421 section 4.6.1.1 in a field.
        let is_encrypted = memchr::memmem::find(&pem, b"ENCRYPTED").is_some();
        say(match is_encrypted {
            true => "the key is encrypted; give one without a passphrase, which only the gateway's user can read",
            false => "holds no private key in PEM form",
        })
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn not_set_up(error: Error) -> String {
    format!("TLS can't be set up: {error}")
}

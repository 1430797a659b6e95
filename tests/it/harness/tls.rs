//! Certificates made on the spot, and TLS for the parties: rustls, set up apart from the product's own code.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

/// Who vouches for names; whoever trusts it trusts those.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// A TCP connection, with TLS or without. With TLS, the end of the other side is an error unless it was said in TLS too.
pub(crate) enum Conduit {
    Plain(TcpStream),
    ToServer(Box<StreamOwned<ClientConnection, TcpStream>>),
    OfClient(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no name is a bad one");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, fresh_key()).expect("a key can sign"))
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Vouches for a DNS name or an address.
    pub(crate) fn vouch_for(&self, name: &str) -> Identity {
        self.sign(CertificateParams::new([name.to_owned()]).expect("a name"))
    }

    /// Vouched for a name, until the end of 2020.
    pub(crate) fn vouched_for(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 12, 31));
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = fresh_key();
        let cert = params.signed_by(&key, &self.0).expect("a key can sign");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// What a client is set up with that trusts this authority alone and speaks these versions.
    pub(crate) fn client_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("it is a certificate");
        let config = ClientConfig::builder_with_protocol_versions(versions);
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

fn fresh_key() -> KeyPair {
    KeyPair::generate().expect("the system has chance enough")
}

impl Identity {
    /// A name vouched for by nobody but itself.
    pub(crate) fn of_its_own(name: &str) -> Self {
        let key = fresh_key();
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let cert = params.self_signed(&key).expect("a key can sign");
        Self { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// What a server is set up with that shows this and speaks these versions.
    pub(crate) fn server_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let chain = vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
        let config = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
        let mut config = config.with_single_cert(chain, key).expect("they belong together");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

impl Conduit {
    /// Shakes hands as the client of whoever is `name`.
    pub(crate) fn to_server(tcp: TcpStream, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a good config");
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::ToServer(Box::new(stream)))
    }

    /// As the server of whoever has connected; hands are shaken with the first read.
    pub(crate) fn of_client(tcp: TcpStream, config: &Arc<ServerConfig>) -> Self {
        let connection = ServerConnection::new(Arc::clone(config)).expect("a good config");
        Self::OfClient(Box::new(StreamOwned::new(connection, tcp)))
    }

    /// The TCP connection below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::ToServer(stream) => &stream.sock,
            Self::OfClient(stream) => &stream.sock,
        }
    }

    /// How hands were shaken; none without TLS, or before.
    pub(crate) fn handshake(&self) -> Option<HandshakeKind> {
        match self {
            Self::Plain(_) => None,
            Self::ToServer(stream) => stream.conn.handshake_kind(),
            Self::OfClient(stream) => stream.conn.handshake_kind(),
        }
    }

    /// The certificate that the other side has shown; none without TLS.
    pub(crate) fn shown(&self) -> Option<CertificateDer<'static>> {
        let Self::ToServer(stream) = self else { return None };
        Some(stream.conn.peer_certificates()?.first()?.clone().into_owned())
    }

    /// Says that nothing more will come: in TLS where there is TLS, else in TCP.
    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown(Shutdown::Write),
            Self::ToServer(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
            Self::OfClient(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    }
}

impl Read for Conduit {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(room),
            Self::ToServer(stream) => stream.read(room),
            Self::OfClient(stream) => stream.read(room),
        }
    }
}

impl Write for Conduit {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::ToServer(stream) => stream.write(bytes),
            Self::OfClient(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::ToServer(stream) => stream.flush(),
            Self::OfClient(stream) => stream.flush(),
        }
    }
}

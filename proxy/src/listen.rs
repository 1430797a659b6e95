//! Where the gateway listens: at an address of the network, with a listener of its own for each core, or at a Unix
//! socket, whose one queue all cores take from.
//!
//! A Unix socket is a file. One that nobody listens at any more, as a crash leaves it, is replaced at start; one that is
//! in use, or a file that is no socket, is not. When the gateway ends it removes the file, if that is still its own.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::net::{AddrParseError, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What a Unix socket's path stands behind, on the command line and in the config.
pub const UNIX: &str = "unix:";
/// Connections that may wait in the kernel for each core.
const BACKLOG: i32 = 4_096;
/// Who may connect to a Unix socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// Where a gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// At an address of the network.
    Ip(SocketAddr),
    /// At a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// `HOST:PORT` with a numeric host, or `unix:` and a path.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Ip).map_err(|error: AddrParseError| error.to_string()),
        }
    }
}

/// How long a connection stays open that whoever listens has taken.
const KEPT: Duration = Duration::from_millis(500);
/// How long the listener of a process that has ended may outlive it.
const DYING: Duration = Duration::from_secs(5);

/// What one core takes connections from.
#[derive(Debug)]
pub enum Listening {
    /// A socket of its own; the kernel spreads connections over them.
    Tcp(TcpListener),
    /// Its hold on the one socket of all cores.
    Unix(UnixListener),
}

/// A bound address.
#[derive(Debug)]
pub struct Bound {
    /// One for each core.
    pub listening: Vec<Listening>,
    /// With the port that it really has.
    pub address: Address,
    /// The file of a Unix socket.
    pub file: Option<SocketFile>,
}

/// The file of a Unix socket that is this process' own.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Removes the file: whoever connects from now on is refused by the kernel, and doesn't wait in a queue that nobody
    /// empties. One that another process has put in its place stays.
    pub fn remove(&self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Whoever took it away between the two looks has done the same.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Binds `listen`, `HOST:PORT` or `unix:PATH`, for so many cores; `port` replaces that of the former.
///
/// # Errors
///
/// For people.
pub fn bind(listen: &str, port: Option<u16>, cores: usize) -> Result<Bound, String> {
    match (listen.strip_prefix(UNIX), port) {
        (None, _) => bind_ip(listen, port, cores),
        (Some(path), None) => {
            bind_unix(Path::new(path), cores).map_err(|why| format!("cannot listen on {listen}: {why}"))
        }
        (Some(_), Some(_)) => Err(format!("cannot listen on {listen} with --port: a Unix socket has none")),
    }
}

/// Binds one listener per core to the same address. A second gateway on the same port is refused, though the port could
/// be shared: the first bind is made without `SO_REUSEPORT` and given up again.
fn bind_ip(listen: &str, port: Option<u16>, cores: usize) -> Result<Bound, String> {
    let mut address = listen
        .to_socket_addrs()
        .map_err(|error| {
            format!("cannot listen on {listen}: {error}; give HOST:PORT, e.g. 127.0.0.1:41002, or unix:/PATH")
        })?
        .next()
        .ok_or_else(|| format!("cannot listen on {listen}: the name has no address"))?;
    if let Some(port) = port {
        address.set_port(port);
    }
    let say = |address: SocketAddr, error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen on {address}: the port is in use; stop what uses it, or choose another with --port")
        }
        _ => format!("cannot listen on {address}: {error}"),
    };
    if address.port() != 0 {
        drop(listener(address, Sharing::Alone).map_err(|error| say(address, error))?);
    }
    let mut listening = Vec::with_capacity(cores);
    for _ in 0..cores {
        let listener = listener(address, Sharing::WithItsCores).map_err(|error| say(address, error))?;
        address = listener.local_addr().map_err(|error| say(address, error))?;
        listening.push(Listening::Tcp(listener));
    }
    Ok(Bound { listening, address: Address::Ip(address), file: None })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    WithItsCores,
}

fn listener(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::WithItsCores {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a Unix socket and gives every core a hold on it.
fn bind_unix(path: &Path, cores: usize) -> Result<Bound, String> {
    if !path.is_absolute() {
        return Err("give a path from the root on, e.g. unix:/run/kt/kt.sock".to_owned());
    }
    let place = SockAddr::unix(path).map_err(|_| "the path is longer than the 107 bytes that a socket's may have")?;
    clear(path)?;
    let listen = || -> io::Result<UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Before there is a file, so that it is never open to more; the umask takes some of it away.
        rustix::fs::fchmod(&socket, Mode::from_bits_truncate(SOCKET_MODE))?;
        socket.bind(&place)?;
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    let listener = listen().map_err(|error| error.to_string())?;
    let identity = identity(path).map_err(|error| error.to_string())?;
    let holds = (0..cores).map(|_| listener.try_clone().map(Listening::Unix)).collect::<io::Result<Vec<_>>>();
    let file = SocketFile { path: path.to_owned(), identity };
    Ok(Bound {
        listening: holds.map_err(|error| error.to_string())?,
        address: Address::Unix(path.to_owned()),
        file: Some(file),
    })
}

/// Removes a socket that nobody listens at.
fn clear(path: &Path) -> Result<(), String> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !found.file_type().is_socket() {
        return Err("there is a file that is no socket; remove it, or choose another path".to_owned());
    }
    let give_up = Instant::now() + DYING;
    loop {
        match answers(path) {
            Ok(true) => return Err("the socket is in use; stop what uses it, or choose another path".to_owned()),
            Ok(false) if Instant::now() < give_up => {}
            Ok(false) => return Err("whoever listens there closes each connection at once".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => break,
            Err(error) => return Err(format!("there is a socket that can't be looked at: {error}")),
        }
    }
    fs::remove_file(path).map_err(|error| format!("nobody listens there any more, but the file stays: {error}"))
}

/// Whether somebody takes a connection and keeps it. The ring of a process that was killed keeps its listener for some
/// milliseconds longer than the process lives; what has come to its queue is closed with it.
///
/// # Errors
///
/// Nobody listens.
fn answers(path: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(KEPT))?;
    let error = match stream.read(&mut [0]) {
        Ok(came) => return Ok(came > 0),
        Err(error) => error,
    };
    Ok(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &tempfile::TempDir) -> (PathBuf, String) {
        let path = folder.path().join("kt.sock");
        (path.clone(), format!("unix:{}", path.display()))
    }

    #[test]
    fn a_unix_socket_is_open_to_owner_and_group_and_goes_with_its_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let (path, listen) = at(&folder);
        let bound = bind(&listen, None, 2).unwrap();
        assert_eq!((bound.listening.len(), bound.address.to_string()), (2, listen.clone()));
        assert_eq!(listen.parse(), Ok(bound.address));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(UnixStream::connect(&path).is_ok());
        let again = bind(&listen, None, 1).unwrap_err();
        assert!(again.contains("in use"), "{again}");
        bound.file.unwrap().remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_crash_left_is_replaced_and_what_is_another_s_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, listen) = at(&folder);
        drop(bind(&listen, None, 1).unwrap());
        assert!(path.exists(), "left as by a crash");
        // One that outlives its process by a moment, as a ring's does.
        let dying = bind(&listen, None, 1).unwrap();
        let end = std::thread::spawn(move || {
            let Listening::Unix(listener) = &dying.listening[0] else { panic!("it is one") };
            drop(listener.accept());
        });
        drop(bind(&listen, None, 1).unwrap());
        end.join().unwrap();
        let bound = bind(&listen, None, 1).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = bind(&listen, None, 1).unwrap();
        bound.file.unwrap().remove();
        assert!(path.exists(), "another's");
        successor.file.unwrap().remove();
        fs::write(&path, "notes").unwrap();
        let no_socket = bind(&listen, None, 1).unwrap_err();
        assert!(no_socket.contains("no socket"), "{no_socket}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
    }

    #[test]
    fn what_can_t_be_listened_at_is_said() {
        let long = format!("unix:/{}", "a".repeat(120));
        let cases = [
            ("unix:kt.sock", None, "from the root on"),
            (&*long, None, "107 bytes"),
            ("unix:/nonexistent/kt.sock", None, "No such file"),
            ("unix:/tmp/kt.sock", Some(1), "has none"),
            ("41002", None, "unix:/PATH"),
        ];
        for (listen, port, says) in cases {
            let why = bind(listen, port, 1).unwrap_err();
            assert!(why.contains(says), "{listen}: {why}");
        }
    }
}

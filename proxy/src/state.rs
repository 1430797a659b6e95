//! The state directory: where a gateway keeps its lock, its admin socket and its log, and where the commands that
//! speak to it look for them.
//!
//! Whoever only reads or asks takes [`StateDir::locate`], which touches nothing. The gateway takes [`StateDir::open`].

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, fmt};

/// A state directory; its path is absolute, and short enough for the admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

/// The right to be the one gateway of a state directory, for as long as this lives. The kernel gives it back with the
/// process, however that ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Why there is no usable state directory. Displays as one line that says what to do.
#[derive(Debug)]
pub enum StateError {
    /// No directory was named, and neither `XDG_STATE_HOME` nor `HOME` says where it should be.
    NoHome,
    /// The admin socket's path would be longer than an address of a Unix socket can hold.
    PathTooLong {
        /// The socket's path.
        socket: PathBuf,
    },
    /// Others may write to the directory, and it holds more than a gateway's own files.
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another gateway has it.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other one's process id, if it has written it yet.
        pid: Option<u32>,
    },
    /// The system refused.
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Longest path of a Unix socket: `sun_path` has 108 bytes (unix(7)), one of them the final NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const LOCK: &str = "lock";
const SOCKET: &str = "admin.sock";
const EVENTS: &str = "events";

impl StateDir {
    /// Where the state directory is: as said (an empty path says nothing), else `$XDG_STATE_HOME/keeptrusts`, else
    /// `~/.local/state/keeptrusts`. It need not exist.
    ///
    /// # Errors
    /// [`StateError::NoHome`], [`StateError::PathTooLong`], or the current directory is gone.
    pub fn locate(explicit: Option<&Path>) -> Result<Self, StateError> {
        Self::place(explicit, env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))
    }

    /// Finds the state directory, makes it if need be, and locks it.
    ///
    /// # Errors
    /// Every [`StateError`].
    pub fn open(explicit: Option<&Path>) -> Result<(Self, StateLock), StateError> {
        let state = Self::locate(explicit)?;
        let unusable = |source| StateError::Unusable { path: state.path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&state.path).map_err(unusable)?;
        state.keep_others_out()?;
        let lock = state.lock()?;
        Ok((state, lock))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket on which the gateway takes orders. At most 107 bytes long.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// The directory of the log.
    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS)
    }

    /// A relative `XDG_STATE_HOME` is to be ignored, says the XDG Base Directory Specification.
    fn place(explicit: Option<&Path>, xdg: Option<OsString>, home: Option<OsString>) -> Result<Self, StateError> {
        let explicit = explicit.filter(|explicit| !explicit.as_os_str().is_empty());
        let xdg = xdg.map(PathBuf::from).filter(|xdg| xdg.is_absolute());
        let home = home.map(PathBuf::from).filter(|home| home.is_absolute());
        let path = match (explicit, xdg, home) {
            (Some(explicit), _, _) => std::path::absolute(explicit)
                .map_err(|source| StateError::Unusable { path: explicit.to_path_buf(), source })?,
            (None, Some(xdg), _) => xdg.join("keeptrusts"),
            (None, None, Some(home)) => home.join(".local/state/keeptrusts"),
            (None, None, None) => return Err(StateError::NoHome),
        };
        let state = Self { path };
        let socket = state.admin_socket();
        if socket.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            return Err(StateError::PathTooLong { socket });
        }
        Ok(state)
    }

    /// A directory that holds nothing but ours becomes private. One with other things in it (an operator may well say
    /// `--state-dir /tmp`) is not ours to close: there it is enough that nobody else can replace our socket.
    fn keep_others_out(&self) -> Result<(), StateError> {
        let unusable = |source| StateError::Unusable { path: self.path.clone(), source };
        let mode = fs::metadata(&self.path).map_err(unusable)?.permissions().mode() & 0o7777;
        if mode & 0o077 == 0 {
            return Ok(());
        }
        let mut ours = true;
        for entry in fs::read_dir(&self.path).map_err(unusable)? {
            let name = entry.map_err(unusable)?.file_name();
            ours &= [LOCK, SOCKET, EVENTS].iter().any(|own| name == *own);
        }
        if ours {
            return fs::set_permissions(&self.path, Permissions::from_mode(0o700)).map_err(unusable);
        }
        if mode & 0o022 == 0 { Ok(()) } else { Err(StateError::OpenToOthers { path: self.path.clone(), mode }) }
    }

    fn lock(&self) -> Result<StateLock, StateError> {
        let unusable = |source| StateError::Unusable { path: self.path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join(LOCK))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Who holds it is a courtesy: that it is held is known already.
                let pid = file.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
                return Err(StateError::InUse { path: self.path.clone(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        file.set_len(0).map_err(unusable)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(unusable)?;
        Ok(StateLock { _file: file })
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome => {
                write!(f, "there is no place for the state directory: HOME is not set; say where with --state-dir")
            }
            Self::PathTooLong { socket } => write!(
                f,
                "the state directory's path is too long: {} has {} bytes, a socket's path can have {SOCKET_PATH_BYTES_MAX}; \
                 choose a shorter one with --state-dir",
                socket.display(),
                socket.as_os_str().as_bytes().len(),
            ),
            Self::OpenToOthers { path, mode } => write!(
                f,
                "others may write to the state directory {} (mode {mode:04o}); choose one of your own, such as \
                 --state-dir {}",
                path.display(),
                path.join("keeptrusts").display(),
            ),
            Self::InUse { path, pid: Some(pid) } => write!(
                f,
                "the state directory {} belongs to a running gateway (process {pid}); stop that one, or choose another \
                 with --state-dir",
                path.display(),
            ),
            Self::InUse { path, pid: None } => write!(
                f,
                "the state directory {} belongs to a running gateway; stop that one, or choose another with --state-dir",
                path.display(),
            ),
            Self::Unusable { path, source } => {
                write!(f, "can't use the state directory {}: {source}; choose another with --state-dir", path.display())
            }
        }
    }
}

/// Without a source: what the system said is part of the line.
impl std::error::Error for StateError {}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn the_directory_is_where_the_operator_or_the_xdg_specification_says() {
        for (explicit, xdg, home, expected) in [
            (Some("/srv/kt"), Some("/xdg"), Some("/home/ann"), Some("/srv/kt")),
            (None, Some("/xdg"), Some("/home/ann"), Some("/xdg/keeptrusts")),
            (Some(""), Some("/xdg"), Some("/home/ann"), Some("/xdg/keeptrusts")),
            (None, None, Some("/home/ann"), Some("/home/ann/.local/state/keeptrusts")),
            (None, Some(""), Some("/home/ann"), Some("/home/ann/.local/state/keeptrusts")),
            (None, Some("relative"), Some("/home/ann"), Some("/home/ann/.local/state/keeptrusts")),
            (None, None, Some(""), None),
            (None, None, None, None),
        ] {
            let found = StateDir::place(explicit.map(Path::new), xdg.map(Into::into), home.map(Into::into));
            assert_eq!(found.ok().map(|state| state.path), expected.map(PathBuf::from));
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let state = StateDir::locate(Some(Path::new("state"))).unwrap();
        assert_eq!(state.path(), env::current_dir().unwrap().join("state"));
    }

    #[test]
    fn the_socket_has_to_fit_into_an_address() {
        // `/admin.sock` has 11 bytes.
        let fits = format!("/{}", "x".repeat(95));
        assert_eq!(StateDir::locate(Some(Path::new(&fits))).unwrap().admin_socket().as_os_str().len(), 107);
        let error = StateDir::locate(Some(Path::new(&format!("{fits}x")))).unwrap_err();
        assert!(error.to_string().contains("has 108 bytes, a socket's path can have 107"), "{error}");
    }

    #[test]
    fn a_new_directory_is_private_and_so_is_its_lock() {
        let scratch = tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(&scratch.path().join("a/b"))).unwrap();
        assert_eq!(mode(state.path()), 0o700);
        assert_eq!(mode(&state.path().join("lock")), 0o600);
    }

    #[test]
    fn a_second_gateway_is_told_whose_the_directory_is() {
        let scratch = tempdir().unwrap();
        let held = StateDir::open(Some(scratch.path())).unwrap();
        let error = StateDir::open(Some(scratch.path())).unwrap_err();
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
        drop(held);
        StateDir::open(Some(scratch.path())).expect("a lock ends with its holder");
    }

    #[test]
    fn a_lock_file_left_behind_does_not_lock() {
        let scratch = tempdir().unwrap();
        fs::write(scratch.path().join("lock"), "123456789\n").unwrap();
        let _held = StateDir::open(Some(scratch.path())).unwrap();
        let pid = fs::read_to_string(scratch.path().join("lock")).unwrap();
        assert_eq!(pid, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_directory_of_our_own_is_closed_and_others_are_left_alone() {
        // The mode before, whether a stranger's file lies in it, the mode after or none for a refusal.
        for (before, foreign, after) in [
            (0o755, false, Some(0o700)),
            (0o1777, false, Some(0o700)),
            (0o700, true, Some(0o700)),
            (0o755, true, Some(0o755)),
            (0o775, true, None),
            (0o1777, true, None),
        ] {
            let scratch = tempdir().unwrap();
            if foreign {
                fs::write(scratch.path().join("theirs"), "").unwrap();
            }
            fs::set_permissions(scratch.path(), Permissions::from_mode(before)).unwrap();
            match (StateDir::open(Some(scratch.path())), after) {
                (Ok((state, _lock)), Some(after)) => assert_eq!(mode(state.path()), after),
                (Err(StateError::OpenToOthers { mode, .. }), None) => assert_eq!(mode, before),
                (opened, _) => panic!("{before:o} with foreign={foreign}: {opened:?}"),
            }
        }
    }

    #[test]
    fn what_can_not_be_a_directory_is_one_clear_line() {
        let scratch = tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let error = StateDir::open(Some(&file)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("can't use the state directory {}: ", file.display())), "{error}");
        assert!(!error.contains('\n'));
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }
}

//! What is fixed at start, and how the process logs.

/// The settings that a reload can't change. Flags of the command line win over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// `gateway.listen`, as written: `host:port`.
    pub listen: Option<Box<str>>,
    /// `gateway.cores`.
    pub cores: Option<usize>,
    /// `gateway.driver`.
    pub driver: Option<Driver>,
    /// `gateway.admin.listen`: a TCP address for GETs of health and stats.
    pub admin_listen: Option<Box<str>>,
    /// Whether `gateway.tls` is there. Its files may change, and are read again.
    pub tls: bool,
}

/// How a core talks to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// The best the kernel allows.
    #[default]
    Auto,
    /// io_uring, or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

impl Fixed {
    /// The settings that differ, as the config names them. Empty means that a reload may go ahead.
    pub fn changes(&self, new: &Self) -> Vec<&'static str> {
        let Self { listen, cores, driver, admin_listen, tls } = self;
        let differing = [
            ("gateway.listen", *listen != new.listen),
            ("gateway.cores", *cores != new.cores),
            ("gateway.driver", *driver != new.driver),
            ("gateway.admin.listen", *admin_listen != new.admin_listen),
            ("gateway.tls", *tls != new.tls),
        ];
        differing.into_iter().filter(|&(_, differs)| differs).map(|(name, _)| name).collect()
    }
}

/// `gateway.log`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Least severe level that is printed.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
}

/// `gateway.log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    #[default]
    Info,
    /// And what a developer wants to know.
    Debug,
}

/// `gateway.log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `LEVEL target message`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

//! Peers as data: what `peers.toml` says of each, and a peer that runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, anyhow, bail};
use kt_core::dialect::Dialect;
use kt_lab::cores;
use kt_lab::load::{Target, authority};
use kt_proxy::listen::Address;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use super::pause;

/// How long a peer is given to end by itself.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    peer: Vec<Peer>,
}

/// What a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Something to measure against.
    Reference,
    /// A proxy that knows nothing of language models.
    Proxy,
    /// A gateway of language models.
    Gateway,
}

/// A peer, as `peers.toml` describes it; what each entry means stands there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) kind: Kind,
    install: Option<String>,
    installed: Option<String>,
    #[serde(default)]
    version: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    start: Vec<String>,
    #[serde(default)]
    says_address: bool,
    socket: Option<String>,
    #[serde(default)]
    cases: Vec<String>,
    #[serde(default = "thirty")]
    ready_s: u64,
    #[serde(default = "chat_path")]
    path: String,
    #[serde(default = "mini")]
    model: String,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    pub(super) connections_max: usize,
    #[serde(default)]
    pub(super) exact: bool,
    anthropic: Option<Way>,
    tls: Option<Way>,
}

/// How to reach another vendor through a peer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Way {
    model: Option<String>,
    port: Option<u8>,
}

fn thirty() -> u64 {
    30
}

fn chat_path() -> String {
    "/v1/chat/completions".to_owned()
}

fn mini() -> String {
    "gpt-4o-mini".to_owned()
}

/// Which vendor is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The one that speaks OpenAI's language, as the client does.
    Plain,
    /// The one that speaks Anthropic's.
    Anthropic,
    /// The first one, over TLS.
    Tls,
}

/// What the names in `peers.toml` stand for.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) peers: PathBuf,
    pub(super) here: PathBuf,
    pub(super) kt: PathBuf,
    pub(super) lab: PathBuf,
    pub(super) vendors: [SocketAddr; 3],
    pub(super) ca: PathBuf,
}

/// Reads `peers.toml` in `folder`.
pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<Peer>> {
    let file = folder.join("peers.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let listed: Listed = basic_toml::from_str(&text).with_context(|| file.display().to_string())?;
    Ok(listed.peer)
}

impl Names {
    fn fill(&self, text: &str) -> String {
        let path = |path: &Path| path.display().to_string();
        let [vendor, anthropic, tls] = self.vendors;
        [
            ("{peers}", path(&self.peers)),
            ("{here}", path(&self.here)),
            ("{kt}", path(&self.kt)),
            ("{lab}", path(&self.lab)),
            ("{ca}", path(&self.ca)),
            ("{vendor}", vendor.to_string()),
            ("{vendor_host}", vendor.ip().to_string()),
            ("{vendor_port}", vendor.port().to_string()),
            ("{anthropic}", anthropic.to_string()),
            ("{tls}", tls.to_string()),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, &value))
    }
}

impl Peer {
    /// Whether it is there to be started.
    pub(super) fn is_installed(&self, names: &Names) -> bool {
        let Some(installed) = &self.installed else { return true };
        let installed = names.fill(installed);
        if installed.contains('/') {
            return Path::new(&installed).exists();
        }
        let path = env::var_os("PATH").unwrap_or_default();
        // Where a distribution puts servers, which not everybody's PATH holds.
        env::split_paths(&path).chain(["/usr/sbin".into()]).any(|folder| folder.join(&installed).exists())
    }

    /// Installs it; whether there was anything to do.
    pub(super) fn install(&self, names: &Names) -> anyhow::Result<bool> {
        let Some(install) = self.install.as_ref().filter(|_| !self.is_installed(names)) else { return Ok(false) };
        fs::create_dir_all(&names.peers)?;
        let line = names.fill(install);
        let status = Command::new("sh").args(["-ec", &line]).status().context("cannot run a shell")?;
        if status.success() { Ok(true) } else { bail!("installing {} failed ({status}): {line}", self.name) }
    }

    /// What it calls its version: the first word with a digit and a dot in what its command prints.
    pub(super) fn version(&self, names: &Names) -> Option<String> {
        let command: Vec<String> = self.version.iter().map(|word| names.fill(word)).collect();
        let (program, rest) = command.split_first()?;
        let output = Command::new(program).args(rest).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let is_version = |word: &&str| {
            let mut parts = word.split('.');
            parts.clone().count() > 1 && parts.all(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        };
        let words = said.split(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | ')' | '('));
        words.map(|word| word.trim_start_matches('v')).find(is_version).map(str::to_owned)
    }

    /// Whether it takes part in a case.
    pub(super) fn plays(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case)
    }

    /// Whether it can reach the vendor.
    pub(super) fn has(&self, route: Route) -> bool {
        match route {
            Route::Plain => true,
            Route::Anthropic => self.anthropic.is_some(),
            Route::Tls => self.tls.is_some(),
        }
    }

    /// Starts it on `core`, in `run`, a folder of its own. It may not answer yet.
    pub(super) fn start(&self, names: &Names, core: usize, run: &Path) -> anyhow::Result<Running> {
        fs::create_dir_all(run)?;
        let ports = [free_port()?, free_port()?];
        let fill = |text: &str| {
            let text = names.fill(text).replace("{run}", &run.display().to_string());
            text.replace("{port}", &ports[0].to_string()).replace("{port2}", &ports[1].to_string())
        };
        for file in &self.files {
            let text = fs::read_to_string(names.here.join("peers").join(file)).with_context(|| file.clone())?;
            fs::write(run.join(file), fill(&text))?;
        }
        let log = run.join("log");
        let out = File::create(&log)?;
        let (program, rest) = self.start.split_first().context("a peer has a start command")?;
        let mut command = Command::new(fill(program));
        command.args(rest.iter().map(|word| fill(word)));
        command.envs(self.env.iter().map(|(name, value)| (name, fill(value))));
        command.current_dir(run).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        // What a thread starts runs where that thread may.
        let start = || -> anyhow::Result<Child> {
            cores::keep_to(&[core])?;
            Ok(command.spawn()?)
        };
        let child =
            thread::scope(|scope| scope.spawn(start).join()).map_err(|_| anyhow!("the starting thread died"))?;
        let child = child.with_context(|| format!("cannot start {}", self.name))?;
        let mut addresses = ports.map(|port| Address::Ip(SocketAddr::from(([127, 0, 0, 1], port))));
        if let Some(socket) = &self.socket {
            addresses[0] = Address::Unix(fill(socket).into());
        }
        let mut running = Running { peer: self.clone(), child, addresses, log };
        running.wait_until_it_listens()?;
        Ok(running)
    }
}

/// A port that is free now; nobody is promised that it stays so.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A peer that runs. Dropping it ends it, and all that it has started.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) peer: Peer,
    child: Child,
    addresses: [Address; 2],
    log: PathBuf,
}

impl Running {
    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let due = Instant::now() + Duration::from_secs(self.peer.ready_s);
        loop {
            if self.peer.says_address {
                self.addresses[0] = said_address(&self.log).map_or(self.addresses[0].clone(), Address::Ip);
            }
            let listens = match &self.addresses[0] {
                Address::Ip(address) => TcpStream::connect(address).is_ok(),
                Address::Unix(path) => UnixStream::connect(path).is_ok(),
            };
            if listens {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} has ended ({status}); see {}", self.peer.name, self.log.display());
            }
            if Instant::now() > due {
                bail!("{} doesn't listen after {} s; see {}", self.peer.name, self.peer.ready_s, self.log.display());
            }
            pause(LOOK);
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it is asked, to reach the vendor by `route`.
    pub(super) fn target(&self, route: Route, vendor: SocketAddr) -> Target {
        let way = match route {
            Route::Plain => None,
            Route::Anthropic => self.peer.anthropic.as_ref(),
            Route::Tls => self.peer.tls.as_ref(),
        };
        let address = &self.addresses[usize::from(way.and_then(|way| way.port) == Some(2))];
        let field = |(name, value): (&String, &String)| (name.clone(), value.replace("{vendor}", &vendor.to_string()));
        Target {
            address: address.clone(),
            authority: authority(address),
            path: self.peer.path.clone(),
            fields: self.peer.fields.iter().map(field).collect(),
            tls: None,
            model: way.and_then(|way| way.model.as_ref()).unwrap_or(&self.peer.model).clone(),
            dialect: Dialect::OpenAi,
        }
    }

    /// Holds it, so that it takes no time while another is measured.
    pub(super) fn hold(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // One that has ended can't be told anything.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.go_on();
        self.signal(Signal::TERM);
        let due = Instant::now() + END_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < due {
            pause(LOOK);
        }
        self.signal(Signal::KILL);
        // It has ended by now, one way or the other.
        let _ = self.child.wait();
    }
}

/// The first "http://host:port" in a log.
fn said_address(log: &Path) -> Option<SocketAddr> {
    let lines = BufReader::new(File::open(log).ok()?).lines().map_while(Result::ok);
    lines.filter_map(|line| line.split_once("http://")?.1.split('/').next()?.parse().ok()).next()
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn every_peer_is_complete() {
        let peers = read(&folder()).unwrap();
        for name in ["pump", "kt", "nginx", "haproxy", "pingora", "envoy", "caddy", "rolter", "smg", "ferrogw"] {
            assert_eq!(peers.iter().filter(|peer| peer.name == name).count(), 1, "{name}");
        }
        for peer in &peers {
            for file in &peer.files {
                assert!(folder().join("peers").join(file).exists(), "{}: {file}", peer.name);
            }
            assert_eq!(peer.install.is_some(), peer.installed.is_some(), "{}: how is it known to be there?", peer.name);
            assert!(peer.cases.iter().all(|name| CASES.iter().any(|case| case.name == name)), "{}", peer.name);
            assert!(peer.connections_max > 0 && !peer.start.is_empty(), "{}", peer.name);
        }
    }

    #[test]
    fn names_are_filled_in_and_braces_of_others_stay() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let path = PathBuf::from;
        let names = Names {
            peers: path("/p"),
            here: path("/h"),
            kt: path("/kt"),
            lab: path("/lab"),
            vendors: [address(1), address(2), address(3)],
            ca: path("/ca"),
        };
        let text = "{a: '{vendor}', b: {peers}, c: {tls} {vendor_host}:{vendor_port}}";
        assert_eq!(names.fill(text), "{a: '127.0.0.1:1', b: /p, c: 127.0.0.1:3 127.0.0.1:1}");
    }
}

//! The gateway: the real binary, in a state directory of its own, on a port of its own; and the other commands.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::json::{Json, json, lines};
use super::{Client, Driver, PATIENCE, Vendor, eventually, usual_driver};

const KT: &str = env!("CARGO_BIN_EXE_kt");
const CONFIG: &str = "policy-config.yaml";
const UNPOISONED: &str = "no thread panics while it holds this";

/// A decision of the log.
pub(crate) type Event = Json;

/// A temporary state directory, which several gateways may use one after the other. Config files lie beside it.
pub(crate) struct State {
    dir: TempDir,
}

/// A gateway that is about to start.
pub(crate) struct Setup {
    config: String,
    state: Arc<State>,
    cores: usize,
    driver: Option<Driver>,
    env: Vec<(String, String)>,
    names_state: bool,
    through: Vec<String>,
    args: Vec<String>,
}

/// A running gateway. Killed if the test doesn't stop it.
pub(crate) struct Gateway {
    child: Child,
    /// `host:port`, or `unix:` and a path.
    listens: String,
    state: Arc<State>,
    log: Logged,
}

/// What a process has written to stderr so far.
#[derive(Clone, Default)]
pub(crate) struct Logged(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Configs that scenarios share.
pub(crate) struct Config;

impl Config {
    /// The tutorial's file, its vendors elsewhere and its weights as given.
    pub(crate) fn tutorial(openai: &Vendor, anthropic: &Vendor, weights: (u32, u32)) -> String {
        format!(
            "version: '1'
providers:
  targets:
    - id: openai
      provider: openai
      base_url: {}
      secret_key_ref:
        env: OPENAI_API_KEY
    - id: anthropic
      provider: anthropic
      base_url: {}
      secret_key_ref:
        env: ANTHROPIC_API_KEY
model_groups:
  - name: quality-ab-test
    strategy: weighted
    targets:
      - provider: openai
        model: gpt-4o
        weight: {}
      - provider: anthropic
        model: claude-sonnet-4-20250514
        weight: {}
policies:
  - name: basic-filter
    type: content_filter
    action: flag
    config:
      categories:
        - hate
      threshold: medium
",
            openai.url(),
            anthropic.url(),
            weights.0,
            weights.1
        )
    }

    /// One group `chat` of one arm: model `gpt-4o` at a vendor who speaks OpenAI's language. `target` are further keys of
    /// the target, as `timeouts: {idle_ms: 300}`, and `rest` further top-level keys.
    pub(crate) fn openai(vendor: &Vendor, target: &str, rest: &str) -> String {
        Self::one("openai", "OPENAI_API_KEY", "gpt-4o", &vendor.url(), target, rest)
    }

    /// As [`Self::openai`], with model `claude-x` at a vendor who speaks Anthropic's language.
    pub(crate) fn anthropic(vendor: &Vendor, target: &str, rest: &str) -> String {
        Self::one("anthropic", "ANTHROPIC_API_KEY", "claude-x", &vendor.url(), target, rest)
    }

    fn one(provider: &str, key: &str, model: &str, url: &str, target: &str, rest: &str) -> String {
        let target: String = target.lines().map(|line| format!("      {line}\n")).collect();
        format!(
            "version: '1'
providers:
  targets:
    - id: {provider}
      provider: {provider}
      base_url: {url}
      secret_key_ref: {{env: {key}}}
{target}model_groups:
  - name: chat
    strategy: weighted
    targets:
      - {{provider: {provider}, model: {model}, weight: 100}}
{rest}"
        )
    }
}

impl State {
    /// A fresh one.
    pub(crate) fn new() -> Arc<Self> {
        let dir = tempfile::Builder::new().prefix("kt-it-").permissions(Permissions::from_mode(0o700)).tempdir();
        Arc::new(Self { dir: dir.expect("there is room for a temporary directory") })
    }

    /// Where files of the test can lie.
    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Writes a file beside it, whole or not at all for whoever reads it meanwhile.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let (path, draft) = (self.dir.path().join(name), self.dir.path().join(format!("{name}.draft")));
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).expect("the temporary directory is ours");
        path
    }

    /// All decisions there are, in the log's order.
    pub(crate) fn events(&self) -> Vec<Event> {
        let path = self.path();
        let output = kt(&["events", "tail", "--last", "1000000", "--json", "--state-dir", utf8(&path)]);
        assert_eq!(output.code, Some(0), "{output:?}");
        lines(&output.stdout)
    }
}

impl Setup {
    /// In a state directory that exists already.
    pub(crate) fn state(mut self, state: &Arc<State>) -> Self {
        self.state = Arc::clone(state);
        self
    }

    /// With so many cores; one if not said.
    pub(crate) fn cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }

    /// On this driver; on the best there is if not said.
    pub(crate) fn driver(mut self, driver: Driver) -> Self {
        self.driver = Some(driver);
        self
    }

    /// With an environment variable. The vendors' keys are set, and nothing of the test's own environment is.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a variable that is set otherwise.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.retain(|(given, _)| given != name);
        self
    }

    /// Without `--state-dir`, so that the environment says where it is.
    pub(crate) fn without_state_dir(mut self) -> Self {
        self.names_state = false;
        self
    }

    /// With so many descriptors at most.
    pub(crate) fn descriptors(mut self, most: usize) -> Self {
        self.through = shell_line(&format!("ulimit -n {most}"));
        self
    }

    /// As if the machine had been started anew meanwhile. Only where one may mount.
    pub(crate) fn in_another_boot(mut self) -> Self {
        let boot = self.state.write("boot_id", "01234567-89ab-4cde-8f01-23456789abcd\n");
        let mount = format!("mount --bind {} /proc/sys/kernel/random/boot_id", utf8(&boot));
        self.through = ["unshare", "--mount"].map(str::to_owned).into_iter().chain(shell_line(&mount)).collect();
        self
    }

    /// With another flag, or the value of one.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(self) -> Gateway {
        let state = Arc::clone(&self.state);
        let mut child = self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("kt can be run");
        let log = Logged::of(child.stderr.take().expect("it is piped"));
        if log.find(|line| line.contains("Gateway ready")).is_none() {
            end(&mut child);
            panic!("the gateway did not start:\n{}", log.text());
        }
        let starting = log.find(|line| line.contains("Starting gateway on ")).expect("it comes before it is ready");
        // The address ends the message: with the line, or with the JSON string that holds it.
        let (_, address) = starting.split_once("Starting gateway on ").expect("as above");
        let listens = address.split('"').next().unwrap_or_default().to_owned();
        Gateway { child, listens, state, log }
    }

    /// Starts one that is not to come up, and waits for its end.
    pub(crate) fn refused(self) -> Output {
        let output = finish(self.command());
        assert_eq!(output.stdout, "", "the gateway has nothing to say on stdout");
        output
    }

    fn command(&self) -> Command {
        let config = self.state.write(CONFIG, &self.config);
        let mut command = match self.through.split_first() {
            None => bare(),
            Some((program, args)) => {
                let mut through = Command::new(program);
                through.args(args).arg(KT).env_clear();
                through
            }
        };
        command.args(["gateway", "run"]);
        command.arg("--policy-config").arg(config).arg("--cores").arg(self.cores.to_string());
        if !self.args.iter().any(|arg| arg == "--listen") && !self.config.contains("listen: 'unix:") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if self.names_state && !self.args.iter().any(|arg| arg == "--state-dir") {
            command.arg("--state-dir").arg(self.state.path());
        }
        if let Some(driver) = self.driver
            && !self.args.iter().any(|arg| arg == "--driver")
        {
            command.args(["--driver", driver.flag()]);
        }
        command.args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Gateway {
    /// One with this config, to be started.
    pub(crate) fn with(config: impl Into<String>) -> Setup {
        let keys = [("OPENAI_API_KEY", "sk-openai-test"), ("ANTHROPIC_API_KEY", "sk-ant-test")];
        Setup {
            config: config.into(),
            state: State::new(),
            cores: 1,
            driver: usual_driver(),
            env: keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            names_state: true,
            through: Vec::new(),
            args: Vec::new(),
        }
    }

    /// One with the group `chat` of one arm at a vendor who speaks OpenAI's language, running.
    pub(crate) fn before(vendor: &Vendor) -> Self {
        Self::with(Config::openai(vendor, "", "")).start()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listens.parse().expect("an address of the network")
    }

    /// Its state directory.
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// A new connection to it.
    pub(crate) fn client(&self) -> Client {
        match self.listens.strip_prefix("unix:") {
            Some(path) => Client::connect_unix(Path::new(path)),
            None => Client::connect(self.address()),
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> &Logged {
        &self.log
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open.
    pub(crate) fn open_descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it lives").count()
    }

    /// The memory it holds.
    pub(crate) fn resident_bytes(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// What of it is neither its program nor another file.
    pub(crate) fn anonymous_bytes(&self) -> usize {
        self.memory("RssAnon:")
    }

    fn memory(&self, kind: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// The time that its threads have run.
    pub(crate) fn cpu_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives");
        let nanos = tasks.map(|task| {
            let file = task.expect("a thread").path().join("schedstat");
            // One that ends meanwhile has run as long as it has.
            let text = fs::read_to_string(file).unwrap_or_default();
            text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or_default()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Its counters, gauges and arms.
    pub(crate) fn stats(&self) -> Json {
        let output = self.kt(&["stats", "--json"]);
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
        json(output.stdout)
    }

    /// Asks its admin socket; the whole answer, head and body.
    pub(crate) fn admin(&self, method: &str, path: &str) -> String {
        let mut socket = UnixStream::connect(self.state.path().join("admin.sock")).expect("it is there");
        socket.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        write!(socket, "{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers in UTF-8");
        answer
    }

    /// Runs another command on its state directory.
    pub(crate) fn kt(&self, args: &[&str]) -> Output {
        let state = self.state.path();
        kt(&[args, &["--state-dir", utf8(&state)]].concat())
    }

    /// Waits until the log holds `count` decisions, and gives them: all there are.
    pub(crate) fn events(&self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        eventually("decisions in the log", || {
            events = self.state.events();
            (events.len() >= count).then_some(())
        });
        assert_eq!(events.len(), count, "{events:?}");
        events
    }

    /// Replaces its config file; it is not told of it.
    pub(crate) fn rewrite(&self, config: &str) {
        self.state.write(CONFIG, config);
    }

    /// Tells it to read its file again.
    pub(crate) fn reload(&self) -> Output {
        self.kt(&["config", "reload"])
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).expect("it lives");
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end; the exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait(&mut self.child).unwrap_or_else(|| panic!("the gateway does not end:\n{}", self.log.text())).code()
    }

    /// Drains it, which has to succeed, and gives all decisions it made: whatever comes twice or late is among them.
    pub(crate) fn stop(mut self) -> Vec<Event> {
        self.signal(Signal::TERM);
        let code = self.exit_code();
        assert_eq!(code, Some(0), "a drain ends well:\n{}", self.log.text());
        self.state.events()
    }

    /// As [`Self::stop`], for a gateway that was asked once.
    pub(crate) fn stop_with_one_event(self) -> Event {
        let events = self.stop();
        assert_eq!(events.len(), 1, "{events:?}");
        events[0].clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        end(&mut self.child);
        if thread::panicking() {
            eprintln!("the gateway on {} had logged:\n{}", self.listens, self.log.text());
        }
    }
}

impl Logged {
    fn of(stderr: impl Read + Send + 'static) -> Self {
        let logged = Self::default();
        let writing = logged.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writing.0.0.lock().expect(UNPOISONED).lines.push(line);
                writing.0.1.notify_all();
            }
            writing.0.0.lock().expect(UNPOISONED).ended = true;
            writing.0.1.notify_all();
        });
        logged
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.0.lock().expect(UNPOISONED).lines.clone()
    }

    /// Waits for a line; none if the process ends or falls silent before.
    pub(crate) fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        let give_up = Instant::now() + PATIENCE;
        let mut written = self.0.0.lock().expect(UNPOISONED);
        loop {
            if let Some(line) = written.lines.iter().find(|line| is_it(line)) {
                return Some(line.clone());
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if written.ended || left == Duration::ZERO {
                return None;
            }
            written = self.0.1.wait_timeout(written, left).expect(UNPOISONED).0;
        }
    }
}

/// Runs `kt`, without a home and without the vendors' keys.
pub(crate) fn kt(args: &[&str]) -> Output {
    let mut command = bare();
    command.args(args);
    finish(command)
}

/// Runs a line of shell in which `kt` is the binary under test, and `state` its state directory.
pub(crate) fn shell(line: &str, state: &State) -> Output {
    let mut command = Command::new("sh");
    let binaries = Path::new(KT).parent().expect("a binary lies in a directory").to_owned();
    let found = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([binaries].into_iter().chain(env::split_paths(&found))).expect("no colon in a path");
    command.args(["-c", line]).env("PATH", path).env("KEEPTRUSTS_STATE_DIR", state.path()).current_dir(state.root());
    finish(command)
}

/// A shell that does something, and becomes whatever command follows.
fn shell_line(first: &str) -> Vec<String> {
    ["/bin/sh", "-c", &format!("{first} && exec \"$0\" \"$@\"")].map(str::to_owned).into()
}

fn bare() -> Command {
    let mut command = Command::new(KT);
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs a command to its end.
fn finish(mut command: Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
    let out = collect(child.stdout.take().expect("it is piped"));
    let err = collect(child.stderr.take().expect("it is piped"));
    let status = wait(&mut child);
    if status.is_none() {
        end(&mut child);
    }
    let (stdout, stderr) = (out.join().expect("UTF-8"), err.join().expect("UTF-8"));
    let code = status.unwrap_or_else(|| panic!("{command:?} does not end: {stdout}{stderr}")).code();
    Output { code, stdout, stderr }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("UTF-8");
        text
    })
}

/// Waits for a process to end, for longer than a drain may take.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let give_up = Instant::now() + 2 * PATIENCE;
    while Instant::now() < give_up {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        super::pause(super::LOOK_AGAIN);
    }
    None
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

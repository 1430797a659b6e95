//! The demo's gateway: this very binary, as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::page::Page;

/// How long the start may take.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long the end may take: what the gateway gives requests in flight, and some.
const DRAINED_WITHIN: Duration = Duration::from_secs(40);
/// How often a wait looks up.
const LOOK: Duration = Duration::from_millis(50);

/// A running gateway. Dropping it kills it.
pub(super) struct Gateway {
    child: Child,
    address: SocketAddr,
    /// What it says on stderr.
    lines: Receiver<String>,
}

impl Gateway {
    /// Starts it on a free port, and waits until it is ready; `go_on` may end the wait.
    pub(super) fn start(
        config: &Path,
        state: &Path,
        page: &mut Page,
        go_on: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let child = Command::new(env::current_exe().context("cannot find this binary")?)
            .args(["gateway", "run", "--listen", "127.0.0.1:0"])
            .arg("--policy-config")
            .arg(config)
            .arg("--state-dir")
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is the demo's, which ends its gateway in its own time; by the terminal it would get two signals.
            .process_group(0)
            .spawn()
            .context("cannot start the gateway")?;
        let mut gateway = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), lines: channel().1 };
        gateway.lines = listen(&mut gateway.child)?;
        let due = Instant::now() + READY_WITHIN;
        let mut address = None;
        loop {
            go_on()?;
            match gateway.lines.recv_timeout(LOOK) {
                Ok(line) => {
                    page.echo(&line)?;
                    address = address.or_else(|| address_in(&line));
                    if line.ends_with("Gateway ready") {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < due => {}
                Err(RecvTimeoutError::Timeout) => bail!("the gateway is not ready after {READY_WITHIN:?}"),
                Err(RecvTimeoutError::Disconnected) => return Err(gateway.has_ended()),
            }
        }
        gateway.address = address.context("the gateway did not say where it listens")?;
        Ok(gateway)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Prints what it has said since; an error if it has ended.
    pub(super) fn echo(&mut self, page: &mut Page) -> anyhow::Result<()> {
        loop {
            match self.lines.try_recv() {
                Ok(line) => page.echo(&line)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(self.has_ended()),
            }
        }
    }

    /// As [`Self::echo`], waiting for the first line for as long as `duration`.
    pub(super) fn echo_for(&mut self, duration: Duration, page: &mut Page) -> anyhow::Result<()> {
        match self.lines.recv_timeout(duration) {
            Ok(line) => page.echo(&line)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(self.has_ended()),
        }
        self.echo(page)
    }

    /// Asks it to drain, and waits for it to end well.
    pub(super) fn drain(&mut self, page: &mut Page) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("cannot signal the gateway")?;
        let due = Instant::now() + DRAINED_WITHIN;
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => page.echo(&line)?,
                Err(RecvTimeoutError::Timeout) if Instant::now() < due => {}
                Err(RecvTimeoutError::Timeout) => bail!("the gateway has not drained after {DRAINED_WITHIN:?}"),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().context("cannot wait for the gateway")?;
        match status.success() {
            true => Ok(()),
            false => bail!("the gateway did not drain: {status}"),
        }
    }

    /// To be called when its stderr has ended, which happens with the process.
    fn has_ended(&mut self) -> anyhow::Error {
        match self.child.wait() {
            Ok(status) => anyhow!("the gateway has ended: {status}"),
            Err(error) => anyhow!("the gateway has ended: {error}"),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A thread that reads stderr, so that the gateway never waits for us.
fn listen(child: &mut Child) -> anyhow::Result<Receiver<String>> {
    let stderr = child.stderr.take().context("the gateway has no stderr")?;
    let (say, lines) = channel();
    thread::Builder::new().name("kt-demo-stderr".to_owned()).spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(lines)
}

fn address_in(line: &str) -> Option<SocketAddr> {
    line.split_once("Starting gateway on ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stands_in_the_first_line() {
        let said = "INFO keeptrusts::gateway Starting gateway on 127.0.0.1:41002";
        assert_eq!(address_in(said), Some(SocketAddr::from(([127, 0, 0, 1], 41002))));
        assert_eq!(address_in("INFO keeptrusts::gateway Gateway ready"), None);
    }
}

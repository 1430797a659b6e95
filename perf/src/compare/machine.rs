//! What a record says of where it was made: without it, its numbers mean nothing.

use std::fs;
use std::process::Command;

use kt_lab::json::Json;

/// The machine, its kernel, and the commit that was measured.
pub(super) struct Machine {
    pub(super) when: String,
    pub(super) commit: String,
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    pub(super) congestion_control: String,
    pub(super) compiler: String,
    pub(super) load_before: String,
}

impl Machine {
    /// Looks at this one.
    pub(super) fn look(cores: usize) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let is_clean =
            said("git", &["status", "--porcelain", "--untracked-files=no"]).is_some_and(|said| said.is_empty());
        let commit = said("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        Self {
            when: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_default(),
            commit: if is_clean { commit } else { format!("{commit}-changed") },
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores,
            memory_mib: memory_kib / 1_024,
            kernel: read("/proc/sys/kernel/osrelease"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            compiler: said("rustc", &["--version"]).unwrap_or_default(),
            load_before: read("/proc/loadavg"),
        }
    }

    pub(super) fn json(&self) -> Json {
        Json::object([
            ("processor", Json::text(&self.processor)),
            ("cores", Json::count(self.cores as u64)),
            ("memory_mib", Json::count(self.memory_mib)),
            ("kernel", Json::text(&self.kernel)),
            ("congestion_control", Json::text(&self.congestion_control)),
            ("compiler", Json::text(&self.compiler)),
            ("load_before", Json::text(&self.load_before)),
        ])
    }
}

/// What a command prints, if it ends well.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

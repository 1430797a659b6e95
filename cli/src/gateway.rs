//! `kt gateway run`: from flags to a running server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use kt_core::config::plan::{Driver, LogFormat};
use kt_core::policy::FailMode;
use kt_proxy::server::{Options, Server};

use crate::args::{DriverArg, FailModeArg, RunArgs};
use crate::exit::Exit;
use crate::log;

/// Runs until a signal has drained it.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let options = Options {
        files: args.files.iter().map(|file| absolute(file)).collect::<anyhow::Result<_>>()?,
        listen: args.listen.clone(),
        port: args.port,
        cores: args.cores.map(usize::from),
        driver: args.driver.map(driver),
        state_dir: args.state.state_dir.clone(),
        fail_mode: match args.fail_mode {
            FailModeArg::Block => FailMode::Block,
            FailModeArg::Allow => FailMode::Allow,
        },
    };
    let server = match Server::prepare(options) {
        Ok(server) => server,
        // What lint says has headlines of its own; everything else is one line.
        Err(report) if report.contains('\n') => {
            write!(io::stderr(), "{report}")?;
            return Ok(Exit::Error);
        }
        Err(report) => return Err(anyhow!(report)),
    };
    match (log::start(server.log_settings(), args.log_level, args.log_format), server.warnings()) {
        (_, "") => {}
        (LogFormat::Text, warnings) => write!(io::stderr(), "{warnings}")?,
        (LogFormat::Json, warnings) => tracing::warn!(target: "keeptrusts::gateway", "{}", warnings.trim_end()),
    }
    server.run().map_err(|report| anyhow!(report))?;
    Ok(Exit::Done)
}

/// A reload reads the same files, wherever it is asked from.
fn absolute(file: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(file).with_context(|| format!("cannot find {}", file.display()))
}

fn driver(arg: DriverArg) -> Driver {
    match arg {
        DriverArg::Auto => Driver::Auto,
        DriverArg::IoUring => Driver::IoUring,
        DriverArg::Epoll => Driver::Epoll,
    }
}

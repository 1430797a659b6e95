//! `kt`: words in, exit code out. What there is to know of a gateway is known by the other floors; this one reads the
//! command line, calls them, and prints.

mod args;
mod bench;
mod config;
mod control;
mod demo;
mod events;
mod exit;
mod gateway;
mod hdr;
mod log;
mod policy;
mod stats;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Args, Command, ConfigCommand, GatewayCommand, PolicyCommand};
use exit::Exit;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    match run(args.command) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            // With the reader of stderr gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            Exit::Error.into()
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let exit = match command {
        Command::Policy { command: PolicyCommand::Lint(args) } => policy::lint(&args)?,
        Command::Policy { command: PolicyCommand::Test(args) } => policy::test(&args)?,
        Command::Policy { command: PolicyCommand::Explain(args) } => policy::explain(&args)?,
        Command::Gateway { command: GatewayCommand::Run(args) } => gateway::run(&args)?,
        Command::Gateway { command: GatewayCommand::Reload(args) }
        | Command::Config { command: ConfigCommand::Reload(args) } => config::reload(&args)?,
        Command::Events(args) => return events::run(&args),
        Command::Stats(args) => stats::print(&args)?,
        Command::Demo(args) => demo::run(&args)?,
        Command::Bench(args) => bench::run(&args)?,
    };
    Ok(exit.into())
}

/// clap's own code for a wrong command line is 2, which means something else here.
fn usage(error: &clap::Error) -> ExitCode {
    // As above.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done.into(),
        _ => Exit::Usage.into(),
    }
}

/// Whether whoever reads our output has gone, as `head` does: that is an end, not an error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

//! `kt policy lint`: everything that is wrong with a config, at once.

use std::io::{self, Write};

use kt_core::config::{self, Checked};

use super::read;
use crate::args::LintArgs;
use crate::exit::Exit;

/// Checks the files and prints what came of it: the summary on stdout, complaints on stderr, or JSON on stdout.
pub(crate) fn lint(args: &LintArgs) -> anyhow::Result<Exit> {
    let sources = args.files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let checked = config::check(&sources);
    if args.json {
        writeln!(io::stdout(), "{}", checked.to_json())?;
    } else {
        write!(io::stdout(), "{}", checked.summary())?;
        write!(io::stderr(), "{}", checked.error_report())?;
        write!(io::stderr(), "{}", checked.warning_report())?;
    }
    Ok(exit(&checked))
}

fn exit(checked: &Checked) -> Exit {
    match (&checked.file, checked.warnings().next()) {
        (None, _) => Exit::Error,
        (Some(_), Some(_)) => Exit::Warnings,
        (Some(_), None) => Exit::Done,
    }
}

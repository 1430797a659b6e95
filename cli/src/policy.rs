//! `kt policy lint`: everything that is wrong with a config, at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context;
use kt_core::config::{self, Checked, Source};
use kt_core::limits::CONFIG_BYTES_MAX;

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

/// Reads a config file, one byte further than it may be long, so that the check can say that it is too long.
fn read(file: &Path) -> anyhow::Result<Source> {
    let name = file.display().to_string();
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {name}"))?;
    Ok(Source { name, bytes })
}

//! `kt policy`: what a config says, and what its policies make of a text.

mod explain;
mod lint;
mod test;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use kt_core::config::plan::Plan;
use kt_core::config::{self, Source};
use kt_core::limits::CONFIG_BYTES_MAX;

pub(crate) use explain::explain;
pub(crate) use lint::lint;
pub(crate) use test::test;

/// Reads a config file, one byte further than it may be long, so that the check can say that it is too long.
fn read(file: &Path) -> anyhow::Result<Source> {
    let name = file.display().to_string();
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {name}"))?;
    Ok(Source { name, bytes })
}

/// The plan of these files, without anybody's keys.
fn plan(files: &[PathBuf]) -> anyhow::Result<Plan> {
    let sources = files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let checked = config::check(&sources);
    let Some(file) = &checked.file else { return Err(anyhow!("{}", checked.error_report().trim_end())) };
    Plan::resolve(file, 1, None, &mut |_| None, &mut || 0).map_err(|_shared| anyhow!("two clients share a key"))
}

//! `kt config reload`: tells the running gateway to read its files again.

use std::io::{self, Write};

use anyhow::{Context, bail};
use simd_json::prelude::*;

use crate::args::ReloadArgs;
use crate::control;
use crate::exit::Exit;

/// Asks for a reload and prints what is in force now, or why nothing has changed.
pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<Exit> {
    let mut answer = control::ask(&args.gateway, "POST", "/reload")?;
    let said = simd_json::to_borrowed_value(&mut answer.body).context("the gateway's answer is not JSON")?;
    let report = said.get_str("report").unwrap_or_default();
    match answer.status {
        200 => {
            let mut out = io::stdout().lock();
            writeln!(out, "✓ Configuration reloaded")?;
            for group in said.get_array("groups").into_iter().flatten() {
                let (name, split) = (group.get_str("name").unwrap_or("?"), group.get_str("split").unwrap_or("?"));
                writeln!(out, "Model group \"{name}\": {split}")?;
            }
            write!(io::stderr(), "{report}")?;
            Ok(Exit::Done)
        }
        422 => {
            writeln!(io::stderr(), "{}", report.trim_end())?;
            Ok(Exit::Error)
        }
        status => bail!("the gateway answered {status}"),
    }
}

//! `kt demo`: the whole tutorial, here and now.

use crate::args::DemoArgs;
use crate::exit::Exit;

/// Runs it.
pub(crate) fn run(_args: &DemoArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("not here yet")
}

//! `kt`: the operator's hand.

mod events;

use clap::Parser;

#[derive(Parser)]
enum Kt {
    Events(events::EventsArgs),
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let Kt::Events(args) = Kt::parse();
    events::run(&args)
}

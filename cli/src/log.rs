//! How the process logs: to stderr, `LEVEL target message` or a JSON object a line, without a time for people (whoever
//! keeps the log stamps it).

use std::fmt;

use kt_core::config::plan::{LogFormat, LogLevel, LogSettings};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::{LogFormatArg, LogLevelArg};

/// Starts logging; flags win over the config. Says in which form.
pub(crate) fn start(settings: LogSettings, level: Option<LogLevelArg>, format: Option<LogFormatArg>) -> LogFormat {
    let level = level.map_or_else(|| of_config(settings.level), of_flag);
    let format = match format {
        Some(LogFormatArg::Text) => LogFormat::Text,
        Some(LogFormatArg::Json) => LogFormat::Json,
        None => settings.format,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.event_format(Plain).init(),
    }
    format
}

fn of_config(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

fn of_flag(level: LogLevelArg) -> LevelFilter {
    match level {
        LogLevelArg::Error => LevelFilter::ERROR,
        LogLevelArg::Warn => LevelFilter::WARN,
        LogLevelArg::Info => LevelFilter::INFO,
        LogLevelArg::Debug => LevelFilter::DEBUG,
    }
}

/// `INFO keeptrusts::gateway Gateway ready`
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        write!(out, "{} {} ", metadata.level(), metadata.target())?;
        context.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

//! What the demo prints: headings, commands, lines; and progress, on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::{env, fmt};

/// Where the demo's story goes.
pub(super) struct Page {
    colour: bool,
    terminal: bool,
    /// Whether a progress line stands at the cursor.
    dirty: bool,
}

impl Page {
    pub(super) fn new() -> Self {
        let colour = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { colour, terminal: io::stderr().is_terminal(), dirty: false }
    }

    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.blank()?;
        self.styled("1", format_args!("{text}"))
    }

    /// A command that a user would type.
    pub(super) fn command(&mut self, text: &str) -> io::Result<()> {
        self.styled("36", format_args!("$ {text}"))
    }

    /// A line of the gateway's own.
    pub(super) fn echo(&mut self, text: &str) -> io::Result<()> {
        self.styled("2", format_args!("| {text}"))
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.clear_progress();
        writeln!(io::stdout(), "{text}")
    }

    pub(super) fn blank(&mut self) -> io::Result<()> {
        self.line("")
    }

    pub(super) fn progress(&mut self, done: u64, of: u64) {
        if self.terminal {
            // Progress that can't be shown is none.
            let _ = write!(io::stderr(), "\r\x1b[K{done} of {of}");
            self.dirty = true;
        }
    }

    pub(super) fn clear_progress(&mut self) {
        if std::mem::take(&mut self.dirty) {
            // As above.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn styled(&mut self, style: &str, text: fmt::Arguments<'_>) -> io::Result<()> {
        match self.colour {
            true => self.line(&format!("\x1b[{style}m{text}\x1b[0m")),
            false => self.line(&text.to_string()),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.clear_progress();
    }
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// How to call this binary from where the user is.
pub(super) fn me() -> String {
    let here = env::current_dir().unwrap_or_default();
    match env::current_exe() {
        Ok(me) => match me.strip_prefix(&here) {
            Ok(relative) => quoted(&Path::new(".").join(relative)),
            Err(_) => quoted(&me),
        },
        Err(_) => "kt".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_in_a_shell() {
        let cases = [
            ("/tmp/kt-demo-7/state", "/tmp/kt-demo-7/state"),
            ("/tmp/a b", "'/tmp/a b'"),
            ("/tmp/it's", r"'/tmp/it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ];
        for (path, word) in cases {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}

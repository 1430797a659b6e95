//! The demo's directory: keys, config, state. Private, and gone when the demo ends.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::Context;

/// Ids of the two targets.
pub(super) const TARGETS: [&str; 2] = ["openai", "anthropic"];
const MODELS: [&str; 2] = ["gpt-4o", "claude-sonnet-4-20250514"];
const FIRST_LINE_OF_GROUPS: &str = "model_groups:";

/// The directory; removed with all that is in it when this is dropped.
pub(super) struct Place {
    path: PathBuf,
    keep: bool,
}

impl Place {
    pub(super) fn make() -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("kt-demo-{}", process::id()));
        let made = std::path::absolute(&path).and_then(|path| {
            DirBuilder::new().mode(0o700).create(&path)?;
            Ok(path)
        });
        let path = made.with_context(|| format!("cannot make the demo's directory {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("policy-config.yaml")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// From now on nothing is removed.
    pub(super) fn keep(&mut self) -> &Path {
        self.keep = true;
        &self.path
    }

    pub(super) fn write_keys(&self, keys: &[&str; 2]) -> anyhow::Result<()> {
        for (target, key) in TARGETS.iter().zip(keys) {
            let path = self.key(target);
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            opened
                .and_then(|mut file| writeln!(file, "{key}"))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    pub(super) fn write_config(&self, vendors: &[SocketAddr; 2], weights: [u32; 2]) -> anyhow::Result<()> {
        let keys = TARGETS.map(|target| self.key(target));
        self.replace_config(&[head_of_config(vendors, &keys), groups_and_policies(weights)].concat())
    }

    /// Rewrites all behind the providers, as an operator would in an editor.
    pub(super) fn change_weights(&self, weights: [u32; 2]) -> anyhow::Result<()> {
        let config = self.config();
        let text = fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
        let (head, _) = text.split_once(FIRST_LINE_OF_GROUPS).context("the demo's config has no model groups")?;
        self.replace_config(&[head, &groups_and_policies(weights)].concat())
    }

    fn replace_config(&self, text: &str) -> anyhow::Result<()> {
        let config = self.config();
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))
    }

    fn key(&self, target: &str) -> PathBuf {
        self.path.join(format!("{target}.key"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            // With stderr gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "cannot remove {}: {error}", self.path.display());
        }
    }
}

fn head_of_config(vendors: &[SocketAddr; 2], keys: &[PathBuf; 2]) -> String {
    let mut text = "version: '1'\nproviders:\n  targets:\n".to_owned();
    for ((target, vendor), key) in TARGETS.iter().zip(vendors).zip(keys) {
        let key = key.display().to_string().replace('\'', "''");
        text.push_str(&format!(
            "    - id: {target}\n      provider: {target}\n      base_url: http://{vendor}\n      \
             secret_key_ref:\n        file: '{key}'\n"
        ));
    }
    text
}

fn groups_and_policies(weights: [u32; 2]) -> String {
    let mut text =
        format!("{FIRST_LINE_OF_GROUPS}\n  - name: {}\n    strategy: weighted\n    targets:\n", super::GROUP);
    for ((target, model), weight) in TARGETS.iter().zip(MODELS).zip(weights) {
        text.push_str(&format!("      - provider: {target}\n        model: {model}\n        weight: {weight}\n"));
    }
    text.push_str(
        "policies:\n  - name: basic-filter\n    type: content_filter\n    action: flag\n    config:\n      \
         categories:\n        - hate\n      threshold: medium\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use kt_core::config::{Source, check};

    use super::*;

    #[test]
    fn the_demos_config_is_valid_and_names_what_the_tutorial_names() {
        let vendors = ["127.0.0.1:4001".parse().unwrap(), "127.0.0.1:4002".parse().unwrap()];
        let keys = ["/tmp/it's/a.key".into(), "/tmp/# b/b.key".into()];
        for weights in super::super::WEIGHTS {
            let text = [head_of_config(&vendors, &keys), groups_and_policies(weights)].concat();
            let checked = check(&[Source { name: "demo".to_owned(), bytes: text.into_bytes() }]);
            assert_eq!([checked.error_report(), checked.warning_report()].concat(), "");
            assert_eq!(
                checked.summary(),
                "✓ Configuration is valid\nProviders: 2 (openai, anthropic)\nModel groups: 1 (quality-ab-test)\n\
                 Policies: 1 (basic-filter)\n"
            );
        }
    }
}

//! `gateway`: where it listens, whom it lets in, and its bounds.

use std::collections::HashMap;

use super::File;
use super::walk::{At, Shape, Walk};
use crate::config::complaint::{Code, Place, Shown, quote};
use crate::config::plan::{Driver, LogFormat, LogLevel, LogSettings, SecretRef};
use crate::config::tree::Value;
use crate::config::url::{is_listen_address, is_socket_path};
use crate::limits::Limits;

/// One `gateway.clients[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// `name`.
    pub name: Box<str>,
    /// `key_ref`.
    pub key: SecretRef,
}

/// `gateway.tls`: PEM files; a relative path is one from the directory of the file that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to a root.
    pub cert: Box<str>,
    /// Its private key, not encrypted.
    pub key: Box<str>,
}

const GATEWAY: Shape<'_> =
    Shape { keys: &["listen", "cores", "driver", "tls", "clients", "admin", "limits", "log"], later: &[] };
const TLS: Shape<'_> = Shape { keys: &["cert", "key"], later: &[] };
const CLIENT: Shape<'_> = Shape { keys: &["name", "key_ref"], later: &[] };
const ADMIN: Shape<'_> = Shape { keys: &["listen"], later: &[] };
const LOG: Shape<'_> = Shape { keys: &["level", "format"], later: &[] };

/// Linux itself stops at 8,192 processors.
const CORES_MAX: u64 = 8_192;

const DRIVER_WORDS: &[(&str, Driver)] =
    &[("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)];
const LEVEL_WORDS: &[(&str, LogLevel)] =
    &[("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
const FORMAT_WORDS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

impl Walk<'_> {
    pub(super) fn gateway(&mut self, at: &At<'_, '_>, file: &mut File) {
        if !self.is_map(at, &GATEWAY) {
            return;
        }
        file.fixed.listen = at.get("listen").and_then(|at| self.address_or_socket(&at));
        file.fixed.cores = at.get("cores").and_then(|at| self.number(&at, 1..=CORES_MAX)).map(|cores| cores as usize);
        file.fixed.driver = at.get("driver").and_then(|at| self.word(&at, "driver", DRIVER_WORDS, &[]));
        if let Some(tls) = at.get("tls") {
            file.tls = self.tls(&tls);
            file.fixed.tls = true;
        }
        file.clients = at.get("clients").and_then(|at| self.clients(&at));
        if let Some(admin) = at.get("admin")
            && self.is_map(&admin, &ADMIN)
        {
            file.fixed.admin_listen = admin.get("listen").and_then(|at| self.address(&at));
        }
        if let Some(limits) = at.get("limits") {
            self.limits(&limits, &mut file.limits);
        }
        if let Some(log) = at.get("log")
            && self.is_map(&log, &LOG)
        {
            let level = log.get("level").and_then(|at| self.word(&at, "log level", LEVEL_WORDS, &[]));
            let format = log.get("format").and_then(|at| self.word(&at, "log format", FORMAT_WORDS, &[]));
            file.log = LogSettings { level: level.unwrap_or_default(), format: format.unwrap_or_default() };
        }
    }

    fn tls(&mut self, at: &At<'_, '_>) -> Option<TlsFiles> {
        if !self.is_map(at, &TLS) {
            return None;
        }
        let cert = self.need(at, "cert", "name the PEM file with the certificate").and_then(|at| self.path(&at));
        let key = self
            .need(at, "key", "name the PEM file with the certificate's key")
            .and_then(|at| self.unseen(|walk| walk.path(&at)));
        Some(TlsFiles { cert: cert?, key: key? })
    }

    fn clients(&mut self, at: &At<'_, '_>) -> Option<Box<[ClientSettings]>> {
        let items = self.list(at)?;
        if items.is_empty() {
            self.say(Code::EmptyList, at, "without a client, nobody could come in").suggestion =
                Some("leave it out, and whoever reaches the port may ask".to_owned());
        }
        let (mut names, mut keys) = (HashMap::new(), HashMap::new());
        let mut clients = Vec::with_capacity(items.len());
        for item in items {
            clients.extend(self.client(&at.item(item), &mut names, &mut keys));
        }
        Some(clients.into())
    }

    fn client<'t>(
        &mut self,
        at: &At<'_, 't>,
        names: &mut HashMap<&'t str, Place>,
        keys: &mut HashMap<SecretRef, Place>,
    ) -> Option<ClientSettings> {
        if !matches!(at.node.value, Value::Map(_)) {
            // It may be the key itself.
            self.unseen(|walk| walk.wrong_type(at, "a map of keys").code);
            return None;
        }
        self.is_map(at, &CLIENT);
        let name = self.need(at, "name", "name the client; its events say it").and_then(|at| {
            let name = self.free_name(&at)?;
            self.unique(&at, "client", name, names);
            Some(name)
        });
        let key_ref = self.need(at, "key_ref", "say where the client's key is: key_ref: {env: NAME}")?;
        let key = self.key_ref(&key_ref)?;
        let place = key_ref.head();
        if let Some(&first) = keys.get(&key) {
            let message = format!("the same key as at {}; these clients can't be told apart", self.seen(first, place));
            let complaint = self.push(Code::Duplicate, place, key_ref.path(), message);
            complaint.suggestion = Some("give each client its own".to_owned());
            complaint.shown = Shown::UpToEnd;
        }
        keys.entry(key.clone()).or_insert(place);
        Some(ClientSettings { name: name?.into(), key })
    }

    fn address_or_socket(&mut self, at: &At<'_, '_>) -> Option<Box<str>> {
        match self.text(at)? {
            text if is_socket_path(text) => Some(text.into()),
            text if text.starts_with("unix:") => {
                let message = format!("{} is not unix: and a path from the root on, of at most 107 bytes", quote(text));
                self.say(Code::BadAddress, at, message).suggestion =
                    Some("write e.g. 'unix:/run/kt/kt.sock'".to_owned());
                None
            }
            _ => self.address(at),
        }
    }

    fn address(&mut self, at: &At<'_, '_>) -> Option<Box<str>> {
        let text = self.text(at)?;
        if is_listen_address(text) {
            return Some(text.into());
        }
        self.say(Code::BadAddress, at, format!("{} is not HOST:PORT", quote(text))).suggestion =
            Some("write e.g. '0.0.0.0:41002' or '[::1]:41002'".to_owned());
        None
    }

    fn limits(&mut self, at: &At<'_, '_>, limits: &mut Limits) {
        let keys: Vec<&str> = Limits::ALL.iter().map(|limit| limit.name).collect();
        if !self.is_map(at, &Shape { keys: &keys, later: &[] }) {
            return;
        }
        for limit in Limits::ALL {
            if let Some(value) = at.get(limit.name).and_then(|at| self.number(&at, limit.min..=limit.max)) {
                (limit.write)(limits, value);
            }
        }
    }
}

//! What each path is, and the answers that the gateway gives of itself.

use http::Method;
use kt_core::config::plan::Plan;
use kt_core::dialect::{self, Dialect};
use kt_core::endpoint::Endpoint;
use kt_core::fault::Fault;
use kt_core::http1::write;
use kt_core::json::escape_into;

use crate::client::Request;
use crate::worker::Worker;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A model; admitted and logged.
    Model(Endpoint),
    /// The gateway itself; counted, not logged.
    Local(Local),
}

/// What the gateway can say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// `GET /v1/models`.
    Models,
    /// `GET /healthz`: the process lives.
    Alive,
    /// `GET /readyz`: it wants requests.
    Ready,
    /// `GET /health`: both, with some words.
    Health,
    /// A known path, another method; these are allowed.
    WrongMethod(&'static str),
    /// Nothing is there.
    Unknown,
}

/// Finds what a request is for.
pub fn of(method: &Method, path: &[u8]) -> Purpose {
    let local = match (path, Endpoint::at(path)) {
        (_, Some(endpoint)) if *method == Method::POST => return Purpose::Model(endpoint),
        (_, Some(_)) => Local::WrongMethod("POST"),
        (b"/v1/models", None) => Local::Models,
        (b"/healthz", None) => Local::Alive,
        (b"/readyz", None) => Local::Ready,
        (b"/health", None) => Local::Health,
        // It would say the request back, keys and all (RFC 9110 section 9.3.8).
        (_, None) if *method == Method::TRACE => Local::WrongMethod("GET, HEAD, POST"),
        (_, None) => Local::Unknown,
    };
    match local {
        Local::WrongMethod(_) | Local::Unknown => Purpose::Local(local),
        Local::Models | Local::Alive | Local::Ready | Local::Health => {
            let reads = *method == Method::GET || *method == Method::HEAD;
            Purpose::Local(if reads { local } else { Local::WrongMethod("GET, HEAD") })
        }
    }
}

/// The language of who asks for something that the gateway says itself: that of the path, or of a client that shows it.
pub fn dialect_of(request: &Request) -> Dialect {
    let shown = request.end_to_end().find_map(|(name, _)| dialect::shown_by(name));
    Endpoint::at(request.path()).map(Endpoint::dialect).or(shown).unwrap_or(Dialect::OpenAi)
}

/// A small answer.
pub struct Reply {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    /// Further fields.
    fields: Vec<(&'static str, &'static str)>,
}

impl Reply {
    fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json", body, fields: Vec::new() }
    }

    fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.as_bytes().to_vec(), fields: Vec::new() }
    }

    /// The whole message as it goes out.
    pub fn write(&self, method: &Method, keep_alive: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 160);
        write::status_line(&mut out, self.status);
        write::field(&mut out, "content-type", self.content_type);
        write::number_field(&mut out, "content-length", self.body.len() as u64);
        for (name, value) in &self.fields {
            write::field(&mut out, name, value);
        }
        if !keep_alive {
            write::field(&mut out, "connection", "close");
        }
        write::end(&mut out);
        if *method != Method::HEAD {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// Says it.
pub fn reply(local: Local, dialect: Dialect, worker: &Worker, plan: &Plan) -> Reply {
    match local {
        Local::Models => {
            let mut body = Vec::new();
            dialect::models_body(dialect, plan.groups.iter().map(|group| &*group.name), &mut body);
            Reply::json(200, body)
        }
        Local::Alive => Reply::text(200, "ok\n"),
        Local::Ready if worker.is_draining() => Reply::text(503, "draining\n"),
        Local::Ready => Reply::text(200, "ready\n"),
        Local::Health => Reply::json(200, health(worker, plan)),
        Local::WrongMethod(allow) => {
            let message = format!("The method is not allowed here; use {allow}.");
            Reply { fields: vec![("allow", allow)], ..refused(405, dialect, &message) }
        }
        Local::Unknown => {
            let message =
                "There is nothing at this path. Models are asked at POST /v1/chat/completions or /v1/messages.";
            refused(404, dialect, message)
        }
    }
}

/// Says why not.
pub fn refusal(fault: &Fault, dialect: Dialect) -> Reply {
    let mut body = Vec::new();
    dialect::error_body(dialect, fault, &mut body);
    let mut reply = Reply::json(fault.kind.status(), body);
    reply.fields.extend(fault.kind.challenge().map(|challenge| ("www-authenticate", challenge)));
    if !fault.kind.may_be_cured_by_a_retry() {
        reply.fields.push(("x-should-retry", "false"));
    }
    reply
}

fn health(worker: &Worker, plan: &Plan) -> Vec<u8> {
    let status = if worker.is_draining() { "draining" } else { "healthy" };
    let mut body = Vec::new();
    body.extend_from_slice(b"{\"status\":");
    escape_into(&mut body, status);
    body.extend_from_slice(b",\"version\":");
    escape_into(&mut body, env!("CARGO_PKG_VERSION"));
    body.extend_from_slice(b",\"config_version\":");
    escape_into(&mut body, &plan.version.to_string());
    let uptime = worker.now_ns() / 1_000_000_000;
    body.extend_from_slice(format!(",\"uptime_seconds\":{uptime}}}\n").as_bytes());
    body
}

fn refused(status: u16, dialect: Dialect, message: &str) -> Reply {
    let mut body = Vec::new();
    dialect::refusal_body(dialect, status, message, &mut body);
    Reply::json(status, body)
}

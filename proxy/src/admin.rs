//! The gateway's private door: reload, statistics, health and the running config, over HTTP/1.1.
//!
//! It is a socket of its own in the state directory, mode 0600: whoever may open it may operate the gateway. On request
//! (`gateway.admin.listen`) the same, without anything that changes something, is served on a TCP address. It has
//! blocking threads of its own and never touches a core but by mail. No answer holds a credential.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel::bounded;
use kt_core::http1::head::{Fields, RequestHead, Search};
use kt_core::http1::write;
use kt_core::json::escape_into;
use kt_core::limits::{KIB, Limits};
use tracing::warn;

use crate::clock::Clock;
use crate::ledger::Gauges;
use crate::listen::Address;
use crate::mail::{Letter, Mailbox};
use crate::meters::{ArmKey, ArmMeters, Counts, Distribution, Ended, Measure, Reading, Sum};
use crate::metrics::{self, Surroundings};
use crate::minutes::{MINUTES, MinuteArm, Minutes, Sparse};
use crate::reload::{LOG, Reloader};
use crate::rt::Engine;
use crate::state::StateDir;

/// Admin requests served at once; more are turned away.
const VISITORS_MAX: usize = 16;
/// Longest head of an admin request; its body is not read.
const HEAD_BYTES_MAX: usize = 8 * KIB;
/// How long a visitor may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the cores may take to say their numbers.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// A listening admin socket.
pub enum Door {
    /// In the state directory; everything is allowed.
    Unix(UnixListener),
    /// On the network; GET only.
    Tcp(TcpListener),
}

impl Door {
    /// Binds the socket of `state`, whose lock is held: what lies there is left over.
    ///
    /// # Errors
    ///
    /// For people.
    pub fn unix(state: &StateDir) -> Result<Self, String> {
        let path = state.admin_socket();
        let say = |error: io::Error| format!("cannot listen on {}: {error}", path.display());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(say(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(say)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(say)?;
        Ok(Self::Unix(listener))
    }

    /// Binds `gateway.admin.listen`.
    ///
    /// # Errors
    ///
    /// For people.
    pub fn tcp(listen: &str) -> Result<Self, String> {
        let listener = TcpListener::bind(listen);
        listener.map(Self::Tcp).map_err(|error| format!("cannot listen on gateway.admin.listen {listen}: {error}"))
    }
}

/// Where everything that is counted is found.
pub struct Counted {
    /// The cores, which say their numbers when asked.
    pub cores: Box<[Mailbox]>,
    /// The last hour.
    pub minutes: Arc<Minutes>,
    /// How the log does.
    pub log: Box<dyn Fn() -> Gauges + Send + Sync>,
}

/// What the door knows.
pub struct Admin {
    reloader: Arc<Reloader>,
    counted: Counted,
    clock: Clock,
    engine: Engine,
    address: Address,
    visitors: AtomicUsize,
}

struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json", body }
    }

    fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.as_bytes().to_vec() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Change,
    Look,
}

/// Opens the doors, each with a thread of its own.
///
/// # Errors
///
/// For people, when a thread can't be started.
pub fn serve(doors: Vec<Door>, admin: Admin) -> Result<(), String> {
    let admin = Arc::new(admin);
    for door in doors {
        let admin = Arc::clone(&admin);
        let body = move || match door {
            Door::Unix(listener) => {
                let timed = listener.incoming().map(|visitor| {
                    let visitor = visitor?;
                    visitor.set_read_timeout(Some(PATIENCE))?;
                    visitor.set_write_timeout(Some(PATIENCE))?;
                    Ok(visitor)
                });
                admin.receive(timed, May::Change);
            }
            Door::Tcp(listener) => {
                let timed = listener.incoming().map(|visitor| {
                    let visitor = visitor?;
                    visitor.set_read_timeout(Some(PATIENCE))?;
                    visitor.set_write_timeout(Some(PATIENCE))?;
                    Ok(visitor)
                });
                admin.receive(timed, May::Look);
            }
        };
        let spawned = thread::Builder::new().name("kt-admin".to_owned()).spawn(body);
        spawned.map_err(|error| format!("cannot start the admin thread: {error}"))?;
    }
    Ok(())
}

impl Admin {
    /// Knows how to reload, whom to ask, and what to say of itself.
    pub fn new(reloader: Arc<Reloader>, counted: Counted, clock: Clock, engine: Engine, address: Address) -> Self {
        Self { reloader, counted, clock, engine, address, visitors: AtomicUsize::new(0) }
    }

    fn receive<V: Read + Write + Send + 'static>(
        self: &Arc<Self>,
        visitors: impl Iterator<Item = io::Result<V>>,
        may: May,
    ) {
        for visitor in visitors {
            let Ok(mut visitor) = visitor else {
                // Out of descriptors, most likely. The visitor sees its connection closed.
                thread::park_timeout(Duration::from_millis(50));
                continue;
            };
            if self.visitors.fetch_add(1, Ordering::Relaxed) >= VISITORS_MAX {
                self.visitors.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let admin = Arc::clone(self);
            let spawned = thread::Builder::new().name("kt-admin-visit".to_owned()).spawn(move || {
                if let Err(error) = admin.attend(&mut visitor, may) {
                    tracing::debug!(target: LOG, "an admin request failed: {error}");
                }
                admin.visitors.fetch_sub(1, Ordering::Relaxed);
            });
            if let Err(error) = spawned {
                self.visitors.fetch_sub(1, Ordering::Relaxed);
                warn!(target: LOG, "An admin request is turned away: {error}");
            }
        }
    }

    fn attend(&self, visitor: &mut (impl Read + Write), may: May) -> io::Result<()> {
        let answer = match read_head(visitor)? {
            Some(Visit { method, path, query }) => self.answer(&method, &path, &query, may),
            None => Answer::text(400, "not an HTTP/1.1 request\n"),
        };
        let mut out = Vec::with_capacity(answer.body.len() + 160);
        write::status_line(&mut out, answer.status);
        write::field(&mut out, "content-type", answer.content_type);
        write::number_field(&mut out, "content-length", answer.body.len() as u64);
        write::field(&mut out, "connection", "close");
        write::end(&mut out);
        out.extend_from_slice(&answer.body);
        visitor.write_all(&out)
    }

    fn answer(&self, method: &str, path: &str, query: &str, may: May) -> Answer {
        match (method, path) {
            ("GET", "/health") => Answer::json(200, self.health()),
            ("GET", "/stats") if query.is_empty() => Answer::json(200, self.stats()),
            ("GET", "/stats") => match query.strip_prefix("minutes=").and_then(|minutes| minutes.parse().ok()) {
                Some(minutes @ 1..=MINUTES) => Answer::json(200, self.last_minutes(minutes)),
                Some(_) | None => Answer::text(400, "GET /stats, or GET /stats?minutes=1 to 60\n"),
            },
            ("GET", "/histograms") => Answer::json(200, self.histograms()),
            ("GET", "/metrics") => self.metrics(),
            ("GET", "/config") => {
                let mut body = self.reloader.current().plan.to_json().into_bytes();
                body.push(b'\n');
                Answer::json(200, body)
            }
            ("POST", "/reload") if may == May::Change => self.reload(),
            (_, "/reload") if may == May::Look => {
                Answer::text(403, "a reload is asked for through the state directory's socket: kt config reload\n")
            }
            (_, "/health" | "/stats" | "/histograms" | "/metrics" | "/config" | "/reload") => {
                Answer::text(405, "wrong method\n")
            }
            _ => {
                Answer::text(404, "GET /health, GET /stats, GET /histograms, GET /metrics, GET /config, POST /reload\n")
            }
        }
    }

    fn reload(&self) -> Answer {
        let mut body = Vec::new();
        match self.reloader.reload() {
            Ok(applied) => {
                body.extend_from_slice(b"{\"ok\":true,\"version\":");
                escape_into(&mut body, &applied.deployment.plan.version.to_string());
                body.extend_from_slice(b",\"groups\":[");
                for (n, group) in applied.deployment.plan.groups.iter().enumerate() {
                    body.extend_from_slice(if n == 0 { b"{\"name\":" } else { b",{\"name\":" });
                    escape_into(&mut body, &group.name);
                    body.extend_from_slice(b",\"split\":");
                    escape_into(&mut body, &group.split());
                    body.push(b'}');
                }
                body.extend_from_slice(b"],\"report\":");
                escape_into(&mut body, &applied.warnings);
                body.extend_from_slice(b"}\n");
                Answer::json(200, body)
            }
            Err(rejected) => {
                body.extend_from_slice(b"{\"ok\":false,\"report\":");
                escape_into(&mut body, &rejected.report);
                body.extend_from_slice(b"}\n");
                Answer::json(422, body)
            }
        }
    }

    fn health(&self) -> Vec<u8> {
        let deployment = self.reloader.current();
        let mut body = Vec::new();
        body.extend_from_slice(b"{\"status\":\"healthy\",\"version\":");
        escape_into(&mut body, env!("CARGO_PKG_VERSION"));
        body.extend_from_slice(b",\"config_version\":");
        escape_into(&mut body, &deployment.plan.version.to_string());
        body.extend_from_slice(b",\"listen\":");
        escape_into(&mut body, &self.address.to_string());
        body.extend_from_slice(b",\"driver\":");
        escape_into(&mut body, self.engine.as_str());
        let rest = format!(",\"cores\":{},\"uptime_seconds\":{}}}\n", self.counted.cores.len(), self.uptime_seconds());
        body.extend_from_slice(rest.as_bytes());
        body
    }

    fn uptime_seconds(&self) -> u64 {
        self.clock.now_ns() / 1_000_000_000
    }

    fn stats(&self) -> Vec<u8> {
        let Sum { arms, unassigned, unmeasured, minutes: _, counts } = self.read_cores();
        let mut body = Vec::new();
        body.extend_from_slice(b"{\"uptime_seconds\":");
        body.extend_from_slice(self.uptime_seconds().to_string().as_bytes());
        let Counts {
            connections,
            in_flight,
            idle_upstreams,
            busy_upstreams,
            turned_away,
            failed_handshakes,
            admitted,
            refused_heads,
            others,
            shed,
            panics,
        } = counts;
        for (name, value) in [
            ("connections", connections),
            ("in_flight", in_flight),
            ("idle_upstreams", idle_upstreams),
            ("busy_upstreams", busy_upstreams),
            ("turned_away", turned_away),
            ("failed_handshakes", failed_handshakes),
            ("admitted", admitted),
            ("refused_heads", refused_heads),
            ("others", others),
            ("shed", shed),
            ("panics", panics),
            ("unassigned", unassigned.values().sum()),
            ("unmeasured", unmeasured),
        ] {
            body.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
        }
        body.extend_from_slice(b",\"arms\":[");
        for (n, (key, meters)) in arms.iter().enumerate() {
            write_arm(&mut body, n, key, meters);
        }
        body.extend_from_slice(b"]}\n");
        body
    }

    /// What the last minutes brought, in the form of [`Self::stats`], to 1 %.
    fn last_minutes(&self, minutes: u64) -> Vec<u8> {
        let sum = self.read_cores();
        let arms = self.counted.minutes.last(minutes, self.clock.now_ns(), &sum.minutes);
        let mut body = format!("{{\"minutes\":{minutes},\"arms\":[").into_bytes();
        for (n, (key, arm)) in arms.iter().enumerate() {
            let MinuteArm { successes, failures, tokens_out, latency, ttft } = arm;
            write_key(&mut body, n, key);
            let counts = format!(",\"count\":{successes},\"errors\":{failures},\"tokens_out\":{tokens_out}");
            body.extend_from_slice(counts.as_bytes());
            for (measure, values) in [(Measure::Latency, latency), (Measure::Ttft, ttft)] {
                let at = |share| Sparse::quantile(values, share);
                write_quantiles(&mut body, measure.as_str(), values.count(), &at);
            }
            body.push(b'}');
        }
        body.extend_from_slice(b"]}\n");
        body
    }

    /// Every histogram, cell by cell: what is needed to make it again.
    fn histograms(&self) -> Vec<u8> {
        let sum = self.read_cores();
        let (now, start) = (self.clock.now_ns(), self.clock.start_unix_ns());
        let mut body = format!("{{\"uptime_ns\":{now},\"start_unix_ns\":{start},\"histograms\":[").into_bytes();
        let mut n = 0;
        for (key, arm) in &sum.arms {
            for (outcome, ended) in [("success", &arm.successes), ("failure", &arm.failures)] {
                for measure in Measure::ALL {
                    let Some(histogram) = ended.of(measure).histogram() else { continue };
                    write_key(&mut body, n, key);
                    n += 1;
                    let name = measure.as_str();
                    let opening = format!(",\"outcome\":\"{outcome}\",\"measure\":\"{name}\",\"cells\":[");
                    body.extend_from_slice(opening.as_bytes());
                    for (at, cell) in histogram.iter_recorded().enumerate() {
                        let comma = if at == 0 { "" } else { "," };
                        let (value, count) = (cell.value_iterated_to(), cell.count_since_last_iteration());
                        body.extend_from_slice(format!("{comma}[{value},{count}]").as_bytes());
                    }
                    body.extend_from_slice(b"]}");
                }
            }
        }
        body.extend_from_slice(b"]}\n");
        body
    }

    fn metrics(&self) -> Answer {
        let sum = self.read_cores();
        let around = Surroundings {
            driver: self.engine.as_str(),
            cores: self.counted.cores.len(),
            uptime_seconds: self.uptime_seconds(),
            log: (self.counted.log)(),
        };
        let body = metrics::write(&sum, &around).into_bytes();
        Answer { status: 200, content_type: "text/plain; version=0.0.4; charset=utf-8", body }
    }

    /// All cores' numbers. A core that doesn't answer in time is left out and said to be.
    fn read_cores(&self) -> Sum {
        let (to, came) = bounded::<Reading>(self.counted.cores.len());
        for core in &self.counted.cores {
            core.post(Letter::Read { to: to.clone() });
        }
        let mut readings = Vec::with_capacity(self.counted.cores.len());
        while readings.len() < self.counted.cores.len() {
            match came.recv_timeout(READ_WITHIN) {
                Ok(reading) => readings.push(reading),
                Err(_) => {
                    warn!(target: LOG, "Only {} of {} cores said their numbers", readings.len(), self.counted.cores.len());
                    break;
                }
            }
        }
        Sum::of(readings)
    }
}

/// Opens the `n`-th object of a list with the names of an arm.
fn write_key(body: &mut Vec<u8>, n: usize, key: &ArmKey) {
    let ArmKey { group, arm, provider, model } = key;
    body.extend_from_slice(if n == 0 { b"{\"group\":" } else { b",{\"group\":" });
    escape_into(body, group);
    body.extend_from_slice(b",\"arm\":");
    escape_into(body, arm);
    body.extend_from_slice(b",\"provider\":");
    escape_into(body, provider);
    body.extend_from_slice(b",\"model\":");
    escape_into(body, model);
}

fn write_arm(body: &mut Vec<u8>, n: usize, key: &ArmKey, meters: &ArmMeters) {
    let ArmMeters {
        successes,
        failures,
        statuses,
        tokens_in,
        tokens_out,
        cost_picousd,
        estimated_picousd,
        cost_unknown,
    } = meters;
    write_key(body, n, key);
    body.extend_from_slice(format!(",\"count\":{},\"errors\":{}", successes.count, failures.count).as_bytes());
    body.extend_from_slice(b",\"statuses\":{");
    for (at, (status, count)) in statuses.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        body.extend_from_slice(format!("{comma}\"{status}\":{count}").as_bytes());
    }
    let amounts = format!(
        "}},\"tokens_in\":{tokens_in},\"tokens_out\":{tokens_out},\"cost_picousd\":{cost_picousd},\
         \"estimated_picousd\":{estimated_picousd},\"cost_unknown\":{cost_unknown}"
    );
    body.extend_from_slice(amounts.as_bytes());
    write_ended(body, successes);
    body.extend_from_slice(b",\"failures\":{\"count\":");
    body.extend_from_slice(failures.count.to_string().as_bytes());
    write_ended(body, failures);
    body.extend_from_slice(b"}}");
}

fn write_ended(body: &mut Vec<u8>, ended: &Ended) {
    for measure in Measure::ALL {
        let values: &Distribution = ended.of(measure);
        let at = |share| values.histogram().map_or(0, |histogram| histogram.value_at_quantile(share));
        write_quantiles(body, measure.as_str(), values.count(), &at);
    }
}

/// `at` of 1 is the largest.
fn write_quantiles(body: &mut Vec<u8>, name: &str, count: u64, at: &dyn Fn(f64) -> u64) {
    let text = format!(
        ",\"{name}\":{{\"count\":{count},\"p50\":{},\"p90\":{},\"p99\":{},\"p999\":{},\"max\":{}}}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    body.extend_from_slice(text.as_bytes());
}

/// What a visitor asks for.
struct Visit {
    method: String,
    path: String,
    query: String,
}

/// Reads one request's head; `None` when it isn't one. What follows the head is not read.
fn read_head(visitor: &mut impl Read) -> io::Result<Option<Visit>> {
    let limits = Limits { head_bytes_max: HEAD_BYTES_MAX, ..Limits::default() };
    let (mut search, mut fields) = (Search::default(), Fields::default());
    let mut head = Vec::with_capacity(1_024);
    let mut piece = [0; 1_024];
    loop {
        let came = visitor.read(&mut piece)?;
        if came == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&piece[..came]);
        match RequestHead::parse(&head, &mut search, &mut fields, &limits) {
            Ok(None) => {}
            Ok(Some(parsed)) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (path, query) = (text(parsed.path(&head)), text(parsed.query(&head).unwrap_or_default()));
                return Ok(Some(Visit { method: parsed.method.to_string(), path, query }));
            }
            Err(_) => return Ok(None),
        }
    }
}

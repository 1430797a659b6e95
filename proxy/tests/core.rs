//! One core, in this process: for what no bytes from outside bring about.
//!
//! A panic is our own broken promise, and none is known. So the core is given a deployment that no config leads to: one that
//! has been tampered with behind the back of whoever checks it. And a log without room takes a disk that has refused for
//! long; here somebody holds all of it.

#![allow(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::bounded;
use kt_core::config::plan::Driver;
use kt_core::policy::FailMode;
use kt_proxy::clock::Clock;
use kt_proxy::crowd::Crowd;
use kt_proxy::ledger::{Ledger, Quill};
use kt_proxy::listen::Listening;
use kt_proxy::mail::{Letter, Mailbox};
use kt_proxy::meters::Counts;
use kt_proxy::minutes::Minutes;
use kt_proxy::reload::{self, Deployment};
use kt_proxy::resolve::{Asker, Names};
use kt_proxy::rt::{self, Bell, Engine, Listener};
use kt_proxy::server;
use kt_proxy::state::StateDir;
use kt_proxy::worker::{self, Descriptors, Outfit, Worker};

const PATIENCE: Duration = Duration::from_secs(20);
const BODY: &str = r#"{"model":"chat","messages":[{"role":"user","content":"Hello"}]}"#;

/// A vendor who answers each request, one a connection, and is never missed.
fn vendor() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"]}") {
                let mut room = [0; 4096];
                let came = stream.read(&mut room).unwrap();
                asked.extend_from_slice(&room[..came]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").unwrap();
        }
    });
    address
}

/// What a config for this vendor is deployed as.
fn deployment(dir: &Path, vendor: SocketAddr) -> Deployment {
    fs::write(dir.join("key"), "sk-test").unwrap();
    let config = format!(
        "version: '1'
providers:
  targets:
    - {{id: v, provider: openai, base_url: 'http://{vendor}', secret_key_ref: {{file: key}}}}
model_groups:
  - name: chat
    strategy: weighted
    targets: [{{provider: v, model: m, weight: 100}}]
"
    );
    fs::write(dir.join("config.yaml"), config).unwrap();
    reload::load(&[dir.join("config.yaml")], 1, None).map_err(|rejected| rejected.report).unwrap().0
}

/// One core and its log, in this process.
struct Core {
    address: SocketAddr,
    mailbox: Mailbox,
    ledger: Ledger,
    thread: JoinHandle<()>,
}

impl Core {
    fn start(engine: Engine, state: &StateDir, deployment: Deployment) -> Self {
        Self::start_with(engine, state, deployment, |_| ())
    }

    /// As [`Self::start`]; `prepare` has the worker before anybody asks.
    fn start_with<T>(
        engine: Engine,
        state: &StateDir,
        deployment: Deployment,
        prepare: impl FnOnce(&Rc<Worker>) -> T + Send + 'static,
    ) -> Self {
        let clock = Clock::start();
        let (ledger, mut quills) = Ledger::start(state, 1, &deployment.plan, clock).unwrap();
        let quill = quills.remove(0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (pull, bell) = rt::bell().unwrap();
        let (mailbox, letters) = Mailbox::new(pull);
        let own = mailbox.clone();
        let serve = move || {
            let main = || async move {
                let outfit = outfit(clock, deployment, own, quill);
                let listener = Rc::new(Listener::new(Listening::Tcp(listener), engine).unwrap());
                let bell = Bell::hang(bell, engine).unwrap();
                let worker = Worker::new(outfit);
                let _held = prepare(&worker);
                rt::spawn(worker::accept(Rc::clone(&worker), Rc::clone(&listener)), |_| panic!("it can't go on"));
                worker::read_mail(worker, bell, letters, listener).await;
            };
            rt::run(engine, main).unwrap();
        };
        let thread = thread::Builder::new().name("kt-core-0".to_owned()).spawn(serve).unwrap();
        Self { address, mailbox, ledger, thread }
    }

    /// Asks, and reads to the end; the answer, and whether the end was in order.
    fn ask(&self) -> (String, bool) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = BODY.len();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all([head.as_bytes(), BODY.as_bytes()].concat().as_slice()).unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let is_reset = end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        (String::from_utf8(answer).unwrap(), !is_reset)
    }

    fn adopt(&self, deployment: Deployment) {
        let (done, adopted) = bounded(1);
        self.mailbox.post(Letter::Adopt { deployment: Arc::new(deployment), done });
        adopted.recv_timeout(PATIENCE).unwrap();
    }

    fn counts(&self) -> Counts {
        let (to, read) = bounded(1);
        self.mailbox.post(Letter::Read { to });
        read.recv_timeout(PATIENCE).unwrap().counts
    }

    /// Drains it.
    fn stop(self) {
        let (done, drained) = bounded(1);
        self.mailbox.post(Letter::Drain { done });
        drained.recv_timeout(PATIENCE).unwrap();
        self.ledger.shutdown().map_err(|lost| lost.to_string()).unwrap();
        drop(self.mailbox);
        // Its own mailbox keeps the bell in reach; the thread ends with the process.
        drop(self.thread);
    }
}

fn outfit(clock: Clock, deployment: Deployment, mailbox: Mailbox, quill: Quill) -> Outfit {
    let crowd = Crowd::new([mailbox.clone()].into());
    let names = Names::new(Asker::start().unwrap(), mailbox);
    let descriptors = Descriptors { limit: 1024, cores: 1 };
    let (deployment, minutes) = (Arc::new(deployment), Minutes::new(1));
    let fail_mode = FailMode::Block;
    Outfit { core: 0, clock, deployment, names, crowd, quill, seed: 1, descriptors, minutes, fail_mode }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_costs_one_request_and_nobody_else_anything() {
    let log = Log::default();
    let lines = log.clone();
    tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || lines.clone()).init();
    server::log_panics();
    let mut engines = vec![Engine::choose(Driver::Auto).unwrap().0, Engine::Epoll];
    engines.dedup();
    for engine in engines {
        let dir = tempfile::tempdir().unwrap();
        let (state, _lock) = StateDir::open(Some(&dir.path().join("state"))).map_err(|e| e.to_string()).unwrap();
        let vendor = vendor();
        let good = || deployment(dir.path(), vendor);

        // Nothing of the answer has been sent: there is a target of which nobody knows what TLS trusts.
        let core = Core::start(engine, &state, Deployment { tls: Box::default(), ..good() });
        let (answer, in_order) = core.ask();
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains(r#""code":"internal""#), "{answer}");
        assert!(in_order, "it is told in order");

        // The answer has begun: how long its reader may take can't be worked out.
        let mut endless = good();
        Arc::get_mut(&mut endless.plan).unwrap().limits.bytes_per_second_min = 0;
        core.adopt(endless);
        let (answer, in_order) = core.ask();
        assert!(!in_order, "{answer:?} must not look whole");

        // The core goes on as if nothing had been.
        core.adopt(good());
        let (answer, in_order) = core.ask();
        assert!(answer.starts_with("HTTP/1.1 200 ") && in_order, "{answer}");
        let counts = core.counts();
        assert_eq!((counts.panics, counts.in_flight), (2, 0));
        core.stop();

        let text = log_of(&state);
        let decisions: Vec<&str> = text.lines().filter(|line| line.contains(r#""event_type":"decision""#)).collect();
        assert_eq!(decisions.len(), 3, "{text}");
        for decision in &decisions[..2] {
            let internal = r#""error":{"side":"gateway","kind":"internal","phase":"total"}"#;
            assert!(decision.contains(r#""status":500"#) && decision.contains(internal), "{decision}");
        }
        assert!(decisions[2].contains(r#""status":200"#));
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for place in ["proxy/src/worker.rs:", "proxy/src/client.rs:"] {
        assert!(log.contains(&format!("A panic at {place}")), "{log}");
    }
    assert!(log.contains(" on kt-core-0: please report it"), "{log}");
}

#[test]
fn a_request_for_whose_record_there_is_no_room_is_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _lock) = StateDir::open(Some(&dir.path().join("state"))).map_err(|e| e.to_string()).unwrap();
    // The writer gives out more as they are taken, up to one for each request that may be in flight.
    let hold_all = |worker: &Rc<Worker>| {
        let most = worker.serving().plan().limits.in_flight_max;
        let mut held = 0;
        while held < most {
            match worker.reserve() {
                Some(_slot) => held += 1,
                None => thread::yield_now(),
            }
        }
    };
    let core = Core::start_with(Engine::Epoll, &state, deployment(dir.path(), vendor()), hold_all);
    let shed_before = core.counts().shed;
    for _ in 0..3 {
        let (answer, in_order) = core.ask();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""code":"log_full""#), "{answer}");
        assert!(answer.contains("retry-after: 1\r\n") && in_order, "{answer}");
    }
    let shed = core.counts().shed;
    core.stop();
    assert_eq!(shed - shed_before, 3);
    let text = log_of(&state);
    assert_eq!(text.matches(r#""event_type":"decision""#).count(), 0, "{text}");
    assert!(text.contains(r#""event_type":"gap""#), "{text}");
}

/// All that stands in the log.
fn log_of(state: &StateDir) -> String {
    let files = fs::read_dir(state.events()).unwrap().map(|file| file.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.map(|segment| fs::read_to_string(segment).unwrap()).collect()
}

//! How the log gets through a crash: SIGKILL at any moment, and the next start.
//!
//! `KT_CRASH_ROUNDS=200` runs the long form.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Config, Driver, Gate, Gateway, Json, PATIENCE, State, Step, Vendor, chat, eventually, lines, on_each_driver,
    openai, pause, usual_driver,
};

/// All records there are, the log's own included.
pub(crate) fn all(state: &Arc<State>) -> Vec<Json> {
    let path = state.path();
    let path = path.to_str().expect("temporary paths are UTF-8");
    let output = crate::harness::kt(&["events", "tail", "--last", "10000000", "--all", "--json", "--state-dir", path]);
    assert_eq!(output.code, Some(0), "{output:?}");
    lines(&output.stdout)
}

pub(crate) fn of_type<'r>(records: &'r [Json], event_type: &str) -> Vec<&'r Json> {
    records.iter().filter(|record| record.text("event_type") == event_type).collect()
}

/// No number is missing, and none is there twice.
pub(crate) fn check_numbers(records: &[Json]) {
    let mut last = HashMap::new();
    for record in records {
        let (epoch, seq) = (record.count("log_epoch"), record.count("seq"));
        let before = last.insert(epoch, seq).unwrap_or(0);
        assert_eq!(seq, before + 1, "in epoch {epoch}");
    }
}

#[test]
fn what_is_in_flight_at_a_crash_is_counted_once() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let vendor =
            Vendor::start(
                move |asked| {
                    if asked.body().contains("hold") { vec![Step::Wait(held.clone())] } else { openai(asked) }
                },
            );
        let config = Config::openai(&vendor, "", "");
        let mut gateway = Gateway::with(config.clone()).cores(2).driver(driver).start();
        let state = Arc::clone(gateway.state());
        for _ in 0..7 {
            gateway.client().ask(chat("chat")).openai_completion();
        }
        let mut waiting: Vec<_> = (0..5).map(|_| gateway.client()).collect();
        for client in &mut waiting {
            client.send(crate::harness::chat_of("chat", r#","user":"hold""#));
        }
        vendor.wait_for_requests(12);
        gateway.signal(Signal::KILL);
        assert_eq!(gateway.exit_code(), None);
        drop((gateway, waiting));
        gate.open();

        let gateway = Gateway::with(config).state(&state).cores(2).driver(driver).start();
        gateway.client().ask(chat("chat")).openai_completion();
        let decisions = gateway.stop();
        assert_eq!(decisions.len(), 8);
        let records = all(&state);
        check_numbers(&records);
        let lost = of_type(&records, "lost");
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!((lost[0].count("count"), lost[0].count("log_epoch")), (5, 1));
        let config = of_type(&records, "config");
        assert_eq!(config[1].count("previous.log_epoch"), 1);
        assert_eq!(config[1].count("previous.last_seq"), lost[0].count("seq"));

        // What was told once is not told again.
        let again = Gateway::with(Config::openai(&vendor, "", "")).state(&state).start();
        drop(again.stop());
        assert_eq!(of_type(&all(&state), "lost").len(), 1);
    });
}

/// What clients know.
#[derive(Default)]
pub(crate) struct Known {
    sent: HashSet<String>,
    /// Answers that were read whole and whose requests the log should know, and when.
    pub(crate) read_whole: HashMap<String, Instant>,
    /// Refusals that were read whole, for want of room in the log.
    shed: HashSet<String>,
}

/// How an answer came.
enum Came {
    Whole,
    Shed,
    Torn,
}

/// Ends the gateway at a random moment, while clients ask it over and over; what they know then.
pub(crate) fn under_load(address: SocketAddr, round: &str, end: impl FnOnce()) -> Known {
    let stop = AtomicBool::new(false);
    let of_each = thread::scope(|scope| {
        let ask = |nth| {
            let (name, stop) = (format!("{round}-{nth}"), &stop);
            scope.spawn(move || ask_on(address, &name, stop))
        };
        let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
        pause(Duration::from_micros(fastrand::u64(20_000..250_000)));
        end();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("it doesn't panic")).collect::<Vec<_>>()
    });
    let mut known = Known::default();
    for Known { sent, read_whole, shed } in of_each {
        known.sent.extend(sent);
        known.read_whole.extend(read_whole);
        known.shed.extend(shed);
    }
    known
}

/// Asks over one connection until it is told to stop or nobody answers.
fn ask_on(address: SocketAddr, name: &str, stop: &AtomicBool) -> Known {
    let mut known = Known::default();
    let Ok(mut socket) = TcpStream::connect(address) else { return known };
    socket.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
    let body = br#"{"model":"chat","messages":[{"role":"user","content":"Say hello."}]}"#;
    let mut answer = Vec::new();
    for nth in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{name}-{nth}");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\n\
             x-request-id: {id}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        known.sent.insert(id.clone());
        if socket.write_all(&[head.as_bytes(), body].concat()).is_err() {
            break;
        }
        match read_answer(&mut socket, &mut answer) {
            Came::Whole => known.read_whole.insert(id, Instant::now()).is_none(),
            Came::Shed => {
                known.shed.insert(id);
                // A refusal ends the connection.
                match TcpStream::connect(address) {
                    Ok(another) => socket = another,
                    Err(_) => break,
                }
                socket.set_read_timeout(Some(PATIENCE)).is_ok()
            }
            Came::Torn => break,
        };
    }
    known
}

/// Reads one answer with a length.
fn read_answer(socket: &mut TcpStream, answer: &mut Vec<u8>) -> Came {
    answer.clear();
    let mut piece = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if length.is_some_and(|length: usize| body.len() >= length) {
                let is_shed = head.starts_with("HTTP/1.1 503 ") && body.contains("\"log_full\"");
                return if is_shed { Came::Shed } else { Came::Whole };
            }
        }
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return Came::Torn,
            Ok(came) => answer.extend_from_slice(&piece[..came]),
        }
    }
}

const CLIENTS: usize = 8;
/// Rounds on one log: what is read behind each of them shall not grow without end.
const ROUNDS_OF_A_LOG: u64 = 10;

/// Several crashes of one log under load, and what they came to.
#[derive(Default)]
struct Crashes {
    rounds: u64,
    known: Known,
    /// As the log counts them.
    lost: u64,
    gaps: u64,
    recovered: u64,
    unconfirmed: u64,
    /// Read whole, and not in the log.
    missing: Vec<String>,
    /// Sent, and not in the log.
    missed: u64,
}

impl Crashes {
    /// Kills a gateway that is under load, has another one recover the log, and holds it against what the clients know.
    /// `between` is done to the log after the crash.
    fn round(&mut self, config: &str, state: &Arc<State>, driver: Driver, between: impl Fn(&State)) {
        let mut gateway = Gateway::with(config).state(state).cores(2).driver(driver).start();
        let Known { sent, read_whole, shed } = under_load(gateway.address(), &self.rounds.to_string(), || {
            gateway.signal(Signal::KILL);
            assert_eq!(gateway.exit_code(), None);
        });
        drop(gateway);
        self.known.sent.extend(sent);
        self.known.read_whole.extend(read_whole);
        self.known.shed.extend(shed);
        self.rounds += 1;
        between(state);
        // A start is what recovers; it need not serve.
        drop(Gateway::with(config).state(state).cores(1).driver(driver).start().stop());
        self.look(state);
    }

    fn look(&mut self, state: &Arc<State>) {
        let path = state.path();
        let path = path.to_str().expect("temporary paths are UTF-8");
        let verified = crate::harness::kt(&["events", "verify", "--state-dir", path]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
        let records = all(state);
        check_numbers(&records);
        let mut logged = HashSet::new();
        for decision in of_type(&records, "decision") {
            assert!(logged.insert(decision.text("request_id")), "twice: {decision:?}");
        }
        let sum = |event_type: &str, field: &str| -> u64 {
            of_type(&records, event_type).iter().map(|record| record.count(field)).sum()
        };
        self.lost = sum("lost", "count");
        self.recovered = sum("lost", "recovered");
        self.unconfirmed = sum("lost", "unconfirmed");
        self.gaps = sum("gap", "count");
        let Known { sent, read_whole, shed } = &self.known;
        self.missing = read_whole.keys().filter(|id| !logged.contains(*id)).cloned().collect();
        self.missed = sent.iter().filter(|id| !logged.contains(*id)).count() as u64;
        let both = shed.iter().find(|id| logged.contains(*id));
        assert_eq!(both, None, "a request has a decision, and was counted in a gap");
    }

    /// Whether the log accounts for all that the clients know.
    fn adds_up(&self) -> bool {
        let counted = self.lost + self.gaps;
        // What a client has sent may not have been read by the gateway; then nobody has lost it.
        let unread = self.rounds * CLIENTS as u64;
        self.missing.is_empty()
            && self.known.shed.len() as u64 <= self.gaps
            && (counted..=counted + unread).contains(&self.missed)
    }

    fn say(&self) -> String {
        let Self { rounds, known, lost, gaps, recovered, unconfirmed, missing, missed } = self;
        let (whole, shed) = (known.read_whole.len(), known.shed.len());
        format!(
            "{rounds} crashes: {whole} answers read whole, {shed} refused for want of room; {recovered} records recovered \
             from rings ({unconfirmed} unconfirmed), {lost} counted as lost, {gaps} in gaps; {missed} sent and not in the \
             log, {} of them answered",
            missing.len()
        )
    }
}

#[test]
fn every_answer_that_was_read_has_its_record_whenever_the_gateway_is_killed() {
    let rounds = env::var("KT_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(6);
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let config = Config::openai(&vendor, "", "");
        let (mut done, mut read_whole) = (0, 0);
        while done < rounds {
            let (state, mut crashes) = (State::new(), Crashes::default());
            for _ in done..rounds.min(done + ROUNDS_OF_A_LOG) {
                crashes.round(&config, &state, driver, |_| {});
                assert!(crashes.adds_up(), "{}: {:?}", crashes.say(), crashes.missing);
            }
            done += crashes.rounds;
            read_whole += crashes.known.read_whole.len() as u64;
            eprintln!("{}", crashes.say());
        }
        assert!(read_whole > rounds * 10, "there was hardly any load");
    });
}

/// The same rounds, and what the rings hold taken away before the next start, as if there were none.
#[test]
fn without_the_rings_the_same_rounds_miss_records() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "");
    let (state, mut crashes) = (State::new(), Crashes::default());
    while crashes.adds_up() {
        assert!(crashes.rounds < 20, "nobody missed what was in the rings: {}", crashes.say());
        crashes.round(&config, &state, usual_driver().unwrap_or(Driver::Epoll), |state| {
            let entries = fs::read_dir(state.path().join("events")).expect("it is there");
            for path in entries.map(|entry| entry.expect("it can be read").path()) {
                if path.extension().is_some_and(|extension| extension == "ring") {
                    fs::remove_file(path).expect("it is ours");
                }
            }
        });
    }
}

#[test]
fn a_segment_that_ends_in_the_middle_of_a_line_is_mended_and_the_rest_is_set_aside() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "");
    let mut gateway = Gateway::with(config.clone()).start();
    let state = Arc::clone(gateway.state());
    for _ in 0..3 {
        gateway.client().ask(chat("chat")).openai_completion();
    }
    gateway.events(3);
    gateway.signal(Signal::KILL);
    assert_eq!(gateway.exit_code(), None);
    let segment = state.path().join("events/events-00000001-0000000000000001.jsonl");
    let mut file = fs::OpenOptions::new().append(true).open(&segment).expect("it is there");
    file.write_all(b"{\"event_type\":\"decision\",\"id\":\"evt_0").expect("there is room");
    let gateway = Gateway::with(config).state(&state).start();
    eventually("the start to say so", || gateway.log().text().contains("no whole records").then_some(()));
    assert_eq!(gateway.stop().len(), 3);
    let torn = fs::read(segment.with_extension("jsonl.torn")).expect("it was set aside");
    assert_eq!(torn, b"{\"event_type\":\"decision\",\"id\":\"evt_0");
    let records = all(&state);
    assert_eq!(of_type(&records, "torn")[0].count("bytes"), torn.len() as u64);
    check_numbers(&records);
}

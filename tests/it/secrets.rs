//! Keys stay where they are: nothing that the gateway says, writes or answers holds one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};

use crate::harness::{
    Authority, Client, Config, Gateway, Setup, State, Step, Vendor, chunked, http, kt, on_each_driver, openai,
    openai_events, request, sse_head,
};

/// What must not be seen, each of a kind of its own: whoever finds one knows which.
const VENDORS_KEY: &str = "sk-planted-vendor-5d1c";
const OTHER_VENDORS_KEY: &str = "sk-planted-other-vendor-77aa";
const CLIENTS_KEY: &str = "planted-client-key-09ef";
const OLD_KEY: &str = "planted-old-key-c31b";
const STRANGERS_KEY: &str = "planted-stranger-key-4f4f";
const COOKIE: &str = "planted-cookie-8e8e";
const PROMPT: &str = "planted-prompt-b0b0";

/// Everything that the gateway itself has said in a scenario, by where it said it.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn note(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    fn note_files(&mut self, folder: &Path) {
        for path in files(folder) {
            let bytes = fs::read(&path).expect("it is there");
            self.note(path.display().to_string(), String::from_utf8_lossy(&bytes));
        }
    }

    /// Fails with each secret that was said and where.
    fn holds_none_of(&self, secrets: &[&str]) {
        assert!(self.0.iter().all(|(place, text)| !text.is_empty() || place.ends_with("lock")), "{:?}", self.0);
        for (place, text) in &self.0 {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} stands in {place}:\n{text}");
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("readable").path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.is_file())
        .collect()
}

/// Two vendors with keys, two clients with keys, TLS, and everything logged that can be.
fn config(vendor: &Vendor, other: &Vendor) -> String {
    let rest = "  - name: other
    strategy: weighted
    targets: [{provider: other, model: claude-x, weight: 100}]
  - name: keyless
    strategy: weighted
    targets: [{provider: keyless, model: m, weight: 100}]
gateway:
  tls: {cert: cert.pem, key: key.pem}
  clients:
    - {name: team, key_ref: {file: team.key}}
    - {name: nobody, key_ref: {env: NOBODY}}
  log: {level: debug}
";
    let targets = format!(
        "    - {{id: other, provider: anthropic, base_url: {}, secret_key_ref: {{file: other.key}}}}
    - {{id: keyless, provider: openai, base_url: {}, secret_key_ref: {{env: KEYLESS}}}}
",
        other.url(),
        other.url()
    );
    Config::openai(vendor, "", rest).replace("model_groups:\n", &format!("{targets}model_groups:\n"))
}

fn ask(client: &mut Client, key: &str, body: &str) -> String {
    let fields = [format!("Authorization: Bearer {key}"), format!("Cookie: session={COOKIE}")];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let body = body.replace("PROMPT", PROMPT);
    format!("{:?}", client.ask(request("POST /v1/chat/completions", &fields, Some(body.as_bytes()))))
}

#[test]
fn no_key_is_ever_said() {
    on_each_driver(|driver| {
        let good = |model: &str| format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"PROMPT"}}]}}"#);
        // The first is answered; the next three fail in ways that make the gateway speak for itself.
        let torn = [sse_head(), chunked(&openai_events(true)[0])].concat();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let vendor = Vendor::start(move |received| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            1 => vec![Step::Send(http(200, "Content-Length: 5\r\n", received.field("authorization").expect("a key")))],
            2 => vec![Step::Send(torn.clone()), Step::Reset],
            3 => vec![Step::Close],
            _ => openai(received),
        });
        // One that says its caller's key back, where it is to be translated.
        let other = Vendor::start(|received| {
            let key = received.field("x-api-key").expect("a key").to_owned();
            vec![Step::Send(http(
                200,
                "Content-Type: application/json\r\n",
                format!(r#"{{"type":"message","id":"{key}"}}"#),
            ))]
        });
        let authority = Authority::new();
        let identity = authority.vouch_for("localhost");
        let private = identity.key.lines().nth(1).expect("a key of several lines").to_owned();
        let state = State::new();
        for (name, text) in [
            ("cert.pem", identity.cert.as_str()),
            ("key.pem", &identity.key),
            ("other.key", OTHER_VENDORS_KEY),
            ("team.key", OLD_KEY),
        ] {
            state.write(name, text);
        }
        let config = config(&vendor, &other);
        let setup: Setup = Gateway::with(config.clone()).state(&state).driver(driver);
        let gateway = setup.env("OPENAI_API_KEY", VENDORS_KEY).arg("--log-level").arg("debug").start();
        let trusting = Arc::new(authority.client_config(&[&TLS12, &TLS13]));
        let connect = || Client::connect_tls(gateway.address(), &trusting).expect("hands are shaken");
        let mut said = Said::default();

        said.note("an answer", ask(&mut connect(), OLD_KEY, &good("chat")));
        state.write("team.key", CLIENTS_KEY);
        let reload = gateway.reload();
        assert_eq!(reload.code, Some(0), "{reload:?}");
        said.note("a reload", format!("{reload:?}"));

        for (what, key, body) in [
            ("an answer framed twice", CLIENTS_KEY, good("chat")),
            ("a torn stream", CLIENTS_KEY, good("chat").replace("\"messages\"", "\"stream\":true,\"messages\"")),
            ("a missing answer", CLIENTS_KEY, good("chat")),
            ("an answer that can't be translated", CLIENTS_KEY, good("other")),
            ("a target without a key", CLIENTS_KEY, good("keyless")),
            ("a model unknown", CLIENTS_KEY, good("unknown")),
            ("a body of nonsense", CLIENTS_KEY, "PROMPT {".to_owned()),
            ("a field of nonsense", CLIENTS_KEY, good("chat").replace("[{", "{\"PROMPT\":{").replace("}]", "}}")),
            (
                "what can't be said to a vendor",
                CLIENTS_KEY,
                good("other").replace("\"messages\"", "\"n\":2,\"messages\""),
            ),
            ("a stranger", STRANGERS_KEY, good("chat")),
            ("an old key", OLD_KEY, good("chat")),
            ("a vendor's key", VENDORS_KEY, good("chat")),
        ] {
            said.note(what, ask(&mut connect(), key, &body));
        }
        let mut broken = connect();
        broken.send(format!(
            "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {CLIENTS_KEY}\r\nCookie : {COOKIE}\r\n\r\n"
        ));
        said.note("a head of nonsense", format!("{:?}", broken.answer()));
        let mut models = connect();
        models.send(request("GET /v1/models", &[&format!("x-api-key: {STRANGERS_KEY}")], None));
        said.note("the models", format!("{:?}", models.answer_to("GET")));
        let mut plain = gateway.client();
        said.note("plain HTTP", ask(&mut plain, CLIENTS_KEY, &good("chat")));
        assert!(Client::connect_tls(gateway.address(), &Arc::new(Authority::new().client_config(&[&TLS13]))).is_err());

        // Reloads that are refused: of two clients with one key, and of a file with a key in it.
        let refused = |config: &str, said: &mut Said| {
            gateway.rewrite(config);
            let refused = gateway.reload();
            assert_eq!(refused.code, Some(1), "{refused:?}");
            said.note("a refused reload", format!("{refused:?}"));
        };
        refused(&config.replace("env: NOBODY", "file: ./team.key"), &mut said);
        refused(&config.replace("{file: team.key}", CLIENTS_KEY), &mut said);
        refused(&config.replace("{env: KEYLESS}", VENDORS_KEY), &mut said);
        refused(&config.replace("key_ref: {env: NOBODY}", &format!("key: {CLIENTS_KEY}, x: 1")), &mut said);
        refused(&config.replace("cert.pem, key: key.pem", "key.pem, key: cert.pem"), &mut said);
        let file = state.root().join("policy-config.yaml");
        let lint = kt(&["policy", "lint", "--json", "--file", file.to_str().expect("UTF-8")]);
        said.note("lint", format!("{lint:?}"));

        for path in ["/health", "/stats", "/config", "/metrics", "/nothing"] {
            said.note(path, gateway.admin("GET", path));
        }
        said.note("a reload by the socket", gateway.admin("POST", "/reload"));
        for args in [&["stats", "--json"][..], &["stats"], &["events", "tail", "--last", "100", "--format", "detailed"]]
        {
            said.note(args.join(" "), format!("{:?}", gateway.kt(args)));
        }
        let log = gateway.log().clone();
        assert_eq!(gateway.stop().len(), 13);
        assert!(log.text().contains("DEBUG keeptrusts::"), "debug is on");
        said.note("the gateway's log", log.text());
        said.note_files(&state.path());

        // What stands in an answer was said by the vendor, where the gateway passes it on as it is: here, nowhere.
        let secrets = [VENDORS_KEY, OTHER_VENDORS_KEY, CLIENTS_KEY, OLD_KEY, STRANGERS_KEY, COOKIE, PROMPT, &private];
        said.holds_none_of(&secrets);
    });
}

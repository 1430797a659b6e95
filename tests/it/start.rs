//! How a gateway starts, and everything that keeps it from starting: each is said in one place, and is exit 1.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{
    ANTHROPIC_TOKENS, Config, Driver, Gateway, State, Vendor, anthropic, chat, json, kt, on_each_driver, openai,
};

/// What it says of a start that can't be: one line, whole.
#[track_caller]
fn one_line(stderr: &str) -> &str {
    assert_eq!(stderr.matches('\n').count(), 1, "{stderr}");
    stderr.strip_prefix("error: ").and_then(|line| line.strip_suffix('\n')).unwrap_or_else(|| panic!("{stderr}"))
}

#[test]
fn a_port_in_use_is_refused_though_cores_share_theirs() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "");
    let gateway = Gateway::with(&*config).cores(2).start();
    let other = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    for address in [gateway.address(), other.local_addr().expect("it is bound")] {
        for cores in [1, 2] {
            let output = Gateway::with(&*config).cores(cores).arg("--listen").arg(address.to_string()).refused();
            assert_eq!(output.code, Some(1));
            assert_eq!(
                one_line(&output.stderr),
                format!(
                    "cannot listen on {address}: the port is in use; stop what uses it, or choose another with --port"
                )
            );
        }
    }
    // The one that was there first has not noticed.
    gateway.client().ask(chat("chat")).openai_completion();
}

#[test]
fn a_port_is_free_again_when_its_gateway_has_ended() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "");
    let first = Gateway::with(&*config).start();
    let address = first.address();
    first.client().ask(chat("chat")).openai_completion();
    first.stop();
    let second = Gateway::with(config).arg("--port").arg(address.port().to_string()).start();
    assert_eq!(second.address(), address, "--port replaces the port of --listen");
}

#[test]
fn a_state_directory_has_one_gateway_at_a_time() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "");
    let gateway = Gateway::with(&*config).start();
    let output = Gateway::with(&*config).state(gateway.state()).refused();
    assert_eq!(output.code, Some(1));
    assert_eq!(
        one_line(&output.stderr),
        format!(
            "the state directory {} belongs to a running gateway (process {}); stop that one, or choose another with \
             --state-dir",
            gateway.state().path().display(),
            gateway.pid()
        )
    );
    gateway.client().ask(chat("chat")).openai_completion();
    assert_eq!(gateway.reload().code, Some(0), "its socket is still its own");

    // It takes no more than the end of its holder, even a sudden one, to be free again.
    let state = std::sync::Arc::clone(gateway.state());
    drop(gateway);
    let next = Gateway::with(config).state(&state).start();
    next.client().ask(chat("chat")).openai_completion();
    let events = next.stop();
    assert_eq!(events.iter().map(|event| event.count("log_epoch")).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn the_state_directory_is_closed_to_others() {
    let vendor = Vendor::start(openai);
    let gateway = Gateway::with(Config::openai(&vendor, "", "")).start();
    let mode = |name: &str| {
        let path = gateway.state().path().join(name);
        fs::metadata(&path).unwrap_or_else(|error| panic!("{name}: {error}")).permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("lock"), mode("admin.sock"), mode("events")), (0o700, 0o600, 0o600, 0o700));
}

#[test]
fn what_is_wrong_with_the_config_is_said_in_lints_words() {
    let vendor = Vendor::start(openai);
    let wrong = Config::openai(&vendor, "colour: red", "").replace("weighted", "wieghted");
    let output = Gateway::with(&*wrong).refused();
    assert_eq!(output.code, Some(1));
    let state = State::new();
    let file = state.write("policy-config.yaml", &wrong);
    let lint = kt(&["policy", "lint", "--file", file.to_str().expect("UTF-8")]);
    let sentences =
        |text: &str| -> Vec<String> { text.lines().filter(|line| !line.contains("--> ")).map(str::to_owned).collect() };
    assert_eq!(sentences(&output.stderr), sentences(&lint.stderr));
    assert_eq!(output.stderr.matches("✗ Configuration error").count(), 2, "{}", output.stderr);
}

#[test]
fn warnings_are_said_and_do_not_keep_it_from_starting() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (2, 1))).start();
    let log = gateway.log().text();
    assert!(log.contains("the weights sum to 3, not 100"), "{log}");
    assert!(log.contains("gpt-4o (66.7%) / claude-sonnet-4-20250514 (33.3%)"), "{log}");
}

#[test]
fn files_and_places_that_can_not_be_used_are_one_line_each() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "");
    let state = State::new();
    let missing = state.root().join("missing.yaml").display().to_string();
    let file = state.write("a-file", "").display().to_string();
    let long = state.root().join("x".repeat(100)).display().to_string();
    let cases = [
        (
            ["--policy-config", &missing],
            format!("cannot read the config file {missing}: No such file or directory (os error 2)"),
        ),
        (["--listen", "nonsense"], "cannot listen on nonsense: ".to_owned()),
        (["--listen", "192.0.2.1:0"], "cannot listen on 192.0.2.1:0: ".to_owned()),
        (["--state-dir", &file], format!("can't use the state directory {file}: ")),
        (["--state-dir", &long], "the state directory's path is too long: ".to_owned()),
    ];
    for (args, expected) in cases {
        let output = Gateway::with(&*config).arg(args[0]).arg(args[1]).refused();
        assert_eq!(output.code, Some(1), "{args:?}");
        assert!(one_line(&output.stderr).starts_with(&expected), "{args:?}: {}", output.stderr);
    }
}

#[test]
fn without_a_home_it_asks_where_its_state_shall_be() {
    let state = State::new();
    let file = state.write("policy-config.yaml", "version: '1'\n");
    let file = file.to_str().expect("UTF-8");
    // Commands are run without any environment here.
    for args in [
        &["gateway", "run", "--policy-config", file, "--listen", "127.0.0.1:0"][..],
        &["config", "reload"],
        &["events", "tail", "--last", "1"],
        &["stats"],
    ] {
        let output = kt(args);
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{args:?}");
        assert!(one_line(&output.stderr).contains("HOME is not set; say where with --state-dir"), "{}", output.stderr);
    }
}

#[test]
fn the_state_directory_is_found_by_the_environment() {
    let vendor = Vendor::start(openai);
    for (name, below) in
        [("KEEPTRUSTS_STATE_DIR", ""), ("XDG_STATE_HOME", "keeptrusts"), ("HOME", ".local/state/keeptrusts")]
    {
        let state = State::new();
        let root = state.root().join("given");
        let gateway = Gateway::with(Config::openai(&vendor, "", ""))
            .env(name, root.to_str().expect("UTF-8"))
            .without_state_dir()
            .start();
        assert!(root.join(below).join("admin.sock").exists(), "{name}");
        drop(gateway);
    }
}

#[test]
fn a_target_without_a_key_is_a_warning_and_then_a_503() {
    on_each_driver(|driver| {
        for key in [None, Some("")] {
            let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
            let setup =
                Gateway::with(Config::tutorial(&gpt, &claude, (50, 50))).driver(driver).without_env("OPENAI_API_KEY");
            let setup = if let Some(key) = key { setup.env("OPENAI_API_KEY", key) } else { setup };
            let gateway = setup.start();
            let warning =
                "WARN keeptrusts::gateway Target \"openai\" has no API key: requests that draw it are answered 503";
            assert!(gateway.log().lines().iter().any(|line| line == warning), "{}", gateway.log().text());
            // It is drawn as ever: an assignment that depended on it would not be one by chance.
            let mut statuses = Vec::new();
            for _ in 0..10 {
                let answer = gateway.client().ask(chat("quality-ab-test"));
                statuses.push(answer.status);
                if answer.status == 200 {
                    answer.completion(ANTHROPIC_TOKENS);
                } else {
                    assert_eq!(answer.error(503), "target_unavailable");
                    assert_eq!(answer.field("x-should-retry"), Some("false"));
                    assert!(answer.json().text("error.message").contains("openai"));
                }
            }
            assert_eq!(statuses.iter().filter(|&&status| status == 503).count(), 5);
            assert_eq!(gpt.connections(), 0);
            for event in gateway.stop().iter().filter(|event| event.count("status") == 503) {
                assert_eq!(event.text("error.kind"), "target_unavailable");
                assert_eq!(
                    (event.text("error.side"), event.text("model")),
                    ("gateway".to_owned(), "gpt-4o".to_owned())
                );
                assert_eq!(event.text("assignment.method"), "block");
            }
        }
    });
}

#[test]
fn machines_get_their_log_as_json() {
    let vendor = Vendor::start(openai);
    for as_flag in [true, false] {
        let log = if as_flag { "" } else { "gateway: {log: {format: json}}\n" };
        let setup = Gateway::with(Config::openai(&vendor, "", log));
        let setup = if as_flag { setup.arg("--log-format").arg("json") } else { setup };
        let gateway = setup.start();
        let lines: Vec<_> = gateway.log().lines().iter().map(json).collect();
        let messages: Vec<String> = lines
            .iter()
            .filter(|line| line.text("target") == "keeptrusts::gateway")
            .map(|line| line.text("message"))
            .collect();
        assert_eq!(
            messages,
            [
                &*format!("Starting gateway on {}", gateway.address()),
                "Loaded 1 provider(s), 1 model group(s), 0 policy(ies)",
                "Model group \"chat\": gpt-4o (100%)",
                "Gateway ready",
            ]
        );
        assert!(lines.iter().all(|line| line.text("level") == "INFO"));
    }
}

#[test]
fn it_says_which_driver_it_uses_and_why() {
    on_each_driver(|driver| {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).cores(2).driver(driver).start();
        let said = gateway.log().find(|line| line.contains("keeptrusts::runtime")).expect("it says so");
        assert!(said.contains(&format!("2 core(s) on {}", driver.flag())), "{said}");
    });
    if Driver::IoUring.is_here() {
        let vendor = Vendor::start(openai);
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).arg("--driver").arg("auto").start();
        assert!(gateway.log().text().contains("on io_uring"), "the best there is");
    }
}

/// Runs `start` where the kernel refuses every call of io_uring, as it does in containers by default. What it starts is
/// refused likewise.
fn where_rings_are_refused<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    const IO_URING: std::ops::RangeInclusive<i64> = 425..=427;
    const EPERM: u32 = 1;
    let rules = IO_URING.map(|call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM), arch).expect("a filter");
    let filter = BpfProgram::try_from(filter).expect("a program");
    // A filter is its thread's, and its children's.
    let apply = move || seccompiler::apply_filter(&filter).map(|()| start());
    std::thread::scope(|threads| threads.spawn(apply).join().expect("it starts").expect("a thread may restrict itself"))
}

#[test]
fn where_io_uring_is_refused_it_runs_on_epoll_and_says_so() {
    let vendor = Vendor::start(openai);
    let config = Config::openai(&vendor, "", "");
    let gateway = where_rings_are_refused(|| Gateway::with(&*config).cores(2).arg("--driver").arg("auto").start());
    let said = gateway.log().find(|line| line.contains("keeptrusts::runtime")).expect("it says so");
    assert!(said.contains("2 core(s) on epoll: the kernel refuses io_uring: Operation not permitted"), "{said}");
    gateway.client().ask(chat("chat")).openai_completion();
    assert_eq!(gateway.stop().len(), 1);
    // Asked for by name, it is not replaced behind anybody's back.
    let refused = where_rings_are_refused(|| Gateway::with(&*config).arg("--driver").arg("io_uring").refused());
    assert_eq!(refused.code, Some(1));
    assert!(one_line(&refused.stderr).contains("io_uring was asked for, but the kernel refuses it"), "{refused:?}");
}

#[test]
fn a_key_may_lie_in_a_file() {
    let vendor = Vendor::start(openai);
    let state = State::new();
    let key = state.write("key", "sk-of-the-file\n");
    let config =
        Config::openai(&vendor, "", "").replace("{env: OPENAI_API_KEY}", &format!("{{file: {}}}", key.display()));
    let gateway = Gateway::with(config).state(&state).start();
    gateway.client().ask(chat("chat")).openai_completion();
    // It is read again with a reload, though the config is the same.
    state.write("key", "sk-of-the-next-file");
    gateway.client().ask(chat("chat")).openai_completion();
    assert_eq!(gateway.reload().code, Some(0));
    gateway.client().ask(chat("chat")).openai_completion();
    let sent: Vec<_> = vendor.requests().iter().map(|seen| seen.field("authorization").map(str::to_owned)).collect();
    let bearer = |key: &str| Some(format!("Bearer {key}"));
    assert_eq!(sent, [bearer("sk-of-the-file"), bearer("sk-of-the-file"), bearer("sk-of-the-next-file")]);
}

#[test]
fn the_keys_stand_nowhere() {
    let (gpt, claude) = (Vendor::start(openai), Vendor::start(anthropic));
    let gateway = Gateway::with(Config::tutorial(&gpt, &claude, (50, 50))).arg("--log-level").arg("debug").start();
    for _ in 0..4 {
        gateway.client().ask(chat("quality-ab-test")).whole(200);
    }
    gateway.client().ask(chat("unknown")).error(404);
    assert_eq!(gateway.reload().code, Some(0));
    gateway.events(5);
    let mut written = gateway.log().text();
    for entry in fs::read_dir(gateway.state().path().join("events")).expect("it is there") {
        // Rings and indexes are no text; what stands in them as text is found all the same.
        let bytes = fs::read(entry.expect("it can be read").path()).expect("it can be read");
        written += &String::from_utf8_lossy(&bytes);
    }
    written += &gateway.kt(&["stats", "--json"]).stdout;
    assert!(written.contains("quality-ab-test"));
    for secret in ["sk-openai-test", "sk-ant-test"] {
        assert!(!written.contains(secret));
    }
}

//! What vendors say, well-formed or not, and what becomes of it: `tests/cases/answers.txt`.

use std::sync::Arc;

use crate::harness::{
    Answer, Config, End, Gateway, Step, Vendor, cases, chat, http, json, on_each_driver, openai_whole, post,
};

/// What `tests/cases/answers.txt` calls what a client got.
fn word(answer: &Answer) -> String {
    match answer.end {
        End::Whole if answer.status == 502 => format!("502:{}", answer.error(502)),
        End::Whole => answer.status.to_string(),
        End::Reset => "torn".to_owned(),
        End::Closed | End::Torn => panic!("it ends as nothing of ours does: {answer:?}"),
    }
}

#[test]
fn each_answer_is_passed_refused_or_cut_off_and_its_connection_kept_or_left() {
    let cases = Arc::new(cases(include_str!("../cases/answers.txt"), &[("<ok>", r"HTTP/1.1 200 OK\r\n")]));
    assert!(cases.len() > 100, "only {}", cases.len());
    on_each_driver(|driver| {
        let said = Arc::clone(&cases);
        let vendor = Vendor::start(move |request| {
            let asked = json(request.body()).text("messages.0.content");
            let Some(case) = asked.parse::<usize>().ok().map(|number| &said[number]) else {
                return vec![Step::Send(openai_whole())];
            };
            let then = (case.verdict[2] == "close").then_some(Step::Close);
            [Step::Send(case.bytes.clone())].into_iter().chain(then).collect()
        });
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        gateway.client().ask(chat("chat")).openai_completion();
        let mut wrong = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let before = vendor.connections();
            let asked = format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{number}"}}]}}"#);
            let answer = gateway.client().ask(post(asked));
            // Whoever asks next gets an answer of its own.
            gateway.client().ask(chat("chat")).openai_completion();
            let kept = if vendor.connections() == before { "kept" } else { "left" };
            let got = [word(&answer), kept.to_owned()];
            if got != case.verdict[..2] {
                wrong.push(format!("answers.txt:{}: {got:?}", case.line));
            }
            let is_clean = answer.fields.iter().all(|(name, value)| {
                !["set-cookie", "trailer", "upgrade", "keep-alive", "link", "location", "x", "y"].contains(&&**name)
                    && !value.contains("smuggle")
            });
            assert!(is_clean && !answer.text().contains("smuggle"), "answers.txt:{}: {answer:?}", case.line);
        }
        assert_eq!(wrong, Vec::<String>::new());
        let events = gateway.stop();
        assert_eq!(events.len(), 1 + 2 * cases.len(), "one event each");
        assert!(events.iter().all(|event| event.count("attempts") == 1), "and none was asked twice");
    });
}

#[test]
fn fields_of_a_hop_and_those_it_names_stop_here() {
    on_each_driver(|driver| {
        // All of these may pass to a client by their names; some are made the connection's own.
        let fields = "Content-Type: application/json\r\nConnection: x-ratelimit-one, X-Should-Retry\r\n\
            connection: ,retry-after,\r\nX-RateLimit-One: 1\r\nX-RateLimit-Two: 2\r\nX-Should-Retry: true\r\n\
            Retry-After: 9\r\nRetry-After-Ms: 9000\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
            Proxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nSet-Cookie: a=b\r\n\
            Set-Cookie2: a=b\r\nVia: 1.1 vendor\r\nX-Request-Id: one\r\n";
        let vendor = Vendor::saying(http(429, fields, "{}"));
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        let answer = gateway.client().ask(chat("chat")).whole(429);
        let said = fields.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut passed: Vec<&str> = said.map(|(name, _)| name).collect();
        passed.retain(|name| answer.field(&name.to_ascii_lowercase()).is_some());
        // The id and Via are ours, under the same names.
        assert_eq!(passed, ["Content-Type", "X-RateLimit-Two", "Retry-After-Ms", "Via", "X-Request-Id"]);
        assert_eq!((answer.field("x-upstream-request-id"), answer.field("connection")), (Some("one"), None));
        assert_eq!(answer.field("via"), Some("1.1 kt"));
    });
}

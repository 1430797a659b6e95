//! Config files as an operator writes them: what is accepted, what is said of what is not, and what a plan makes of them.
//!
//! `cases/config/complaints.txt` holds bad files, each under a line `=== claim` and followed by `--- complaints`, one a
//! line: `code line:column path | message | suggestion`.

use std::collections::HashSet;
use std::sync::Arc;

use super::complaint::{Code, Complaint};
use super::plan::{Credential, Fixed, Group, Plan, Secret, SecretRef, StreamUsage, reduce};
use super::*;
use crate::cost::{Kind, Source as PriceSource};
use crate::limits::{CONFIG_BYTES_MAX, Limits};

const TUTORIAL: &str = include_str!("../cases/config/tutorial.yaml");
const COMPLAINTS: &str = include_str!("../cases/config/complaints.txt");

fn source(name: &str, bytes: impl AsRef<[u8]>) -> Source {
    Source { name: name.to_owned(), bytes: bytes.as_ref().to_vec() }
}

fn check_one(bytes: impl AsRef<[u8]>) -> Checked {
    check(&[source("policy-config.yaml", bytes)])
}

/// The complaints in the form of the case file.
fn lines(checked: &Checked) -> String {
    checked.complaints.iter().map(line).collect()
}

fn line(complaint: &Complaint) -> String {
    let Complaint { code, place, path, message, suggestion, .. } = complaint;
    let path = if path.is_empty() { "(file)" } else { path };
    let suggestion = suggestion.as_deref().map(|text| format!(" | {text}")).unwrap_or_default();
    format!("{} {}:{} {path} | {message}{suggestion}\n", code.as_str(), place.line, place.column)
}

/// A file with one group whose arms have these weights, as written.
fn with_weights(weights: &[&str]) -> String {
    let mut yaml = String::from("version: '1'\nproviders: {targets: [{id: a, provider: openai}]}\n");
    yaml.push_str("model_groups:\n  - name: g\n    targets:\n");
    for (i, weight) in weights.iter().enumerate() {
        yaml.push_str(&format!("      - {{provider: a, model: m{i}, weight: {weight}}}\n"));
    }
    yaml
}

fn plan(yaml: &str, previous: Option<&Plan>, keys: &[(&str, &str)]) -> Plan {
    let checked = check_one(yaml);
    let file = checked.file.as_ref().unwrap_or_else(|| panic!("{}", checked.error_report()));
    let mut secret = |wanted: &SecretRef| match wanted {
        SecretRef::Env(name) => keys.iter().find(|(key, _)| *key == &**name).and_then(|(_, value)| Secret::new(value)),
        SecretRef::File(_) => None,
    };
    let ordinal = previous.map_or(1, |plan| plan.version.ordinal + 1);
    Plan::resolve(file, ordinal, previous, &mut secret, &mut || ordinal).expect("no two clients share a key")
}

#[test]
fn the_tutorials_file_is_valid_to_the_letter() {
    let checked = check_one(TUTORIAL);
    assert_eq!(lines(&checked), "");
    let summary = "✓ Configuration is valid\n\
                   Providers: 2 (openai, anthropic)\n\
                   Model groups: 1 (quality-ab-test)\n\
                   Policies: 1 (basic-filter)\n";
    assert_eq!(checked.summary(), summary);
    assert_eq!(checked.to_json(), r#"{"valid":true,"file":"policy-config.yaml","errors":[],"warnings":[]}"#);
    assert_eq!((checked.error_report(), checked.warning_report()), (String::new(), String::new()));

    let plan = plan(TUTORIAL, None, &[("OPENAI_API_KEY", "sk-1")]);
    assert_eq!(plan.groups[0].split(), "gpt-4o (70%) / claude-sonnet-4-20250514 (30%)");
    assert_eq!(*plan.groups[0].block, [7, 3]);
    assert_eq!(&*plan.groups[0].arms[1].name, "anthropic/claude-sonnet-4-20250514");
    assert_eq!(plan.version.to_string(), "1-70f97f503165");
}

#[test]
fn the_summary_has_a_line_only_for_a_section_that_is_there() {
    assert_eq!(check_one("version: '1'").summary(), "✓ Configuration is valid\n");
    let empty = check_one("{version: '1', providers: {targets: []}, policies: []}");
    assert_eq!(empty.summary(), "✓ Configuration is valid\nProviders: 0\nPolicies: 0\n");
    assert_eq!(check_one("version: 1").summary(), "");
}

#[test]
fn every_complaint_is_made_where_and_as_it_should_be() {
    let cases = COMPLAINTS.split("=== ").skip(1);
    for case in cases {
        let (claim, rest) = case.split_once('\n').expect("a claim is a line");
        let (yaml, expected) = rest.split_once("--- complaints\n").expect("each case has complaints");
        let checked = check_one(yaml);
        assert_eq!(lines(&checked), expected, "{claim}");
        assert_eq!(checked.file.is_some(), checked.errors().next().is_none(), "{claim}");
    }
}

/// The codes that text can't show: files that are too large, binary, or blow up.
const UNPRINTABLE: &[Code] =
    &[Code::TooLarge, Code::NotUtf8, Code::ControlCharacter, Code::TooDeep, Code::ExpandsTooFar];

#[test]
fn every_code_has_a_case() {
    let shown: HashSet<&str> =
        COMPLAINTS.lines().filter(|line| !line.starts_with("===")).filter_map(|line| line.split(' ').next()).collect();
    for code in Code::ALL {
        assert!(shown.contains(code.as_str()) || UNPRINTABLE.contains(code), "{code:?} has no case");
    }
}

#[test]
fn a_file_that_is_no_text_is_refused_before_it_is_parsed() {
    let first = |bytes: &[u8]| lines(&check_one(bytes));
    let cases: &[(&[u8], &str)] = &[
        (b"version: '1'\nb: \"\xff\"\n", "E011 2:5 (file) | byte 17 (0xff) is not UTF-8\n"),
        ("é: é\0".as_bytes(), "E012 1:5 (file) | a control character (NUL, 0x00) stands here\n"),
        (b"a: 1\r\n\x1b[2J", "E012 2:1 (file) | a control character (0x1b) stands here\n"),
        (b"\xff\xfev\0", "E011 1:1 (file) | byte 0 (0xff) is not UTF-8\n"),
        (b"", "E013 1:1 (file) | the file says nothing | start with version: '1'\n"),
        (b"\xef\xbb\xbf \n\t\n", "E013 1:1 (file) | the file says nothing | start with version: '1'\n"),
    ];
    for &(bytes, expected) in cases {
        assert_eq!(first(bytes), expected, "{bytes:?}");
    }
    let large = format!("version: '1'\n#{}", "x".repeat(CONFIG_BYTES_MAX));
    assert_eq!(first(large.as_bytes()), "E010 1:1 (file) | the file has 1048590 bytes; at most 1048576 are read\n");
    assert_eq!(first(&large.as_bytes()[..CONFIG_BYTES_MAX]), "");
}

#[test]
fn line_ends_and_byte_order_marks_make_no_difference() {
    for yaml in
        [TUTORIAL.replace('\n', "\r\n"), format!("\u{feff}{TUTORIAL}"), format!("%YAML 1.2\n---\n{TUTORIAL}...\n")]
    {
        assert_eq!(lines(&check_one(yaml)), "");
    }
    let marked = "\u{feff}version: 1\r\ngateway: x\r\n";
    let expected = "E030 1:10 version | must be text, not the number 1 | write '1', in quotes\n\
                    E030 2:10 gateway | must be a map of keys, not text\n";
    let checked = check_one(marked);
    assert_eq!(lines(&checked), expected);
    assert!(checked.error_report().contains("\n2 | gateway: x\n  |          ^\n"), "{}", checked.error_report());
}

#[test]
fn bombs_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..9 {
        let alias = format!("*a{}", i - 1);
        laughs.push_str(&format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 9].join(", ")));
    }
    let long = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(50_000), vec!["*a"; 20_000].join(", "));
    // 60,000 repeated values: far from the bound on all nodes, but over the one on what aliases repeat.
    let many = format!("a: &a [{}]\nb: [{}]\n", vec!["x"; 98].join(", "), vec!["*a"; 600].join(", "));
    let deep_flow = format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let deep_block: String = (0..1_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    let deep_dashes = format!("a:\n {}x\n", "- ".repeat(10_000));
    for (name, yaml, code) in [
        ("laughs", laughs, Code::ExpandsTooFar),
        ("long", long, Code::ExpandsTooFar),
        ("many", many, Code::ExpandsTooFar),
        ("deep flow", deep_flow, Code::TooDeep),
        ("deep block", deep_block, Code::TooDeep),
        ("deep dashes", deep_dashes, Code::TooDeep),
    ] {
        let checked = check_one(yaml);
        assert_eq!(checked.complaints.len(), 1, "{name}");
        assert_eq!(checked.complaints[0].code, code, "{name}: {}", lines(&checked));
    }
}

#[test]
fn an_alias_repeats_a_value_and_points_to_where_it_is_written() {
    let yaml = "version: '1'\n\
                providers:\n  targets:\n\
                \x20   - {id: a, provider: openai, timeouts: &t {connect_ms: 100, idle_ms: soon}}\n\
                \x20   - {id: b, provider: openai, timeouts: *t}\n";
    let checked = check_one(yaml);
    let errors: String = checked.errors().map(line).collect();
    let expected = "E030 4:73 providers.targets[0].timeouts.idle_ms | must be a number, not text\n\
                    E030 4:73 providers.targets[1].timeouts.idle_ms | must be a number, not text\n";
    assert_eq!(errors, expected);
}

#[test]
fn no_slip_of_the_keyboard_is_fatal() {
    for (at, typed) in (0..TUTORIAL.len()).step_by(4).zip("[]{}\"':-#&*!|>%@\t\n,\r.0é\u{0}".chars().cycle()) {
        let (before, after) = TUTORIAL.split_at(at);
        for yaml in [before.to_owned(), format!("{before}{typed}{after}"), format!("{before}{typed}{}", &after[1..])] {
            let checked = check_one(&yaml);
            let (report, json) = (checked.error_report() + &checked.warning_report(), checked.to_json());
            assert_eq!(report.is_empty(), checked.complaints.is_empty(), "{yaml}");
            assert_eq!(json.starts_with("{\"valid\":true"), checked.file.is_some(), "{yaml}");
        }
    }
}

#[test]
fn one_value_may_be_repeated_often() {
    let mut yaml = String::from("version: '1'\nproviders:\n  targets:\n");
    yaml.push_str("    - {id: first, provider: openai, timeouts: &usual {connect_ms: 1, total_ms: 2}}\n");
    for i in 0..200 {
        yaml.push_str(&format!("    - {{id: t{i}, provider: openai, timeouts: *usual}}\n"));
    }
    let file = check_one(yaml).file.expect("it is valid");
    assert!(file.targets.unwrap_or_default().iter().all(|target| target.timeouts.total_ms == Some(2)));
}

#[test]
fn four_thousand_targets_and_groups_fit_a_file() {
    let mut yaml = String::from("version: '1'\nproviders:\n  targets:\n");
    for i in 0..4_096 {
        yaml.push_str(&format!("    - id: target-{i}\n      provider: openai\n"));
    }
    yaml.push_str("model_groups:\n");
    for i in 0..4_096 {
        yaml.push_str(&format!("  - name: group-{i}\n    targets:\n"));
        yaml.push_str(&format!("      - {{provider: target-{i}, model: m, weight: 100}}\n"));
    }
    assert!(yaml.len() < CONFIG_BYTES_MAX, "{}", yaml.len());
    let plan = plan(&yaml, None, &[]);
    assert_eq!((plan.targets.len(), plan.groups.len()), (4_096, 4_096));
    assert_eq!(plan.group_by_name["group-4095"], 4_095);
}

#[test]
fn a_weight_is_a_whole_number_however_it_is_written() {
    for (written, weight) in [("70", 70), ("70.0", 70), ("1e2", 100), ("0x46", 70), ("+70", 70), ("1000000", 1_000_000)]
    {
        let file = check_one(with_weights(&[written])).file.unwrap_or_else(|| panic!("{written}"));
        assert_eq!(file.groups.unwrap_or_default()[0].arms[0].weight, weight, "{written}");
    }
    let checked = check_one(with_weights(&["0", "100"]));
    assert_eq!(lines(&checked), "", "a single zero is fine");
}

#[test]
fn yaml_1_1_words_stay_text() {
    let yaml = "version: '1'\n\
                providers: {targets: [{id: on, provider: openai}, {id: no, provider: anthropic}]}\n\
                model_groups: [{name: yes, targets: [{provider: on, model: off, weight: 50}, {provider: no, model: y, weight: 50}]}]\n\
                policies: [{name: n, type: content_filter, action: flag, on: request}]\n";
    assert_eq!(check_one(yaml).summary().lines().nth(2), Some("Model groups: 1 (yes)"));
}

#[test]
fn an_error_is_reported_with_its_line() {
    let yaml = TUTORIAL
        .replace("content_filter", "content_filtr")
        .replace("provider: anthropic\n        model", "provider: anthropc\n        model");
    let expected = "\
✗ Configuration error at line 19:
model_groups[0].targets[1].provider: unknown provider \"anthropc\" — did you mean \"anthropic\"?
  --> policy-config.yaml:19:19
   |
19 |       - provider: anthropc
   |                   ^^^^^^^^

✗ Configuration error at line 24:
policies[0].type: unknown policy type \"content_filtr\" — did you mean \"content_filter\"?
  --> policy-config.yaml:24:11
   |
24 |     type: content_filtr
   |           ^^^^^^^^^^^^^
";
    let checked = check_one(yaml);
    assert_eq!(checked.error_report(), expected);
    assert_eq!(checked.warning_report(), "");
    let json = r#"{"valid":false,"file":"policy-config.yaml","errors":[{"code":"E041","path":"model_groups[0].targets[1].provider","line":19,"column":19,"message":"unknown provider \"anthropc\"","suggestion":"did you mean \"anthropic\"?"},{"code":"E001","path":"policies[0].type","line":24,"column":11,"message":"unknown policy type \"content_filtr\"","suggestion":"did you mean \"content_filter\"?"}],"warnings":[]}"#;
    assert_eq!(checked.to_json(), json);
}

#[test]
fn a_warning_is_reported_and_the_file_stays_valid() {
    let checked = check_one(TUTORIAL.replace("weight: 70", "weight: 60"));
    let expected = "\
⚠ Configuration warning at line 15:
model_groups[0].targets: the weights sum to 90, not 100; the shares are gpt-4o (66.7%) / claude-sonnet-4-20250514 (33.3%)
  --> policy-config.yaml:15:5
   |
15 |     targets:
   |     ^^^^^^^
";
    assert_eq!(checked.warning_report(), expected);
    assert!(checked.summary().starts_with("✓ Configuration is valid\n"));
    assert!(checked.to_json().contains(r#""errors":[],"warnings":[{"code":"W102","#));
}

#[test]
fn no_report_shows_a_credential() {
    for case in COMPLAINTS.split("=== ").filter(|case| case.contains("do-not-print-me")) {
        let (yaml, _) = case.split_once("--- complaints\n").expect("each case has complaints");
        let yaml = yaml.split_once('\n').expect("a claim is a line").1;
        let checked = check_one(yaml);
        let said: String = checked.error_report() + &checked.to_json();
        assert!(!said.contains("do-not-print-me"), "{said}");
    }
    let url = "version: '1'\nproviders: {targets: [{id: a, provider: openai, base_url: 'http://me:hidden@host'}]}\n";
    let checked = check_one(url);
    assert!(!(checked.error_report() + &checked.to_json()).contains("hidden"));
}

#[test]
fn files_are_laid_over_each_other() {
    let over = "\
version: '1'
providers:
  targets:
    - {id: anthropic, provider: anthropic, base_url: 'http://localhost:1'}
    - {id: local, provider: openai-compatible, base_url: 'http://localhost:2', ca_file: ca.pem}
model_groups:
  - name: quality-ab-test
    targets: [{provider: openai, model: gpt-4o, weight: 50}, {provider: anthropic, model: c, weight: 50}]
  - name: more
    targets: [{provider: local, model: l, weight: 100}]
gateway: {limits: {head_ms: 1}}
";
    let below = format!("{TUTORIAL}gateway: {{listen: 'localhost:1', limits: {{head_ms: 5, body_ms: 6}}}}\n");
    let checked = check(&[source("a.yaml", &below), source("conf/b.yaml", over)]);
    assert_eq!(lines(&checked), "");
    let summary = "✓ Configuration is valid\n\
                   Providers: 3 (openai, anthropic, local)\n\
                   Model groups: 2 (quality-ab-test, more)\n\
                   Policies: 1 (basic-filter)\n";
    assert_eq!(checked.summary(), summary);
    assert!(checked.to_json().starts_with(r#"{"valid":true,"file":["a.yaml","conf/b.yaml"],"#));
    let file = checked.file.expect("it is valid");
    let targets = file.targets.expect("both files have targets");
    assert_eq!(&*targets[1].base.authority, "localhost:1");
    assert_eq!(targets[2].ca_file.as_deref(), Some("conf/ca.pem"), "relative to its own file");
    assert_eq!((file.limits.head_ms, file.limits.body_ms), (1, 6));
    assert_eq!(file.fixed.listen.as_deref(), Some("localhost:1"));
    assert_eq!(file.groups.expect("both files have groups")[0].arms[0].weight, 50, "replaced whole");
}

#[test]
fn a_complaint_names_the_file_its_value_came_from() {
    let over = "model_groups:\n  - {name: new, targets: [{provider: opnai, model: m, weight: 100}]}\n";
    let checked = check(&[source("a.yaml", TUTORIAL), source("b.yaml", over)]);
    assert!(checked.error_report().contains("\n --> b.yaml:2:38\n"), "{}", checked.error_report());
    assert!(
        checked.to_json().contains(r#"{"code":"E041","file":"b.yaml","path":"model_groups[0].targets[0].provider","#)
    );

    let twice = "policies:\n  - {name: p, type: content_filter, action: flag}\n  - {name: p, type: content_filter, action: flag}\n";
    let once = "policies: [{name: p, type: content_filter, action: block}]\n";
    let checked = check(&[source("a.yaml", format!("version: '1'\n{twice}")), source("b.yaml", once)]);
    let expected =
        "E040 4:12 policies[1].name | duplicate policy \"p\"; the first one is at b.yaml, line 1, column 19\n";
    assert_eq!(lines(&checked), expected, "an overlay does not heal a duplicate");

    let checked = check(&[source("a.yaml", format!("version: '1'\n{once}")), source("b.yaml", twice)]);
    let expected = "E040 3:12 policies[1].name | duplicate policy \"p\"; the first one is at line 2, column 12\n";
    assert_eq!(lines(&checked), expected, "nor does what it is laid over");

    let checked = check(&[source("a.yaml", "a: ["), source("b.yaml", ""), source("c.yaml", "version: '1'")]);
    let codes: Vec<(u32, Code)> = checked.complaints.iter().map(|c| (c.place.file, c.code)).collect();
    assert_eq!(codes, [(0, Code::Syntax), (1, Code::Empty)], "each file that can't be parsed is named");
}

#[test]
fn settings_reach_the_file() {
    let yaml = "\
version: '1'
providers:
  targets:
    - {id: a, provider: openai}
    - {id: b, provider: openai-compatible, base_url: 'http://[::1]:8000/v1', stream_usage: ask, secret_key_ref: {file: /run/key}}
    - {id: c, provider: openai-compatible, base_url: 'http://c/v1', timeouts: {connect_ms: 1, first_byte_ms: 2, idle_ms: 3, total_ms: 4}}
    - {id: d, provider: anthropic, timeouts: {total_ms: off}}
events: {durability: written, when_full: shed}
gateway:
  listen: '[::]:0'
  cores: 2
  driver: io_uring
  tls: {cert: tls/chain.pem, key: /etc/key.pem}
  clients: [{name: team a, key_ref: {env: TEAM_A}}, {name: team-b, key_ref: {file: keys/b}}]
  admin: {listen: 'localhost:9090'}
  log: {level: debug, format: json}
";
    let file = check(&[source("conf/a.yaml", yaml)]).file.expect("it is valid");
    let targets = file.targets.expect("it has targets");
    assert_eq!(targets[0].key, Some(SecretRef::Env("OPENAI_API_KEY".into())));
    assert_eq!(targets[1].key, Some(SecretRef::File("/run/key".into())));
    assert_eq!(targets[2].key, None);
    assert_eq!(targets[3].key, Some(SecretRef::Env("ANTHROPIC_API_KEY".into())));
    let usage = targets.iter().map(|target| target.stream_usage).collect::<Vec<_>>();
    assert_eq!(usage, [StreamUsage::Ask, StreamUsage::Ask, StreamUsage::Leave, StreamUsage::Leave]);
    let timeouts = targets[2].timeouts;
    assert_eq!((timeouts.connect_ms, timeouts.first_byte_ms, timeouts.idle_ms, timeouts.total_ms), (1, 2, 3, Some(4)));
    assert_eq!(targets[3].timeouts.total_ms, None);
    let tls = file.tls.expect("it has tls");
    assert_eq!((&*tls.cert, &*tls.key), ("conf/tls/chain.pem", "/etc/key.pem"));
    let clients = file.clients.expect("it has clients");
    let clients: Vec<_> = clients.iter().map(|client| (&*client.name, client.key.clone())).collect();
    let expected = [("team a", SecretRef::Env("TEAM_A".into())), ("team-b", SecretRef::File("conf/keys/b".into()))];
    assert_eq!(clients, expected);
    let fixed = format!("{:?} {:?}", file.fixed, file.log);
    let expected = "Fixed { listen: Some(\"[::]:0\"), cores: Some(2), driver: Some(IoUring), \
                    admin_listen: Some(\"localhost:9090\"), tls: true } LogSettings { level: Debug, format: Json }";
    assert_eq!(fixed, expected);
}

#[test]
fn every_limit_can_be_set() {
    // The plan prints the limits from a pattern that names every field; each of those names is a key.
    let json = plan("version: '1'", None, &[]).to_json();
    let printed = json.split_once("\"limits\":{").expect("limits are printed").1.trim_end_matches('}');
    let names: Vec<&str> = printed.split(',').map(|field| field.split('"').nth(1).expect("a name")).collect();
    let set: String = names.iter().zip(1..).map(|(name, value)| format!("    {name}: {value}\n")).collect();
    let changed = plan(&format!("version: '1'\ngateway:\n  limits:\n{set}"), None, &[]);
    let expected: Vec<String> = names.iter().zip(1..).map(|(name, value)| format!("\"{name}\":{value}")).collect();
    assert!(changed.to_json().ends_with(&format!("\"limits\":{{{}}}}}", expected.join(","))), "{}", changed.to_json());
    assert_ne!(changed.limits, Limits::default());
    // What has no bound by default can be given none by name; the others need one.
    let zero = |name| lines(&check_one(format!("version: '1'\ngateway: {{limits: {{{name}: 0}}}}\n")));
    assert_eq!(zero("connections_per_address_max"), "");
    assert_eq!(zero("head_ms"), "E032 2:29 gateway.limits.head_ms | must be 1 to 3600000, not 0\n");
}

#[test]
fn what_is_fixed_at_start_is_named_when_it_changes() {
    let fixed = |yaml: &str| check_one(format!("version: '1'\ngateway: {yaml}")).file.expect("it is valid").fixed;
    let old = fixed("{listen: 'localhost:1', cores: 1}");
    assert_eq!(old.changes(&old), Vec::<&str>::new());
    let new = fixed("{listen: 'localhost:2', driver: epoll, admin: {listen: 'localhost:3'}}");
    assert_eq!(old.changes(&new), ["gateway.listen", "gateway.cores", "gateway.driver", "gateway.admin.listen"]);
    assert_eq!(Fixed::default().changes(&fixed("{cores: 3}")), ["gateway.cores"]);
    let (one, other) = (fixed("{tls: {cert: a, key: b}}"), fixed("{tls: {cert: c, key: d}}"));
    assert_eq!(one.changes(&other), Vec::<&str>::new(), "certificates come and go");
    assert_eq!((one.changes(&fixed("{}")), fixed("{}").changes(&one)), (vec!["gateway.tls"], vec!["gateway.tls"]));
}

#[test]
fn a_target_without_a_key_is_unavailable_unless_it_needs_none() {
    let yaml = TUTORIAL.replace(
        "model_groups:",
        "    - {id: local, provider: openai-compatible, base_url: 'http://localhost:1'}\nmodel_groups:",
    );
    let plan = plan(&yaml, None, &[("OPENAI_API_KEY", "sk-hidden"), ("ANTHROPIC_API_KEY", "two\r\nlines")]);
    let keys: Vec<&str> = plan.targets.iter().map(|target| target.key.as_str()).collect();
    assert_eq!(keys, ["present", "missing", "none"]);
    assert_eq!(plan.targets[1].key, Credential::Missing);
    assert!(plan.targets[0].key.is_available() && !plan.targets[1].key.is_available());
    assert!(plan.targets[2].key.is_available());
    assert!(!format!("{plan:?}").contains("hidden") && !plan.to_json().contains("hidden"));
}

#[test]
fn clients_are_known_by_the_keys_that_are_found() {
    let yaml = "version: '1'\ngateway: {clients: [{name: a, key_ref: {env: A}}, {name: b, key_ref: {env: B}}]}\n";
    let with = |keys: &[(&str, &str)]| plan(yaml, None, keys).clients.expect("there are two");
    let clients = with(&[("A", "hidden-a"), ("B", "hidden-b")]);
    assert_eq!((clients.whose(b"hidden-a"), clients.whose(b"hidden-b"), clients.whose(b"")), (Some(0), Some(1), None));
    let clients = with(&[("B", "hidden-b")]);
    assert_eq!((clients.whose(b"hidden-a"), clients.whose(b"hidden-b")), (None, Some(1)));
    assert!(plan("version: '1'", None, &[]).clients.is_none());

    let file = check_one(yaml).file.expect("it is valid");
    let shared =
        Plan::resolve(&file, 1, None, &mut |_| Secret::new("hidden"), &mut || 1).expect_err("they share a key");
    assert!(!shared.to_string().contains("hidden"), "{shared}");
}

#[test]
fn a_model_of_exactly_one_arm_is_found_directly() {
    let yaml = "version: '1'\n\
                providers: {targets: [{id: a, provider: openai}]}\n\
                model_groups:\n\
                \x20 - {name: one, targets: [{provider: a, model: x, weight: 100}]}\n\
                \x20 - {name: two, targets: [{provider: a, model: y, weight: 50}, {provider: a, model: y, weight: 50, label: l}]}\n\
                \x20 - {name: three, targets: [{provider: a, model: x, weight: 50}, {provider: a, model: z, weight: 50}]}\n";
    let plan = plan(yaml, None, &[]);
    assert_eq!(plan.arm_by_model.len(), 1);
    assert_eq!(plan.arm_by_model["z"], (2, 1));
}

#[test]
fn a_reload_keeps_the_place_of_a_group_that_is_the_same_experiment() {
    let first = plan(TUTORIAL, None, &[]);
    let commented = format!("# a comment\n{TUTORIAL}gateway: {{limits: {{head_ms: 1}}}}\n");
    let second = plan(&commented, Some(&first), &[("OPENAI_API_KEY", "sk-1")]);
    assert!(Arc::ptr_eq(&first.groups[0].place, &second.groups[0].place));
    assert_ne!(first.version.digest, second.version.digest);
    assert_eq!(second.version.ordinal, 2);

    // Each of these is another experiment.
    for (from, to) in [
        ("weight: 70", "weight: 71"),
        ("model: gpt-4o", "model: gpt-4o-mini"),
        ("name: quality-ab-test", "name: other"),
        ("        weight: 70", "        weight: 70\n        label: x"),
        ("      provider: openai\n", "      provider: openai\n      base_url: http://localhost\n"),
        ("action: flag", "action: block"),
        ("threshold: medium", "threshold: low"),
        ("- hate", "- violence"),
        ("name: basic-filter", "name: basic"),
        ("  - name: basic-filter\n", "  - name: basic-filter\n    applies_to: [nothing]\n"),
        ("strategy: weighted", "strategy: round_robin"),
        ("strategy: weighted", "strategy: weighted\n    salt: s"),
        ("strategy: weighted", "strategy: weighted\n    assign_by: {body: user}"),
        ("strategy: weighted", "strategy: weighted\n    assign_by: {header: user}"),
    ] {
        let yaml = TUTORIAL.replacen(from, to, 1);
        let yaml = yaml.replace(
            "policies:",
            "  - {name: nothing, targets: [{provider: openai, model: m, weight: 100}]}\npolicies:",
        );
        let changed = plan(&yaml, Some(&second), &[]);
        assert_ne!(changed.groups[0].epoch, second.groups[0].epoch, "{to}");
        assert!(!Arc::ptr_eq(&changed.groups[0].place, &second.groups[0].place), "{to}");
        assert_eq!(changed.groups[0].place.key(), 3, "a fresh key is drawn");
    }
    assert_eq!(
        &*first.groups[0].epoch, "bb41e35897424863",
        "an epoch outlives the process: its encoding must not change"
    );
}

#[test]
fn neither_the_order_of_arms_nor_what_is_analysed_is_another_experiment() {
    let first = plan(TUTORIAL, None, &[]);
    let (before, arms) = TUTORIAL.split_once("    targets:\n      - provider: openai\n").expect("the group's targets");
    let (_, arms) = arms.split_once("      - provider: anthropic\n").expect("its second arm");
    let (anthropic, after) = arms.split_once("policies:").expect("what follows");
    let turned = format!(
        "{before}    experiment: {{primary: \"ttft:p50\"}}\n    targets:\n      - provider: anthropic\n{anthropic}      \
         - {{provider: openai, model: gpt-4o, weight: 70, pricing: {{input: 1}}}}\npolicies:{after}"
    );
    let second = plan(&turned, Some(&first), &[]);
    let (one, other) = (&first.groups[0], &second.groups[0]);
    assert_eq!((&one.epoch, &one.arms[0].name), (&other.epoch, &other.arms[1].name));
    assert!(Arc::ptr_eq(&one.place, &other.place));
    // And what is drawn next is the same arm, wherever it stands in the file.
    let mut drawer = crate::route::Drawer::default();
    let mut draw = |group: &Group| group.arms[drawer.draw(0, group).arm].name.clone();
    let mixed: Vec<_> = (0..5).flat_map(|_| [draw(one), draw(other)]).collect();
    assert_eq!(mixed.iter().filter(|name| name.starts_with("openai")).count(), 7);
}

#[test]
fn an_arm_is_priced_by_itself_or_its_target_or_the_table() {
    let yaml = "version: '1'\n\
                providers:\n  targets:\n\
                \x20   - {id: a, provider: openai, pricing: {input: 1, output: 2.5}}\n\
                \x20   - {id: b, provider: anthropic}\n\
                \x20   - {id: c, provider: openai-compatible, base_url: 'http://localhost'}\n\
                model_groups:\n  - name: g\n    targets:\n\
                \x20     - {provider: a, model: gpt-4o, weight: 20, pricing: {input: 7}}\n\
                \x20     - {provider: a, model: gpt-4o, weight: 20, label: target}\n\
                \x20     - {provider: b, model: claude-sonnet-4-20250514, weight: 20}\n\
                \x20     - {provider: b, model: claude-nobody-knows, weight: 20}\n\
                \x20     - {provider: c, model: gpt-4o, weight: 20}\n";
    let plan = plan(yaml, None, &[]);
    let priced = |arm: usize| {
        let pricing = plan.groups[0].arms[arm].pricing.as_ref()?;
        Some((pricing.source, pricing.prices.of(Kind::Input)?, pricing.prices.of(Kind::Output)))
    };
    assert_eq!(priced(0), Some((PriceSource::Config, 7_000_000, None)), "its own prices, and no others");
    assert_eq!(priced(1), Some((PriceSource::Config, 1_000_000, Some(2_500_000))));
    assert_eq!(priced(2), Some((PriceSource::Table, 3_000_000, Some(15_000_000))));
    assert_eq!((priced(3), priced(4)), (None, None));
}

#[test]
fn weights_are_reduced_to_the_smallest_block() {
    let cases: &[(&[u32], &[u32])] = &[
        (&[70, 30], &[7, 3]),
        (&[100], &[1]),
        (&[0, 100], &[0, 1]),
        (&[50, 50], &[1, 1]),
        (&[33, 33, 34], &[33, 33, 34]),
        (&[999, 1], &[999, 1]),
        (&[1_000_000, 1_000_000], &[1, 1]),
        (&[1_000, 1], &[999, 1]),
        (&[9_999, 1], &[1_000, 0]),
        (&[1_000, 1_000, 1_001], &[333, 333, 334]),
        (&[1_001, 1_001, 1_000], &[334, 333, 333]),
        (&[0, 0], &[0, 0]),
        (&[], &[]),
    ];
    for &(weights, slots) in cases {
        assert_eq!(*reduce(weights), *slots, "{weights:?}");
    }
    // More arms than slots, each as heavy as can be: the sum passes 32 bits.
    let crowd = reduce(&[vec![1_000_000; 5_000], vec![999_999]].concat());
    assert_eq!((crowd.iter().sum::<u32>(), crowd.iter().max()), (1_000, Some(&1)));
}

#[test]
fn a_plan_prints_without_secrets() {
    let yaml = TUTORIAL.replace("action: flag", "action: flag\n    applies_to: [quality-ab-test]");
    let clients =
        "gateway: {clients: [{name: a, key_ref: {env: A}}, {name: b, key_ref: {env: B}}], tls: {cert: c, key: k}}";
    let json = plan(&format!("{yaml}{clients}\n"), None, &[("OPENAI_API_KEY", "sk-1"), ("B", "sk-2")]).to_json();
    let (head, limits) = json.split_once(",\"limits\":").expect("limits come last");
    let expected = concat!(
        r#""targets":[{"id":"openai","provider":"openai","base_url":"https://api.openai.com","key":"present"},"#,
        r#"{"id":"anthropic","provider":"anthropic","base_url":"https://api.anthropic.com","key":"missing"}],"#,
        r#""model_groups":[{"name":"quality-ab-test","epoch":"bb41e35897424863","strategy":"weighted","block":[7,3],"targets":["#,
        r#"{"arm":"openai/gpt-4o","target_id":"openai","provider":"openai","model":"gpt-4o","share":"70%","price_source":"table","price_version":"2025-11-01","weight":70,"propensity":0.7},"#,
        r#"{"arm":"anthropic/claude-sonnet-4-20250514","target_id":"anthropic","provider":"anthropic","model":"claude-sonnet-4-20250514","share":"30%","price_source":"table","price_version":"2026-07-26","weight":30,"propensity":0.3}]}],"#,
        r#""policies":[{"name":"basic-filter","type":"content_filter","action":"flag","on":"request","applies_to":["quality-ab-test"],"categories":["hate"],"threshold":"medium","mode":"realtime"}],"#,
        r#""clients":[{"name":"a","key":"missing"},{"name":"b","key":"present"}],"tls":true"#,
    );
    assert_eq!(head.split_once(',').map(|(_, rest)| rest), Some(expected));
    assert!(limits.starts_with(r#"{"head_bytes_max":65536,"#), "{limits}");
    assert!(plan(TUTORIAL, None, &[]).to_json().contains(r#","clients":null,"tls":false,"limits":{"#));
}

#[test]
fn invalid_yaml_of_the_test_suite_is_never_accepted() {
    let Some(corpus) = std::env::var_os("KT_CORPUS") else {
        eprintln!("SKIPPED: KT_CORPUS names no corpus");
        return;
    };
    let path = std::path::Path::new(&corpus).join("config/yaml-test-suite.jsonl");
    let suite = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut valid, mut refused) = (0, Vec::new());
    for line in suite.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        use simd_json::prelude::*;
        let case = simd_json::to_owned_value(&mut line.to_vec()).expect("each line is JSON");
        let field = |key: &str| case.get_str(key).expect("each case has it").to_owned();
        // As a whole and torn: nothing may panic.
        let yaml = field("yaml");
        for end in (0..yaml.len()).step_by(5).filter(|&end| yaml.is_char_boundary(end)) {
            check_one(&yaml[..end]).error_report();
        }
        let accepted = tree::read(0, yaml.as_bytes()).is_ok();
        match field("expect").as_str() {
            "reject" => assert!(!accepted, "{}: {yaml:?}", field("id")),
            _ if accepted => valid += 1,
            _ => refused.push(field("id")),
        }
    }
    // What is valid and refused: several documents, none, custom tags, keys that are no text, and the like.
    assert!(valid > 100, "{valid} accepted; refused {refused:?}");
}

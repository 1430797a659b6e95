//! `kt policy lint`, and the command line's own refusals: what is printed where, and the exit codes that scripts rely on.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{Json, Output, State, json, kt};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policy-config.yaml");

/// The tutorial's file, word for word.
const TUTORIAL: &str = "version: '1'
providers:
  targets:
    - id: openai
      provider: openai
      secret_key_ref:
        env: OPENAI_API_KEY
    - id: anthropic
      provider: anthropic
      secret_key_ref:
        env: ANTHROPIC_API_KEY
model_groups:
  - name: quality-ab-test
    strategy: weighted
    targets:
      - provider: openai
        model: gpt-4o
        weight: 70
      - provider: anthropic
        model: claude-sonnet-4-20250514
        weight: 30
policies:
  - name: basic-filter
    type: content_filter
    action: flag
    config:
      categories:
        - hate
      threshold: medium
";

const SUMMARY: &str = "✓ Configuration is valid
Providers: 2 (openai, anthropic)
Model groups: 1 (quality-ab-test)
Policies: 1 (basic-filter)
";

/// Lints files of these contents, called `0.yaml` and so on.
fn lint(files: &[&[u8]], flags: &[&str]) -> Output {
    let state = State::new();
    let mut args = vec!["policy".to_owned(), "lint".to_owned()];
    args.extend(flags.iter().map(ToString::to_string));
    for (number, bytes) in files.iter().enumerate() {
        let path = state.write(&format!("{number}.yaml"), bytes);
        args.extend(["--file".to_owned(), path.to_str().expect("UTF-8").to_owned()]);
    }
    let output = kt(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let root = format!("{}/", state.root().display());
    Output { code: output.code, stdout: output.stdout.replace(&root, ""), stderr: output.stderr.replace(&root, "") }
}

fn lint_json(files: &[&[u8]]) -> (Option<i32>, Json) {
    let output = lint(files, &["--json"]);
    assert_eq!((output.stderr.as_str(), output.stdout.matches('\n').count()), ("", 1), "{output:?}");
    (output.code, json(output.stdout))
}

#[test]
fn the_example_is_the_tutorials_file_and_valid_as_it_stands() {
    assert_eq!(fs::read_to_string(EXAMPLE).expect("it is there"), TUTORIAL);
    let output = kt(&["policy", "lint", "--file", EXAMPLE]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (Some(0), SUMMARY, ""));
}

#[test]
fn warnings_are_an_exit_code_of_their_own() {
    let weights = TUTORIAL.replace("weight: 70", "weight: 60");
    let output = lint(&[weights.as_bytes()], &[]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), SUMMARY));
    assert_eq!(
        output.stderr,
        "⚠ Configuration warning at line 15:
model_groups[0].targets: the weights sum to 90, not 100; the shares are gpt-4o (66.7%) / claude-sonnet-4-20250514 (33.3%)
  --> 0.yaml:15:5
   |
15 |     targets:
   |     ^^^^^^^
"
    );
    let spare = "    - {id: spare, provider: openai-compatible, base_url: 'http://x', secret_key_ref: {env: X}}\n";
    let unused = TUTORIAL.replace("model_groups:\n", &format!("{spare}model_groups:\n"));
    let (code, said) = lint_json(&[unused.as_bytes()]);
    assert_eq!((code, said.is("valid"), said.text("warnings.0.code")), (Some(2), true, "W101".to_owned()), "{said:?}");
    assert!(said.text("warnings.0.message").contains("spare"), "{said:?}");
}

#[test]
fn a_section_that_the_file_has_not_has_no_line() {
    let output = lint(&[b"version: '1'\n"], &[]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "✓ Configuration is valid\n"), "{output:?}");
}

const WRONG: &str = "version: '1'
providers:
  targets:
    - id: openai
      provider: antropic
      secret_key_ref:
        env: OPENAI_API_KEY
    - id: openai
      provider: openai
      secret_key_ref: sk-very-secret
model_groups:
  - name: ab
    strategy: weihgted
    targets:
      - provider: openai
        model: gpt-4o
        weight: -5
gatway:
  cores: 2
";

#[test]
fn all_errors_are_said_at_once_each_with_its_place() {
    let output = lint(&[WRONG.as_bytes()], &[]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        output.stderr,
        r#"✗ Configuration error at line 5:
providers.targets[0].provider: unknown provider "antropic" — did you mean "anthropic"?
 --> 0.yaml:5:17
  |
5 |       provider: antropic
  |                 ^^^^^^^^

✗ Configuration error at line 8:
providers.targets[1].id: duplicate target id "openai"; the first one is at line 4, column 11
 --> 0.yaml:8:11
  |
8 |     - id: openai
  |           ^^^^^^

✗ Configuration error at line 10:
providers.targets[1].secret_key_ref: must be a map — write env: NAME, the variable that holds the key, or file: PATH
  --> 0.yaml:10:23
   |
10 |       secret_key_ref: …
   |                       ^

✗ Configuration error at line 13:
model_groups[0].strategy: unknown strategy "weihgted" — did you mean "weighted"?
  --> 0.yaml:13:15
   |
13 |     strategy: weihgted
   |               ^^^^^^^^

✗ Configuration error at line 17:
model_groups[0].targets[0].weight: must be 0 to 1000000, not -5
  --> 0.yaml:17:17
   |
17 |         weight: -5
   |                 ^^

✗ Configuration error at line 18:
gatway: unknown key "gatway" — did you mean "gateway"?
  --> 0.yaml:18:1
   |
18 | gatway:
   | ^^^^^^
"#
    );
}

#[test]
fn programs_get_the_same_as_json() {
    let (code, said) = lint_json(&[WRONG.as_bytes()]);
    assert_eq!((code, said.is("valid"), said.items("warnings").len()), (Some(1), false, 0));
    assert_eq!(said.names(), ["errors", "file", "valid", "warnings"]);
    assert!(said.text("file").ends_with("0.yaml"));
    let errors = said.items("errors");
    assert_eq!(errors.len(), 6);
    assert_eq!(errors[0].names(), ["code", "column", "line", "message", "path", "suggestion"]);
    assert_eq!((errors[0].text("path"), errors[0].count("line")), ("providers.targets[0].provider".to_owned(), 5));
    assert_eq!((errors[0].count("column"), errors[0].text("code")), (17, "E001".to_owned()));
    assert_eq!(errors[0].text("message"), "unknown provider \"antropic\"");
    assert_eq!(errors[0].text("suggestion"), "did you mean \"anthropic\"?");
    assert!(errors[1].is_null("suggestion"));

    let (code, said) = lint_json(&[TUTORIAL.as_bytes()]);
    assert_eq!((code, said.is("valid"), said.items("errors").len()), (Some(0), true, 0));
}

#[test]
fn later_files_are_laid_over_earlier_ones() {
    let over = b"model_groups:
  - name: quality-ab-test
    strategy: weighted
    targets:
      - {provider: openai, model: gpt-4o-mini, weight: 100}
  - name: other
    strategy: weighted
    targets:
      - {provider: anthropic, model: claude-x, weight: 1}
      - {provider: nobody, model: x, weight: 99}
";
    let (code, said) = lint_json(&[TUTORIAL.as_bytes(), over]);
    assert_eq!((code, said.items("file").len()), (Some(1), 2));
    assert_eq!(said.items("errors").len(), 1, "{said:?}");
    assert!(said.text("errors.0.file").ends_with("1.yaml"), "the place is the one of its own file: {said:?}");
    assert_eq!((said.count("errors.0.line"), said.text("errors.0.code")), (10, "E041".to_owned()));

    let valid = String::from_utf8_lossy(over).replace("nobody", "openai");
    let output = lint(&[TUTORIAL.as_bytes(), valid.as_bytes()], &[]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    assert_eq!(output.stdout, SUMMARY.replace("1 (quality-ab-test)", "2 (quality-ab-test, other)"));
}

/// What one error of each kind is found as: its code and the path.
#[test]
fn everything_that_can_be_wrong_is_found() {
    let swap = |from: &str, to: &str| {
        assert!(TUTORIAL.contains(from), "{from}");
        TUTORIAL.replacen(from, to, 1).into_bytes()
    };
    let cases: &[(&str, Vec<u8>, &str, &str)] = &[
        ("empty", b"".to_vec(), "E013", ""),
        ("comment only", b"# nothing\n".to_vec(), "E013", ""),
        ("not UTF-8", b"version: '\xff'\n".to_vec(), "E011", ""),
        ("NUL", b"version: '1'\0\n".to_vec(), "E012", ""),
        ("syntax", b"version: '1'\nproviders: [\n".to_vec(), "E014", ""),
        ("tab", swap("    - id: openai", "\t- id: openai"), "E014", ""),
        ("two documents", swap("policies:", "---\npolicies:"), "E015", ""),
        ("duplicate key", swap("strategy: weighted", "strategy: weighted\n    strategy: weighted"), "E018", ""),
        ("too large", [TUTORIAL.as_bytes(), &b"# padding\n".repeat(110_000)].concat(), "E010", ""),
        ("alias bomb", bomb(), "E019", ""),
        ("too deep", format!("version: {}{}", "[".repeat(30), "]".repeat(30)).into_bytes(), "E020", ""),
        ("far too deep", format!("version: {}{}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes(), "E020", ""),
        ("unknown key", swap("strategy:", "stratgy:"), "E002", "model_groups[0].stratgy"),
        ("no version", swap("version: '1'\n", ""), "E031", "version"),
        ("no model", swap("        model: gpt-4o\n", ""), "E031", "model_groups[0].targets[0].model"),
        ("wrong type", swap("weight: 70", "weight: many"), "E030", "model_groups[0].targets[0].weight"),
        ("strategy", swap("strategy: weighted", "strategy: rnd"), "E001", "model_groups[0].strategy"),
        ("policy type", swap("content_filter", "content_filtr"), "E001", "policies[0].type"),
        ("action", swap("action: flag", "action: warn"), "E001", "policies[0].action"),
        ("category", swap("- hate", "- hat"), "E001", "policies[0].config.categories[0]"),
        ("threshold", swap("threshold: medium", "threshold: mid"), "E001", "policies[0].config.threshold"),
        ("duplicate id", swap("- id: anthropic", "- id: openai"), "E040", "providers.targets[1].id"),
        (
            "duplicate arm",
            swap(
                "provider: anthropic\n        model: claude-sonnet-4-20250514",
                "provider: openai\n        model: gpt-4o",
            ),
            "E040",
            "model_groups[0].targets[1]",
        ),
        (
            "no target",
            swap("provider: openai\n        model", "provider: x\n        model"),
            "E041",
            "model_groups[0].targets[0].provider",
        ),
        ("negative", swap("weight: 70", "weight: -1"), "E032", "model_groups[0].targets[0].weight"),
        ("too heavy", swap("weight: 70", "weight: 1000001"), "E032", "model_groups[0].targets[0].weight"),
        ("not whole", swap("weight: 70", "weight: 70.5"), "E033", "model_groups[0].targets[0].weight"),
        (
            "all zero",
            TUTORIAL.replace("weight: 70", "weight: 0").replace("weight: 30", "weight: 0").into_bytes(),
            "E043",
            "model_groups[0].targets",
        ),
        (
            "no targets",
            b"version: '1'\nmodel_groups:\n  - {name: a, strategy: weighted, targets: []}\n".to_vec(),
            "E035",
            "model_groups[0].targets",
        ),
    ];
    for (name, bytes, code, path) in cases {
        let began = Instant::now();
        let (exit, said) = lint_json(&[bytes]);
        assert!(began.elapsed() < Duration::from_secs(5), "{name} took {:?}", began.elapsed());
        let errors = said.items("errors");
        assert!(!errors.is_empty(), "{name}: {said:?}");
        let found: Vec<_> = errors.iter().map(|error| (error.text("code"), error.text("path"))).collect();
        assert!(
            found.iter().any(|(c, p)| c == code && p.starts_with(path)) && exit == Some(1),
            "{name}: {found:?} instead of {code} at {path}"
        );
    }
}

/// 9 levels of 9 aliases each: half a kilobyte that stands for 387 million nodes.
fn bomb() -> Vec<u8> {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", ")));
    }
    text.into_bytes()
}

#[test]
fn a_complaint_never_repeats_a_key() {
    for (from, to) in [
        ("secret_key_ref:\n        env: OPENAI_API_KEY", "secret_key_ref: sk-very-secret"),
        ("env: OPENAI_API_KEY", "env: sk-very-secret"),
        ("env: OPENAI_API_KEY", "key: sk-very-secret"),
        ("env: OPENAI_API_KEY", "env: [sk-very-secret]"),
    ] {
        let bytes = TUTORIAL.replace(from, to).into_bytes();
        for flags in [&[][..], &["--json"]] {
            let output = lint(&[&bytes], flags);
            assert_eq!(output.code, Some(1), "{output:?}");
            assert!(!format!("{output:?}").contains("very-secret"), "{output:?}");
        }
    }
}

#[test]
fn a_file_that_can_not_be_read_is_one_line() {
    let output = kt(&["policy", "lint", "--file", "/nowhere/policy-config.yaml"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        output.stderr,
        "error: cannot read /nowhere/policy-config.yaml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    for args in [
        &[][..],
        &["nonsense"],
        &["policy"],
        &["policy", "lint"],
        &["policy", "lint", "--file"],
        &["policy", "lint", "--fiel", "x"],
        &["gateway", "run", "--cores", "0"],
        &["gateway", "run", "--driver", "kqueue"],
        &["gateway", "run", "--port", "65536"],
        &["config", "reload", "now"],
        &["events", "tail", "--last", "-1"],
        &["events", "tail", "--json", "--format", "text"],
    ] {
        let output = kt(args);
        assert_eq!((output.code, output.stdout.as_str()), (Some(64), ""), "{args:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    for args in [
        &["--help"][..],
        &["--version"],
        &["policy", "lint", "--help"],
        &["gateway", "run", "--help"],
        &["config", "reload", "--help"],
        &["gateway", "reload", "--help"],
        &["events", "tail", "--help"],
        &["stats", "--help"],
        &["demo", "--help"],
    ] {
        let output = kt(args);
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{args:?}: {output:?}");
    }
    for command in
        [&["policy", "lint"][..], &["gateway", "run"], &["config", "reload"], &["events", "tail"], &["stats"]]
    {
        let help = kt(&[command, &["--help"]].concat()).stdout;
        assert!(help.contains(&format!("  kt {}", command.join(" "))), "an example: {help}");
    }
}

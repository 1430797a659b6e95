//! The comparison as users run it, with the one peer that is always there: the pump, by itself and against itself.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use kt_core::config::plan::Driver;
use kt_proxy::rt::Engine;

fn compare(args: &[&str], record: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kt-lab"));
    command.arg("compare").args(args).arg("--record").arg(record);
    // Any program stands for a gateway that isn't measured.
    command.args(["--kt", "/bin/true"]).env_remove("CARGO");
    let output = command.output().expect("it can be run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_comparison_leaves_a_record_with_numbers_intervals_and_plots() {
    if let Err(refusal) = Engine::choose(Driver::IoUring) {
        let must_be_there = std::env::var("KT_NO_SKIP").unwrap_or_default();
        assert!(!must_be_there.split(',').any(|name| name.trim() == "io_uring"), "{refusal}");
        // Past the harness of cargo, which keeps what a passing test prints with `eprintln!`.
        let _ = io::Write::write_all(&mut io::stderr(), format!("SKIPPED: no pump, {refusal}\n").as_bytes());
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = ["--peers", "pump", "--cases", "1k,open,streams-20,idle", "--rounds", "1", "--seconds", "5"];
    let (code, said) = compare(&args, folder.path());
    assert_eq!(code, Some(0), "{said}");
    for heading in ["noise: pump against itself", "CPU µs/request", "CPU µs/event", "between p99.9", "wake-ups/s"] {
        assert!(said.contains(heading), "{heading}: {said}");
    }
    let record = fs::read_dir(folder.path()).expect("a folder").next().expect("a record").expect("its entry").path();
    let text = fs::read_to_string(record.join("record.json")).expect("it was written");
    let mut scratch = kt_core::json::Scratch::default();
    let json = kt_core::json::scan(text.trim().as_bytes(), &mut scratch).expect("it is JSON");
    let machine = json.value().path(&["machine", "kernel"]).and_then(kt_core::json::Value::to_str);
    assert!(machine.is_some_and(|kernel| !kernel.is_empty()), "{text}");
    for part in ["\"noise\": {\"cpu_us\": [", "\"pump\": [1", "\"between_p999_us\": [", "\"failed\": 0", "\"direct\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for file in ["tables.md", "1k.svg", "open.svg", "streams-20.svg", "idle.svg"] {
        assert!(record.join(file).exists(), "{file}");
    }
}

#[test]
fn who_and_what_is_not_there_is_said() {
    let nowhere = Path::new("-");
    let cases: [(&[&str], &str); 3] = [
        (&["--cases", "2k"], "there is no case 2k"),
        (&["--peers", "squid"], "there is no peer squid; there are pump, kt,"),
        (&["--peers", "rolter", "--peers-dir", "/nonexistent"], "not installed"),
    ];
    for (args, says) in cases {
        let (code, said) = compare(args, nowhere);
        assert!(code == Some(1) && said.contains(says), "{args:?}: {said}");
    }
}

#[test]
fn whoever_reads_no_further_ends_it_quietly() {
    let cases: [&[&str]; 2] = [&["compare", "--cases", "list"], &["load", "--seconds", "0.1", "--warm-up", "0"]];
    for args in cases {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kt-lab"));
        let output = command.args(args).stdout(writer).output().expect("it can be run");
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""), "{args:?}");
    }
}

//! The laws of the floors, as far as a program can check them. What each law is for stands in the crate's `lib.rs`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli lies in the workspace").to_owned()
}

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text without its tests, which are last by convention, line by line with numbers from 1.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        (1..).zip(self.text[..end].lines())
    }

    /// The same without comments and doc comments.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product_lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// All Rust files below a folder, but for those that exist only for tests (`#[cfg(test)] mod name;`).
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("its entries").path();
            if path.is_dir() && !path.ends_with("cases") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    let tests: Vec<String> = found.iter().flat_map(test_modules).collect();
    found.retain(|source| !tests.iter().any(|module| source.path.ends_with(module)));
    assert!(!found.is_empty(), "{folder} holds no source");
    found
}

/// The files of modules that `source` declares for tests only, as ends of paths.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.strip_suffix("/mod.rs").or_else(|| source.path.strip_suffix("/lib.rs")) {
        Some(folder) => folder.to_owned(),
        None => source.path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = source.text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
    let names = declared.filter_map(|pair| pair[1].trim().strip_prefix("mod ")?.strip_suffix(';'));
    names.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]).collect()
}

const FLOORS: [&str; 5] = ["core/src", "proxy/src", "perf/src", "cli/src", "benches"];

/// Fails with every offence at once.
fn forbid(offences: Vec<String>, law: &str) {
    assert!(offences.is_empty(), "{law}:\n  {}", offences.join("\n  "));
}

fn find<'s>(sources: &'s [Source], words: &'s [&str]) -> impl Iterator<Item = String> + 's {
    sources.iter().flat_map(move |source| {
        source.code_lines().filter_map(move |(number, line)| {
            let word = words.iter().find(|word| line.contains(**word))?;
            Some(format!("{}:{number}: {word}", source.path))
        })
    })
}

#[test]
fn core_opens_nothing_and_asks_neither_time_nor_chance() {
    let forbidden = [
        "monoio",
        "tokio",
        "io_uring::",
        "tracing::",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::fs",
        "std::env",
        "std::thread",
        "std::process",
        "std::io",
        "Instant::now",
        "SystemTime",
        "Rng::new()",
        "fastrand::u",
        "println!",
        "eprintln!",
        "async fn",
        ".await",
    ];
    let offences = find(&sources("core/src"), &forbidden).collect();
    forbid(offences, "core names no runtime, opens nothing, logs nothing, and takes now and dice as arguments");
}

#[test]
fn only_the_wall_names_the_runtime() {
    for floor in ["proxy/src", "perf/src", "cli/src"] {
        let mut walled = sources(floor);
        walled.retain(|source| source.path != "proxy/src/rt.rs");
        forbid(find(&walled, &["monoio::", "use monoio"]).collect(), "monoio is named in proxy/src/rt.rs alone");
    }
}

#[test]
fn unsafe_stands_only_where_a_crate_says_so() {
    let lib = |crate_folder: &str| fs::read_to_string(root().join(crate_folder).join("src/lib.rs")).expect("a lib.rs");
    assert!(lib("core").contains("#![forbid(unsafe_code)]"), "core forbids unsafe code");
    assert!(lib("proxy").contains("#![deny(unsafe_code)]"), "proxy denies unsafe code but where it is allowed by name");
    let mut offences = Vec::new();
    for floor in FLOORS {
        let crate_folder = floor.trim_end_matches("/src");
        for source in sources(floor) {
            let stem = Path::new(&source.path).file_stem().expect("a file").to_string_lossy().into_owned();
            let named = root().join(crate_folder).join("src/lib.rs").exists()
                && lib(crate_folder)
                    .lines()
                    .any(|line| line.contains("`unsafe`") && line.contains(&format!("[`{stem}`]")));
            let blocks =
                source.code_lines().filter(|(_, line)| line.contains("unsafe {") || line.contains("unsafe impl"));
            for (number, _) in blocks {
                let before: Vec<&str> = source.text.lines().take(number - 1).collect();
                let explained = before.iter().rev().take_while(|line| line.trim_start().starts_with("//"));
                if !named || !explained.into_iter().any(|line| line.contains("SAFETY:")) {
                    offences.push(format!("{}:{number}", source.path));
                }
            }
        }
    }
    forbid(offences, "unsafe code stands in files that lib.rs names, each with a SAFETY paragraph");
}

#[test]
fn no_floor_depends_on_one_above_it() {
    let manifest = |folder: &str| fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    let above = [("core", &["kt-proxy", "kt-lab", "kt."][..]), ("proxy", &["kt-lab", "kt."]), ("perf", &["kt."])];
    for (floor, forbidden) in above {
        let manifest = manifest(floor);
        let dependencies = manifest.split_once("[dependencies]").map_or("", |(_, rest)| rest);
        for name in forbidden {
            assert!(!dependencies.lines().any(|line| line.starts_with(name)), "{floor} depends on {name}");
        }
    }
}

#[test]
fn the_command_line_is_synchronous() {
    forbid(find(&sources("cli/src"), &["async ", ".await"]).collect(), "cli holds no async code");
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = FLOORS.iter().chain(&["tests/it"]).flat_map(|floor| sources(floor));
    let offences = all.filter(|source| !source.text.starts_with("//! ")).map(|source| source.path).collect();
    forbid(offences, "a file opens with //! and what it is for");
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TODO", "FIXME", "HACK:"];
    let all = || FLOORS.iter().chain(&["tests/it"]).flat_map(|floor| sources(floor));
    let mut offences = Vec::new();
    for source in all().filter(|source| !source.path.ends_with("tidy.rs")) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if marks.iter().any(|mark| line.contains(mark)) {
                offences.push(format!("{}:{number}", source.path));
            }
        }
    }
    forbid(offences, "what is not done is an issue, not a mark in the code");
}

#[test]
fn what_is_silenced_or_ignored_says_why() {
    let mut offences = Vec::new();
    for source in FLOORS.iter().flat_map(|floor| sources(floor)) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.product_lines() {
            let code = line.trim_start();
            let silences = code.starts_with("#[allow(") || code.starts_with("#[ignore") || code.starts_with("let _ = ");
            // One comment may speak for several lines.
            let mut above = lines[..number - 1].iter().rev().map(|line| line.trim_start());
            let before = above.find(|line| !line.starts_with("let _ = ")).unwrap_or_default();
            if silences && !line.contains("// ") && !line.contains("reason = ") && !before.starts_with("//") {
                offences.push(format!("{}:{number}: {code}", source.path));
            }
        }
    }
    forbid(offences, "#[allow], #[ignore] and `let _ =` carry their reason");
}

#[test]
fn every_fault_is_named_by_a_scenario() {
    let faults = fs::read_to_string(root().join("core/src/fault.rs")).expect("the faults");
    let kinds = faults.lines().filter_map(|line| line.split_once(" => \"")?.1.split_once("\", ")).map(|(kind, _)| kind);
    let kinds: Vec<&str> = kinds.collect();
    assert!(kinds.len() > 40, "the list of faults has moved: {kinds:?}");
    let mut named = String::new();
    for source in ["tests/it", "proxy/tests"].into_iter().flat_map(sources) {
        if !source.path.ends_with("tidy.rs") {
            named.push_str(&source.text);
        }
    }
    for cases in fs::read_dir(root().join("tests/cases")).expect("the cases") {
        let text = fs::read_to_string(cases.expect("a file").path()).expect("UTF-8");
        named.extend(text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]));
    }
    let words: HashSet<&str> = named.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let offences = kinds.into_iter().filter(|kind| !words.contains(kind)).map(str::to_owned).collect();
    forbid(offences, "every kind of fault of core/src/fault.rs is what some scenario ends in");
}

#[test]
fn no_name_says_nothing() {
    let mut offences = Vec::new();
    for source in FLOORS.iter().flat_map(|floor| sources(floor)) {
        let name = Path::new(&source.path).file_stem().expect("a file").to_string_lossy().into_owned();
        if ["util", "utils", "helper", "helpers", "manager", "misc", "common"].contains(&&*name) {
            offences.push(source.path.clone());
        }
        let getters = source.code_lines().filter(|(_, line)| line.contains("fn get_"));
        offences.extend(getters.map(|(number, _)| format!("{}:{number}: fn get_…", source.path)));
    }
    forbid(offences, "no util, helper or manager, and no get_ in front of a name");
}

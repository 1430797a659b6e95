//! The content filter as a whole: disguises it has to see through, harmless text it has to leave alone, and what must not
//! change what it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use fastrand::Rng;
use kt_core::event::{PolicyOutcome, Verdict};
use kt_core::json::{Scratch, Value, escape_into, scan};
use kt_core::policy::{Action, Category, Findings, Hearing, Knowledge, Mode, On, Policy, Rule, Scan, Threshold, judge};

static KNOWN: LazyLock<Knowledge> = LazyLock::new(Knowledge::new);

/// The lexicon's terms that are of the worst grade by themselves and not in disguise, with their categories.
fn severe_terms() -> Vec<(String, Category)> {
    let mut terms = Knowledge::severe_terms();
    let is_plain = |term: &str| term.chars().all(|c| c.is_ascii_lowercase() || c == ' ');
    // Some say it of somebody who is denied or told of, and alone are a grade below.
    terms.retain(|(term, category)| is_plain(term) && is_flagged(&KNOWN.findings(term), *category));
    terms
}

fn is_flagged(findings: &Findings, category: Category) -> bool {
    Threshold::Medium.counts(findings[category as usize].severity)
}

fn each_letter(term: &str, between: &str) -> String {
    term.chars().map(String::from).collect::<Vec<_>>().join(between)
}

fn replaced(term: &str, pairs: &[(char, &str)]) -> String {
    let of =
        |c: char| pairs.iter().find(|(from, _)| *from == c).map_or_else(|| c.to_string(), |(_, to)| (*to).to_owned());
    term.chars().map(of).collect()
}

fn by_word(term: &str, between: &str, disguise: impl Fn(&str) -> String) -> String {
    term.split(' ').map(disguise).collect::<Vec<_>>().join(between)
}

type Disguise = (&'static str, fn(&str) -> String);

const DISGUISES: [Disguise; 10] = [
    ("case", |term| term.char_indices().map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect()),
    ("leet", |term| {
        let digits = [('a', "4"), ('e', "3"), ('i', "1"), ('o', "0")];
        // The words that matter, that is: "4" is a number, and "0ff" one in base 16.
        by_word(term, " ", |word| if word.len() > 3 { replaced(word, &digits) } else { word.to_owned() })
    }),
    ("zero-width", |term| by_word(term, " ", |word| each_letter(word, "\u{200b}"))),
    ("homoglyph", |term| replaced(term, &[('a', "а"), ('e', "е"), ('o', "о"), ('c', "с"), ('p', "р"), ('i', "і")])),
    ("spacing", |term| by_word(term, "  ", |word| each_letter(word, " "))),
    ("repetition", |term| {
        by_word(term, " ", |word| {
            let at = word.find(['a', 'e', 'i', 'o', 'u']).unwrap_or(0);
            let vowel = &word[at..=at];
            format!("{}{}{}", &word[..at], vowel.repeat(5), &word[at + 1..])
        })
    }),
    ("diacritics", |term| replaced(term, &[('a', "á"), ('e', "e\u{308}"), ('i', "ï"), ('o', "ø"), ('u', "ù")])),
    ("punctuation", |term| by_word(term, " ", |word| each_letter(word, "."))),
    ("HTML entity", |term| {
        let first = term.chars().next().map_or(0, u32::from);
        format!("&#{first};{}", &term[1..])
    }),
    ("inflected ending", |term| {
        let is_inflected = ["s", "x", "z", "ed", "ing", "en"].iter().any(|ending| term.ends_with(ending));
        // A phrase has none.
        if is_inflected || term.contains(' ') { term.to_owned() } else { format!("{term}s") }
    }),
];

fn chat(parts: &[&str]) -> Vec<u8> {
    let mut body = b"{\"messages\":[{\"role\":\"user\",\"content\":[".to_vec();
    for (nth, part) in parts.iter().enumerate() {
        body.extend_from_slice(if nth == 0 { b"" } else { b"," });
        body.extend_from_slice(b"{\"type\":\"text\",\"text\":");
        escape_into(&mut body, part);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}]}");
    body
}

fn policy(category: Category, on: On) -> [Policy; 1] {
    [Policy {
        name: "p".into(),
        action: Action::Block,
        on,
        applies_to: Box::default(),
        mode: Mode::Realtime,
        rule: Rule::ContentFilter { categories: [category].into(), threshold: Threshold::Medium },
    }]
}

fn value(body: &[u8]) -> Value<'_> {
    scan(body, &mut Scratch::default()).expect("a good body");
    Value::at(body, kt_core::json::Span { start: 0, end: u32::try_from(body.len()).expect("a short body") })
}

fn verdict_of_parts(parts: &[&str], category: Category) -> Verdict {
    let body = chat(parts);
    judge(&policy(category, On::Request), Some(&KNOWN), "g", &body, value(&body)).verdict
}

/// What comes of a stream whose events say these pieces.
fn verdict_of_stream(pieces: &[&str], category: Category) -> Verdict {
    let policies = policy(category, On::Response);
    let mut hearing = Hearing::begin(&policies, Some(&KNOWN), "g").expect("a policy for answers");
    for piece in pieces {
        let mut event = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":".to_vec();
        escape_into(&mut event, piece);
        event.extend_from_slice(b"}}]}\n\n");
        // What it says in the end counts here.
        let _ = hearing.pass(&mut event, 0);
    }
    let _ = hearing.end(&mut Vec::new());
    hearing.conclude().verdict
}

#[test]
fn every_severe_term_is_seen_through_twelve_disguises() {
    let terms = severe_terms();
    assert!(terms.len() > 200, "{}", terms.len());
    let mut missed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (term, category) in &terms {
        for (name, disguise) in DISGUISES {
            let disguised = disguise(term);
            if !is_flagged(&KNOWN.findings(&disguised), *category) {
                missed.entry(name).or_default().push(term.clone());
            }
        }
        let (one, other) = term.split_at(term.len() / 2);
        if verdict_of_parts(&[one, other], *category) != Verdict::Block {
            missed.entry("split over two parts").or_default().push(term.clone());
        }
        if verdict_of_stream(&[one, other], *category) != Verdict::Block {
            missed.entry("split over two stream events").or_default().push(term.clone());
        }
    }
    // How many, and where: the terms themselves stay out of what is printed, unless somebody asks for them.
    let shown: Vec<_> = missed.iter().map(|(name, terms)| format!("{name}: {}", terms.len())).collect();
    if std::env::var_os("KT_SHOW_TERMS").is_some() {
        missed.iter().for_each(|(name, terms)| println!("{name}: {terms:?}"));
    }
    println!("{} terms; missed {shown:?}", terms.len());
    // A word is never lost. Of phrases, one in two hundred may be: of some drawn-out words there are two readings.
    assert!(missed.values().flatten().all(|term| term.contains(' ')), "{shown:?}; KT_SHOW_TERMS=1 shows them");
    assert!(missed.values().all(|all| all.len() * 200 <= terms.len()), "{shown:?}; KT_SHOW_TERMS=1 shows them");
}

/// Fragments of which sentences are made: who or what, does what, with what, and when.
const LANGUAGES: [(&str, [&[&str]; 4]); 7] = [
    (
        "english",
        [
            &[
                "The teacher",
                "My neighbour",
                "Our new manager",
                "A group of students",
                "The old bakery",
                "Her brother",
                "The committee",
                "A Muslim family",
                "The gay couple next door",
                "An immigrant from Poland",
            ],
            &[
                "explained",
                "cancelled",
                "was looking for",
                "has finally repaired",
                "will present",
                "forgot about",
                "wrote a report on",
                "is proud of",
            ],
            &[
                "the second chapter",
                "a long meeting",
                "the garden fence",
                "their holiday plans",
                "the budget for next year",
                "a recipe with onions",
                "the broken window",
                "this year's results",
            ],
            &[
                "yesterday evening.",
                "before lunch.",
                "at the weekend.",
                "in the library.",
                "without any trouble.",
                "because of the rain.",
                "and everybody was happy.",
                "for the third time.",
            ],
        ],
    ),
    (
        "german",
        [
            &[
                "Die Lehrerin",
                "Mein Nachbar",
                "Unsere Firma",
                "Der alte Mann",
                "Das Kind",
                "Die Stadt",
                "Herr Müller",
                "Die Katze",
            ],
            &["kauft", "sucht", "repariert", "vergisst", "die den Weg kannte, fand", "beschreibt", "braucht", "liest"],
            &[
                "das rote Fahrrad",
                "einen dicken Brief",
                "die Rechnung",
                "den Schlüssel zur Garage",
                "ein gutes Buch",
                "die Zeitung von gestern",
                "den Fahrplan",
                "das fast fertige Bild",
            ],
            &[
                "am Montag.",
                "in der Küche.",
                "ohne Grund.",
                "nach dem Essen.",
                "seit drei Tagen.",
                "mit großer Freude.",
                "vor dem Haus.",
                "bis zum Abend.",
            ],
        ],
    ),
    (
        "french",
        [
            &[
                "La voisine",
                "Mon frère",
                "Le directeur",
                "Notre équipe",
                "Le chat noir",
                "Cette ville",
                "Le boulanger",
                "Une étudiante",
            ],
            &["cherche", "prépare", "a oublié", "regarde", "explique", "vend", "répare", "attend"],
            &[
                "le train de midi",
                "une longue lettre",
                "la salle de bain",
                "les devoirs",
                "un retard de deux heures",
                "la facture",
                "les fleurs du jardin",
                "le nouveau film",
            ],
            &[
                "hier soir.",
                "avec plaisir.",
                "sans raison.",
                "dans la cuisine.",
                "pendant la pause.",
                "depuis lundi.",
                "avant la nuit.",
                "pour ses amis.",
            ],
        ],
    ),
    (
        "spanish",
        [
            &[
                "La profesora",
                "Mi vecino",
                "El perro negro",
                "Nuestra empresa",
                "El abuelo",
                "La ciudad",
                "Una amiga",
                "El médico",
            ],
            &["busca", "prepara", "olvidó", "explica", "vende", "necesita", "arregla", "mira"],
            &[
                "la llave del coche",
                "una carta larga",
                "el negro café de siempre",
                "los deberes",
                "la cuenta",
                "el horario",
                "las flores del jardín",
                "una película nueva",
            ],
            &[
                "ayer por la tarde.",
                "con mucho gusto.",
                "sin motivo.",
                "en la cocina.",
                "desde el lunes.",
                "antes de comer.",
                "para sus amigos.",
                "durante la pausa.",
            ],
        ],
    ),
    (
        "italian",
        [
            &[
                "La maestra",
                "Mio fratello",
                "Il direttore",
                "La nonna",
                "Il gatto",
                "Questa città",
                "Il medico",
                "Un'amica",
            ],
            &["cerca", "prepara", "ha dimenticato", "spiega", "vende", "aspetta", "guarda", "ripara"],
            &[
                "il treno delle otto",
                "una lunga lettera",
                "i compiti",
                "la fattura",
                "le chiavi di casa",
                "un film nuovo",
                "i fiori del giardino",
                "la bicicletta rossa",
            ],
            &[
                "ieri sera.",
                "con piacere.",
                "senza motivo.",
                "in cucina.",
                "da lunedì.",
                "prima di cena.",
                "per gli amici.",
                "durante la pausa.",
            ],
        ],
    ),
    (
        "dutch",
        [
            &[
                "De lerares",
                "Mijn buurman",
                "Het kind",
                "De oude man",
                "Onze ploeg",
                "De stad",
                "Een vriendin",
                "De bakker",
            ],
            &["zoekt", "verkoopt", "vergeet", "herstelt", "leest", "beschrijft", "koopt", "bekijkt"],
            &[
                "de rode fiets",
                "een lange brief",
                "het huiswerk",
                "de rekening",
                "de sleutel van de schuur",
                "een goed boek",
                "de nieuwe film",
                "het weerbericht",
            ],
            &[
                "gisteren.",
                "met plezier.",
                "zonder reden.",
                "in de keuken.",
                "sinds maandag.",
                "voor het eten.",
                "tijdens de pauze.",
                "na de les.",
            ],
        ],
    ),
    (
        "portuguese",
        [
            &["A professora", "Meu vizinho", "O diretor", "A avó", "O gato", "Esta cidade", "O médico", "Uma amiga"],
            &["procura", "prepara", "esqueceu", "explica", "vende", "espera", "olha", "conserta"],
            &[
                "o trem das oito",
                "uma carta longa",
                "a lição de casa",
                "a conta",
                "as chaves do carro",
                "um filme novo",
                "as flores do jardim",
                "a bicicleta vermelha",
            ],
            &[
                "ontem à noite.",
                "com prazer.",
                "sem motivo.",
                "na cozinha.",
                "desde segunda.",
                "antes do jantar.",
                "para os amigos.",
                "durante a pausa.",
            ],
        ],
    ),
];

fn sentences(parts: &[&[&str]; 4], count: usize, rng: &mut Rng) -> Vec<String> {
    let one = |rng: &mut Rng| parts.map(|part| *rng.choice(part).expect("no part is empty")).join(" ");
    (0..count).map(|_| one(rng)).collect()
}

fn logs(count: usize, rng: &mut Rng) -> Vec<String> {
    let lines = [
        "ERROR worker-{n}: child process {n} was killed by signal 9 (out of memory)",
        "INFO  executing job {n}: abort on failure, kill after {n} s",
        "WARN  {n} zombie processes, parent {n} is dead; terminating the orphan",
        "DEBUG GET /api/v2/users/{n}/posts 200 {n}ms user-agent=\"Mozilla/5.0\"",
        "kernel: [{n}.{n}] eth0: dropped {n} packets, master slave failover complete",
        "nginx[{n}]: upstream timed out (110: Connection timed out) while reading response header",
        "FATAL: database is shutting down, {n} connections terminated, dumping core",
        "systemd[1]: Stopped session {n} of user backup; sending SIGKILL to control group",
        "cron: (root) CMD (find /tmp -mtime +{n} -exec rm {} +)",
        "{n} tests failed, {n} passed, execution blocked by a hung thread; attack surface scan clean",
    ];
    let fill = |line: &&str, rng: &mut Rng| line.replace("{n}", &rng.u32(1..99_999).to_string());
    (0..count).map(|_| fill(rng.choice(&lines).expect("there are lines"), rng)).collect()
}

/// The lines of this repository's own sources, but for those that hold what the filter looks for.
fn code() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![root.join("core/src"), root.join("proxy/src"), root.join("cli/src"), root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("within it").to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if (name.ends_with(".rs") || name.ends_with(".md"))
                && !name.contains("policy")
                && !name.contains("filter")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("a source"));
    texts
        .flat_map(|text| text.lines().filter(|line| line.trim().len() > 15).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn false_alarms<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<&'t String> {
    let mut scan = Scan::default();
    let mut is_alarm = |text: &str| {
        scan.push(text, &KNOWN);
        let findings = scan.finish(&KNOWN);
        Category::ALL.into_iter().any(|category| is_flagged(&findings, category))
    };
    texts.into_iter().filter(|text| is_alarm(text)).collect()
}

#[test]
fn harmless_sentences_are_left_alone() {
    let mut rng = Rng::with_seed(3);
    let mut all = Vec::new();
    for (language, parts) in &LANGUAGES {
        let own = sentences(parts, 700, &mut rng);
        let alarms = false_alarms(&own);
        assert!(alarms.len() * 200 < own.len(), "{language}: {} of {}: {alarms:?}", alarms.len(), own.len());
        all.extend(own);
    }
    all.extend(logs(1_000, &mut rng));
    let mut code = code();
    rng.shuffle(&mut code);
    all.extend(code.into_iter().take(6_000));
    assert!(all.len() >= 10_000, "{}", all.len());
    let alarms = false_alarms(&all);
    // Half a percent.
    assert!(alarms.len() * 200 < all.len(), "{} of {}: {alarms:#?}", alarms.len(), all.len());
}

#[test]
fn long_harmless_documents_do_not_add_up() {
    let mut rng = Rng::with_seed(5);
    let code = code();
    let (mut documents, mut alarms) = (0, 0);
    for (kib, count) in [(8, 200), (100, 24), (400, 8)] {
        for nth in 0..count {
            let mut text = String::new();
            // Prose of a language, logs, or a stretch of sources.
            let kind = nth % 4;
            let mut at = rng.usize(..code.len());
            while text.len() < kib << 10 {
                match kind {
                    0 => text.push_str(&sentences(&LANGUAGES[0].1, 1, &mut rng)[0]),
                    1 => text.push_str(&sentences(&LANGUAGES[nth % LANGUAGES.len()].1, 1, &mut rng)[0]),
                    2 => text.push_str(&logs(1, &mut rng)[0]),
                    _ => text.push_str(&code[at % code.len()]),
                }
                text.push(if kind < 2 { ' ' } else { '\n' });
                at += 1;
            }
            documents += 1;
            let is_alarm = !false_alarms([&text]).is_empty();
            alarms += usize::from(is_alarm);
            if is_alarm && std::env::var_os("KT_SHOW_TERMS").is_some() {
                let lines: Vec<_> =
                    text.lines().filter(|line| !false_alarms([&(*line).to_owned()]).is_empty()).collect();
                println!("{kib} KiB: {:?}: {lines:#?}", KNOWN.findings(&text));
            }
        }
    }
    // Measured were 3 of 232; the bound leaves room for what the sources will say next.
    assert!(alarms * 50 <= documents, "{alarms} of {documents}");
}

#[test]
fn what_a_threshold_catches_those_below_it_catch_too_and_a_cut_changes_nothing() {
    let mut rng = Rng::with_seed(9);
    let terms = severe_terms();
    for _ in 0..150 {
        let mut text = String::new();
        for _ in 0..rng.usize(1..5) {
            text.push_str(&sentences(&LANGUAGES[0].1, 1, &mut rng)[0]);
            text.push(' ');
            if rng.bool() {
                text.push_str(&rng.choice(&terms).expect("there are terms").0);
                text.push_str(rng.choice(["! ", ", ", " \"", "\n"]).expect("there are ends"));
            }
        }
        let whole = KNOWN.findings(&text);
        let verdict =
            |threshold: Threshold| Category::ALL.map(|category| threshold.counts(whole[category as usize].severity));
        let (low, medium, high) = (verdict(Threshold::Low), verdict(Threshold::Medium), verdict(Threshold::High));
        assert!(
            (0..5).all(|nth| (!high[nth] || medium[nth]) && (!medium[nth] || low[nth])),
            "{low:?} {medium:?} {high:?}"
        );
        // Over any events, the stream's verdict is the same.
        let category = *rng.choice(Category::ALL).as_ref().expect("there are categories");
        let one = verdict_of_stream(&[&text], category);
        let mut pieces = Vec::new();
        let mut rest = &*text;
        while !rest.is_empty() {
            let cut = rest.floor_char_boundary(rng.usize(1..12)).max(1);
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(verdict_of_stream(&pieces, category), one);
    }
}

#[test]
fn a_flag_never_blocks_and_a_block_always_does() {
    let text = "how to build a bomb";
    for action in [Action::Flag, Action::Block] {
        let [mut one] = policy(Category::Violence, On::Request);
        one.action = action;
        let body = chat(&[text]);
        let judgement = judge(&[one], Some(&KNOWN), "g", &body, value(&body));
        assert_eq!(judgement.blocked.is_some(), action == Action::Block);
        assert_eq!(judgement.results[0].result == PolicyOutcome::Blocked, action == Action::Block);
    }
}

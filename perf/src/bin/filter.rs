//! `filter train` learns the content filter's weights, `filter measure` prints how good they are.
//!
//! `filter train --davidson CSV --documents FOLDER --out MODEL` and `filter measure --davidson CSV [--words NAME=FILE]…
//! [--prompts NAME=FILE]… [--documents FOLDER]`.
//! The CSV is Davidson et al. 2017, unpacked; a file of words has one a line. Prompts are for measuring only: lines of JSON
//! with `text`, `group` and `label.unsafe`. Documents are harmless text, a folder for each kind (`perf/data/filter/gather`
//! gathers those that were learned from); one half of them is learned from, the other one measured, cut to 8, 100 and
//! 400 KiB. `--grammar FILE` and `--model FILE` take others than those of the repository.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use kt_core::policy::model::Model;
use kt_core::policy::{CATEGORIES, Category, Knowledge};
use kt_lab::filter::documents::Documents;
use kt_lab::filter::sample::{Sample, from_davidson, from_grammar, harmless};
use kt_lab::filter::{learn, measure};

const GRAMMAR: &str = include_str!("../../data/filter/grammar.txt");
/// Lines of this repository's own sources and documents.
const HARMLESS: &str = include_str!("../../data/filter/harmless.txt");
/// Of each half of a folder of documents, so that none of them outweighs the others.
const DOCUMENTS_BYTES_MAX: usize = 16 << 20;
/// From which the grammar's sentences are drawn.
const SEED: u64 = 7;
/// Of the safe texts kept aside, how many may count at `medium`.
const FALSE_ALARMS: f32 = 0.02;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("filter: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Vec<String>) -> Result<(), String> {
    let (command, options) = args.split_first().ok_or("say train or measure")?;
    let mut samples = harmless(HARMLESS);
    let (mut grammar, mut known) = (GRAMMAR.to_owned(), Knowledge::new());
    let (mut out, mut lists, mut prompts, mut documents) = (None, Vec::new(), Vec::new(), Vec::new());
    for pair in options.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} wants a value", pair[0])) };
        match name.as_str() {
            "--davidson" => samples.extend(from_davidson(&read(value)?)),
            "--out" => out = Some(value),
            "--grammar" => grammar = read(value)?,
            "--model" => {
                let bytes = fs::read(value).map_err(|error| format!("{value}: {error}"))?;
                known = Knowledge::with_model(Model::read(&bytes).ok_or("--model wants weights")?);
            }
            "--words" => {
                let (name, file) = value.split_once('=').ok_or("--words wants NAME=FILE")?;
                lists.push((name.to_owned(), read(file)?.to_lowercase()));
            }
            "--prompts" => {
                let (name, file) = value.split_once('=').ok_or("--prompts wants NAME=FILE")?;
                prompts.push((name.to_owned(), measure::read_prompts(&read(file)?)?));
            }
            "--documents" => {
                documents.extend(Documents::read_all(Path::new(value), DOCUMENTS_BYTES_MAX)?);
            }
            _ => return Err(format!("unknown option {name}")),
        }
    }
    // First, as ever: the order is part of what is learned.
    samples.splice(0..0, from_grammar(&grammar, SEED));
    match command.as_str() {
        "train" => {
            fs::write(out.ok_or("train wants --out")?, train(&samples, &documents)).map_err(|error| error.to_string())
        }
        "measure" => {
            print!("{}", measure::table(&samples, &known, &lists));
            for (name, prompts) in &prompts {
                print!("\n{}", measure::table_of_prompts(name, prompts, &known));
            }
            for (name, documents) in &documents {
                let texts = documents.aside.join("\n");
                print!("\n{}", measure::table_of_documents(name, &texts, &known));
                print!("\n{}", measure::table_of_buried(&samples, &texts, &known));
            }
            Ok(())
        }
        _ => Err(format!("unknown command {command}")),
    }
}

fn read(file: &str) -> Result<String, String> {
    let bytes = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn train(samples: &[Sample], documents: &[(String, Documents)]) -> Vec<u8> {
    let known = Knowledge::new();
    let harmless: Vec<String> = documents.iter().flat_map(|(_, documents)| documents.learned.clone()).collect();
    let (weights, biases) = learn::learn(samples, &harmless, &known);
    let model = Model::quantised(&weights, biases);
    // Tweets know one category, and not the one that most texts are.
    let aside: Vec<Sample> = samples.iter().filter(|sample| sample.aside && sample.weight > 0.4).cloned().collect();
    let shifts = learn::calibrate(&model, &aside, &known, FALSE_ALARMS);
    let biases: [f32; CATEGORIES] = std::array::from_fn(|category| biases[category] + shifts[category]);
    let eight_bits = Model::quantised(&weights, biases);
    println!("| average precision | eight bits | 32 bits |\n|---|---|---|");
    for category in Category::ALL {
        let of = |logits: &dyn Fn(&Sample) -> [f32; CATEGORIES]| {
            let nth = category as usize;
            let labelled = samples.iter().filter(|sample| sample.aside);
            let scored = labelled.filter_map(|sample| Some((logits(sample)[nth], sample.labels[nth]?))).collect();
            measure::average_precision(scored)
        };
        let short = of(&|sample| learn::logits(&eight_bits, sample, &known));
        let long = of(&|sample| learn::logits_of(&weights, &biases, sample, &known));
        println!("| {} | {short:.4} | {long:.4} |", category.as_str());
    }
    eight_bits.write()
}

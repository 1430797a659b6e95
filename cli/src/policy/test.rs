//! `kt policy test`: cases held against a config's policies, by the code that judges requests.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use kt_core::config::plan::Plan;
use kt_core::json::{Scratch, Span, Value, scan};
use kt_core::policy::judge;
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::args::TestArgs;
use crate::exit::Exit;

/// What came of a case, or what is wanted of it.
struct Outcome {
    verdict: Option<String>,
    policy: Option<String>,
    category: Option<String>,
}

/// Judges every case and prints what came of it.
pub(crate) fn test(args: &TestArgs) -> anyhow::Result<Exit> {
    let plan = super::plan(&args.files)?;
    let mut out = io::stdout().lock();
    let (mut passed, mut failed) = (0, 0);
    for file in &args.cases {
        for case in read_cases(file)? {
            let name = case.get_str("name").unwrap_or("(no name)").to_owned();
            let wanted = Outcome::of(case.get("expect").unwrap_or(&OwnedValue::null()));
            let got = judged(&plan, &case).with_context(|| format!("{}: {name}", file.display()))?;
            let differences = wanted.differences(&got);
            if args.json {
                writeln!(out, "{}", got.to_json(&name, differences.is_empty()))?;
            } else {
                writeln!(out, "{} {name}", if differences.is_empty() { "✓" } else { "✗" })?;
                for difference in &differences {
                    writeln!(out, "    {difference}")?;
                }
            }
            *(if differences.is_empty() { &mut passed } else { &mut failed }) += 1;
        }
    }
    if !args.json {
        writeln!(out, "{passed} passed, {failed} failed")?;
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Error })
}

fn read_cases(file: &Path) -> anyhow::Result<Vec<OwnedValue>> {
    let what = || format!("cannot read {}", file.display());
    let mut bytes = fs::read(file).with_context(what)?;
    if bytes.trim_ascii_start().starts_with(b"[") {
        let all = simd_json::to_owned_value(&mut bytes).with_context(what)?;
        return all.into_array().ok_or_else(|| anyhow!("{}: no list", file.display()));
    }
    let lines = bytes.split_mut(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| simd_json::to_owned_value(line).with_context(what)).collect()
}

fn judged(plan: &Plan, case: &OwnedValue) -> anyhow::Result<Outcome> {
    let input = case.get("input").ok_or_else(|| anyhow!("a case needs an input"))?;
    let body = match input {
        OwnedValue::String(text) => {
            let text = OwnedValue::from(text.clone()).encode();
            format!(r#"{{"messages":[{{"role":"user","content":{text}}}]}}"#)
        }
        OwnedValue::Array(_) => format!(r#"{{"messages":{}}}"#, input.encode()),
        _ => input.encode(),
    };
    let body = body.as_bytes();
    scan(body, &mut Scratch::default()).map_err(|_fault| anyhow!("the input is no body that a gateway takes"))?;
    let first = plan.groups.first().map_or("", |group| &group.name);
    let group = case.get_str("group").unwrap_or(first);
    let whole = Span { start: 0, end: u32::try_from(body.len())? };
    let judgement = judge(&plan.policies, plan.knowledge.as_deref(), group, body, Value::at(body, whole));
    let worst = judgement.results.iter().rev().max_by_key(|result| (result.verdict(), result.flagged));
    let worst = worst.filter(|result| result.flagged);
    let name = |nth: u32| plan.policies.get(nth as usize).map(|policy| policy.name.to_string());
    Ok(Outcome {
        verdict: Some(judgement.verdict.as_str().to_owned()),
        policy: worst.and_then(|result| name(result.policy)),
        category: worst.and_then(|result| result.category).map(str::to_owned),
    })
}

impl Outcome {
    fn of(expect: &OwnedValue) -> Self {
        let text = |name: &str| expect.get_str(name).map(|word| if word == "self-harm" { "self_harm" } else { word });
        let owned = |name: &str| text(name).map(str::to_owned);
        Self { verdict: owned("verdict"), policy: owned("policy"), category: owned("category") }
    }

    fn differences(&self, got: &Self) -> Vec<String> {
        let pairs = [
            ("verdict", &self.verdict, &got.verdict),
            ("policy", &self.policy, &got.policy),
            ("category", &self.category, &got.category),
        ];
        let differing = pairs.into_iter().filter(|(_, wanted, got)| wanted.is_some() && wanted != got);
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        differing.map(|(name, wanted, got)| format!("{name}: expected {}, got {}", said(wanted), said(got))).collect()
    }

    fn to_json(&self, name: &str, passed: bool) -> String {
        let text = |value: Option<&String>| value.map_or_else(OwnedValue::null, |value| value.as_str().into()).encode();
        format!(
            r#"{{"name":{},"passed":{passed},"verdict":{},"policy":{},"category":{}}}"#,
            OwnedValue::from(name).encode(),
            text(self.verdict.as_ref()),
            text(self.policy.as_ref()),
            text(self.category.as_ref()),
        )
    }
}

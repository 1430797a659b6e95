//! What does it cost to draw an arm, or to assign a unit?

use kt_benches::time;
use kt_core::config::plan::{Plan, Secret};
use kt_core::config::{Source, check};
use kt_core::route::{Chooser, Drawer, Unit, find, select};

fn plan(weights: &[u32]) -> Plan {
    let mut text = String::from("version: '1'\nproviders: {targets: [{id: a, provider: openai}]}\n");
    text.push_str("model_groups:\n  - name: g\n    strategy: weighted\n    targets:\n");
    for (n, weight) in weights.iter().enumerate() {
        text.push_str(&format!("      - {{provider: a, model: m{n}, weight: {weight}}}\n"));
    }
    let checked = check(&[Source { name: "bench.yaml".to_owned(), bytes: text.into_bytes() }]);
    let file = checked.file.expect("a valid config");
    Plan::resolve(&file, 1, None, &mut |_| Secret::new("key"), &mut || 7).expect("it has no clients")
}

fn main() {
    for (name, weights) in [("70/30, 10 slots", &[70, 30][..]), ("333/333/334, 1,000 slots", &[333, 333, 334])] {
        let plan = plan(weights);
        let mut drawer = Drawer::default();
        let route = find(&plan, "g").expect("the group");
        let mut choose = |unit: Option<&Unit<'_>>| {
            let chooser = Chooser { drawer: &mut drawer, loads: &[], dice: 0, now: 0 };
            select(&plan, route, unit, chooser)
        };
        time(&format!("draw an arm ({name})"), || choose(None));
        let unit = Unit(b"user-7f3a9c"[..].into());
        time(&format!("assign a unit ({name})"), || choose(Some(&unit)));
    }
}

//! The plan as JSON, without secrets.

use super::{Group, Plan, Target};
use crate::clients::Clients;
use crate::config::complaint::{push, push_json_list, push_json_text};
use crate::limits::Limits;
use crate::policy::{Category, External, Policy, Rule, Threshold};

impl Plan {
    /// The plan as one JSON object, without secrets: what `GET /config` answers on the admin socket.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"config_version\":");
        push_json_text(&mut out, &self.version.to_string());
        out.push_str(",\"targets\":");
        push_json_list(&mut out, &self.targets, push_target);
        out.push_str(",\"model_groups\":");
        push_json_list(&mut out, &self.groups, |out, group| self.push_group(out, group));
        out.push_str(",\"policies\":");
        push_json_list(&mut out, &self.policies, push_policy);
        out.push_str(",\"clients\":");
        push_clients(&mut out, self.clients.as_ref());
        push(&mut out, format_args!(",\"tls\":{}", self.tls.is_some()));
        out.push_str(",\"limits\":");
        push_limits(&mut out, &self.limits);
        out.push('}');
        out
    }

    fn push_group(&self, out: &mut String, group: &Group) {
        let fields = [("name", &*group.name), ("epoch", &group.epoch), ("strategy", group.strategy.as_str())];
        push_fields(out, &fields);
        out.push_str(",\"block\":");
        push_json_list(out, &group.block, |out, slots| push(out, format_args!("{slots}")));
        out.push_str(",\"targets\":");
        push_json_list(out, &group.arms, |out, arm| {
            let target = &self.targets[arm.target];
            let (source, version) = arm.pricing.as_ref().map_or(("unknown", ""), |p| (p.source.as_str(), &*p.version));
            push_fields(
                out,
                &[
                    ("arm", &arm.name),
                    ("target_id", &target.id),
                    ("provider", target.provider.as_str()),
                    ("model", &arm.model),
                    ("share", &arm.share(group)),
                    ("price_source", source),
                    ("price_version", version),
                ],
            );
            push(out, format_args!(",\"weight\":{},\"propensity\":{}}}", arm.weight, arm.propensity));
        });
        out.push('}');
    }
}

/// Opens an object with these fields; whoever calls adds others and closes it.
fn push_fields(out: &mut String, fields: &[(&str, &str)]) {
    for (i, (key, value)) in fields.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        push_json_text(out, key);
        out.push(':');
        push_json_text(out, value);
    }
}

fn push_target(out: &mut String, target: &Target) {
    push_fields(
        out,
        &[
            ("id", &target.id),
            ("provider", target.provider.as_str()),
            ("base_url", &target.base.as_url()),
            ("key", target.key.as_str()),
        ],
    );
    out.push('}');
}

fn push_policy(out: &mut String, policy: &Policy) {
    push_fields(
        out,
        &[
            ("name", &policy.name),
            ("type", policy.kind()),
            ("action", policy.action.as_str()),
            ("on", policy.on.as_str()),
        ],
    );
    out.push_str(",\"applies_to\":");
    push_json_list(out, &policy.applies_to, |out, name| push_json_text(out, name));
    match &policy.rule {
        Rule::ContentFilter { categories, threshold } => {
            push_judged(out, categories, *threshold);
        }
        Rule::External(External { target: _, model, categories, threshold, timeout_ms }) => {
            push_judged(out, categories, *threshold);
            out.push_str(",\"model\":");
            push_json_text(out, model);
            push(out, format_args!(",\"timeout_ms\":{timeout_ms}"));
        }
        Rule::Pii { kinds } => {
            out.push_str(",\"types\":");
            push_json_list(out, kinds, |out, kind| push_json_text(out, kind.as_str()));
        }
    }
    out.push_str(",\"mode\":");
    push_json_text(out, policy.mode.as_str());
    out.push('}');
}

fn push_judged(out: &mut String, categories: &[Category], threshold: Threshold) {
    out.push_str(",\"categories\":");
    push_json_list(out, categories, |out, category| push_json_text(out, category.as_str()));
    out.push_str(",\"threshold\":");
    push_json_text(out, threshold.as_str());
}

fn push_clients(out: &mut String, clients: Option<&Clients>) {
    let Some(clients) = clients else { return out.push_str("null") };
    let all: Vec<(&str, bool)> = clients.iter().collect();
    push_json_list(out, &all, |out, &(name, has_key)| {
        push_fields(out, &[("name", name), ("key", if has_key { "present" } else { "missing" })]);
        out.push('}');
    });
}

fn push_limits(out: &mut String, limits: &Limits) {
    for (i, limit) in Limits::ALL.iter().enumerate() {
        let (open, value) = (if i == 0 { '{' } else { ',' }, (limit.read)(limits));
        push(out, format_args!("{open}\"{}\":{value}", limit.name));
    }
    out.push('}');
}

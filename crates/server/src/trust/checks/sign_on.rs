//! People sign in at the organisation's provider, here and at the tools that support it (CI-21).

use creta_compliance::{DataClass, Finding, Inventory, Item, ItemKind, Observation, SingleSignOn as How};
use creta_model::EnvironmentClass;
use serde_json::json;

use super::{Check, Seen, World};

pub(super) struct SingleSignOn;

impl Check for SingleSignOn {
    fn id(&self) -> &'static str {
        "single-sign-on"
    }

    /// A tool that supports it and does not use it, and a local administrator in production.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let mut tools = world.app.trust.declared()?;
        let planted = Item::observed(ItemKind::Tool, "planted", DataClass::Internal, "", "");
        tools.items.push(Item { single_sign_on: Some(How::Supported), ..planted });
        let found = judge(world, &tools, EnvironmentClass::Production, &["planted".to_owned()], true);
        let has = |code: &str| found.iter().any(|finding| finding.code == code);
        Ok(has("sign-on/not-used") && has("sign-on/local-administrator"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (control, tools) = (&world.app.control, world.app.trust.declared()?);
        let mut seen = Seen::default();
        seen.subject("sign-in");
        tools.of(ItemKind::Tool).for_each(|tool| seen.subject(&tool.id));
        let mut local = control.local_administrators();
        local.retain(|id| control.account(id).is_some_and(|account| world.app.takes(&account.principal)));
        let provider = world.app.people.require_provider().is_ok();
        seen.0.findings = judge(world, &tools, control.class(), &local, provider);
        let raw = json!({ "tools": tools.of(ItemKind::Tool).count(), "local_administrators": local.len() });
        Ok(seen.raw(raw))
    }
}

fn judge(
    world: &World<'_>,
    tools: &Inventory,
    class: EnvironmentClass,
    local: &[String],
    provider: bool,
) -> Vec<Finding> {
    let (trust, now) = (&world.app.trust, world.app.control.platform().clock.now());
    let mut findings = tools.without_single_sign_on(|id| trust.excepts(id, "CI-21", now));
    if class != EnvironmentClass::Development {
        if !provider {
            let says = "staff cannot sign in at a provider; set `[sign_in]` in `config.toml`";
            findings.push(Finding::new("sign-in", "sign-on/no-provider", says));
        }
        if !local.is_empty() {
            let says = "a local administrator decides here beside the people who sign in";
            findings.push(Finding::new("sign-in", "sign-on/local-administrator", says));
        }
    }
    findings
}

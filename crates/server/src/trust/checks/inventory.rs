//! What runs is what was declared, and somebody answers for all of it (CH-04).

use creta_compliance::{DataClass, Inventory as Items, Item, ItemKind, Observation};
use serde_json::json;

use super::{Check, Seen, World};
use crate::trust::observed;

pub(super) struct Inventory;

impl Check for Inventory {
    fn id(&self) -> &'static str {
        "inventory"
    }

    /// A listener that nobody declared.
    fn notices_planted_fault(&self, world: &World<'_>) -> Result<bool, String> {
        let declared = world.app.trust.declared()?;
        let mut running = observe(world)?;
        let planted = Item::observed(ItemKind::Listener, "planted", DataClass::Public, "127.0.0.1:1", "");
        running.items.push(planted);
        let found = declared.drift(&running);
        Ok(found.iter().any(|finding| finding.subject == "listener:planted"))
    }

    fn observe(&self, world: &World<'_>) -> Result<Observation, String> {
        let (declared, running) = (world.app.trust.declared()?, observe(world)?);
        let mut seen = Seen::default();
        running.items.iter().for_each(|item| seen.subject(&item.id));
        seen.0.findings = declared.drift(&running);
        Ok(seen.raw(json!({ "declared": declared.items.len(), "running": running.items.len() })))
    }
}

fn observe(world: &World<'_>) -> Result<Items, String> {
    observed::observe(
        world.folder,
        &world.app.control,
        &world.app.trust.intakes,
        world.address,
        world.app.trust.components_address(),
    )
    .map_err(|error| error.to_string())
}

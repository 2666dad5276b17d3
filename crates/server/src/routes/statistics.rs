//! What those who do not see values may know of them. The routes here answer with redacted forms alone: their handlers return
//! [`Redacted`], so that one that would return anything else does not compile.

use axum::response::Response;
use creta_audit::Details;
use creta_disclosure::{ForStaff, Redacted, Summary};
use creta_iam::FeatureSet;
use creta_model::{FeaturePath, Problem, TenantId};
use serde::Deserialize;

use crate::context::{Guarded, Input};
use crate::problem::Refusal;
use crate::routes::json;

/// The answer of a route for staff.
pub(super) fn answer<T: ForStaff>(redacted: Result<Redacted<T>, Refusal>) -> Result<Response, Refusal> {
    json(&redacted?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatisticsQuery {
    /// Whose data it is about.
    tenant: TenantId,
    /// `Entity.feature`, with the window of a windowed one.
    feature: String,
}

/// How many entities have a feature, in which ranges, and what its texts look like.
pub(super) async fn statistics(guarded: Guarded, input: Input) -> Result<Redacted<Summary>, Refusal> {
    let StatisticsQuery { tenant, feature } = input.query()?;
    let path = FeaturePath::parse(&feature)
        .map_err(|error| Problem::new("request/query-string", format!("in `feature`: {error}")))?;
    let asked = path.clone();
    guarded
        .act_on_features_at(
            move |app| super::control::home_of(app, &tenant),
            Details::none(),
            move |engine| {
                let feature = engine.feature_of_statistics(&asked)?;
                Ok(FeatureSet::new([(feature.name, feature.tags)]))
            },
            move |admitted| {
                let engine = admitted.engine_for_statistics()?;
                Ok(admitted.app.disclosures.statistics.tell(admitted.app, &engine, &path, &admitted.permit)?)
            },
        )
        .await
}

//! What the frames say. Version `creta.worker/1`; the other side is `creta._worker` of the Python package.

use std::collections::BTreeMap;

use creta_model::{Bundle, FeaturePath, Graph, InputSource, Problem, Resolver, ResolverMode, Type};
use serde::{Deserialize, Serialize};

/// The protocol that both sides must name.
pub(crate) const PROTOCOL: &str = "creta.worker/1";

/// The first frame to a worker: the project's source and the resolvers it is to be ready for.
#[derive(Debug, Serialize)]
pub(crate) struct Hello<'a> {
    pub(crate) protocol: &'static str,
    pub(crate) modules: &'a BTreeMap<String, String>,
    pub(crate) resolvers: &'a [Signature],
}

/// A resolver as its worker sees it. Calls name it by its place in the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Signature {
    pub(crate) name: String,
    pub(crate) module: String,
    pub(crate) mode: ResolverMode,
    pub(crate) is_async: bool,
    pub(crate) inputs: Vec<Parameter>,
    pub(crate) outputs: Vec<Output>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) ty: Type,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Output {
    #[serde(rename = "type")]
    pub(crate) ty: Type,
    pub(crate) optional: bool,
}

/// From the worker: a call failed as a whole, or, without a call, the worker could not start.
#[derive(Debug, Deserialize)]
pub(crate) struct Failed {
    pub(crate) call: Option<u32>,
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// The signatures of a bundle's resolvers, in the order of the graph.
pub(crate) fn signatures(bundle: &Bundle) -> Result<Vec<Signature>, Problem> {
    bundle.graph.resolvers.iter().map(|resolver| signature(&bundle.graph, resolver)).collect()
}

fn signature(graph: &Graph, resolver: &Resolver) -> Result<Signature, Problem> {
    let inputs = resolver.inputs.iter().map(|input| {
        let ty = match &input.from {
            InputSource::Now => Type::Datetime,
            InputSource::Path(path) => output(graph, resolver, path)?.0,
        };
        Ok(Parameter { name: input.name.clone(), ty, optional: input.optional })
    });
    let outputs = resolver.outputs.iter().map(|path| {
        let (ty, optional) = output(graph, resolver, path)?;
        Ok(Output { ty, optional })
    });
    Ok(Signature {
        name: resolver.name.to_string(),
        module: resolver.module.clone(),
        mode: resolver.mode,
        is_async: resolver.is_async,
        inputs: inputs.collect::<Result<_, Problem>>()?,
        outputs: outputs.collect::<Result<_, Problem>>()?,
    })
}

/// Type of a feature that a resolver reads or makes, and whether null is one of its values.
pub(super) fn output(graph: &Graph, resolver: &Resolver, path: &FeaturePath) -> Result<(Type, bool), Problem> {
    feature(graph, path).ok_or_else(|| {
        let message = format!("resolver `{}` uses `{path}`, which is not defined", resolver.name);
        Problem::new("resolver/unknown-feature", message).at(&resolver.location)
    })
}

/// Type of the feature at the end of a path, and whether null is one of its values.
fn feature(graph: &Graph, path: &FeaturePath) -> Option<(Type, bool)> {
    let mut entity = graph.find_entity(&path.root)?;
    for relation in &path.via {
        entity = graph.find_entity(&entity.find_relation(relation)?.target)?;
    }
    entity.find_feature(&path.feature).map(|feature| (feature.ty.clone(), feature.optional))
}

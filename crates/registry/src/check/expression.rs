//! Expressions of features: what they read exists, their types agree, and they give what the feature declares.

use creta_model::{Entity, Expr, Feature, FeaturePath, Problem, Type};

use super::{Checker, full_name};
use crate::infer::{ExprError, infer, typed_as};
use crate::render::{render_expr, render_type};

impl Checker<'_> {
    pub(super) fn expressions(&mut self) {
        for entity in &self.catalog.graph().entities {
            for feature in &entity.features {
                if let Some(expr) = &feature.expression {
                    self.expression(entity, feature, expr);
                }
            }
        }
    }

    fn expression(&mut self, entity: &Entity, feature: &Feature, expr: &Expr) {
        let name = full_name(entity, feature);
        let mut paths = Vec::new();
        expr.for_each_path(&mut |path| paths.push(path));
        let mut known = true;
        for path in paths {
            known &= self.rooted(path, entity, &format!("`{name}`"), &feature.location)
                && self.follow(path, &format!("`{name}`"), &feature.location).is_some();
        }
        if !known {
            return;
        }
        match infer(expr, &|path| self.type_of(path)) {
            Err(error) => self.expression_error("expression/type", &format!("`{name}`"), feature, &error),
            Ok((ty, optional)) => {
                let fits = typed_as(expr, &feature.ty, &|path| self.type_of(path)).is_ok_and(|typed| typed.is_some());
                let ty = if fits { &feature.ty } else { &ty };
                self.result("expression/result", entity, feature, ty, optional, Some(expr));
            }
        }
    }

    /// Whether a path starts at the entity it is read from.
    pub(super) fn rooted(
        &mut self,
        path: &FeaturePath,
        entity: &Entity,
        reader: &str,
        at: &creta_model::Location,
    ) -> bool {
        if path.root == entity.name {
            return true;
        }
        let chains =
            entity.relations.iter().filter(|r| r.target == path.root && r.kind == creta_model::RelationKind::One);
        let through: Vec<String> = chains
            .map(|relation| {
                let via = std::iter::once(relation.name.clone()).chain(path.via.iter().cloned()).collect();
                FeaturePath { root: entity.name.clone(), via, ..path.clone() }.to_string()
            })
            .collect();
        let problem =
            Problem::new("path/other-entity", format!("{reader} is about `{}` and cannot read `{path}`", entity.name))
                .at(at);
        self.problem(if through.is_empty() {
            problem.with_help(format!("start at `{}` and go through a `one` relation to `{}`", entity.name, path.root))
        } else {
            problem.with_help(format!("write {}", crate::error::listed(through, "or")))
        });
        false
    }

    pub(super) fn expression_error(&mut self, code: &str, whose: &str, feature: &Feature, error: &ExprError) {
        let problem = Problem::new(code, error.to_string()).at(&feature.location).with_note("computes", whose, None);
        self.problem(match error.help() {
            Some(help) => problem.with_help(help),
            None => problem,
        });
    }

    /// Reports a declared type that differs from the computed one.
    pub(super) fn result(
        &mut self,
        code: &str,
        entity: &Entity,
        feature: &Feature,
        ty: &Type,
        optional: bool,
        expr: Option<&Expr>,
    ) {
        let name = full_name(entity, feature);
        let (declared, computed) = (render_type(&feature.ty, feature.optional), render_type(ty, optional));
        let problem = match (&feature.ty, ty) {
            (Type::Decimal { scale: declared }, Type::Decimal { scale: computed }) if declared != computed => {
                Problem::new(
                    code,
                    format!("`{name}` is declared with `Scale({declared})`, but gives `Scale({computed})`"),
                )
                .with_help(match expr {
                    Some(_) => format!(
                        "declare it as `Annotated[Decimal, Scale({computed})]`, or write `round(..., {declared})`"
                    ),
                    None => format!("declare it as `Annotated[Decimal, Scale({computed})]`"),
                })
            }
            (declared_ty, computed_ty) if declared_ty != computed_ty => {
                Problem::new(code, format!("`{name}` is declared as `{declared}`, but gives `{computed}`"))
                    .with_help(format!("declare it as `{computed}`, or change what it computes"))
            }
            _ if optional && !feature.optional => {
                Problem::new(code, format!("`{name}` is declared as `{declared}`, but can be None"))
                    .with_help(format!("declare it as `{computed}`, or give a value for None with `coalesce(..., 0)`"))
            }
            _ => return,
        };
        let problem = problem.at(&feature.location);
        self.problem(match expr {
            Some(expr) => problem.with_note("computed as", render_expr(expr), None),
            None => problem,
        });
    }
}

//! Which names a function assigns: those are its locals, everywhere in it.

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{Expr, Pattern, Stmt};

/// Names bound by statements and `:=`, in order of appearance. Comprehensions keep theirs to themselves.
pub(super) fn assigned<'a>(body: &'a [Stmt], names: &mut Vec<&'a str>) {
    let mut finder = Finder { names };
    body.iter().for_each(|statement| finder.visit_stmt(statement));
}

struct Finder<'a, 'n> {
    names: &'n mut Vec<&'a str>,
}

impl<'a> Finder<'a, '_> {
    fn target(&mut self, target: &'a Expr) {
        match target {
            Expr::Name(name) => self.names.push(name.id.as_str()),
            Expr::Tuple(tuple) => tuple.elts.iter().for_each(|item| self.target(item)),
            Expr::List(list) => list.elts.iter().for_each(|item| self.target(item)),
            Expr::Starred(starred) => self.target(&starred.value),
            _ => {}
        }
    }

    fn pattern(&mut self, pattern: &'a Pattern) {
        match pattern {
            Pattern::MatchAs(captured) => {
                self.names.extend(captured.name.as_ref().map(|name| name.as_str()));
                captured.pattern.iter().for_each(|inner| self.pattern(inner));
            }
            Pattern::MatchOr(either) => either.patterns.iter().for_each(|inner| self.pattern(inner)),
            _ => {}
        }
    }
}

impl<'a> Visitor<'a> for Finder<'a, '_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Assign(assign) => assign.targets.iter().for_each(|target| self.target(target)),
            Stmt::AugAssign(assign) => self.target(&assign.target),
            Stmt::AnnAssign(assign) => self.target(&assign.target),
            Stmt::For(looped) => self.target(&looped.target),
            Stmt::Match(matched) => matched.cases.iter().for_each(|case| self.pattern(&case.pattern)),
            // Refused elsewhere; their insides are scopes of their own.
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => return,
            _ => {}
        }
        walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Named(named) = expr {
            self.target(&named.target);
        }
        walk_expr(self, expr);
    }
}

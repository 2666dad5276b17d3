//! Statements.

use ruff_python_ast::{Expr, Stmt, StmtRaise};

use super::{Lower, Lowered, Scope};
use crate::limits::DEPTH_MAX;
use crate::operators::Unary;
use crate::program::{Line, Node, Op, Place, Stmt as Lines, Target};
use crate::project::place_of;
use crate::raised::RAISABLE;
use crate::value::Value;

impl<'p> Lower<'p> {
    pub(super) fn block(&mut self, body: &'p [Stmt], scope: &mut Scope) -> Lowered<Vec<Line>> {
        let mut lines = Vec::with_capacity(body.len());
        for statement in body {
            let mut of_it = Vec::new();
            self.statement(statement, scope, &mut of_it)?;
            lines.extend(placed(of_it, place_of(scope.file, statement)));
        }
        Ok(lines)
    }

    fn statement(&mut self, statement: &'p Stmt, scope: &mut Scope, lines: &mut Vec<Lines>) -> Lowered<()> {
        let at = place_of(scope.file, statement);
        match statement {
            Stmt::Return(returned) => {
                let value = match &returned.value {
                    Some(value) => self.stored(value, scope)?,
                    None => Node { op: Op::Const(Value::None), place: at },
                };
                lines.push(Lines::Return(value));
            }
            Stmt::Assign(assign) => {
                let value = self.stored(&assign.value, scope)?;
                let mut targets = Vec::with_capacity(assign.targets.len());
                for target in &assign.targets {
                    targets.push(self.target(target, scope)?);
                }
                match <[Target; 1]>::try_from(targets) {
                    Ok([target]) => lines.push(Lines::Assign(target, value)),
                    Err(targets) => {
                        let shared = scope.new_slot();
                        lines.push(Lines::Assign(Target::Slot(shared), value));
                        for target in targets {
                            lines.push(Lines::Assign(target, Node { op: Op::Local(shared), place: at }));
                        }
                    }
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    let value = self.stored(value, scope)?;
                    lines.push(Lines::Assign(self.target(&assign.target, scope)?, value));
                }
            }
            Stmt::AugAssign(assign) => {
                let Expr::Name(name) = &*assign.target else {
                    return self.refuse(at, "a change of an item or attribute", "assign to a local name");
                };
                let slot = self.local(name.id.as_str(), at, scope)?;
                let value = self.expr(&assign.value, scope)?;
                let operator = self.operator(assign.op, at)?;
                let own = Node { op: Op::Local(slot), place: place_of(scope.file, &*assign.target) };
                // Kept apart from `a = a + b`, since a list is changed in place.
                let op = Op::Augmented(operator, Box::new([own, value]));
                lines.push(Lines::Assign(Target::Slot(slot), Node { op, place: at }));
            }
            Stmt::If(branches) if branches.elif_else_clauses.len() > DEPTH_MAX => {
                return self.refuse(at, "an `if` of very many branches", "look the value up in a dictionary");
            }
            Stmt::If(branches) => {
                let mut otherwise = Vec::new();
                for clause in branches.elif_else_clauses.iter().rev() {
                    let body = self.block(&clause.body, scope)?;
                    otherwise = match &clause.test {
                        Some(test) => {
                            let stmt = Lines::If(self.expr(test, scope)?, body, otherwise);
                            vec![Line { stmt, place: place_of(scope.file, clause) }]
                        }
                        None => body,
                    };
                }
                let test = self.expr(&branches.test, scope)?;
                let body = self.block(&branches.body, scope)?;
                lines.push(Lines::If(test, body, otherwise));
            }
            Stmt::For(looped) if !looped.is_async => {
                let items = self.walked(&looped.iter, scope)?;
                let target = self.target(&looped.target, scope)?;
                let body = self.block(&looped.body, scope)?;
                let otherwise = self.block(&looped.orelse, scope)?;
                lines.push(Lines::For(target, items, body, otherwise));
            }
            Stmt::Match(matched) => self.matched(matched, scope, lines)?,
            Stmt::Raise(raise) => {
                let exception = self.exception(raise, at, scope, lines)?;
                lines.push(Lines::Raise(exception));
            }
            Stmt::Assert(assert) => {
                let test = self.expr(&assert.test, scope)?;
                let mut failed = Vec::new();
                if let Some(message) = &assert.msg {
                    failed.push(Lines::Expr(self.expr(message, scope)?));
                }
                failed.push(Lines::Raise("AssertionError"));
                let negated = Node { op: Op::Unary(Unary::Not, Box::new(test)), place: at };
                lines.push(Lines::If(negated, placed(failed, at).collect(), Vec::new()));
            }
            Stmt::Expr(expr) => {
                if !matches!(*expr.value, Expr::StringLiteral(_) | Expr::EllipsisLiteral(_)) {
                    lines.push(Lines::Expr(self.expr(&expr.value, scope)?));
                }
            }
            Stmt::Pass(_) => {}
            Stmt::Break(_) => lines.push(Lines::Break),
            Stmt::Continue(_) => lines.push(Lines::Continue),
            other => {
                let (what, help) = refused(other);
                return self.refuse(at, what, help);
            }
        }
        Ok(())
    }

    /// Name of the exception, after evaluating what its arguments may raise.
    fn exception(
        &mut self,
        raise: &'p StmtRaise,
        at: Place,
        scope: &mut Scope,
        lines: &mut Vec<Lines>,
    ) -> Lowered<&'static str> {
        let (class, arguments) = match raise.exc.as_deref() {
            Some(Expr::Call(call)) if call.arguments.keywords.is_empty() => (Some(&*call.func), &*call.arguments.args),
            other => (other, &[][..]),
        };
        let known = match class {
            Some(Expr::Name(name)) if scope.find(name.id.as_str()).is_none() => {
                let is_builtin = matches!(self.project.binding(scope.file, name.id.as_str()), Ok(None));
                RAISABLE.iter().find(|known| is_builtin && **known == name.id.as_str())
            }
            _ => None,
        };
        let Some(known) = known else {
            return self.refuse(at, "this `raise`", "raise a built-in exception such as `ValueError(...)`");
        };
        if let Some(cause) = raise.cause.as_deref()
            && !matches!(cause, Expr::NoneLiteral(_))
        {
            return self.refuse(at, "`raise ... from`", "raise the exception alone");
        }
        for argument in arguments {
            lines.push(Lines::Expr(self.expr(argument, scope)?));
        }
        Ok(known)
    }

    /// Where an assignment or loop puts a value.
    pub(super) fn target(&self, target: &Expr, scope: &Scope) -> Lowered<Target> {
        let at = place_of(scope.file, target);
        let items = match target {
            Expr::Name(name) => return self.local(name.id.as_str(), at, scope).map(Target::Slot),
            Expr::Tuple(tuple) => &tuple.elts,
            Expr::List(list) => &list.elts,
            Expr::Starred(_) => return self.refuse(at, "`*` in an assignment", "take slices instead"),
            _ => return self.refuse(at, "an assignment to an item or attribute", "assign to a local name"),
        };
        items.iter().map(|item| self.target(item, scope)).collect::<Lowered<_>>().map(Target::Unpack)
    }

    pub(super) fn local(&self, name: &str, at: Place, scope: &Scope) -> Lowered<usize> {
        match scope.find(name) {
            Some(slot) => Ok(slot),
            None => self.refuse(at, format!("an assignment to `{name}`"), "assign to a local name"),
        }
    }
}

/// What one statement became, all of it where that stands.
fn placed(statements: Vec<Lines>, place: Place) -> impl Iterator<Item = Line> {
    statements.into_iter().map(move |stmt| Line { stmt, place })
}

fn refused(statement: &Stmt) -> (&'static str, &'static str) {
    match statement {
        Stmt::While(_) => ("a `while` loop", "loop over a list or a short `range(...)`"),
        Stmt::Try(_) => ("`try`", "test for what could fail before it does"),
        Stmt::With(_) => ("`with`", "resolvers that hold resources stay in Python"),
        Stmt::FunctionDef(_) => ("a function within a function", "move it to the top of the module"),
        Stmt::ClassDef(_) => ("a class within a function", "move it to the top of the module"),
        Stmt::Import(_) | Stmt::ImportFrom(_) => ("an import within a function", "import at the top of the module"),
        Stmt::Global(_) | Stmt::Nonlocal(_) => ("a change of a global name", "pass values as parameters"),
        Stmt::Delete(_) => ("`del`", "names of a resolver need no deleting"),
        Stmt::For(_) => ("`async for`", "what waits for others stays in Python"),
        _ => ("this statement", "write it with assignments, `if`, `for` and `return`"),
    }
}

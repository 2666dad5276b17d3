//! `match`: literals, members of enums, alternatives, captures and guards, as a chain of `if`.

use std::sync::Arc;

use ruff_python_ast::{Pattern, Singleton, StmtMatch};

use super::{Lower, Lowered, Scope};
use crate::limits::DEPTH_MAX;
use crate::operators::Comparison;
use crate::program::{Line, Node, Op, Place, Stmt as Lines, Target};
use crate::project::place_of;
use crate::value::Value;

impl<'p> Lower<'p> {
    pub(super) fn matched(&mut self, matched: &'p StmtMatch, scope: &mut Scope, lines: &mut Vec<Lines>) -> Lowered<()> {
        if matched.cases.len() > DEPTH_MAX {
            let at = place_of(scope.file, matched);
            return self.refuse(at, "a `match` of very many cases", "look the value up in a dictionary");
        }
        let subject = scope.new_slot();
        let value = self.expr(&matched.subject, scope)?;
        lines.push(Lines::Assign(Target::Slot(subject), value));
        let mut otherwise = Vec::new();
        for case in matched.cases.iter().rev() {
            let at = place_of(scope.file, &case.pattern);
            let mut test = self.pattern(&case.pattern, subject, at, scope)?;
            if let Some(guard) = &case.guard {
                let guard = self.expr(guard, scope)?;
                test = Node { op: Op::And(vec![test, guard]), place: at };
            }
            let body = self.block(&case.body, scope)?;
            otherwise = vec![Line { stmt: Lines::If(test, body, otherwise), place: place_of(scope.file, matched) }];
        }
        lines.extend(otherwise.into_iter().map(|line| line.stmt));
        Ok(())
    }

    /// Whether the subject matches, giving captures their values on the way.
    fn pattern(&mut self, pattern: &'p Pattern, subject: usize, at: Place, scope: &mut Scope) -> Lowered<Node> {
        let own = || Node { op: Op::Local(subject), place: at };
        let compare = |op, right: Node| Node { op: Op::Compare(op, Box::new([own(), right])), place: at };
        Ok(match pattern {
            Pattern::MatchValue(value) => compare(Comparison::Eq, self.expr(&value.value, scope)?),
            Pattern::MatchSingleton(single) => {
                let value = match single.value {
                    Singleton::None => Value::None,
                    Singleton::True => Value::Bool(true),
                    Singleton::False => Value::Bool(false),
                };
                compare(Comparison::Is, Node { op: Op::Const(value), place: at })
            }
            Pattern::MatchOr(either) => {
                let tests = either.patterns.iter().map(|inner| self.pattern(inner, subject, at, scope));
                Node { op: Op::Or(tests.collect::<Lowered<_>>()?), place: at }
            }
            Pattern::MatchAs(captured) => {
                let bind = match &captured.name {
                    Some(name) => Op::Bind(self.local(name.as_str(), at, scope)?, Box::new(own())),
                    None => Op::Const(Value::Bool(true)),
                };
                let bind = Node { op: bind, place: at };
                match &captured.pattern {
                    Some(inner) => {
                        Node { op: Op::And(vec![self.pattern(inner, subject, at, scope)?, bind]), place: at }
                    }
                    None => bind,
                }
            }
            _ => {
                return self.refuse(
                    place_of(scope.file, pattern),
                    "a pattern that takes a value apart",
                    "match literals, members of an enum or names, and take apart with indexes or attributes",
                );
            }
        })
    }

    /// The value as a node, for constants that need no evaluation.
    pub(super) fn constant_node(value: Value, place: Place) -> Node {
        Node { op: Op::Const(value), place }
    }

    pub(super) fn texts(text: &str) -> Arc<str> {
        Arc::from(text)
    }
}

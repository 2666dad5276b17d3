//! Expressions of the cases: Python's operators, `if(c, a, b)` and every function by the name it has in JSON.

use creta_model::{Expr, FeaturePath, Function, Type};
use serde_json::{Value, json};

/// Reads an expression whose bare names are features of `entity`.
pub(crate) fn parse_expr(text: &str, entity: &str) -> Expr {
    let mut parser = Parser { tokens: tokens(text), position: 0, entity };
    let expr = parser.binary(0);
    assert!(parser.position == parser.tokens.len(), "`{text}` goes on after its end at {:?}", parser.peek());
    expr
}

fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        match chars[at] {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '"' => {
                at += 1;
                while chars[at] != '"' {
                    at += 1;
                }
                at += 1;
            }
            c if c.is_ascii_digit() => {
                while at < chars.len() && (chars[at].is_ascii_alphanumeric() || chars[at] == '.') {
                    at += 1;
                }
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                while at < chars.len() && (chars[at].is_ascii_alphanumeric() || "._[]".contains(chars[at])) {
                    at += 1;
                }
            }
            _ => {
                let two: String = chars[at..chars.len().min(at + 2)].iter().collect();
                at += if ["==", "!=", "<=", ">=", "//", "**"].contains(&two.as_str()) { 2 } else { 1 };
            }
        }
        tokens.push(chars[start..at].iter().collect());
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<String>,
    position: usize,
    entity: &'a str,
}

fn operator(token: &str) -> Option<(u8, Function)> {
    Some(match token {
        "or" => (1, Function::Or),
        "and" => (2, Function::And),
        "==" => (3, Function::Eq),
        "!=" => (3, Function::Ne),
        "<" => (3, Function::Lt),
        "<=" => (3, Function::Le),
        ">" => (3, Function::Gt),
        ">=" => (3, Function::Ge),
        "+" => (4, Function::Add),
        "-" => (4, Function::Sub),
        "*" => (5, Function::Mul),
        "/" => (5, Function::Div),
        "//" => (5, Function::FloorDiv),
        "%" => (5, Function::Mod),
        "**" => (6, Function::Pow),
        _ => return None,
    })
}

fn call(function: Function, args: Vec<Expr>) -> Expr {
    Expr::Call { function, args }
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.position).map(String::as_str)
    }

    fn next(&mut self) -> String {
        self.position += 1;
        self.tokens[self.position - 1].clone()
    }

    fn binary(&mut self, least: u8) -> Expr {
        let mut left = self.unary();
        while let Some((binds, function)) = self.peek().and_then(operator).filter(|(binds, _)| *binds > least) {
            self.position += 1;
            let right = self.binary(binds);
            left = call(function, vec![left, right]);
        }
        left
    }

    fn unary(&mut self) -> Expr {
        let token = self.next();
        match token.as_str() {
            "-" => call(Function::Neg, vec![self.unary()]),
            "not" => call(Function::Not, vec![self.binary(2)]),
            "(" => {
                let inner = self.binary(0);
                assert_eq!(self.next(), ")");
                inner
            }
            "True" | "False" => literal(Type::Bool, json!(token == "True")),
            "None" => literal(Type::Bool, Value::Null),
            text if text.starts_with('"') => literal(Type::Str, json!(text.trim_matches('"'))),
            number if number.starts_with(|c: char| c.is_ascii_digit()) => number_literal(number),
            name if self.peek() == Some("(") => self.function(name),
            path => self.feature(path),
        }
    }

    fn function(&mut self, name: &str) -> Expr {
        self.position += 1;
        let mut args = Vec::new();
        while self.peek() != Some(")") {
            args.push(self.binary(0));
            if self.peek() == Some(",") {
                self.position += 1;
            }
        }
        self.position += 1;
        match (name, &args[..]) {
            ("decimal", [Expr::Literal { value, .. }]) => {
                let places = value.as_str().and_then(|text| text.split_once('.')).map_or(0, |(_, places)| places.len());
                literal(Type::Decimal { scale: places as u8 }, value.clone())
            }
            ("date", [Expr::Literal { value, .. }]) => literal(Type::Date, value.clone()),
            ("datetime", [Expr::Literal { value, .. }]) => literal(Type::Datetime, value.clone()),
            ("timedelta", [Expr::Literal { value, .. }]) => literal(Type::Timedelta, value.clone()),
            _ => call(serde_json::from_value(json!(name)).unwrap_or_else(|_| panic!("no function `{name}`")), args),
        }
    }

    fn feature(&self, path: &str) -> Expr {
        let rooted =
            if path.starts_with(char::is_uppercase) { path.to_owned() } else { format!("{}.{path}", self.entity) };
        Expr::Feature { path: FeaturePath::parse(&rooted).unwrap_or_else(|error| panic!("{error}")) }
    }
}

fn literal(ty: Type, value: Value) -> Expr {
    Expr::Literal { ty, value }
}

fn number_literal(text: &str) -> Expr {
    match text.parse::<i64>() {
        Ok(int) => literal(Type::Int, json!(int)),
        Err(_) => literal(Type::Float, json!(text.parse::<f64>().unwrap_or_else(|_| panic!("`{text}` is no number")))),
    }
}

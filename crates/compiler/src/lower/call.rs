//! Global names and calls.

use std::sync::Arc;

use ruff_python_ast::{Arguments, Expr, ExprCall, Keyword, StmtFunctionDef};

use super::classes::{enum_class, struct_class};
use super::constants::{constant, literal};
use super::expression::folded;
use super::{Lower, Lowered, Scope};
use crate::builtins::{Builtin, Method};
use crate::math;
use crate::program::{Into, Node, Op, Place};
use crate::project::{Binding, Unclear, place_of};
use crate::times;
use crate::value::{EnumClass, StructClass, Value};

/// What a global name means.
pub(super) enum Global<'p> {
    Function(u16, &'p StmtFunctionDef),
    Builtin(Builtin, &'static [&'static str]),
    Enum(Arc<EnumClass>),
    Struct(Arc<StructClass>, Vec<Option<Value>>),
    Value(Value),
    /// A module by its dotted name.
    Module(String),
    /// The class `datetime.timezone`.
    Timezone,
    Utc,
    /// Anything else, with what to say about it.
    Unknown(&'static str),
}

/// How something built in takes an argument.
enum Takes {
    Value,
    /// Walked on the spot.
    Items,
    /// The same, drawn to its end before anything else happens: a generator too.
    Generator,
}

const LIBRARY: &str = "libraries stay in Python, apart from `math` and `datetime`";
const CLOCK: &str = "the clock is not read inside resolvers: take the row's instant, `at: Annotated[datetime, Now]`";

impl<'p> Lower<'p> {
    /// What a name of a module means. `used` is where and under which name the code asks for it, as an export says.
    fn find_global(&self, file: u16, name: &str, used: (u16, &str), at: Place) -> Lowered<Global<'p>> {
        let project = self.project;
        Ok(match project.binding(file, name) {
            Err(Unclear::Star) => {
                let what = format!("`{name}`, which an `import *` of its module may bind");
                return self.refuse(at, what, "import each thing by its name");
            }
            Err(Unclear::Several) => {
                let what = format!("`{name}`, which its module binds more than once");
                return self.refuse(at, what, "give each thing a name of its own");
            }
            Ok(Some(Binding::Function(function))) => Global::Function(file, function),
            Ok(Some(Binding::Class(class))) => {
                if let Some(class) = enum_class(project, file, class) {
                    Global::Enum(class)
                } else if let Some((class, defaults)) = struct_class(project, file, class) {
                    Global::Struct(class, defaults)
                } else {
                    Global::Unknown(
                        "classes are compiled when they are enums of texts or frozen dataclasses without methods",
                    )
                }
            }
            Ok(Some(Binding::Module(module))) => Global::Module(module.to_owned()),
            Ok(Some(Binding::Imported(module, level, what))) => {
                let module = project.absolute(file, module, level);
                return self.member(&module, what, used, at);
            }
            Ok(Some(Binding::Assigned)) => {
                let found = self.captured_as(used).and_then(|expr| constant(project, expr));
                found.map_or(
                    Global::Unknown(
                        "constants are compiled when they are literals, tuples, frozensets or read-only mappings",
                    ),
                    Global::Value,
                )
            }
            // The export says of a name what it meant, so the module has it by means that do not show in its text.
            Ok(None) if self.captured_as(used).is_some() => Global::Unknown("its module gives it a value of its own"),
            Ok(None) => match Builtin::find(name) {
                Some((builtin, parameters)) => Global::Builtin(builtin, parameters),
                None => Global::Unknown("it is no built-in that is compiled"),
            },
        })
    }

    /// What a name of another module means.
    fn member(&self, module: &str, name: &str, used: (u16, &str), at: Place) -> Lowered<Global<'p>> {
        if let Some(file) = self.project.find(module) {
            let inner = format!("{module}.{name}");
            return match self.project.binding(file, name) {
                Ok(None) if self.project.find(&inner).is_some() => Ok(Global::Module(inner)),
                Ok(None) => Ok(Global::Unknown(LIBRARY)),
                _ => self.find_global(file, name, used, at),
            };
        }
        Ok(match module {
            "math" => {
                if let Some((function, parameters)) = math::Function::find(name) {
                    Global::Builtin(Builtin::Math(function), parameters)
                } else if let Some(number) = math::Function::constant(name) {
                    Global::Value(Value::Float(number))
                } else {
                    Global::Unknown("this part of `math` is not compiled")
                }
            }
            "datetime" => match (name, Builtin::find_datetime(name)) {
                (_, Some((builtin, parameters))) => Global::Builtin(builtin, parameters),
                ("UTC", _) => Global::Utc,
                ("timezone", _) => Global::Timezone,
                _ => Global::Unknown("this part of `datetime` is not compiled"),
            },
            _ => Global::Unknown(LIBRARY),
        })
    }

    /// What a name or dotted name means; `None` when it begins with a local.
    pub(super) fn find_static(&self, expr: &'p Expr, scope: &Scope) -> Lowered<Option<Global<'p>>> {
        let at = place_of(scope.file, expr);
        Ok(match expr {
            Expr::Name(name) if scope.find(name.id.as_str()).is_none() => {
                let name = name.id.as_str();
                Some(self.find_global(scope.file, name, (scope.file, name), at)?)
            }
            Expr::Attribute(attribute) => match self.find_static(&attribute.value, scope)? {
                Some(Global::Module(module)) => {
                    let name = attribute.attr.as_str();
                    Some(self.member(&module, name, (scope.file, name), at)?)
                }
                Some(Global::Timezone) if attribute.attr.as_str() == "utc" => Some(Global::Utc),
                Some(Global::Enum(class)) => {
                    let position = class.members.iter().position(|(name, _)| name == attribute.attr.as_str());
                    Some(position.map_or(Global::Unknown("it is no member of this enum"), |position| {
                        Global::Value(Value::Enum(class, position as u32))
                    }))
                }
                Some(Global::Builtin(Builtin::Datetime | Builtin::Date, _))
                    if matches!(attribute.attr.as_str(), "now" | "today" | "utcnow") =>
                {
                    Some(Global::Unknown(CLOCK))
                }
                Some(Global::Builtin(..) | Global::Timezone | Global::Function(..) | Global::Struct(..)) => {
                    Some(Global::Unknown("this attribute is not compiled"))
                }
                Some(Global::Unknown(why)) => Some(Global::Unknown(why)),
                Some(Global::Value(_) | Global::Utc) | None => None,
            },
            _ => None,
        })
    }

    /// A global name as a value.
    pub(super) fn global(&mut self, file: u16, name: &str, at: Place) -> Lowered<Node> {
        let found = self.find_global(file, name, (file, name), at)?;
        self.value_of(found, at, name)
    }

    /// What the export says of a name that a module uses: under the module's name where others have another value.
    fn captured_as(&self, (file, name): (u16, &str)) -> Option<&Expr> {
        let own = format!("{}.{name}", self.project.module(file));
        self.captured.get(&own).or_else(|| self.captured.get(name))
    }

    pub(super) fn value_of(&mut self, found: Global<'p>, at: Place, written: &str) -> Lowered<Node> {
        match found {
            Global::Value(value) => Ok(Self::constant_node(value, at)),
            Global::Unknown(why) => self.refuse(at, format!("`{written}`"), why),
            Global::Utc => {
                self.refuse(at, format!("`{written}` as a value"), "zones are compiled as `tzinfo=` of a datetime")
            }
            _ => self.refuse(
                at,
                format!("`{written}` as a value"),
                "functions, classes and modules are compiled where they are called",
            ),
        }
    }

    pub(super) fn call(&mut self, call: &'p ExprCall, scope: &mut Scope) -> Lowered<Node> {
        let at = place_of(scope.file, call);
        let arguments = &call.arguments;
        if let Some(star) = arguments.args.iter().find(|arg| matches!(arg, Expr::Starred(_))) {
            return self.refuse(place_of(scope.file, star), "`*` in a call", "write each argument");
        }
        if let Some(star) = arguments.keywords.iter().find(|keyword| keyword.arg.is_none()) {
            return self.refuse(place_of(scope.file, star), "`**` in a call", "write each argument");
        }
        let written = self.project.text(scope.file)[ruff_text_size::Ranged::range(&*call.func)].to_owned();
        match self.find_static(&call.func, scope)? {
            Some(Global::Function(file, function)) => self.function_call((file, function), arguments, at, scope),
            Some(Global::Builtin(Builtin::Datetime, parameters)) => {
                self.datetime_call(parameters, arguments, at, scope)
            }
            Some(Global::Builtin(builtin, parameters)) => {
                self.builtin_call(builtin, parameters, arguments, &written, at, scope)
            }
            Some(Global::Enum(class)) => match (&arguments.args[..], &arguments.keywords[..]) {
                ([value], []) => {
                    let value = self.expr(value, scope)?;
                    Ok(Node { op: Op::Member(class, Box::new(value)), place: at })
                }
                _ => self.refuse(at, "this call of an enum", "call it with one value"),
            },
            Some(Global::Struct(class, defaults)) => {
                let names: Vec<String> = class.fields.clone();
                let args = self.arranged(&names, &defaults, arguments, &written, at, scope)?;
                Ok(Node { op: Op::Construct(class, args), place: at })
            }
            Some(Global::Unknown(why)) => self.refuse(at, format!("a call of `{written}`"), why),
            Some(_) => self.refuse(at, format!("a call of `{written}`"), "it is no function"),
            None => match &*call.func {
                Expr::Attribute(attribute) => {
                    self.method_call(&attribute.value, attribute.attr.as_str(), arguments, at, scope)
                }
                _ => self.refuse(at, "a call of a computed value", "call a function by its name"),
            },
        }
    }

    fn function_call(
        &mut self,
        (file, function): (u16, &'p StmtFunctionDef),
        arguments: &'p Arguments,
        at: Place,
        scope: &mut Scope,
    ) -> Lowered<Node> {
        let parameters = function.parameters.posonlyargs.iter().chain(&function.parameters.args);
        let (mut names, mut defaults) = (Vec::new(), Vec::new());
        for parameter in parameters {
            names.push(parameter.parameter.name.to_string());
            defaults.push(match &parameter.default {
                None => None,
                Some(default) => match literal(default) {
                    Some(value) => Some(value),
                    None => {
                        let place = place_of(file, &**default);
                        return self.refuse(
                            place,
                            "a default that is no literal",
                            "write a literal, or pass the argument",
                        );
                    }
                },
            });
        }
        let number = self.function(file, function, at)?;
        let args = self.arranged(&names, &defaults, arguments, function.name.as_str(), at, scope)?;
        Ok(Node { op: Op::Function(number, args), place: at })
    }

    /// Arguments in the order of the parameters, which has to be the order in which they are written.
    fn arranged(
        &mut self,
        names: &[String],
        defaults: &[Option<Value>],
        arguments: &'p Arguments,
        called: &str,
        at: Place,
        scope: &mut Scope,
    ) -> Lowered<Vec<Node>> {
        let mismatch = || format!("arguments that do not fit `{called}`");
        let mut placed: Vec<Option<Node>> = names.iter().map(|_| None).collect();
        if arguments.args.len() > names.len() {
            return self.refuse(at, mismatch(), "give it what it takes");
        }
        for (place, arg) in placed.iter_mut().zip(&arguments.args) {
            *place = Some(self.expr(arg, scope)?);
        }
        let mut last = arguments.args.len();
        for keyword in &arguments.keywords {
            let name = keyword.arg.as_ref().map_or("", |name| name.as_str());
            match names.iter().position(|own| own == name) {
                Some(position) if position >= last => {
                    placed[position] = Some(self.expr(&keyword.value, scope)?);
                    last = position + 1;
                }
                Some(position) if placed[position].is_none() => {
                    let help = "arguments are evaluated as written: keep the order of the parameters";
                    return self.refuse(place_of(scope.file, keyword), "keywords in another order", help);
                }
                _ => return self.refuse(at, mismatch(), "give it what it takes"),
            }
        }
        let filled = placed
            .into_iter()
            .zip(defaults)
            .map(|(node, default)| node.or_else(|| default.clone().map(|value| Self::constant_node(value, at))));
        match filled.collect::<Option<Vec<_>>>() {
            Some(args) => Ok(args),
            None => self.refuse(at, mismatch(), "give it what it takes"),
        }
    }

    /// Arguments of something built in, absent ones unbound. `/` before a name forbids the keyword, `?` allows its absence.
    fn built_in(
        &mut self,
        parameters: &[&str],
        (args, keywords): (&'p [Expr], &[&'p Keyword]),
        called: &str,
        at: Place,
        scope: &mut Scope,
        takes: impl Fn(usize) -> Takes,
    ) -> Lowered<Vec<Node>> {
        let unknown = || format!("`{called}` with these arguments");
        let help = "this form of it is not compiled";
        if args.len() > parameters.len() {
            return self.refuse(at, unknown(), help);
        }
        let mut placed: Vec<Option<Node>> = parameters.iter().map(|_| None).collect();
        for (position, arg) in args.iter().enumerate() {
            placed[position] = Some(match takes(position) {
                Takes::Value => self.expr(arg, scope)?,
                Takes::Items => self.walked(arg, scope)?,
                Takes::Generator => self.consumed(arg, Into::List, scope)?,
            });
        }
        let mut last = args.len();
        for keyword in keywords {
            let name = keyword.arg.as_ref().map_or("", |name| name.as_str());
            match parameters.iter().position(|own| own.trim_end_matches('?') == name) {
                Some(position)
                    if position >= last || (placed[position].is_none() && literal(&keyword.value).is_some()) =>
                {
                    placed[position] = Some(self.expr(&keyword.value, scope)?);
                    last = last.max(position + 1);
                }
                // The order only matters for what may raise, and these names are few.
                Some(position) if placed[position].is_none() && keywords.len() > 1 => {
                    let help = "keep the order of the parameters, since arguments are evaluated as written";
                    return self.refuse(at, unknown(), help);
                }
                _ => return self.refuse(place_of(scope.file, *keyword), unknown(), help),
            }
        }
        for (place, parameter) in placed.iter_mut().zip(parameters) {
            if place.is_none() {
                if !parameter.ends_with('?') {
                    return self.refuse(at, unknown(), help);
                }
                *place = Some(Self::absent(at));
            }
        }
        Ok(placed.into_iter().flatten().collect())
    }

    /// What is walked at once: a generator becomes what its consumer makes of it.
    fn consumed(&mut self, expr: &'p Expr, into: Into, scope: &mut Scope) -> Lowered<Node> {
        match expr {
            Expr::Generator(generator) => {
                let at = place_of(scope.file, expr);
                self.comprehension(into, (&generator.elt, None), &generator.generators, at, scope)
            }
            other => self.walked(other, scope),
        }
    }

    fn builtin_call(
        &mut self,
        builtin: Builtin,
        parameters: &'static [&'static str],
        arguments: &'p Arguments,
        written: &str,
        at: Place,
        scope: &mut Scope,
    ) -> Lowered<Node> {
        let into = match builtin {
            Builtin::Any => Some(Into::Any),
            Builtin::All => Some(Into::All),
            Builtin::Sum => Some(Into::Sum),
            Builtin::Min => Some(Into::Min),
            Builtin::Max => Some(Into::Max),
            Builtin::Tuple => Some(Into::Tuple),
            Builtin::Set => Some(Into::Set),
            Builtin::List => Some(Into::List),
            _ => None,
        };
        // A generator alone goes straight where its items are wanted, one by one.
        if let (Some(into), [only @ Expr::Generator(_)]) = (into, &arguments.args[..]) {
            let default = match &arguments.keywords[..] {
                [] => None,
                [keyword]
                    if matches!(into, Into::Min | Into::Max)
                        && keyword.arg.as_ref().is_some_and(|name| name.as_str() == "default") =>
                {
                    literal(&keyword.value)
                }
                _ => None,
            };
            if arguments.keywords.is_empty() || default.is_some() {
                let mut node = self.consumed(only, into, scope)?;
                if let Op::Comprehension(comprehension) = &mut node.op {
                    comprehension.default = default;
                }
                return Ok(node);
            }
            return self.refuse(at, format!("`{written}` with these arguments"), "this form of it is not compiled");
        }
        let args = if parameters.first() == Some(&"*") {
            self.many(builtin, parameters, arguments, written, at, scope)?
        } else {
            let alone = arguments.keywords.iter().all(|keyword| literal(&keyword.value).is_some());
            let takes = |position: usize| match builtin {
                _ if position > 0 => Takes::Value,
                // It draws all of them first, and has evaluated its other argument before.
                Builtin::Sorted if alone => Takes::Generator,
                // What these draw is drawn while something else happens: a list says that it is not.
                _ if into.is_some() || matches!(builtin, Builtin::Enumerate | Builtin::Sorted) => Takes::Items,
                _ => Takes::Value,
            };
            let keywords: Vec<&Keyword> = arguments.keywords.iter().collect();
            self.built_in(parameters, (&arguments.args[..], &keywords[..]), written, at, scope, takes)?
        };
        let op = Op::Call(builtin, args);
        Ok(if builtin.is_iterator() { Node { op, place: at } } else { folded(op, at) })
    }

    /// `min`, `max` and `zip`: any number of arguments.
    fn many(
        &mut self,
        builtin: Builtin,
        parameters: &'static [&'static str],
        arguments: &'p Arguments,
        written: &str,
        at: Place,
        scope: &mut Scope,
    ) -> Lowered<Vec<Node>> {
        let walks = builtin == Builtin::Zip || arguments.args.len() == 1;
        let mut args = Vec::with_capacity(arguments.args.len() + 1);
        for arg in &arguments.args {
            args.push(if walks { self.walked(arg, scope)? } else { self.expr(arg, scope)? });
        }
        let default = match (&arguments.keywords[..], parameters) {
            ([], [_]) => return Ok(args),
            ([], _) => Self::absent(at),
            ([keyword], [_, "default?"]) if keyword.arg.as_ref().is_some_and(|name| name.as_str() == "default") => {
                self.expr(&keyword.value, scope)?
            }
            _ => {
                return self.refuse(at, format!("`{written}` with these arguments"), "this form of it is not compiled");
            }
        };
        if args.is_empty() {
            return self.refuse(at, format!("`{written}` of nothing"), "give it values");
        }
        args.push(default);
        Ok(args)
    }

    /// `datetime(...)`: only in UTC, where all instants are.
    fn datetime_call(
        &mut self,
        parameters: &'static [&'static str],
        arguments: &'p Arguments,
        at: Place,
        scope: &mut Scope,
    ) -> Lowered<Node> {
        let zone = arguments
            .keywords
            .iter()
            .find(|keyword| keyword.arg.as_ref().is_some_and(|name| name.as_str() == "tzinfo"));
        // Sought first, since whether it is UTC matters most.
        let zone = match (zone, arguments.args.get(7)) {
            (Some(keyword), None) => Some(&keyword.value),
            (None, positional) => positional,
            _ => None,
        };
        let in_utc = match zone {
            Some(zone) => matches!(self.find_static(zone, scope)?, Some(Global::Utc)),
            None => false,
        };
        if !in_utc {
            return self.refuse(at, "a `datetime` that is not in UTC", "say `tzinfo=UTC`");
        }
        let is_zone = |keyword: &&Keyword| keyword.arg.as_ref().is_some_and(|name| name.as_str() == "tzinfo");
        let keywords: Vec<&Keyword> = arguments.keywords.iter().filter(|keyword| !is_zone(keyword)).collect();
        let positional = match &arguments.args[..] {
            [before @ .., _] if before.len() == 7 => before,
            all => all,
        };
        let own = &parameters[..7];
        let mut args = self.built_in(own, (positional, &keywords[..]), "datetime", at, scope, |_| Takes::Value)?;
        args.push(Self::absent(at));
        Ok(folded(Op::Call(Builtin::Datetime, args), at))
    }

    fn method_call(
        &mut self,
        receiver: &'p Expr,
        name: &str,
        arguments: &'p Arguments,
        at: Place,
        scope: &mut Scope,
    ) -> Lowered<Node> {
        let of = self.expr(receiver, scope)?;
        let of_time = name == "replace" && arguments.args.is_empty();
        let found = if of_time { Some(Method::REPLACE_TIME) } else { Method::find(name) };
        let Some((method, parameters)) = found else {
            let help = match name {
                "append" | "extend" | "insert" | "pop" | "remove" | "sort" | "update" | "add" | "setdefault" => {
                    "lists and dictionaries are not changed: write a comprehension"
                }
                "format" => "use an f-string",
                "astimezone" => "zones stay in Python; instants are in UTC",
                _ => "this method is not compiled",
            };
            return self.refuse(at, format!("the method `.{name}()`"), help);
        };
        let takes = |_| if method == Method::Join { Takes::Generator } else { Takes::Value };
        let keywords: Vec<&Keyword> = arguments.keywords.iter().collect();
        let given = (&arguments.args[..], &keywords[..]);
        let mut args = vec![of];
        args.extend(self.built_in(parameters, given, &format!(".{name}()"), at, scope, takes)?);
        if method == Method::Strftime {
            match &args[1].op {
                Op::Const(Value::Str(format)) if times::is_formattable(format) => {}
                _ => {
                    return self.refuse(
                        at,
                        "this format of `strftime`",
                        "use `%Y %m %d %H %M %S %f %j %%` in a literal",
                    );
                }
            }
        }
        Ok(Node { op: Op::Method(method, args), place: at })
    }
}

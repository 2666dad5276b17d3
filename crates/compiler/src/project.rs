//! The modules of a project, and what their global names mean.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use creta_model::Location;
use ruff_python_ast::visitor::{Visitor, walk_except_handler, walk_expr, walk_pattern, walk_stmt};
use ruff_python_ast::{ExceptHandler, Expr, ModModule, Pattern, Stmt, StmtClassDef, StmtFunctionDef};
use ruff_python_parser::parse_module;
use ruff_text_size::TextRange;

use crate::limits::is_shallow;
use crate::program::{Files, Place};
use crate::refusal::Refusal;

/// Parsed sources of a project's modules.
pub struct Project {
    files: Vec<File>,
    by_module: HashMap<String, u16>,
}

struct File {
    path: String,
    module: String,
    text: String,
    parsed: Option<ModModule>,
    unusual: Unusual,
}

/// What a module binds by other means than a definition, an import by name or an assignment.
#[derive(Default)]
struct Unusual {
    /// Position of the last statement at the top that holds an `import *`.
    star: Option<usize>,
    /// By `with`, `except`, `match`, `:=`, `del`, `type`, or in a function that declares them global.
    names: HashSet<String>,
}

/// What binds a name at the top of a module.
#[derive(Clone, Copy)]
pub(crate) enum Binding<'p> {
    Function(&'p StmtFunctionDef),
    Class(&'p StmtClassDef),
    /// A module by its dotted name.
    Module(&'p str),
    /// A name of another module.
    Imported(&'p str, u32, &'p str),
    Assigned,
}

/// Why it is not known what a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclear {
    Several,
    /// An `import *` may bind it.
    Star,
}

impl Project {
    /// Parses modules given by path relative to the project folder. A file that does not parse binds no names.
    pub fn new(modules: &BTreeMap<String, String>) -> Self {
        let mut files = Vec::with_capacity(modules.len());
        let mut by_module = HashMap::new();
        for (path, text) in modules {
            let stem = path.strip_suffix(".py").unwrap_or(path);
            let module = stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', ".");
            by_module.insert(module.clone(), files.len() as u16);
            let parsed = if is_shallow(text) { parse_module(text).ok() } else { None };
            let parsed = parsed.map(ruff_python_parser::Parsed::into_syntax);
            let unusual = parsed.as_ref().map_or_else(Unusual::default, |parsed| Unusual::of(&parsed.body));
            files.push(File { path: path.clone(), module, text: text.clone(), parsed, unusual });
        }
        Self { files, by_module }
    }

    pub(crate) fn find(&self, module: &str) -> Option<u16> {
        self.by_module.get(module).copied()
    }

    pub(crate) fn module(&self, file: u16) -> &str {
        &self.files[file as usize].module
    }

    pub(crate) fn is_read(&self, file: u16) -> bool {
        self.files[file as usize].parsed.is_some()
    }

    pub(crate) fn text(&self, file: u16) -> &str {
        &self.files[file as usize].text
    }

    /// Absolute name of a module that `from ...module import` in `file` means.
    pub(crate) fn absolute(&self, file: u16, module: &str, level: u32) -> String {
        if level == 0 {
            return module.to_owned();
        }
        let own = &self.files[file as usize];
        let mut parts: Vec<&str> = own.module.split('.').collect();
        let up = if own.path.ends_with("__init__.py") { level - 1 } else { level };
        parts.truncate(parts.len().saturating_sub(up as usize));
        if !module.is_empty() {
            parts.push(module);
        }
        parts.join(".")
    }

    /// The only thing that binds a name at the top of a file; an error when there may be several.
    pub(crate) fn binding(&self, file: u16, name: &str) -> Result<Option<Binding<'_>>, Unclear> {
        let file = &self.files[file as usize];
        let (mut found, mut last) = (Vec::new(), None);
        for (at, statement) in file.parsed.iter().flat_map(|parsed| &parsed.body).enumerate() {
            let before = found.len();
            collect(std::slice::from_ref(statement), name, &mut found);
            // What stands in a branch may not have been reached.
            let is_certain = !matches!(
                statement,
                Stmt::If(_) | Stmt::Try(_) | Stmt::With(_) | Stmt::For(_) | Stmt::While(_) | Stmt::Match(_)
            );
            last = if found.len() > before && is_certain { Some(at) } else { last };
        }
        if file.unusual.names.contains(name) {
            found.push(Binding::Assigned);
        }
        match found[..] {
            // What stands below is what the name means at the end, whatever was imported.
            _ if file.unusual.star.is_some() && last <= file.unusual.star => Err(Unclear::Star),
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(Unclear::Several),
        }
    }

    /// Every class of a name, wherever it stands, with its file.
    pub(crate) fn classes(&self, name: &str) -> Vec<(u16, &StmtClassDef)> {
        let mut found = Vec::new();
        for (at, file) in self.files.iter().enumerate() {
            for statement in file.parsed.iter().flat_map(|parsed| &parsed.body) {
                if let Stmt::ClassDef(class) = statement
                    && class.name.as_str() == name
                {
                    found.push((at as u16, class));
                }
            }
        }
        found
    }

    /// What says where in the files a place is.
    pub(crate) fn files(&self) -> Arc<Files> {
        let files = self.files.iter().map(|file| {
            let starts = std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at as u32 + 1));
            (file.path.clone(), starts.collect())
        });
        Arc::new(Files(files.collect()))
    }

    pub(crate) fn place(file: u16, range: TextRange) -> Place {
        Place { file, offset: range.start().to_u32() }
    }

    /// Line and column of a place.
    pub(crate) fn refusal(&self, place: Place, what: impl Into<String>, help: impl Into<String>) -> Refusal {
        let file = &self.files[place.file as usize];
        let before = &file.text[..(place.offset as usize).min(file.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Refusal {
            location: Location { file: file.path.clone(), line: before.matches('\n').count() as u32 + 1 },
            column: before[line_start..].chars().count() as u32 + 1,
            what: what.into(),
            help: help.into(),
        }
    }

    /// A refusal that concerns a whole resolver whose file is not known better.
    pub(crate) fn without_place(module: &str, what: &str, help: &str) -> Refusal {
        Refusal {
            location: Location { file: format!("{}.py", module.replace('.', "/")), line: 1 },
            column: 1,
            what: what.into(),
            help: help.into(),
        }
    }
}

impl Unusual {
    fn of(body: &[Stmt]) -> Self {
        let mut found = Self::default();
        for (at, statement) in body.iter().enumerate() {
            let mut finder = Finder { found: &mut found, at, depth: 0 };
            finder.visit_stmt(statement);
        }
        found
    }
}

/// Walks a whole module; within functions and classes only `global` matters.
struct Finder<'f> {
    found: &'f mut Unusual,
    at: usize,
    depth: usize,
}

impl Finder<'_> {
    fn name(&mut self, name: &str) {
        if self.depth == 0 {
            self.found.names.insert(name.to_owned());
        }
    }

    fn target(&mut self, target: &Expr) {
        match target {
            Expr::Name(name) => self.name(name.id.as_str()),
            Expr::Tuple(tuple) => tuple.elts.iter().for_each(|item| self.target(item)),
            Expr::List(list) => list.elts.iter().for_each(|item| self.target(item)),
            Expr::Starred(starred) => self.target(&starred.value),
            _ => {}
        }
    }

    fn within(&mut self, walk: impl FnOnce(&mut Self)) {
        self.depth += 1;
        walk(self);
        self.depth -= 1;
    }
}

impl<'a> Visitor<'a> for Finder<'_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(function) => {
                // Decorators, defaults and annotations are evaluated outside.
                function.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
                self.visit_parameters(&function.parameters);
                function.returns.iter().for_each(|returned| self.visit_annotation(returned));
                return self.within(|inner| inner.visit_body(&function.body));
            }
            Stmt::ClassDef(class) => {
                class.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
                class.arguments.iter().for_each(|arguments| self.visit_arguments(arguments));
                return self.within(|inner| inner.visit_body(&class.body));
            }
            Stmt::Global(global) => {
                self.found.names.extend(global.names.iter().map(|name| name.as_str().to_owned()));
            }
            Stmt::ImportFrom(import) if import.names.iter().any(|alias| alias.name.as_str() == "*") => {
                self.found.star = Some(self.at);
            }
            Stmt::With(with) => {
                with.items.iter().filter_map(|item| item.optional_vars.as_deref()).for_each(|own| self.target(own));
            }
            Stmt::Delete(deleted) => deleted.targets.iter().for_each(|target| self.target(target)),
            Stmt::TypeAlias(alias) => self.target(&alias.name),
            _ => {}
        }
        walk_stmt(self, statement);
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(own) = handler;
        if let Some(name) = &own.name {
            self.name(name.as_str());
        }
        walk_except_handler(self, handler);
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        let name = match pattern {
            Pattern::MatchAs(own) => own.name.as_ref(),
            Pattern::MatchStar(own) => own.name.as_ref(),
            Pattern::MatchMapping(own) => own.rest.as_ref(),
            _ => None,
        };
        if let Some(name) = name {
            self.name(name.as_str());
        }
        walk_pattern(self, pattern);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Named(named) => {
                self.target(&named.target);
                walk_expr(self, expr);
            }
            // What it binds is its own.
            Expr::Lambda(_) => self.within(|inner| walk_expr(inner, expr)),
            _ => walk_expr(self, expr),
        }
    }
}

fn collect<'p>(body: &'p [Stmt], name: &str, found: &mut Vec<Binding<'p>>) {
    for statement in body {
        match statement {
            Stmt::FunctionDef(function) if function.name.as_str() == name => found.push(Binding::Function(function)),
            Stmt::ClassDef(class) if class.name.as_str() == name => found.push(Binding::Class(class)),
            Stmt::Import(import) => {
                for alias in &import.names {
                    let bound = alias.asname.as_ref().map(|own| own.as_str());
                    let first = alias.name.as_str().split('.').next().unwrap_or_default();
                    if bound.unwrap_or(first) == name {
                        found.push(Binding::Module(if bound.is_some() { alias.name.as_str() } else { first }));
                    }
                }
            }
            Stmt::ImportFrom(import) => {
                for alias in &import.names {
                    if alias.asname.as_ref().unwrap_or(&alias.name).as_str() == name {
                        let module = import.module.as_ref().map_or("", |module| module.as_str());
                        found.push(Binding::Imported(module, import.level, alias.name.as_str()));
                    }
                }
            }
            Stmt::Assign(assign) => {
                let hits = assign.targets.iter().filter(|target| binds(target, name)).count();
                found.extend(std::iter::repeat_n(Binding::Assigned, hits));
            }
            Stmt::AnnAssign(assign) if assign.value.is_some() && binds(&assign.target, name) => {
                found.push(Binding::Assigned);
            }
            Stmt::AugAssign(assign) if binds(&assign.target, name) => found.push(Binding::Assigned),
            Stmt::If(branches) => {
                collect(&branches.body, name, found);
                branches.elif_else_clauses.iter().for_each(|clause| collect(&clause.body, name, found));
            }
            Stmt::Try(tried) => {
                collect(&tried.body, name, found);
                collect(&tried.orelse, name, found);
                collect(&tried.finalbody, name, found);
                for handler in &tried.handlers {
                    let ruff_python_ast::ExceptHandler::ExceptHandler(handler) = handler;
                    collect(&handler.body, name, found);
                }
            }
            Stmt::With(with) => collect(&with.body, name, found),
            Stmt::Match(matched) => matched.cases.iter().for_each(|case| collect(&case.body, name, found)),
            Stmt::For(looped) => {
                if binds(&looped.target, name) {
                    found.push(Binding::Assigned);
                }
                collect(&looped.body, name, found);
                collect(&looped.orelse, name, found);
            }
            Stmt::While(looped) => {
                collect(&looped.body, name, found);
                collect(&looped.orelse, name, found);
            }
            _ => {}
        }
    }
}

fn binds(target: &Expr, name: &str) -> bool {
    match target {
        Expr::Name(own) => own.id.as_str() == name,
        Expr::Tuple(tuple) => tuple.elts.iter().any(|item| binds(item, name)),
        Expr::List(list) => list.elts.iter().any(|item| binds(item, name)),
        Expr::Starred(starred) => binds(&starred.value, name),
        _ => false,
    }
}

/// Where a syntax node of a file stands.
pub(crate) fn place_of(file: u16, node: &impl ruff_text_size::Ranged) -> Place {
    Project::place(file, node.range())
}

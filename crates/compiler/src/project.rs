//! The modules of a project, and what their global names mean.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use creta_model::Location;
use ruff_python_ast::{Expr, ModModule, Stmt, StmtClassDef, StmtFunctionDef};
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
            files.push(File { path: path.clone(), module, text: text.clone(), parsed });
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

    /// The only thing that binds a name at the top of a file; `Err` when there are several.
    pub(crate) fn binding(&self, file: u16, name: &str) -> Result<Option<Binding<'_>>, ()> {
        let mut found = Vec::new();
        if let Some(parsed) = &self.files[file as usize].parsed {
            collect(&parsed.body, name, &mut found);
        }
        match found[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(()),
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
            Stmt::For(looped) => {
                if binds(&looped.target, name) {
                    found.push(Binding::Assigned);
                }
                collect(&looped.body, name, found);
                collect(&looped.orelse, name, found);
            }
            Stmt::While(looped) => collect(&looped.body, name, found),
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

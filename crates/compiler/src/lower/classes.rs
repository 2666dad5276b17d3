//! Enums and dataclasses of the project that are nothing but their members.

use std::sync::Arc;

use creta_model::Type;
use ruff_python_ast::{Expr, Stmt, StmtClassDef};

use super::constants::literal;
use crate::project::{Binding, Project};
use crate::value::{EnumClass, StructClass, Value};

/// Types that compiled code holds.
pub(super) fn is_compiled(ty: &Type) -> bool {
    match ty {
        Type::Bytes | Type::Decimal { .. } | Type::Vector { .. } => false,
        Type::List { item, .. } => is_compiled(item),
        Type::Struct { fields, .. } => fields.iter().all(|field| is_compiled(&field.ty)),
        _ => true,
    }
}

/// Whether a name or `module.name` means that name of a library's module.
fn is_from(project: &Project, file: u16, expr: &Expr, module: &str, name: &str) -> bool {
    match expr {
        Expr::Name(own) => {
            matches!(project.binding(file, own.id.as_str()), Ok(Some(Binding::Imported(from, 0, what))) if from == module && what == name)
        }
        Expr::Attribute(attribute) => match &*attribute.value {
            Expr::Name(own) => {
                attribute.attr.as_str() == name
                    && matches!(project.binding(file, own.id.as_str()), Ok(Some(Binding::Module(from))) if from == module)
            }
            _ => false,
        },
        _ => false,
    }
}

/// A class `Name(Enum)` of texts, without methods.
pub(crate) fn enum_class(project: &Project, file: u16, class: &StmtClassDef) -> Option<Arc<EnumClass>> {
    let arguments = class.arguments.as_ref()?;
    let [base] = &arguments.args[..] else { return None };
    if !arguments.keywords.is_empty()
        || !class.decorator_list.is_empty()
        || !is_from(project, file, base, "enum", "Enum")
    {
        return None;
    }
    let mut members: Vec<(String, String)> = Vec::new();
    for statement in super::without_docstring(&class.body) {
        let Stmt::Assign(assign) = statement else { return None };
        let ([Expr::Name(name)], Expr::StringLiteral(text)) = (&assign.targets[..], &*assign.value) else {
            return None;
        };
        let (name, text) = (name.id.to_string(), text.value.to_str().to_owned());
        if name.starts_with('_') || members.iter().any(|(own, value)| *own == name || *value == text) {
            return None;
        }
        members.push((name, text));
    }
    Some(Arc::new(EnumClass { name: class.name.to_string(), members }))
}

/// A frozen dataclass without methods, and the defaults of its members.
pub(crate) fn struct_class(
    project: &Project,
    file: u16,
    class: &StmtClassDef,
) -> Option<(Arc<StructClass>, Vec<Option<Value>>)> {
    let [decorator] = &class.decorator_list[..] else { return None };
    let Expr::Call(call) = &decorator.expression else { return None };
    let keywords_known = call.arguments.keywords.iter().all(|keyword| {
        let is_true = matches!(&keyword.value, Expr::BooleanLiteral(flag) if flag.value);
        match keyword.arg.as_ref().map(|name| name.as_str()) {
            Some("frozen") => is_true,
            Some("slots") => true,
            _ => false,
        }
    });
    if !is_from(project, file, &call.func, "dataclasses", "dataclass")
        || !call.arguments.args.is_empty()
        || !keywords_known
        || call
            .arguments
            .keywords
            .iter()
            .all(|keyword| keyword.arg.as_ref().is_none_or(|name| name.as_str() != "frozen"))
        || class
            .arguments
            .as_ref()
            .is_some_and(|arguments| !arguments.args.is_empty() || !arguments.keywords.is_empty())
    {
        return None;
    }
    let (mut fields, mut defaults) = (Vec::new(), Vec::new());
    let mut rest = super::without_docstring(&class.body).iter().peekable();
    while let Some(statement) = rest.next() {
        let Stmt::AnnAssign(member) = statement else { return None };
        let Expr::Name(name) = &*member.target else { return None };
        let annotation = &project.text(file)[ruff_text_size::Ranged::range(&*member.annotation)];
        if annotation.contains("ClassVar") || annotation.contains("InitVar") || annotation.contains("KW_ONLY") {
            return None;
        }
        fields.push(name.id.to_string());
        defaults.push(match &member.value {
            Some(value) => Some(literal(value)?),
            None => None,
        });
        // A text below a member describes it.
        if matches!(rest.peek(), Some(Stmt::Expr(text)) if matches!(*text.value, Expr::StringLiteral(_))) {
            rest.next();
        }
    }
    Some((Arc::new(StructClass { name: class.name.to_string(), fields }), defaults))
}

impl Project {
    /// The only enum of a name, if it is compiled.
    pub(crate) fn enum_named(&self, name: &str) -> Option<Arc<EnumClass>> {
        match self.classes(name)[..] {
            [(file, class)] => enum_class(self, file, class),
            _ => None,
        }
    }

    /// The only dataclass of a name, if it is compiled.
    pub(crate) fn struct_named(&self, name: &str) -> Option<(Arc<StructClass>, Vec<Option<Value>>)> {
        match self.classes(name)[..] {
            [(file, class)] => struct_class(self, file, class),
            _ => None,
        }
    }

    /// Whether the classes of a type are the project's and nothing but their members.
    pub(crate) fn knows(&self, ty: &Type) -> bool {
        match ty {
            Type::Enum { name, members } => self.enum_named(name).is_some_and(|class| {
                class.members.len() == members.len()
                    && class.members.iter().zip(members).all(|((_, text), member)| text == member)
            }),
            Type::Struct { name, fields } => {
                self.struct_named(name).is_some_and(|(class, _)| {
                    class.fields.len() == fields.len()
                        && class.fields.iter().zip(fields).all(|(own, field)| *own == field.name)
                }) && fields.iter().all(|field| self.knows(&field.ty))
            }
            Type::List { item, .. } => self.knows(item),
            _ => true,
        }
    }
}

//! Between values of features and values of a program, with the checks that a worker makes on what a resolver returned.

use std::sync::Arc;

use creta_model::{CellError, Instant, Location, Type, Value as Stored};

use crate::raised::Raised;
use crate::value::{EnumClass, StructClass, StructValue, Value};

/// A type with what its values need, made once per resolver.
#[derive(Debug, Clone)]
pub struct Shape {
    ty: Type,
    class: Class,
    /// Of a list's item or a struct's members.
    inner: Vec<Shape>,
}

#[derive(Debug, Clone)]
enum Class {
    Plain,
    Enum(Arc<EnumClass>),
    Struct(Arc<StructClass>),
}

impl Shape {
    /// The shape of a type, whose enums are the project's where it has them.
    pub fn of(project: &crate::Project, ty: &Type) -> Self {
        let (class, inner) = match ty {
            Type::Enum { name, members } => {
                let own = project.enum_named(name).filter(|_| project.knows(ty));
                let class = own.unwrap_or_else(|| {
                    let members = members.iter().map(|text| (String::new(), text.clone())).collect();
                    Arc::new(EnumClass { name: name.clone(), members })
                });
                (Class::Enum(class), Vec::new())
            }
            Type::Struct { name, fields } => {
                let names = fields.iter().map(|field| field.name.clone()).collect();
                let class = Class::Struct(Arc::new(StructClass { name: name.clone(), fields: names }));
                (class, fields.iter().map(|field| Self::of(project, &field.ty)).collect())
            }
            Type::List { item, .. } => (Class::Plain, vec![Self::of(project, item)]),
            _ => (Class::Plain, Vec::new()),
        };
        Self { ty: ty.clone(), class, inner }
    }

    /// The type.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    pub(crate) fn inner(&self) -> &[Self] {
        &self.inner
    }

    /// An instance of the struct.
    pub(crate) fn instance(&self, values: Vec<Value>) -> Value {
        match &self.class {
            Class::Struct(class) => Value::Struct(Arc::new(StructValue { class: Arc::clone(class), values })),
            _ => Value::None,
        }
    }

    /// The member of the enum with that value; a text that is none of its members is none.
    pub(crate) fn member_named(&self, text: &str) -> Value {
        match &self.class {
            Class::Enum(class) => self.member(class, text).unwrap_or(Value::None),
            _ => Value::text(text),
        }
    }

    /// A stored value as the resolver sees it; `None` for one that does not fit the type.
    pub fn read(&self, value: &Stored) -> Option<Value> {
        Some(match (value, &self.class) {
            (Stored::Null, _) => Value::None,
            (Stored::Bool(flag), _) => Value::Bool(*flag),
            (Stored::Int(int), _) => Value::Int(*int),
            (Stored::Float(float), _) => Value::Float(*float),
            (Stored::Str(text), Class::Enum(class)) => self.member(class, text)?,
            (Stored::Str(text), _) => Value::text(text),
            (Stored::Date(days), _) => Value::Date(*days),
            (Stored::Datetime(at), _) => Value::Datetime(at.micros()),
            (Stored::Timedelta(micros), _) => Value::Timedelta(*micros),
            (Stored::List(items), _) => {
                let shape = self.inner.first()?;
                Value::List(items.iter().map(|item| shape.read(item)).collect::<Option<_>>()?)
            }
            (Stored::Struct(members), Class::Struct(class)) => {
                let values = members.iter().zip(&self.inner).map(|(member, shape)| shape.read(member));
                let values = values.collect::<Option<_>>()?;
                Value::Struct(Arc::new(StructValue { class: Arc::clone(class), values }))
            }
            _ => return None,
        })
    }

    fn member(&self, class: &Arc<EnumClass>, text: &str) -> Option<Value> {
        let at = class.members.iter().position(|(_, value)| value == text)?;
        Some(Value::Enum(Arc::clone(class), at as u32))
    }

    /// What a resolver returned as a stored value. `None` is the caller's question, unless it is within another value.
    pub fn store(&self, value: &Value) -> Result<Stored, Mismatch> {
        let wrong = || Mismatch { expected: self.ty.python_name(), got: got(value) };
        Ok(match (&self.ty, value) {
            (Type::Float, Value::Float(float)) => Stored::Float(*float),
            (Type::Float, Value::Int(int)) => Stored::Float(*int as f64),
            (Type::Int, Value::Int(int)) => Stored::Int(*int),
            (Type::Bool, Value::Bool(flag)) => Stored::Bool(*flag),
            (Type::Str, Value::Str(text)) => Stored::Str(text.to_string()),
            (Type::Date, Value::Date(days)) => Stored::Date(*days),
            (Type::Datetime, Value::Datetime(micros)) => {
                Stored::Datetime(Instant::from_micros(*micros).map_err(|_| wrong())?)
            }
            (Type::Timedelta, Value::Timedelta(micros)) => Stored::Timedelta(*micros),
            (Type::Enum { name, members }, _) => {
                let text = match value {
                    Value::Enum(class, at) => Some(class.members[*at as usize].1.as_str()),
                    Value::Str(text) => Some(&**text),
                    _ => None,
                };
                let text = text.filter(|text| members.iter().any(|member| member == text));
                let wrong = || Mismatch { expected: format!("a member of `{name}`"), got: got(value) };
                Stored::Str(text.ok_or_else(wrong)?.to_owned())
            }
            (Type::List { optional, .. }, Value::List(items) | Value::Tuple(items)) => {
                let shape = self.inner.first().ok_or_else(wrong)?;
                let stored = items.iter().map(|item| shape.inside(item, *optional, "a list with a `None` item"));
                Stored::List(stored.collect::<Result<_, _>>()?)
            }
            (Type::Struct { name, fields }, Value::Struct(instance)) if instance.class.name == *name => {
                let mut stored = Vec::with_capacity(fields.len());
                for (field, shape) in fields.iter().zip(&self.inner) {
                    let at = instance.class.fields.iter().position(|own| *own == field.name).ok_or_else(wrong)?;
                    let absent = format!("no `{}`", field.name);
                    stored.push(shape.inside(&instance.values[at], field.optional, &absent)?);
                }
                Stored::Struct(stored)
            }
            _ => return Err(wrong()),
        })
    }

    fn inside(&self, value: &Value, optional: bool, absent: &str) -> Result<Stored, Mismatch> {
        match value {
            Value::None if optional => Ok(Stored::Null),
            Value::None => Err(Mismatch { expected: self.ty.python_name(), got: absent.to_owned() }),
            other => self.store(other),
        }
    }
}

fn got(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        other => format!("a {}", other.type_name()),
    }
}

/// A result of another type than declared. Names types, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The declared type.
    pub expected: String,
    /// What came instead.
    pub got: String,
}

/// The error of a cell whose row raised this exception, the same as a worker gives; `None` where Python is to be asked.
pub fn cell_error(resolver: &str, raised: Raised, at: Option<&Location>) -> Option<CellError> {
    let exception = raised.exception()?;
    let at = at.map_or_else(String::new, |Location { file, line }| format!(" at {file}:{line}"));
    let message = format!("resolver `{resolver}` raised `{exception}`{at}");
    Some(CellError { code: "resolver/raised".into(), message })
}

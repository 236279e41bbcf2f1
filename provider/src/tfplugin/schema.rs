//! Schemas: what attributes a provider, resource or data source has, and how they plan.

use std::collections::BTreeMap;

use super::proto::tfplugin6 as wire;
use super::{Type, Value};

/// How a nested attribute's objects are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    Single,
    List,
}

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Plain(Type),
    Nested(Nesting, Vec<Attribute>),
}

/// One attribute. Made with [`Attribute::required`] and its siblings, refined with the methods that return `Self`.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) description: &'static str,
    pub(super) required: bool,
    pub(super) optional: bool,
    pub(super) computed: bool,
    pub(super) sensitive: bool,
    pub(super) write_only: bool,
    pub(super) replaces: bool,
    pub(super) keeps_prior: bool,
    pub(super) default: Option<Value>,
}

impl Attribute {
    fn new(name: &'static str, shape: Shape, description: &'static str) -> Self {
        Self {
            name,
            shape,
            description,
            required: false,
            optional: false,
            computed: false,
            sensitive: false,
            write_only: false,
            replaces: false,
            keeps_prior: false,
            default: None,
        }
    }

    /// Must be in the configuration.
    pub fn required(name: &'static str, kind: Type, description: &'static str) -> Self {
        Self { required: true, ..Self::new(name, Shape::Plain(kind), description) }
    }

    /// May be in the configuration.
    pub fn optional(name: &'static str, kind: Type, description: &'static str) -> Self {
        Self { optional: true, ..Self::new(name, Shape::Plain(kind), description) }
    }

    /// Never in the configuration: the provider's to say.
    pub fn computed(name: &'static str, kind: Type, description: &'static str) -> Self {
        Self { computed: true, ..Self::new(name, Shape::Plain(kind), description) }
    }

    /// One optional object with attributes of its own.
    pub fn nested(name: &'static str, attributes: Vec<Self>, description: &'static str) -> Self {
        Self { optional: true, ..Self::new(name, Shape::Nested(Nesting::Single, attributes), description) }
    }

    /// A list of objects that the provider fills.
    pub fn computed_list(name: &'static str, attributes: Vec<Self>, description: &'static str) -> Self {
        Self { computed: true, ..Self::new(name, Shape::Nested(Nesting::List, attributes), description) }
    }

    /// The provider fills it when the configuration leaves it out.
    #[must_use]
    pub fn or_computed(mut self) -> Self {
        self.computed = true;
        self
    }

    /// Takes this value when the configuration leaves it out.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self.computed = true;
        self
    }

    /// Never printed.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// In the configuration only: neither in plan nor in state.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// A change of it replaces the resource.
    #[must_use]
    pub fn replaces(mut self) -> Self {
        self.replaces = true;
        self
    }

    /// An update of the resource does not change it, so a plan shows the present value instead of "known after apply".
    #[must_use]
    pub fn keeps_prior(mut self) -> Self {
        self.keeps_prior = true;
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn description(&self) -> &'static str {
        self.description
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Whether only the provider sets it.
    pub fn is_read_only(&self) -> bool {
        !self.required && !self.optional
    }

    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    pub fn is_write_only(&self) -> bool {
        self.write_only
    }

    pub fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// The type of its values.
    pub fn value_type(&self) -> Type {
        match &self.shape {
            Shape::Plain(kind) => kind.clone(),
            Shape::Nested(Nesting::Single, attributes) => object_type(attributes),
            Shape::Nested(Nesting::List, attributes) => Type::List(Box::new(object_type(attributes))),
        }
    }

    fn to_wire(&self) -> wire::schema::Attribute {
        use wire::schema::object::NestingMode;
        let (kind, nested_type) = match &self.shape {
            Shape::Plain(kind) => (kind.to_json().to_string().into_bytes(), None),
            Shape::Nested(nesting, attributes) => {
                let nesting = match nesting {
                    Nesting::Single => NestingMode::Single,
                    Nesting::List => NestingMode::List,
                };
                let attributes = attributes.iter().map(Self::to_wire).collect();
                (Vec::new(), Some(wire::schema::Object { attributes, nesting: nesting.into() }))
            }
        };
        wire::schema::Attribute {
            name: self.name.to_owned(),
            r#type: kind,
            description: self.description.to_owned(),
            required: self.required,
            // Terraform wants defaults and or_computed to be announced as optional and computed.
            optional: self.optional,
            computed: self.computed,
            sensitive: self.sensitive,
            description_kind: wire::StringKind::Markdown.into(),
            deprecated: false,
            nested_type,
            write_only: self.write_only,
        }
    }
}

fn object_type(attributes: &[Attribute]) -> Type {
    Type::Object(attributes.iter().map(|a| (a.name.to_owned(), a.value_type())).collect::<BTreeMap<_, _>>())
}

/// The attributes of a provider, resource or data source.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub(super) version: i64,
    pub(super) description: &'static str,
    pub(super) attributes: Vec<Attribute>,
}

impl Schema {
    /// A schema of version 0.
    pub fn new(description: &'static str, attributes: Vec<Attribute>) -> Self {
        Self { version: 0, description, attributes }
    }

    pub fn description(&self) -> &'static str {
        self.description
    }

    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The type of the whole object.
    pub fn value_type(&self) -> Type {
        object_type(&self.attributes)
    }

    pub(super) fn to_wire(&self) -> wire::Schema {
        wire::Schema {
            version: self.version,
            block: Some(wire::schema::Block {
                version: self.version,
                attributes: self.attributes.iter().map(Attribute::to_wire).collect(),
                description: self.description.to_owned(),
                description_kind: wire::StringKind::Markdown.into(),
                deprecated: false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_nested_types_reach_the_wire() {
        let schema = Schema::new(
            "A thing.",
            vec![
                Attribute::required("name", Type::String, "Its name.").replaces(),
                Attribute::optional("secret", Type::String, "A secret.").sensitive().write_only(),
                Attribute::optional("on", Type::Bool, "On?").default(true),
                Attribute::nested("tls", vec![Attribute::optional("ca", Type::String, "CA.")], "TLS."),
                Attribute::computed_list("parts", vec![Attribute::computed("id", Type::Number, "Id.")], "Parts."),
            ],
        );
        let block = schema.to_wire().block.expect("a schema has a block");
        let [name, secret, on, tls, parts] = block.attributes.try_into().expect("five attributes");
        assert!(name.required && !name.optional && name.r#type == b"\"string\"");
        assert!(secret.sensitive && secret.write_only && secret.optional);
        assert!(on.optional && on.computed, "a default needs both, or Terraform refuses the planned value");
        let nested = tls.nested_type.expect("tls is nested");
        assert!(tls.r#type.is_empty(), "an attribute has a type or a nested type, never both");
        assert_eq!((nested.nesting, nested.attributes.len()), (1, 1));
        assert_eq!(parts.nested_type.expect("parts is nested").nesting, 2);
    }

    #[test]
    fn the_object_type_covers_every_attribute() {
        let schema = Schema::new("", vec![Attribute::nested("n", vec![Attribute::optional("a", Type::Bool, "")], "")]);
        assert_eq!(schema.value_type().to_json().to_string(), r#"["object",{"n":["object",{"a":"bool"}]}]"#);
    }
}

//! A schema as text: the attributes by how they are set, and nested ones in sections of their own.

use std::fmt::Write;

use terraform_provider_lockgate::tfplugin::{Attribute, Nesting, Schema, Shape, Type};

const WRITE_ONLY: &str = "https://developer.hashicorp.com/terraform/language/resources/ephemeral#write-only-arguments";

/// The section with all attributes.
pub(crate) fn section(schema: &Schema) -> String {
    let mut text = String::from("\n## Schema\n");
    let mut nested = Vec::new();
    for (group, attributes) in groups(schema.attributes()) {
        let _ = write!(text, "\n### {group}\n\n");
        if attributes.iter().any(|a| a.is_write_only()) {
            let _ = write!(
                text,
                "> **NOTE**: [Write-only arguments]({WRITE_ONLY}) are supported in Terraform 1.11 and later.\n\n"
            );
        }
        list(&mut text, "", &attributes, &mut nested);
    }
    let mut sections = nested.into_iter();
    while let Some((path, attributes)) = sections.next() {
        let _ = write!(text, "\n<a id=\"{}\"></a>\n### Nested Schema for `{path}`\n", anchor(&path));
        let mut deeper = Vec::new();
        for (group, attributes) in groups(attributes) {
            let _ = write!(text, "\n{group}:\n\n");
            list(&mut text, &path, &attributes, &mut deeper);
        }
        sections = deeper.into_iter().chain(sections).collect::<Vec<_>>().into_iter();
    }
    text
}

/// The attributes by how they are set, in the order of the schema; groups that hold none are left out.
fn groups(attributes: &[Attribute]) -> Vec<(&'static str, Vec<&Attribute>)> {
    let group = |name, belongs: fn(&Attribute) -> bool| (name, attributes.iter().filter(|a| belongs(a)).collect());
    let all: [(_, Vec<_>); 3] = [
        group("Required", Attribute::is_required),
        group("Optional", |a| !a.is_required() && !a.is_read_only()),
        group("Read-Only", Attribute::is_read_only),
    ];
    all.into_iter().filter(|(_, attributes)| !attributes.is_empty()).collect()
}

/// One line per attribute. Nested ones are put aside with their paths.
fn list<'a>(
    text: &mut String,
    parent: &str,
    attributes: &[&'a Attribute],
    nested: &mut Vec<(String, &'a [Attribute])>,
) {
    for attribute in attributes {
        let (name, description) = (attribute.name(), attribute.description());
        let _ = write!(text, "- `{name}` ({}) {description}", facts(attribute));
        if let Shape::Nested(_, inner) = attribute.shape() {
            let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
            let _ = write!(text, " (see [below for nested schema](#{}))", anchor(&path));
            nested.push((path, inner));
        }
        text.push('\n');
    }
}

fn anchor(path: &str) -> String {
    format!("nestedatt--{}", path.replace('.', "--"))
}

fn facts(attribute: &Attribute) -> String {
    let mut facts = match attribute.shape() {
        Shape::Plain(kind) => type_name(kind),
        Shape::Nested(Nesting::Single, _) => "Attributes".to_owned(),
        Shape::Nested(nesting, _) => format!("Attributes {nesting:?}"),
    };
    if attribute.is_sensitive() {
        facts += ", Sensitive";
    }
    if attribute.is_write_only() {
        let _ = write!(facts, ", [Write-only]({WRITE_ONLY})");
    }
    facts
}

/// What the registry's pages call a type.
pub(crate) fn type_name(kind: &Type) -> String {
    match kind {
        Type::Bool => "Boolean".to_owned(),
        Type::Number => "Number".to_owned(),
        Type::String => "String".to_owned(),
        Type::List(element) => format!("List of {}", type_name(element)),
        Type::Set(element) => format!("Set of {}", type_name(element)),
        Type::Map(element) => format!("Map of {}", type_name(element)),
        Type::Object(_) => "Object".to_owned(),
    }
}

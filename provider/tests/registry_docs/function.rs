//! A function's page: signature and arguments.

use std::fmt::Write;

use terraform_provider_lockgate::tfplugin::{Signature, Type};

use super::examples::Folder;
use super::{page, schema};

pub(crate) fn page(name: &str, signature: &Signature, examples: &Folder) -> String {
    let mut text =
        page::opening(&format!("{name} function - lockgate"), &format!("function: {name}"), signature.description);
    text += &page::usage(examples);
    let parameters = signature.parameters.iter().map(|p| format!("{} {}", p.name, constraint(&p.kind)));
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let returns = constraint(&signature.returns);
    let _ = write!(text, "\n## Signature\n\n```text\n{name}({parameters}) {returns}\n```\n\n## Arguments\n\n");
    for (index, parameter) in signature.parameters.iter().enumerate() {
        let kind = schema::type_name(&parameter.kind);
        let _ = writeln!(text, "{}. `{}` ({kind}) {}", index + 1, parameter.name, parameter.description);
    }
    text
}

/// A type as a configuration writes it: `map(object({name = string}))`.
fn constraint(kind: &Type) -> String {
    match kind {
        Type::Bool => "bool".to_owned(),
        Type::Number => "number".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(element) => format!("list({})", constraint(element)),
        Type::Set(element) => format!("set({})", constraint(element)),
        Type::Map(element) => format!("map({})", constraint(element)),
        Type::Object(attributes) => {
            let attributes = attributes.iter().map(|(name, kind)| format!("{name} = {}", constraint(kind)));
            format!("object({{{}}})", attributes.collect::<Vec<_>>().join(", "))
        }
    }
}

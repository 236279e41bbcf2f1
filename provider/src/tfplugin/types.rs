//! Terraform's type system, as far as schemas here use it.

use std::collections::BTreeMap;

use serde_json::json;

/// The type of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    Bool,
    Number,
    String,
    List(Box<Type>),
    /// Like a list, but order-free and without duplicates.
    Set(Box<Type>),
    Map(Box<Type>),
    /// Fixed attribute names, each with its own type.
    Object(BTreeMap<String, Type>),
}

impl Type {
    /// A set of strings.
    pub fn string_set() -> Self {
        Self::Set(Box::new(Self::String))
    }

    /// A list of strings.
    pub fn string_list() -> Self {
        Self::List(Box::new(Self::String))
    }

    /// A map from strings to strings.
    pub fn string_map() -> Self {
        Self::Map(Box::new(Self::String))
    }

    /// The type in the JSON form that schemas carry, for example `["set","string"]`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool => json!("bool"),
            Self::Number => json!("number"),
            Self::String => json!("string"),
            Self::List(element) => json!(["list", element.to_json()]),
            Self::Set(element) => json!(["set", element.to_json()]),
            Self::Map(element) => json!(["map", element.to_json()]),
            Self::Object(attributes) => {
                let attributes: serde_json::Map<_, _> =
                    attributes.iter().map(|(name, kind)| (name.clone(), kind.to_json())).collect();
                json!(["object", attributes])
            }
        }
    }

    /// What a person calls a value of this type.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Bool => "a bool",
            Self::Number => "a number",
            Self::String => "a string",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Object(_) => "an object",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_terraforms_json_form() {
        let object = Type::Object(BTreeMap::from([
            ("ids".to_owned(), Type::List(Box::new(Type::Number))),
            ("tags".to_owned(), Type::string_map()),
            ("on".to_owned(), Type::Bool),
        ]));
        let set = Type::Set(Box::new(object));
        assert_eq!(
            set.to_json().to_string(),
            r#"["set",["object",{"ids":["list","number"],"on":"bool","tags":["map","string"]}]]"#
        );
    }
}

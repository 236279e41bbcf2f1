//! The part of planning that follows from the schema alone.

use super::{AttributePath, Schema, Value};

/// A plan in the making: what the resource will look like, and which attributes force a replacement.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Null on create.
    pub prior: Value,
    /// The configuration, with write-only values in it.
    pub config: Value,
    pub state: Value,
    pub requires_replace: Vec<AttributePath>,
}

impl Planned {
    pub fn creates(&self) -> bool {
        self.prior.is_null()
    }

    /// Whether applying would change anything.
    pub fn changes(&self) -> bool {
        self.state != self.prior
    }

    /// Whether a top-level attribute would differ from its present value.
    pub fn changes_attr(&self, name: &str) -> bool {
        self.state.attr(name) != self.prior.attr(name)
    }
}

/// Plans a create or an update: defaults, computed attributes, write-only attributes and replacements.
///
/// Only top-level attributes are looked at. Attributes that the provider computes are unknown when something changes, and
/// keep their values when nothing does, so that a second plan is empty.
pub(crate) fn plan(schema: &Schema, prior: Value, proposed: &Value, config: Value) -> Planned {
    let mut state = Value::object::<String>([]);
    let mut undecided = Vec::new();
    for attribute in &schema.attributes {
        let name = attribute.name;
        let configured = !config.attr(name).is_null();
        let value = if attribute.write_only {
            Value::Null
        } else if configured || !attribute.computed {
            proposed.attr(name).clone()
        } else if let Some(default) = &attribute.default {
            default.clone()
        } else if attribute.keeps_prior && !prior.attr(name).is_null() {
            prior.attr(name).clone()
        } else {
            undecided.push(name);
            prior.attr(name).clone()
        };
        state.set_attr(name, value);
    }
    if state != prior {
        for name in undecided {
            state.set_attr(name, Value::Unknown);
        }
    }
    let replaces = schema.attributes.iter().filter(|a| a.replaces && !prior.is_null());
    let requires_replace =
        replaces.filter(|a| state.attr(a.name) != prior.attr(a.name)).map(|a| AttributePath::root(a.name)).collect();
    Planned { prior, config, state, requires_replace }
}

#[cfg(test)]
mod tests {
    use super::super::{Attribute, Type};
    use super::*;

    fn schema() -> Schema {
        Schema::new(
            "",
            vec![
                Attribute::required("name", Type::String, "").replaces(),
                Attribute::optional("size", Type::Number, "").or_computed().keeps_prior(),
                Attribute::optional("guard", Type::Bool, "").default(true),
                Attribute::optional("secret", Type::String, "").write_only(),
                Attribute::optional("secret_version", Type::Number, ""),
                Attribute::computed("id", Type::String, "").keeps_prior(),
                Attribute::computed("stamp", Type::String, ""),
            ],
        )
    }

    fn state(name: &str) -> Value {
        Value::object([
            ("name", Value::from(name)),
            ("size", Value::from(3)),
            ("guard", Value::from(true)),
            ("secret", Value::Null),
            ("secret_version", Value::from(1)),
            ("id", Value::from("i-1")),
            ("stamp", Value::from("s-1")),
        ])
    }

    fn config(name: &str, version: i64) -> Value {
        let given =
            [("name", Value::from(name)), ("secret", Value::from("hush")), ("secret_version", Value::from(version))];
        Value::object(given)
    }

    #[test]
    fn a_create_fills_defaults_and_leaves_the_computed_unknown() {
        let planned = plan(&schema(), Value::Null, &config("a", 1), config("a", 1));
        assert!(planned.creates() && planned.changes());
        assert_eq!(planned.state.attr("guard"), &Value::from(true));
        for name in ["size", "id", "stamp"] {
            assert!(planned.state.attr(name).is_unknown(), "{name}");
        }
        assert!(planned.state.attr("secret").is_null(), "a write-only value never reaches the plan");
        assert_eq!(planned.config.attr("secret"), &Value::from("hush"));
        assert!(planned.requires_replace.is_empty());
    }

    #[test]
    fn an_unchanged_configuration_changes_nothing() {
        let mut proposed = state("a");
        proposed.set_attr("guard", Value::Null);
        let planned = plan(&schema(), state("a"), &proposed, config("a", 1));
        assert!(!planned.changes(), "{:?}", planned.state);
    }

    #[test]
    fn an_update_in_place_keeps_what_it_can() {
        let mut proposed = state("a");
        proposed.set_attr("secret_version", Value::from(2));
        let planned = plan(&schema(), state("a"), &proposed, config("a", 2));
        assert!(planned.changes() && planned.requires_replace.is_empty());
        assert_eq!(planned.state.attr("id"), &Value::from("i-1"));
        assert!(planned.state.attr("stamp").is_unknown());
    }

    #[test]
    fn a_changed_or_unknown_identity_replaces() {
        for name in [Value::from("b"), Value::Unknown] {
            let mut proposed = state("a");
            proposed.set_attr("name", name.clone());
            let mut config = config("a", 1);
            config.set_attr("name", name);
            let planned = plan(&schema(), state("a"), &proposed, config);
            assert_eq!(planned.requires_replace, [AttributePath::root("name")]);
        }
    }
}

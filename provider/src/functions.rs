//! The provider's functions: import ids of ACLs, and the ACLs that a usual client needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use lockgate_client::admin::{AclOperation, AclPatternType, AclPermission, AclResourceType};

use crate::cluster::AclScope;
use crate::resources::{acl::principal_problem, acl_id};
use crate::tfplugin::{Function, FunctionError, Parameter, Signature, Type, Value};

const PRINCIPAL: Parameter = parameter("principal", "Whom it is about, such as `User:alice`.");
const TOPIC: Parameter = parameter("topic", "Name of the topic, or `*` for all.");
const GROUP: Parameter = parameter("group", "Name of the consumer group, or `*` for all.");

const fn parameter(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: Type::String, description }
}

/// `acl_id`: the import id of a `lockgate_acl`.
pub struct AclId;

impl Function for AclId {
    fn name(&self) -> &'static str {
        "acl_id"
    }

    fn signature(&self) -> Signature {
        let operations =
            Parameter { name: "operations", kind: Type::string_set(), description: "The operations, such as `Read`." };
        Signature {
            summary: "The import id of a lockgate_acl",
            description: "The id to import a `lockgate_acl` with, with `|` and `%` inside its parts encoded.",
            parameters: vec![
                PRINCIPAL,
                parameter("host", "The client's address, or `*` for any."),
                operations,
                parameter("permission", "`Allow` or `Deny`."),
                parameter("resource_type", "Such as `Topic` or `Group`."),
                parameter("resource_name", "Name of the resource, or `*` for all."),
                parameter("pattern_type", "`Literal` or `Prefixed`."),
            ],
            returns: Type::String,
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        check_principal(arguments, 0)?;
        for (index, name) in [(1, "host"), (5, "resource_name")] {
            check_named(arguments, index, name)?;
        }
        let operations = operations(&arguments[2])?;
        let permission = parsed::<AclPermission>(arguments, 3)?;
        let resource_type = parsed::<AclResourceType>(arguments, 4)?;
        let pattern_type = parsed::<AclPatternType>(arguments, 6)?;
        let text = |index: usize| arguments[index].as_str().map(str::to_owned);
        let scope = || {
            Some(AclScope {
                principal: text(0)?,
                host: text(1)?,
                resource_type: resource_type?,
                resource_name: text(5)?,
                pattern_type: pattern_type?,
                permission: permission?,
            })
        };
        let id = scope().zip(operations).map(|(scope, operations)| acl_id::format(&scope, &operations));
        Ok(id.map_or(Value::Unknown, Value::from))
    }
}

/// `producer_acls`: what a producer needs.
pub struct ProducerAcls;

impl Function for ProducerAcls {
    fn name(&self) -> &'static str {
        "producer_acls"
    }

    fn signature(&self) -> Signature {
        Signature {
            summary: "The ACLs that a producer needs",
            description: "A map for the `for_each` of a `lockgate_acl`, with the key `topic`: `Write` and `Describe` on the topic. \
                          Each value has the attributes of a `lockgate_acl`.",
            parameters: vec![PRINCIPAL, TOPIC],
            returns: bundle(),
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        check_principal(arguments, 0)?;
        check_named(arguments, 1, "topic")?;
        let write =
            acl(&arguments[0], AclResourceType::Topic, &arguments[1], &[AclOperation::Write, AclOperation::Describe]);
        Ok(Value::object([("topic", write)]))
    }
}

/// `consumer_acls`: what a consumer in a group needs.
pub struct ConsumerAcls;

impl Function for ConsumerAcls {
    fn name(&self) -> &'static str {
        "consumer_acls"
    }

    fn signature(&self) -> Signature {
        Signature {
            summary: "The ACLs that a consumer needs",
            description: "A map for the `for_each` of a `lockgate_acl`, with the keys `topic` and `group`: `Read` and `Describe` on \
                          the topic, and `Read` on the consumer group. Each value has the attributes of a `lockgate_acl`.",
            parameters: vec![PRINCIPAL, TOPIC, GROUP],
            returns: bundle(),
        }
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError> {
        check_principal(arguments, 0)?;
        check_named(arguments, 1, "topic")?;
        check_named(arguments, 2, "group")?;
        let [principal, topic, group] = arguments else { unreachable!("the server counts the arguments") };
        let read = acl(principal, AclResourceType::Topic, topic, &[AclOperation::Read, AclOperation::Describe]);
        let join = acl(principal, AclResourceType::Group, group, &[AclOperation::Read]);
        Ok(Value::object([("topic", read), ("group", join)]))
    }
}

/// The type of a map of ACLs. Its keys are known whatever is not, so that it can be given to `for_each`.
fn bundle() -> Type {
    let text = ["principal", "host", "resource_type", "resource_name", "pattern_type", "permission"]
        .map(|name| (name, Type::String));
    let attributes = text.into_iter().chain([("operations", Type::string_set())]);
    let attributes: BTreeMap<_, _> = attributes.map(|(name, kind)| (name.to_owned(), kind)).collect();
    Type::Map(Box::new(Type::Object(attributes)))
}

fn acl(principal: &Value, resource_type: AclResourceType, name: &Value, operations: &[AclOperation]) -> Value {
    Value::object([
        ("principal", principal.clone()),
        ("host", Value::from("*")),
        ("resource_type", Value::from(resource_type.name())),
        ("resource_name", name.clone()),
        ("pattern_type", Value::from(AclPatternType::Literal.name())),
        ("permission", Value::from(AclPermission::Allow.name())),
        ("operations", Value::string_set(operations.iter().map(|operation| operation.name()))),
    ])
}

fn wrong(argument: usize, text: impl Display) -> FunctionError {
    FunctionError { argument: Some(argument), text: text.to_string() }
}

fn check_principal(arguments: &[Value], index: usize) -> Result<(), FunctionError> {
    let problem = arguments[index].as_str().and_then(principal_problem);
    problem.map_or(Ok(()), |problem| Err(wrong(index, problem)))
}

fn check_named(arguments: &[Value], index: usize, name: &str) -> Result<(), FunctionError> {
    let empty = arguments[index].as_str() == Some("");
    if empty { Err(wrong(index, format!("{name} must not be empty; * stands for all."))) } else { Ok(()) }
}

/// `None` for what is not known yet.
fn parsed<T: FromStr<Err = String>>(arguments: &[Value], index: usize) -> Result<Option<T>, FunctionError> {
    arguments[index]
        .as_str()
        .map(|text| text.parse().map_err(|problem| wrong(index, format!("{problem}."))))
        .transpose()
}

fn operations(argument: &Value) -> Result<Option<BTreeSet<AclOperation>>, FunctionError> {
    const INDEX: usize = 2;
    let Some(listed) = argument.as_list() else { return Ok(None) };
    if listed.is_empty() || listed.contains(&Value::Null) {
        return Err(wrong(INDEX, "operations must name at least one operation, and none of them may be null."));
    }
    let each = listed.iter().enumerate().map(|(at, _)| {
        parsed::<AclOperation>(listed, at).map_err(|problem| FunctionError { argument: Some(INDEX), ..problem })
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_arguments() -> Vec<Value> {
        let operations = Value::string_set(["Write", "read"]);
        let [principal, host] = ["User:CN=a|b", "*"].map(Value::from);
        let rest = ["Allow", "Topic", "50%", "Literal"].map(Value::from);
        [principal, host, operations].into_iter().chain(rest).collect()
    }

    #[test]
    fn an_id_is_one_that_an_import_reads() {
        let id = AclId.call(&id_arguments()).expect("good arguments");
        assert_eq!(id, Value::from("User:CN=a%7Cb|*|Read,Write|Allow|Topic|50%25|Literal"));
        let (scope, operations) = acl_id::parse(id.as_str().expect("text")).expect("a good id");
        assert_eq!((scope.principal.as_str(), operations.len()), ("User:CN=a|b", 2));
    }

    #[test]
    fn what_is_unknown_makes_the_id_unknown_and_leaves_the_keys_of_a_map() {
        for index in 0..7 {
            let mut arguments = id_arguments();
            arguments[index] = Value::Unknown;
            assert_eq!(AclId.call(&arguments), Ok(Value::Unknown), "{index}");
        }
        let mut arguments = id_arguments();
        arguments[2] = Value::set(vec!["Read".into(), Value::Unknown]);
        assert_eq!(AclId.call(&arguments), Ok(Value::Unknown));
        let map = ConsumerAcls.call(&[Value::Unknown, Value::Unknown, "app".into()]).expect("known keys");
        assert!(map.attr("topic").attr("resource_name").is_unknown());
        assert_eq!(map.attr("group").attr("resource_name"), &Value::from("app"));
    }

    #[test]
    fn bundles_hold_what_the_client_needs() {
        let map = ProducerAcls.call(&["User:alice".into(), "orders".into()]).expect("good arguments");
        assert_eq!(map.as_map().map(BTreeMap::len), Some(1));
        assert_eq!(map.attr("topic").attr("operations"), &Value::string_set(["Describe", "Write"]));
        let map = ConsumerAcls.call(&["User:bob".into(), "orders".into(), "app".into()]).expect("good arguments");
        assert_eq!(map.attr("topic").attr("operations"), &Value::string_set(["Describe", "Read"]));
        assert_eq!(map.attr("group").attr("operations"), &Value::string_set(["Read"]));
        assert_eq!(map.attr("group").attr("resource_type"), &Value::from("Group"));
    }

    #[test]
    fn an_error_names_the_argument() {
        let with = |index: usize, value: Value| {
            let mut arguments = id_arguments();
            arguments[index] = value;
            AclId.call(&arguments).expect_err("a bad argument")
        };
        let bad = [
            (0, "alice".into(), "no type before its name"),
            (1, "".into(), "host must not be empty"),
            (2, Value::string_set(["Reed"]), "\"Reed\" is not an operation; it is one of All, Read"),
            (2, Value::set(vec![]), "at least one"),
            (3, "Maybe".into(), "one of Deny, Allow"),
            (4, "Table".into(), "one of Topic"),
            (5, "".into(), "resource_name must not be empty"),
            (6, "Match".into(), "one of Literal, Prefixed"),
        ];
        for (index, value, sentence) in bad {
            let error = with(index, value);
            assert_eq!(error.argument, Some(index), "{}", error.text);
            assert!(error.text.contains(sentence), "{}", error.text);
        }
        assert_eq!(ProducerAcls.call(&["alice".into(), "t".into()]).expect_err("bad").argument, Some(0));
        assert_eq!(ProducerAcls.call(&["User:a".into(), "".into()]).expect_err("bad").argument, Some(1));
        assert_eq!(ConsumerAcls.call(&["User:a".into(), "t".into(), "".into()]).expect_err("bad").argument, Some(2));
    }
}

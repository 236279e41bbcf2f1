//! Values on the wire: msgpack (what Terraform sends) and JSON (stored states), both read by their type.
//!
//! Unknown values are msgpack extension values. Terraform may put refinements ("not null", prefixes) into them; they are
//! promises about the later value that a provider is free to ignore.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::proto::tfplugin6::DynamicValue;
use super::{AttributePath, Number, Type, Value};

/// A value that does not have the form its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", at(path))]
pub struct WireError {
    pub path: AttributePath,
    pub problem: String,
}

fn at(path: &AttributePath) -> String {
    if path.steps().is_empty() { String::new() } else { format!("{path}: ") }
}

impl WireError {
    fn new(path: &AttributePath, problem: impl Into<String>) -> Self {
        Self { path: path.clone(), problem: problem.into() }
    }
}

/// Reads what a message carries. A missing value is null.
pub(super) fn decode(dynamic: Option<&DynamicValue>, kind: &Type) -> Result<Value, WireError> {
    let root = AttributePath::default();
    match dynamic {
        None => Ok(Value::Null),
        Some(value) if !value.msgpack.is_empty() => {
            let mut rest = value.msgpack.as_slice();
            let packed = rmpv::decode::read_value(&mut rest)
                .map_err(|e| WireError::new(&root, format!("not a msgpack value: {e}")))?;
            if !rest.is_empty() {
                return Err(WireError::new(&root, format!("{} bytes follow the msgpack value", rest.len())));
            }
            from_msgpack(packed, kind, &root)
        }
        Some(value) if !value.json.is_empty() => decode_json(&value.json, kind),
        Some(_) => Ok(Value::Null),
    }
}

/// Reads a value from JSON. Attributes that the type does not know are left out: a state may come from an older schema.
pub(super) fn decode_json(json: &[u8], kind: &Type) -> Result<Value, WireError> {
    let root = AttributePath::default();
    let json: Json = serde_json::from_slice(json).map_err(|e| WireError::new(&root, format!("not JSON: {e}")))?;
    from_json(json, kind, &root)
}

/// Writes a value as msgpack. Attributes that an object leaves out are null.
pub(super) fn encode(value: &Value, kind: &Type) -> Result<DynamicValue, WireError> {
    let packed = to_msgpack(value, kind, &AttributePath::default())?;
    let mut msgpack = Vec::new();
    rmpv::encode::write_value(&mut msgpack, &packed)
        .map_err(|e| WireError::new(&AttributePath::default(), format!("cannot be written as msgpack: {e}")))?;
    Ok(DynamicValue { msgpack, json: Vec::new() })
}

fn mismatch(kind: &Type, path: &AttributePath, found: &impl std::fmt::Display) -> WireError {
    WireError::new(path, format!("expected {}, found {found}", kind.noun()))
}

fn from_msgpack(packed: rmpv::Value, kind: &Type, path: &AttributePath) -> Result<Value, WireError> {
    match (packed, kind) {
        (rmpv::Value::Nil, _) => Ok(Value::Null),
        (rmpv::Value::Ext(..), _) => Ok(Value::Unknown),
        (rmpv::Value::Boolean(b), Type::Bool) => Ok(Value::Bool(b)),
        (rmpv::Value::String(s), Type::String) => {
            let text = s.into_str().ok_or_else(|| WireError::new(path, "a string that is not UTF-8"))?;
            Ok(Value::String(text))
        }
        (rmpv::Value::Integer(i), Type::Number) => {
            Ok(Value::Number(i.as_i64().map_or_else(|| Number::Decimal(i.to_string()), Number::Int)))
        }
        (rmpv::Value::F32(f), Type::Number) => Ok(Value::from(f64::from(f))),
        (rmpv::Value::F64(f), Type::Number) => Ok(Value::from(f)),
        (rmpv::Value::String(s), Type::Number) => decimal(s.as_str().unwrap_or_default(), path),
        (rmpv::Value::Array(elements), Type::List(element) | Type::Set(element)) => {
            let elements = elements.into_iter().zip(0..).map(|(e, i)| from_msgpack(e, element, &path.clone().index(i)));
            let elements = elements.collect::<Result<_, _>>()?;
            Ok(if matches!(kind, Type::Set(_)) { Value::set(elements) } else { Value::List(elements) })
        }
        (rmpv::Value::Map(entries), Type::Map(element)) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let key = text_key(key, path)?;
                let value = from_msgpack(value, element, &path.clone().key(&key))?;
                Ok((key, value))
            });
            Ok(Value::Map(entries.collect::<Result<_, _>>()?))
        }
        (rmpv::Value::Map(entries), Type::Object(attributes)) => {
            let mut object: BTreeMap<_, _> = attributes.keys().map(|name| (name.clone(), Value::Null)).collect();
            for (key, value) in entries {
                let key = text_key(key, path)?;
                let kind = attributes
                    .get(&key)
                    .ok_or_else(|| WireError::new(path, format!("no attribute is called {key:?}")))?;
                let value = from_msgpack(value, kind, &path.clone().attribute(&key))?;
                object.insert(key, value);
            }
            Ok(Value::Map(object))
        }
        (found, kind) => Err(mismatch(kind, path, &found)),
    }
}

fn text_key(key: rmpv::Value, path: &AttributePath) -> Result<String, WireError> {
    match key {
        rmpv::Value::String(s) => s.into_str().ok_or_else(|| WireError::new(path, "a key that is not UTF-8")),
        other => Err(WireError::new(path, format!("a key that is not a string: {other}"))),
    }
}

fn from_json(json: Json, kind: &Type, path: &AttributePath) -> Result<Value, WireError> {
    match (json, kind) {
        (Json::Null, _) => Ok(Value::Null),
        (Json::Bool(b), Type::Bool) => Ok(Value::Bool(b)),
        (Json::String(s), Type::String) => Ok(Value::String(s)),
        (Json::String(s), Type::Number) => decimal(&s, path),
        (Json::Number(n), Type::Number) => Ok(match (n.as_i64(), n.is_u64(), n.as_f64()) {
            (Some(i), ..) => Value::from(i),
            (None, false, Some(f)) => Value::from(f),
            _ => Value::Number(Number::Decimal(n.to_string())),
        }),
        (Json::Array(elements), Type::List(element) | Type::Set(element)) => {
            let elements = elements.into_iter().zip(0..).map(|(e, i)| from_json(e, element, &path.clone().index(i)));
            let elements = elements.collect::<Result<_, _>>()?;
            Ok(if matches!(kind, Type::Set(_)) { Value::set(elements) } else { Value::List(elements) })
        }
        (Json::Object(entries), Type::Map(element)) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let value = from_json(value, element, &path.clone().key(&key))?;
                Ok((key, value))
            });
            Ok(Value::Map(entries.collect::<Result<_, _>>()?))
        }
        (Json::Object(mut entries), Type::Object(attributes)) => {
            let attributes = attributes.iter().map(|(name, kind)| {
                let value = entries.remove(name).unwrap_or(Json::Null);
                Ok((name.clone(), from_json(value, kind, &path.clone().attribute(name))?))
            });
            Ok(Value::Map(attributes.collect::<Result<_, _>>()?))
        }
        (found, kind) => Err(mismatch(kind, path, &found)),
    }
}

/// Numbers that msgpack has no form for travel as decimal text.
fn decimal(text: &str, path: &AttributePath) -> Result<Value, WireError> {
    if let Ok(i) = text.parse::<i64>() {
        return Ok(Value::Number(Number::Int(i)));
    }
    match text.parse::<f64>() {
        Ok(f) if f.is_finite() => Ok(Value::Number(Number::Decimal(text.to_owned()))),
        _ => Err(WireError::new(path, format!("expected a number, found {text:?}"))),
    }
}

fn to_msgpack(value: &Value, kind: &Type, path: &AttributePath) -> Result<rmpv::Value, WireError> {
    Ok(match (value, kind) {
        (Value::Null, _) => rmpv::Value::Nil,
        (Value::Unknown, _) => rmpv::Value::Ext(0, vec![0]),
        (Value::Bool(b), Type::Bool) => rmpv::Value::Boolean(*b),
        (Value::String(s), Type::String) => rmpv::Value::from(s.as_str()),
        // Always as text: Terraform (1.11) takes an integer of msgpack and the same of its JSON state for different numbers
        // when it asks whether a refresh has changed anything (`plan -refresh-only -detailed-exitcode`).
        (Value::Number(number), Type::Number) => rmpv::Value::from(number.to_string()),
        (Value::List(elements), Type::List(element) | Type::Set(element)) => {
            let elements = elements.iter().zip(0..).map(|(e, i)| to_msgpack(e, element, &path.clone().index(i)));
            rmpv::Value::Array(elements.collect::<Result<_, _>>()?)
        }
        (Value::Map(entries), Type::Map(element)) => {
            let entries = entries.iter().map(|(key, value)| {
                Ok((rmpv::Value::from(key.as_str()), to_msgpack(value, element, &path.clone().key(key))?))
            });
            rmpv::Value::Map(entries.collect::<Result<_, _>>()?)
        }
        (Value::Map(entries), Type::Object(attributes)) => {
            if let Some(stranger) = entries.keys().find(|name| !attributes.contains_key(*name)) {
                return Err(WireError::new(path, format!("no attribute is called {stranger:?}")));
            }
            let attributes = attributes.iter().map(|(name, kind)| {
                let value = entries.get(name).unwrap_or(&Value::Null);
                Ok((rmpv::Value::from(name.as_str()), to_msgpack(value, kind, &path.clone().attribute(name))?))
            });
            rmpv::Value::Map(attributes.collect::<Result<_, _>>()?)
        }
        (found, kind) => return Err(mismatch(kind, path, &format!("{found:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(attributes: &[(&str, Type)]) -> Type {
        Type::Object(attributes.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect())
    }

    fn everything() -> (Type, Value) {
        let inner = object(&[("deep", Type::List(Box::new(Type::string_map())))]);
        let kind = object(&[
            ("none", Type::String),
            ("later", Type::Number),
            ("on", Type::Bool),
            ("negative", Type::Number),
            ("fraction", Type::Number),
            ("huge", Type::Number),
            ("text", Type::String),
            ("set", Type::string_set()),
            ("inner", inner),
        ]);
        let deep = Value::List(vec![Value::object([("k", Value::from("v")), ("u", Value::Unknown)]), Value::Null]);
        let value = Value::object([
            ("none", Value::Null),
            ("later", Value::Unknown),
            ("on", Value::from(true)),
            ("negative", Value::from(-7)),
            ("fraction", Value::Number(Number::Decimal("0.25".to_owned()))),
            ("huge", Value::Number(Number::Decimal("123456789012345678901234567890".to_owned()))),
            ("text", Value::from("grüße")),
            ("set", Value::string_set(["b", "a"])),
            ("inner", Value::object([("deep", deep)])),
        ]);
        (kind, value)
    }

    #[test]
    fn every_kind_of_value_survives_the_wire() {
        let (kind, value) = everything();
        let sent = encode(&value, &kind).expect("encodes");
        assert_eq!(decode(Some(&sent), &kind).expect("decodes"), value);
    }

    #[test]
    fn unknown_has_terraforms_bytes_and_refinements_are_accepted() {
        assert_eq!(encode(&Value::Unknown, &Type::String).expect("encodes").msgpack, [0xd4, 0, 0]);
        // ext 8, length 3, type 12: {1: false} is "not null".
        let refined = DynamicValue { msgpack: vec![0xc7, 3, 12, 0x81, 1, 0xc2], json: Vec::new() };
        assert_eq!(decode(Some(&refined), &Type::String).expect("decodes"), Value::Unknown);
    }

    #[test]
    fn objects_are_complete_on_both_ways() {
        let kind = object(&[("a", Type::String), ("b", Type::Bool)]);
        let sent = encode(&Value::object([("a", Value::from("x"))]), &kind).expect("encodes");
        let back = decode(Some(&sent), &kind).expect("decodes");
        assert_eq!(back, Value::object([("a", Value::from("x")), ("b", Value::Null)]));
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        let kind = object(&[("config", Type::string_map())]);
        let wrong = Value::object([("config", Value::object([("retention.ms", Value::from(true))]))]);
        let error = encode(&wrong, &kind).expect_err("a bool is not a string");
        assert_eq!(error.to_string(), r#"config["retention.ms"]: expected a string, found Bool(true)"#);

        let number = rmpv::Value::Map(vec![("config".into(), 5.into())]);
        let mut msgpack = Vec::new();
        rmpv::encode::write_value(&mut msgpack, &number).expect("a vector takes bytes");
        let error = decode(Some(&DynamicValue { msgpack, json: Vec::new() }), &kind).expect_err("5 is not a map");
        assert_eq!(error.to_string(), "config: expected a map, found 5");
    }

    #[test]
    fn strangers_truncation_and_trailing_bytes_are_errors() {
        let kind = object(&[("a", Type::String)]);
        assert!(encode(&Value::object([("b", Value::Null)]), &kind).is_err());
        let good = encode(&Value::object([("a", Value::from("x"))]), &kind).expect("encodes").msgpack;
        for broken in [[good.as_slice(), &[0]].concat(), good[..good.len() - 1].to_vec(), vec![0x81]] {
            assert!(decode(Some(&DynamicValue { msgpack: broken, json: Vec::new() }), &kind).is_err());
        }
    }

    #[test]
    fn a_stored_state_loses_what_the_schema_no_longer_knows() {
        let kind = object(&[("name", Type::String), ("partitions", Type::Number), ("ops", Type::string_set())]);
        let json = br#"{"name":"t","partitions":3,"ops":["w","r"],"gone":1}"#;
        let expected =
            [("name", Value::from("t")), ("partitions", Value::from(3)), ("ops", Value::string_set(["r", "w"]))];
        assert_eq!(decode_json(json, &kind).expect("decodes"), Value::object(expected));
    }

    #[test]
    fn numbers_meet_whatever_their_encoding() {
        for packed in [rmpv::Value::from(3), rmpv::Value::F64(3.0), rmpv::Value::F32(3.0), rmpv::Value::from("3")] {
            let mut msgpack = Vec::new();
            rmpv::encode::write_value(&mut msgpack, &packed).expect("a vector takes bytes");
            let value = decode(Some(&DynamicValue { msgpack, json: Vec::new() }), &Type::Number).expect("decodes");
            assert_eq!(value, Value::from(3));
        }
        // 12.1 is no float, so Terraform sends a configured one as text, and a stored one is JSON.
        let mut msgpack = Vec::new();
        rmpv::encode::write_value(&mut msgpack, &rmpv::Value::from("12.1")).expect("a vector takes bytes");
        let configured = decode(Some(&DynamicValue { msgpack, json: Vec::new() }), &Type::Number).expect("decodes");
        let stored = decode_json(b"12.1", &Type::Number).expect("decodes");
        assert_eq!((&configured, &stored), (&Value::from(12.1), &Value::from(12.1)));
        assert_eq!(encode(&stored, &Type::Number).expect("encodes").msgpack, b"\xa412.1");
        assert_eq!(encode(&Value::from(3), &Type::Number).expect("encodes").msgpack, b"\xa13");
    }
}

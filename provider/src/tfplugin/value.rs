//! Values as Terraform knows them: null and unknown are values too.

use std::collections::BTreeMap;

/// A number. Terraform's are decimal and have no bounds, so what is no whole `i64` stays decimal text: 12.1 as a float would
/// come back as another number than the one that was configured.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Number {
    Int(i64),
    Decimal(String),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(i) => write!(f, "{i}"),
            Self::Decimal(text) => f.write_str(text),
        }
    }
}

/// A value of some [`Type`](super::Type).
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// Not set.
    Null,
    /// Known only after apply.
    Unknown,
    Bool(bool),
    Number(Number),
    String(String),
    /// A list, or a set in canonical order (see [`Value::set`]).
    List(Vec<Value>),
    /// A map or an object.
    Map(BTreeMap<String, Value>),
}

static NULL: Value = Value::Null;

impl Value {
    /// A set: order and duplicates carry no meaning, so equal sets become equal values.
    pub fn set(mut elements: Vec<Self>) -> Self {
        elements.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        // Two unknown elements may turn out to be different ones.
        elements.dedup_by(|a, b| a == b && a.is_wholly_known());
        Self::List(elements)
    }

    /// A set of strings.
    pub fn string_set<S: Into<String>>(elements: impl IntoIterator<Item = S>) -> Self {
        Self::set(elements.into_iter().map(|s| Self::String(s.into())).collect())
    }

    /// An object or map.
    pub fn object<K: Into<String>>(attributes: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(attributes.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether this value itself is unknown (see [`Value::is_wholly_known`] for what is inside).
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Whether neither this value nor anything inside it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::List(elements) => elements.iter().all(Self::is_wholly_known),
            Self::Map(entries) => entries.values().all(Self::is_wholly_known),
            _ => true,
        }
    }

    /// An attribute of an object, or an element of a map; null when there is none.
    pub fn attr(&self, name: &str) -> &Self {
        match self {
            Self::Map(entries) => entries.get(name).unwrap_or(&NULL),
            _ => &NULL,
        }
    }

    /// Sets an attribute of an object. Anything but an object becomes one.
    pub fn set_attr(&mut self, name: &str, value: Self) {
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(BTreeMap::new());
        }
        if let Self::Map(entries) = self {
            entries.insert(name.to_owned(), value);
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The number, when it is a whole one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(Number::Int(i)) => Some(*i),
            _ => None,
        }
    }

    /// The number as a float, which may be a little off.
    #[allow(clippy::cast_precision_loss, reason = "the caller asks for a float")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(Number::Int(i)) => Some(*i as f64),
            Self::Number(Number::Decimal(text)) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::String(s.to_owned())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::String(s)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Self::Number(Number::Int(i))
    }
}

impl From<i32> for Value {
    fn from(i: i32) -> Self {
        Self::from(i64::from(i))
    }
}

/// The shortest decimal that is this float, which is the text that a person wrote for it.
impl From<f64> for Value {
    #[allow(clippy::cast_possible_truncation, reason = "the bound keeps the number inside i64")]
    fn from(f: f64) -> Self {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
        let whole = f.fract() == 0.0 && f.abs() <= EXACT;
        Self::Number(if whole { Number::Int(f as i64) } else { Number::Decimal(f.to_string()) })
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_do_not_care_for_order_or_duplicates() {
        assert_eq!(Value::string_set(["b", "a", "b"]), Value::string_set(["a", "b"]));
        assert_ne!(Value::string_set(["a"]), Value::string_set(["a", "b"]));
    }

    #[test]
    fn unknown_inside_makes_a_value_not_wholly_known() {
        let value = Value::object([("a", Value::List(vec![Value::from("x"), Value::Unknown]))]);
        assert!(!value.is_unknown());
        assert!(!value.is_wholly_known());
        assert!(Value::object([("a", Value::Null)]).is_wholly_known());
    }

    #[test]
    fn a_float_is_the_number_that_a_person_wrote() {
        assert_eq!(Value::from(3.0), Value::from(3));
        assert_eq!(Value::from(12.1), Value::Number(Number::Decimal("12.1".to_owned())));
        assert_eq!(Value::from(12.1).as_f64(), Some(12.1));
    }

    #[test]
    fn a_missing_attribute_is_null() {
        assert!(Value::object([("a", Value::from(1))]).attr("b").is_null());
        assert!(Value::Null.attr("b").is_null());
    }
}

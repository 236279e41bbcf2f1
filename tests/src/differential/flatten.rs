//! A message as one line for each field, so that two answers are compared field by field.
//!
//! Messages are taken in Rust's pretty debug form, the one form that all of them have. Items of a list go by the names or
//! indexes that they have, or else by their place among the sorted: the order of topics, configs and members is no part of
//! what is compared. Lists, their items and structs are lines too, so that a missing one is told as a whole.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// What items of lists are known by.
const KEYS: [&str; 22] = [
    "name",
    "topic",
    "topic_name",
    "partition_index",
    "partition",
    "partition_id",
    "api_key",
    "group_id",
    "transactional_id",
    "resource_type",
    "resource_name",
    "pattern_type",
    "principal",
    "operation",
    "permission_type",
    "entity_type",
    "key",
    "user",
    "mechanism",
    "source",
    "broker_id",
    "node_id",
];
/// What stands for the containers themselves.
const LIST: &str = "list";
const ITEM: &str = "item";
const STRUCT: &str = "struct";

/// Path of a field (`topics["orders"].partitions[1].error_code`) → its value.
pub(super) type Fields = BTreeMap<String, String>;

#[derive(Debug)]
enum Tree {
    Leaf(String),
    Struct(Vec<(String, Tree)>),
    List(Vec<Tree>),
}

/// The fields of a message. `replace` gets each value with its field's name, and says what stands for it.
pub(super) fn flatten(message: &impl Debug, replace: &mut dyn FnMut(&str, &str) -> String) -> Fields {
    let text = format!("{message:#?}");
    let mut lines = text.lines();
    let mut tree = match lines.next() {
        Some(first) => parse(first.trim_end_matches(','), &mut lines),
        None => Tree::Leaf(String::new()),
    };
    substitute(&mut tree, "", replace);
    sort(&mut tree);
    let mut fields = Fields::new();
    collect(&tree, String::new(), &mut fields);
    fields
}

/// What a value's first line begins, up to its closing bracket.
fn parse<'a>(first: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> Tree {
    if first == "[]" {
        return Tree::List(Vec::new());
    }
    let closing = match first.chars().last() {
        Some('{') => '}',
        Some('[') => ']',
        Some('(') => ')',
        _ => return Tree::Leaf(first.to_owned()),
    };
    let mut children = Vec::new();
    while let Some(line) = lines.next() {
        let line = line.trim().trim_end_matches(',');
        if line.starts_with(closing) && line.len() == 1 {
            break;
        }
        // A name, unless the value is a list's item or a string.
        let named = line.split_once(": ").filter(|(name, _)| {
            closing == '}' && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        });
        match named {
            Some((name, value)) => children.push((name.to_owned(), parse(value, lines))),
            None => children.push((String::new(), parse(line, lines))),
        }
    }
    match closing {
        ']' => Tree::List(children.into_iter().map(|(_, child)| child).collect()),
        // `Some(…)` and names of one value, as of a topic, say nothing themselves.
        ')' if children.len() == 1 => children.remove(0).1,
        _ => Tree::Struct(children),
    }
}

fn substitute(tree: &mut Tree, name: &str, replace: &mut dyn FnMut(&str, &str) -> String) {
    match tree {
        Tree::Leaf(value) => *value = replace(name, value),
        Tree::Struct(fields) => fields.iter_mut().for_each(|(name, child)| substitute(child, name, replace)),
        Tree::List(items) => items.iter_mut().for_each(|item| substitute(item, name, replace)),
    }
}

fn sort(tree: &mut Tree) {
    match tree {
        Tree::Leaf(_) => {}
        Tree::Struct(fields) => fields.iter_mut().for_each(|(_, child)| sort(child)),
        Tree::List(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_cached_key(|item| format!("{item:?}"));
        }
    }
}

fn collect(tree: &Tree, path: String, fields: &mut Fields) {
    match tree {
        // A field that this version of the message lacks everywhere says nothing.
        Tree::Struct(children) if children.is_empty() && path.ends_with("unknown_tagged_fields") => {}
        Tree::Leaf(value) if value == "{}" && path.ends_with("unknown_tagged_fields") => {}
        Tree::Leaf(value) => drop(fields.insert(path, value.clone())),
        Tree::Struct(children) => {
            if !path.is_empty() {
                fields.entry(path.clone()).or_insert_with(|| STRUCT.to_owned());
            }
            for (name, child) in children {
                let dot = if path.is_empty() || name.is_empty() { "" } else { "." };
                collect(child, format!("{path}{dot}{name}"), fields);
            }
        }
        Tree::List(items) => {
            fields.insert(path.clone(), LIST.to_owned());
            let mut times = BTreeMap::new();
            for (at, item) in items.iter().enumerate() {
                let known = known_by(item).unwrap_or_else(|| at.to_string());
                let time = times.entry(known.clone()).and_modify(|time| *time += 1).or_insert(1);
                let known = if *time == 1 { known } else { format!("{known} #{time}") };
                let path = format!("{path}[{known}]");
                fields.insert(path.clone(), ITEM.to_owned());
                if !matches!(item, Tree::Leaf(_)) {
                    collect(item, path, fields);
                }
            }
        }
    }
}

/// What an item is known by; a bare value by itself.
fn known_by(item: &Tree) -> Option<String> {
    let fields = match item {
        Tree::Leaf(value) => return Some(value.clone()),
        Tree::Struct(fields) => fields,
        Tree::List(_) => return None,
    };
    let value = |key: &&str| {
        fields.iter().find_map(|(name, value)| match value {
            Tree::Leaf(value) if name == key && value != "None" => Some(value.clone()),
            _ => None,
        })
    };
    let values: Vec<_> = KEYS.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| values.join(" "))
}

/// How many values there are beside the containers.
pub(super) fn count(fields: &Fields) -> usize {
    fields.values().filter(|value| ![LIST, ITEM, STRUCT].contains(&value.as_str())).count()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn result(name: &'static str, code: i16) -> DeletableTopicResult {
        DeletableTopicResult::default()
            .with_name(Some(TopicName(StrBytes::from_static_str(name))))
            .with_error_code(code)
    }

    #[test]
    fn a_message_becomes_paths_whatever_the_order_of_its_lists() {
        let one = DeleteTopicsResponse::default().with_responses(vec![result("a: {", 3), result("b", 0)]);
        let other = DeleteTopicsResponse::default().with_responses(vec![result("b", 0), result("a: {", 3)]);
        let mut keep = |_: &str, value: &str| value.to_owned();
        let fields = flatten(&one, &mut keep);
        assert_eq!(fields, flatten(&other, &mut keep));
        assert_eq!(fields.get("responses").map(String::as_str), Some(LIST));
        assert_eq!(fields.get("responses[\"b\"]").map(String::as_str), Some(ITEM));
        assert_eq!(fields.get("responses[\"b\"].error_code").map(String::as_str), Some("0"));
        assert!(fields.values().any(|value| value.contains("a: {")), "{fields:?}");
        assert!(!fields.keys().any(|path| path.contains("tagged")), "{fields:?}");
        let mut hide = |name: &str, value: &str| if name == "error_code" { "?".to_owned() } else { value.to_owned() };
        assert_eq!(flatten(&one, &mut hide).get("responses[\"b\"].error_code").map(String::as_str), Some("?"));
    }
}

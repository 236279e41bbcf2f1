//! Names of Terraform resources, made from names of Kafka.

use std::collections::BTreeSet;

/// A valid label for each text, none of them twice. Texts that are labels already keep theirs whatever stands beside them;
/// of others that come to the same label, all but the first get a number, in the order given.
pub(super) fn labels(texts: &[String]) -> Vec<String> {
    let mut taken: BTreeSet<String> = texts.iter().filter(|text| label(text) == **text).cloned().collect();
    let mut kept = BTreeSet::new();
    texts
        .iter()
        .map(|text| {
            let plain = label(text);
            if plain == *text && kept.insert(plain.clone()) {
                return plain;
            }
            let numbered = (2_u64..).map(|number| format!("{plain}_{number}"));
            let free = std::iter::once(plain.clone()).chain(numbered).find(|label| !taken.contains(label));
            let free = free.unwrap_or(plain);
            taken.insert(free.clone());
            free
        })
        .collect()
}

/// Letters, digits and underscores of ASCII; everything between them becomes one underscore.
fn label(text: &str) -> String {
    let mut label = String::new();
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() || letter == '_' {
            label.push(letter);
        } else if !label.is_empty() && !label.ends_with('_') {
            label.push('_');
        }
    }
    let end_is_made = !text.ends_with('_');
    if end_is_made && label.ends_with('_') {
        label.pop();
    }
    match label.chars().next() {
        None => "unnamed".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{label}"),
        Some(_) => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Vec<String> {
        labels(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn labels_are_valid() {
        for (text, wanted) in [
            ("orders.eu-1", "orders_eu_1"),
            ("__private", "__private"),
            ("trailing_", "trailing_"),
            ("2024.orders", "_2024_orders"),
            ("*", "unnamed"),
            ("größe", "gr_e"),
            ("CN=a, O=\"b\"", "CN_a_O_b"),
        ] {
            assert_eq!(label(text), wanted, "{text}");
        }
    }

    #[test]
    fn labels_differ_and_do_not_depend_on_what_is_added() {
        assert_eq!(of(&["a-b", "a.b", "a_b", "a_b_2"]), ["a_b_3", "a_b_4", "a_b", "a_b_2"]);
        assert_eq!(of(&["a-b", "a.b"]), ["a_b", "a_b_2"]);
        assert_eq!(of(&["same", "same", "same"]), ["same", "same_2", "same_3"]);
        assert_eq!(of(&["é", "ü", "unnamed"]), ["unnamed_2", "unnamed_3", "unnamed"]);
    }
}

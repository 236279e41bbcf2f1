//! Blocks in Terraform's language, laid out as `terraform fmt` does.

use std::fmt::{self, Write};

use icu_normalizer::ComposingNormalizerBorrowed;

/// What stands right of a `=`.
#[derive(Debug)]
pub(super) enum Expression {
    /// As it is: a number, a reference, a call.
    Bare(String),
    Text(String),
    Texts(Vec<String>),
    /// Names are written as they are given; [`quoted`] makes those that are no identifiers.
    Object(Vec<(String, Expression)>),
}

/// `head { … }`.
#[derive(Debug)]
pub(super) struct Block {
    /// Such as `resource "lockgate_topic" "orders"`.
    pub(super) head: String,
    pub(super) attributes: Vec<(String, Expression)>,
}

impl Block {
    pub(super) fn resource(kind: &str, label: &str, attributes: Vec<(&str, Expression)>) -> Self {
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { head: format!("resource \"{kind}\" \"{label}\""), attributes }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attributes.is_empty() {
            return writeln!(f, "{} {{}}", self.head);
        }
        write!(f, "{} {{\n{}}}\n", self.head, body(&self.attributes, 1))
    }
}

/// Attributes one a line, with the `=` of neighbours below each other; an object stands apart.
fn body(attributes: &[(String, Expression)], depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut text = String::new();
    let is_object = |(_, value): &(String, Expression)| matches!(value, Expression::Object(_));
    for (at, group) in attributes.chunk_by(|a, b| !is_object(a) && !is_object(b)).enumerate() {
        if at > 0 {
            text.push('\n');
        }
        let width = group.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in group {
            let _ = writeln!(text, "{indent}{name:<width$} = {}", expression(value, depth));
        }
    }
    text
}

fn expression(value: &Expression, depth: usize) -> String {
    match value {
        Expression::Bare(text) => text.clone(),
        Expression::Text(text) => quoted(text),
        Expression::Texts(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        Expression::Object(attributes) => {
            format!("{{\n{}{}}}", body(attributes, depth + 1), "  ".repeat(depth))
        }
    }
}

/// A text as a literal that stands for just this text.
pub(super) fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\\' => literal.extend(['\\', letter]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            // Doubled, it does not begin a template.
            '$' | '%' if letters.peek() == Some(&'{') => literal.extend([letter, letter]),
            // Also what a reader could not see, or would see in another order than it stands.
            _ if letter.is_control() || is_invisible(letter) => {
                let _ = match u32::from(letter) {
                    code @ 0..=0xffff => write!(literal, "\\u{code:04x}"),
                    code => write!(literal, "\\U{code:08x}"),
                };
            }
            _ => literal.push(letter),
        }
    }
    literal.push('"');
    literal
}

/// Line and paragraph separators, directional formatting, zero-width letters, the byte order mark.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether Terraform keeps the text: it composes every text (NFC), and a name that is not composed would become another.
pub(super) fn is_kept(text: &str) -> bool {
    ComposingNormalizerBorrowed::new_nfc().is_normalized(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_stands_for_its_text() {
        for (text, literal) in [
            ("orders", r#""orders""#),
            (r#"CN="a\b""#, r#""CN=\"a\\b\"""#),
            ("a\nb\tc\rd\0", r#""a\nb\tc\rd\u0000""#),
            ("${x} $x %{x} 5%", r#""$${x} $x %%{x} 5%""#),
            ("$${x}$", r#""$$${x}$""#),
            ("größe 😀", "\"größe 😀\""),
            ("a\u{202e}b\u{feff}", r#""a\u202eb\ufeff""#),
        ] {
            assert_eq!(quoted(text), literal);
        }
    }

    #[test]
    fn only_composed_texts_are_kept() {
        assert!(is_kept("größe") && is_kept("orders") && is_kept("😀"));
        assert!(!is_kept("gro\u{308}ße"));
    }

    #[test]
    fn neighbours_line_up_and_objects_stand_apart() {
        let text = |text: &str| Expression::Text(text.to_owned());
        let config = Expression::Object(vec![(quoted("retention.ms"), text("1")), (quoted("a"), text("2"))]);
        let block = Block::resource(
            "lockgate_topic",
            "orders",
            vec![
                ("name", text("orders")),
                ("partitions", Expression::Bare("3".into())),
                ("config", config),
                ("tags", Expression::Texts(vec!["a".into(), "b".into()])),
            ],
        );
        let wanted = r#"resource "lockgate_topic" "orders" {
  name       = "orders"
  partitions = 3

  config = {
    "retention.ms" = "1"
    "a"            = "2"
  }

  tags = ["a", "b"]
}
"#;
        assert_eq!(block.to_string(), wanted);
        assert_eq!(Block { head: "provider \"x\"".into(), attributes: Vec::new() }.to_string(), "provider \"x\" {}\n");
    }
}

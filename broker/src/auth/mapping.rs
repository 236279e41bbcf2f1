//! From a certificate's subject to a principal: Kafka's `ssl.principal.mapping.rules`.

use regex::Regex;
use thiserror::Error;

/// Longest pattern (characters) and largest compiled pattern (bytes).
const MAX_PATTERN: usize = 1024;
const MAX_COMPILED: usize = 1 << 20;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidRule {
    #[error("the rule `{0}` is neither DEFAULT nor RULE:pattern/replacement/ with L or U after it")]
    Form(String),
    #[error("the pattern of the rule `{rule}` is no regular expression: {reason}")]
    Pattern { rule: String, reason: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    AsIs,
    Lower,
    Upper,
}

#[derive(Clone, Debug)]
enum Rule {
    /// The whole subject.
    Default,
    Replace {
        pattern: Regex,
        replacement: String,
        case: Case,
    },
}

/// Rules in order; the first that fits decides.
#[derive(Clone, Debug)]
pub struct MappingRules(Vec<Rule>);

impl Default for MappingRules {
    fn default() -> Self {
        Self(vec![Rule::Default])
    }
}

impl MappingRules {
    /// No rules are the rule `DEFAULT`.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self, InvalidRule> {
        let rules: Vec<_> = rules.iter().map(|rule| Rule::parse(rule.as_ref().trim())).collect::<Result<_, _>>()?;
        Ok(if rules.is_empty() { Self::default() } else { Self(rules) })
    }

    /// The principal's name for a subject in RFC 2253 form; `None` when no rule fits, and then nobody gets in.
    pub fn apply(&self, subject: &str) -> Option<String> {
        self.0.iter().find_map(|rule| rule.apply(subject)).filter(|name| !name.is_empty())
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, InvalidRule> {
        if text == "DEFAULT" {
            return Ok(Self::Default);
        }
        let invalid = || InvalidRule::Form(text.to_owned());
        let body = text.strip_prefix("RULE:").ok_or_else(invalid)?;
        let parts = split_unescaped(body);
        let [pattern, replacement, case] = parts.as_slice() else { return Err(invalid()) };
        let case = match case.as_str() {
            "" => Case::AsIs,
            "L" => Case::Lower,
            "U" => Case::Upper,
            _ => return Err(invalid()),
        };
        if pattern.is_empty() || pattern.chars().count() > MAX_PATTERN {
            return Err(invalid());
        }
        // Kafka wants the whole subject to match.
        let compiled = regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(MAX_COMPILED).build();
        let pattern =
            compiled.map_err(|error| InvalidRule::Pattern { rule: text.to_owned(), reason: error.to_string() })?;
        Ok(Self::Replace { pattern, replacement: replacement_of(replacement), case })
    }

    fn apply(&self, subject: &str) -> Option<String> {
        let Self::Replace { pattern, replacement, case } = self else { return Some(subject.to_owned()) };
        let captures = pattern.captures(subject)?;
        let mut name = String::new();
        captures.expand(replacement, &mut name);
        Some(match case {
            Case::AsIs => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        })
    }
}

/// Splits at slashes; a backslash before a slash keeps it.
fn split_unescaped(body: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = body.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some('/')) => {
                parts.last_mut().expect("there is always a last part").push('/');
                characters.next();
            }
            ('/', _) => parts.push(String::new()),
            _ => parts.last_mut().expect("there is always a last part").push(character),
        }
    }
    parts
}

/// Java writes `$1`, takes exactly the digits, and a backslash makes the next character plain; the regex crate reads
/// `$1a` as a group named `1a`, so groups get braces.
fn replacement_of(java: &str) -> String {
    let mut replacement = String::new();
    let mut characters = java.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '$' if characters.peek().is_some_and(char::is_ascii_digit) => {
                replacement.push_str("${");
                while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                    replacement.push(digit);
                }
                replacement.push('}');
            }
            '$' => replacement.push_str("$$"),
            '\\' => match characters.next() {
                Some('$') => replacement.push_str("$$"),
                Some(plain) => replacement.push(plain),
                None => {}
            },
            _ => replacement.push(character),
        }
    }
    replacement
}

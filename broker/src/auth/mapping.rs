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
        let replacement = replacement_of(replacement, pattern.captures_len() - 1);
        Ok(Self::Replace { pattern, replacement, case })
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

/// Splits at slashes; a backslash before a slash keeps it, and other escapes stay as they are.
fn split_unescaped(body: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            '/' => parts.push(std::mem::take(&mut part)),
            '\\' => match characters.next() {
                Some('/') => part.push('/'),
                escaped => {
                    part.push('\\');
                    part.extend(escaped);
                }
            },
            _ => part.push(character),
        }
    }
    parts.push(part);
    parts
}

/// Java writes `$1`, takes as many digits as name a group that there is, and a backslash makes the next character plain;
/// the regex crate reads `$1a` as a group named `1a`, so groups get braces. Kafka leaves a `$` before a number that names no
/// group as it is.
fn replacement_of(java: &str, groups: usize) -> String {
    let mut replacement = String::new();
    let mut characters = java.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '$' if characters.peek().is_some_and(char::is_ascii_digit) => {
                let mut group = None;
                while let Some(digit) = characters.peek().and_then(|next| next.to_digit(10)) {
                    let longer = group.unwrap_or(0) * 10 + digit as usize;
                    if longer > groups {
                        break;
                    }
                    group = Some(longer);
                    characters.next();
                }
                match group {
                    Some(group) => replacement.push_str(&format!("${{{group}}}")),
                    None => replacement.push_str("$$"),
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(rules: &[&str], subject: &str) -> Option<String> {
        MappingRules::parse(rules).expect("the rules are valid").apply(subject)
    }

    /// The examples of Kafka's documentation ("Customizing SSL User Name").
    #[test]
    fn kafkas_documented_rules() {
        let rules = [
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/",
            "RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L",
            "RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L",
            "DEFAULT",
        ];
        let cases = [
            ("CN=serviceuser,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "serviceuser"),
            ("CN=adminUser,OU=Admin,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "adminuser@admin"),
            ("cn=TEST1,ou=SMEs,dc=mycp,dc=com", "test1"),
            ("OU=JavaEngineers,O=Apache", "OU=JavaEngineers,O=Apache"),
        ];
        for (subject, name) in cases {
            assert_eq!(apply(&rules, subject).as_deref(), Some(name));
        }
    }

    /// From Kafka's SslPrincipalMapperTest.
    #[test]
    fn kafkas_tested_rules() {
        let duke = "CN=Duke,OU=ServiceUsers,O=Org,C=US";
        assert_eq!(apply(&["RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L"], duke).as_deref(), Some("duke"));
        assert_eq!(apply(&["RULE:^CN=([^,ADEFLTU,]+)(.*$|,.*$)/$1/U"], "CN=duke,OU=x").as_deref(), Some("DUKE"));
        assert_eq!(
            apply(&["RULE:^CN=(.*?),OU=(.*?),O=(.*?),C=(.*?)$/$1\\/$2/"], duke).as_deref(),
            Some("Duke/ServiceUsers")
        );
    }

    #[test]
    fn no_rules_are_the_default_and_no_fit_is_nobody() {
        assert_eq!(apply(&[], "CN=app,OU=x").as_deref(), Some("CN=app,OU=x"));
        assert_eq!(apply(&["RULE:^CN=(a.*)$/$1/"], "CN=b"), None);
        assert_eq!(apply(&["RULE:CN=a/x/"], "CN=ab"), None, "a pattern has to fit the whole subject");
        assert_eq!(apply(&["RULE:CN=(x?)/$1/"], "CN="), None, "an empty name is nobody");
    }

    #[test]
    fn a_group_number_ends_with_its_digits() {
        assert_eq!(apply(&["RULE:CN=(.*)/$1_prod/"], "CN=app").as_deref(), Some("app_prod"));
        assert_eq!(apply(&["RULE:CN=(.*)/\\$$1/"], "CN=app").as_deref(), Some("$app"));
    }

    /// From Kafka's SslPrincipalMapperTest: a reference to a group that is not there is plain text.
    #[test]
    fn references_to_groups_that_are_not_there_stay() {
        assert_eq!(apply(&["RULE:^CN=([^,]+).*$/$1@$4/U"], "CN=duke,OU=x").as_deref(), Some("DUKE@$4"));
        assert_eq!(apply(&["RULE:^CN=([^,]+).*$/$12/"], "CN=duke,OU=x").as_deref(), Some("duke2"));
        assert_eq!(apply(&["RULE:^CN=([^,]+).*$/$0/L"], "CN=Duke,OU=x").as_deref(), Some("cn=duke,ou=x"));
    }

    #[test]
    fn broken_rules_are_refused() {
        for rule in ["default", "RULE:", "RULE:a", "RULE:a/b", "RULE:a/b/X", "RULE:a/b/LU", "RULE://b/", "a/b/"] {
            assert_eq!(MappingRules::parse(&[rule]).err(), Some(InvalidRule::Form(rule.to_owned())), "{rule}");
        }
        assert!(matches!(MappingRules::parse(&["RULE:(a/b/"]), Err(InvalidRule::Pattern { .. })));
    }
}

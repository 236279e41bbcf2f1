//! The list of differences that are meant: `SCENARIO/STEP FIELD: REASON`, one a line, with `*` for any run of characters
//! in what comes before the reason. Lines that begin with `#` are comments.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    place: String,
    reason: String,
}

/// The list, with what of it was met.
#[derive(Debug, Default)]
pub(super) struct Differences {
    entries: Vec<Entry>,
    met: Vec<bool>,
}

impl Differences {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let entries = lines.map(|(number, line)| {
            let (place, reason) =
                line.split_once(": ").with_context(|| format!("line {} has no reason", number + 1))?;
            ensure!(place.contains(' '), "line {}: {place:?} is not `SCENARIO/STEP FIELD`", number + 1);
            ensure!(!reason.trim().is_empty(), "line {} has an empty reason", number + 1);
            Ok(Entry { place: place.to_owned(), reason: reason.to_owned() })
        });
        let entries = entries.collect::<Result<Vec<_>>>()?;
        Ok(Self { met: vec![false; entries.len()], entries })
    }

    /// The reason why a field may differ there, if any.
    pub(super) fn reason(&mut self, step: &str, field: &str) -> Option<&str> {
        let place = format!("{step} {field}");
        let at = self.entries.iter().position(|entry| fits(&entry.place, &place))?;
        self.met[at] = true;
        Some(&self.entries[at].reason)
    }

    /// Entries of these scenarios that no difference needed.
    pub(super) fn unneeded(&self, scenarios: &[&str]) -> Vec<&str> {
        let ran = |entry: &Entry| {
            let scenario = entry.place.split('/').next().unwrap_or_default();
            scenarios.iter().any(|ran| fits(scenario, ran))
        };
        let entries = self.entries.iter().zip(&self.met);
        entries.filter(|(entry, met)| !**met && ran(entry)).map(|(entry, _)| entry.place.as_str()).collect()
    }
}

/// Whether a text fits a pattern with `*`.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("a/b v*", "a/b v3", true),
            ("*/b x[*].y", "a/b x[12].y", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*b", "ab", true),
            ("a*b*c", "a-c", false),
            ("x*x", "x", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn entries_are_found_and_those_without_use_are_told() {
        let mut list =
            Differences::parse("# why\ntopics/create* topics[*].error_code: we are stricter\n\nacls/x y: z\n")
                .expect("a good list");
        assert_eq!(list.reason("topics/create v2", "topics[0].error_code"), Some("we are stricter"));
        assert_eq!(list.reason("topics/create v2", "topics[0].name"), None);
        assert_eq!(list.unneeded(&["topics"]), Vec::<&str>::new());
        assert_eq!(list.unneeded(&["topics", "acls"]), ["acls/x y"]);
        assert!(Differences::parse("topics/create v2").is_err() && Differences::parse("topics x: ").is_err());
    }
}

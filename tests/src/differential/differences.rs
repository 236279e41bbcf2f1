//! The list of differences that are meant. A line that begins without a space is a reason; each indented line below it is a
//! place where that reason holds: `SCENARIO/STEP FIELD KAFKA -> LOCKGATE`, with `*` for any run of characters. Lines that
//! begin with `#` are comments.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Difference;

/// One place of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    place: String,
    reason: String,
}

/// The list, with what of it was met.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    entries: Vec<Entry>,
    met: Vec<bool>,
}

impl Differences {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut reason: Option<(&str, usize)> = None;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        for (number, line) in lines {
            let number = number + 1;
            if !line.starts_with(' ') {
                ensure!(
                    reason.is_none_or(|(_, at)| at < entries.len()),
                    "line {number} follows a reason without places"
                );
                reason = Some((line.trim(), entries.len()));
                continue;
            }
            let (reason, _) = reason.with_context(|| format!("line {number} has no reason above it"))?;
            let place = line.trim();
            let shaped = place.contains('/') && place.contains(' ') && (place.contains(" -> ") || place.ends_with('*'));
            ensure!(shaped, "line {number}: {place:?} is not `SCENARIO/STEP FIELD KAFKA -> LOCKGATE`");
            entries.push(Entry { place: place.to_owned(), reason: reason.to_owned() });
        }
        Ok(Self { met: vec![false; entries.len()], entries })
    }

    /// The reason why the two may differ there, if any. All places that fit count as met.
    pub(crate) fn reason(&mut self, difference: &Difference) -> Option<&str> {
        let place = difference.to_string();
        let mut found = None;
        for (at, entry) in self.entries.iter().enumerate() {
            if fits(&entry.place, &place) {
                self.met[at] = true;
                found = found.or(Some(entry.reason.as_str()));
            }
        }
        found
    }

    /// Places of these scenarios that no difference needed; those with `*` for the scenario when all were played.
    pub(crate) fn unneeded(&self, scenarios: &[&str], all: bool) -> Vec<&str> {
        let played = |entry: &Entry| {
            let scenario = entry.place.split('/').next().unwrap_or_default();
            all || scenarios.contains(&scenario)
        };
        let entries = self.entries.iter().zip(&self.met);
        entries.filter(|(entry, met)| !**met && played(entry)).map(|(entry, _)| entry.place.as_str()).collect()
    }

    /// Each reason once, in the order of the list.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<_> = self.entries.iter().map(|entry| entry.reason.as_str()).collect();
        reasons.dedup();
        reasons
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

    fn difference(step: &str, field: &str, kafka: &str, lockgate: &str) -> Difference {
        Difference {
            step: step.to_owned(),
            field: field.to_owned(),
            kafka: Some(kafka.to_owned()),
            lockgate: Some(lockgate.to_owned()),
        }
    }

    #[test]
    fn places_are_found_and_those_without_use_are_told() {
        let text = "# why\nWe are stricter.\n  topics/create* topics[*].error_code 0 -> 17\n\n  acls/x y 1 -> 2\nLater.\n  */z *\n";
        let mut list = Differences::parse(text).expect("a good list");
        let stricter = difference("topics/create v2", "topics[\"t\"].error_code", "0", "17");
        assert_eq!(list.reason(&stricter), Some("We are stricter."));
        assert_eq!(list.reason(&Difference { lockgate: Some("42".to_owned()), ..stricter }), None, "another code");
        assert_eq!(list.unneeded(&["topics"], false), Vec::<&str>::new());
        assert_eq!(list.unneeded(&["topics", "acls"], false), ["acls/x y 1 -> 2"]);
        assert_eq!(list.unneeded(&["topics", "acls"], true), ["acls/x y 1 -> 2", "*/z *"]);
        assert_eq!(list.reasons(), ["We are stricter.", "Later."]);
        for bad in ["  topics/create v2 x 1 -> 2", "Why.\n  topics/create v2 x", "Why.\nBecause.\n  a/b c *"] {
            assert!(Differences::parse(bad).is_err(), "{bad}");
        }
    }
}

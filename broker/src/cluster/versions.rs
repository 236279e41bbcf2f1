//! What brokers of different releases can agree on.

use std::fmt;

/// Versions of one thing that a broker can work with, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub min: u32,
    pub max: u32,
}

impl VersionRange {
    fn holds(&self, version: u32) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", self.min, self.max)
    }
}

/// What a broker supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of the messages between brokers.
    pub protocol: VersionRange,
    /// Of the catalog's records.
    pub catalog: VersionRange,
}

/// What the cluster uses. Only ever raised, and only to what every registered broker supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActiveVersions {
    pub protocol: u32,
    pub catalog: u32,
}

impl ActiveVersions {
    /// The highest that all support, never lower than now.
    pub(super) fn raised(self, all: &[Versions]) -> Self {
        let highest = |of: fn(&Versions) -> VersionRange, now: u32| {
            let common = all.iter().map(|versions| of(versions).max).min().unwrap_or(now);
            let supported = all.iter().all(|versions| of(versions).holds(common));
            if supported { common.max(now) } else { now }
        };
        Self {
            protocol: highest(|versions| versions.protocol, self.protocol),
            catalog: highest(|versions| versions.catalog, self.catalog),
        }
    }

    /// Why a broker cannot join, when that is so: one sentence.
    pub(super) fn refusal(self, versions: &Versions) -> Option<String> {
        let pairs = [("protocol", self.protocol, versions.protocol), ("catalog", self.catalog, versions.catalog)];
        pairs.into_iter().find(|(_, active, range)| *active != 0 && !range.holds(*active)).map(|(what, active, range)| {
            format!(
                "the cluster uses {what} version {active}, and this broker supports {range}; install a release that supports it"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supports(min: u32, max: u32) -> Versions {
        let range = VersionRange { min, max };
        Versions { protocol: range, catalog: range }
    }

    #[test]
    fn only_what_all_support_and_never_back() {
        let none = ActiveVersions::default();
        let two = none.raised(&[supports(1, 3), supports(1, 2)]);
        assert_eq!(two, ActiveVersions { protocol: 2, catalog: 2 });
        assert_eq!(two.raised(&[supports(1, 1)]), two);
        assert_eq!(two.raised(&[supports(3, 4), supports(1, 2)]), two, "no version fits both");
        assert_eq!(two.raised(&[supports(1, 3)]).protocol, 3);
    }

    #[test]
    fn who_cannot_follow_is_told_so() {
        let two = ActiveVersions { protocol: 2, catalog: 2 };
        assert_eq!(two.refusal(&supports(1, 2)), None);
        assert!(two.refusal(&supports(1, 1)).is_some_and(|text| text.contains("version 2")));
        assert!(two.refusal(&supports(3, 5)).is_some());
    }
}

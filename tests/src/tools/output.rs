//! What tools print, line by line: what stands for values that differ between brokers and runs, and where two outputs
//! differ.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Patterns, and what stands for what fits them.
static STAND_INS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let table = [
        (r"[ \t]+", " "),
        // Each says in its own words what is wrong; that something is said is compared, and which error it is.
        (r"(errors\.[A-Za-z]+Exception): .+", "$1: <message>"),
        (r"^(Error while executing [a-z]+ command) ?: .+", "$1: <message>"),
        // Ids that are 16 bytes in base64.
        (r"(TopicId: |Cluster ID: )[A-Za-z0-9_-]{22}", "$1<id>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
        (r#"("avg_throughput":)[0-9.E-]+"#, "$1<figure>"),
        // Milliseconds since 1970, from 2020 on.
        (r"\b(1[6-9]|[2-9][0-9])[0-9]{11}\b", "<time>"),
        (r"\b20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9][:.,][0-9]{3}\b", "<time>"),
        // How each of the two was set up.
        (
            r"^( (?:(?:advertised\.)?listeners|listener\.security\.protocol\.map|log\.dirs|sasl\.enabled\.mechanisms|super\.users)=).*",
            "$1<setup>",
        ),
        (r#"("logDir":)"[^"]*""#, "$1<folder>"),
        // How long a transaction has lasted, behind its timeout and its beginning.
        (r"( 900000 <time> )[0-9]+", "$1<age>"),
        // Of the features that the brokers have agreed on.
        (r"( Epoch: )[0-9]+$", "$1<epoch>"),
    ];
    table.into_iter().map(|(pattern, with)| (Regex::new(pattern).expect("a good pattern"), with)).collect()
});

/// Lines without what has to differ and without the tools' own stack traces. Columns are as wide as their longest entry, so
/// runs of spaces count as one.
pub(super) fn lines(text: &str, own: &[(&str, &str)]) -> Vec<String> {
    let mut text = text.to_owned();
    for (value, stand_in) in own {
        text = text.replace(value, stand_in);
    }
    let plain = |line: &str| {
        STAND_INS
            .iter()
            .fold(Cow::from(line), |line, (pattern, with)| Cow::from(pattern.replace_all(&line, *with).into_owned()))
            .trim_end()
            .to_owned()
    };
    // The tool prints quotas in the order of a map that it fills as they come.
    let ordered = |line: String| match line.strip_prefix("Quota configs for").and_then(|rest| rest.split_once(" are "))
    {
        Some((whose, quotas)) => {
            let mut quotas: Vec<_> = quotas.split(", ").collect();
            quotas.sort_unstable();
            format!("Quota configs for{whose} are {}", quotas.join(", "))
        }
        None => line,
    };
    let traced = |line: &&str| line.starts_with("\tat ") || line.starts_with("\t... ");
    text.lines().filter(|line| !traced(line)).map(plain).map(ordered).filter(|line| !line.is_empty()).collect()
}

/// Where two outputs differ: lines that only one has, in the order in which they are. Two about the same setting stand beside
/// each other, and otherwise those of the same place.
pub(super) fn differing(kafka: &[String], lockgate: &[String]) -> Vec<(Option<String>, Option<String>)> {
    let common = common(kafka, lockgate);
    let mut found = Vec::new();
    let (mut one, mut other) = (0, 0);
    for (next_one, next_other) in common.into_iter().chain([(kafka.len(), lockgate.len())]) {
        found.extend(beside(&kafka[one..next_one], &lockgate[other..next_other]));
        (one, other) = (next_one + 1, next_other + 1);
    }
    found
}

fn beside(kafka: &[String], lockgate: &[String]) -> Vec<(Option<String>, Option<String>)> {
    let setting = |line: &str| line.split_once('=').map(|(setting, _)| setting.to_owned());
    let (mut found, mut left) = (Vec::new(), Vec::new());
    let mut rest = lockgate.to_vec();
    for line in kafka {
        let same = |other: &String| setting(other).is_some_and(|name| setting(line) == Some(name));
        match rest.iter().position(same) {
            Some(at) => found.push((Some(line.clone()), Some(rest.remove(at)))),
            None => left.push(line.clone()),
        }
    }
    let places = left.len().max(rest.len());
    found.extend((0..places).map(|at| (left.get(at).cloned(), rest.get(at).cloned())));
    found
}

/// Places of a longest common subsequence.
fn common(one: &[String], other: &[String]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0u32; other.len() + 1]; one.len() + 1];
    for at in (0..one.len()).rev() {
        for there in (0..other.len()).rev() {
            longest[at][there] = if one[at] == other[there] {
                longest[at + 1][there + 1] + 1
            } else {
                longest[at + 1][there].max(longest[at][there + 1])
            };
        }
    }
    let (mut at, mut there, mut pairs) = (0, 0, Vec::new());
    while at < one.len() && there < other.len() {
        if one[at] == other[there] {
            pairs.push((at, there));
            (at, there) = (at + 1, there + 1);
        } else if longest[at + 1][there] >= longest[at][there + 1] {
            at += 1;
        } else {
            there += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_differ_is_replaced() {
        let text =
            "Topic: t\tTopicId: dF7nsD2fQXeRq1XzZ3m0_g\tPartitionCount: 3\n\nat localhost:1234  x\n1733000000000 12\n";
        let expected = ["Topic: t TopicId: <id> PartitionCount: 3", "at <broker> x", "<time> 12"];
        assert_eq!(lines(text, &[("localhost:1234", "<broker>")]), expected);
        let refusal = "o.a.k.common.errors.InvalidTopicException: topic `a b`\n\tat java.base/java.lang.X\n";
        assert_eq!(lines(refusal, &[]), ["o.a.k.common.errors.InvalidTopicException: <message>"]);
        assert_eq!(
            lines("Quota configs for user-principal 'u' are b=2.0, a=1.5", &[]),
            ["Quota configs for user-principal 'u' are a=1.5, b=2.0"]
        );
    }

    #[test]
    fn only_lines_that_differ_are_told() {
        let text = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        let told = |one: &[&str], other: &[&str]| differing(&text(one), &text(other));
        let some = |line: &str| Some(line.to_owned());
        assert_eq!(told(&["a", "b", "c"], &["a", "b", "c"]), []);
        assert_eq!(told(&["a", "b", "c"], &["a", "x", "c"]), [(some("b"), some("x"))]);
        assert_eq!(told(&["a", "c"], &["a", "b", "c", "d"]), [(None, some("b")), (None, some("d"))]);
        assert_eq!(told(&["a=1", "b=1"], &["b=2"]), [(some("b=1"), some("b=2")), (some("a=1"), None)]);
        assert_eq!(told(&["a", "b"], &["b", "a"]), [(some("a"), None), (None, some("a"))]);
    }
}

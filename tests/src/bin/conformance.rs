//! `make conformance`: foreign suites against the broker, compared with the lists in `tests/conformance`.
//!
//! `conformance [--write] [--suite NAME] [PART OF A TEST'S NAME]…`. With `--write` the outcomes go into the lists.

use anyhow::{Context, Result, bail};
use lockgate_tests::conformance::kafka_python::KafkaPython;
use lockgate_tests::conformance::librdkafka::{GroupProtocol, Librdkafka};
use lockgate_tests::conformance::{Selection, Suite, judge};

fn main() -> Result<()> {
    let mut selection = Selection::default();
    let mut only = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--write" => selection.write = true,
            "--suite" => only = Some(args.next().context("--suite wants the name of a suite")?),
            option if option.starts_with('-') => bail!("{option} is none of --write, --suite"),
            _ => selection.patterns.push(arg),
        }
    }
    let suites: [Box<dyn Suite>; 3] = [
        Box::new(KafkaPython::built()?),
        Box::new(Librdkafka::built(GroupProtocol::Classic)?),
        Box::new(Librdkafka::built(GroupProtocol::Consumer)?),
    ];
    let chosen = suites.iter().filter(|suite| only.as_deref().is_none_or(|name| name == suite.name()));
    let mut lines = Vec::new();
    let mut broken = 0;
    for suite in chosen {
        println!("\n{}", suite.name());
        let summary = judge(suite.as_ref(), &selection)?;
        for test in &summary.mended {
            println!("listed as failed, and passes now: {test}");
        }
        if !selection.write {
            summary.broken.iter().for_each(|test| println!("not as listed: {test}"));
            broken += summary.broken.len();
        }
        lines.push(summary.line(suite.name()));
    }
    println!("\n{}", lines.join("\n"));
    if lines.is_empty() {
        bail!("no suite has this name");
    }
    if broken > 0 {
        bail!("{broken} tests are not as listed; their output is in target/conformance");
    }
    Ok(())
}

//! One record at a time with acks=all, beside a bare append and fdatasync.

use anyhow::Result;

use super::measure::{Latency, durable_append};
use crate::batch::Batch;
use crate::broker::{Broker, Options};
use crate::operator::{Operator, admin_login};
use crate::requests::produce;
use crate::wire::{Connection, tls_config};

const ROUND_TRIPS: usize = 400;

pub(super) fn run() -> Result<()> {
    let broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
    let (login, tls) = (admin_login(&broker)?, tls_config(&broker.ca_path())?);
    Operator::of(&broker)?.topic("bench-lone", 1, &[])?;
    println!("{:<26} {:>10} {:>10}", "lone producer, acks=all", "p50 ms", "p99 ms");
    let folder = tempfile::tempdir()?;
    let bare = durable_append(folder.path(), ROUND_TRIPS)?;
    println!("{:<26} {:>10.2} {:>10.2}", "bare write and fdatasync", bare.p50, bare.p99);
    for (size, secured) in [(100, false), (1024, false), (100, true), (1024, true)] {
        let mut connection = match secured {
            true => Connection::login(broker.address(), tls.clone(), &login)?,
            false => Connection::plain(broker.plaintext_address())?,
        };
        let batch = Batch::of([vec![7; size]]).encode().freeze();
        let once = || produce(&mut connection, "bench-lone", 0, batch.clone()).map(drop);
        let Latency { p50, p99 } = Latency::measure(ROUND_TRIPS, once)?;
        let name = format!("{size} B{}", if secured { ", TLS" } else { "" });
        println!("{name:<26} {p50:>10.2} {p99:>10.2}   {:.2}x of bare (goal 1.5)", p50 / bare.p50);
    }
    println!();
    Ok(())
}

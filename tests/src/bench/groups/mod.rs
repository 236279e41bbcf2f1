//! One group with very many members, beside as many groups with one member each: what a member costs must not depend on
//! how many others there are. Both group protocols.

mod classic;
mod consumer;
mod members;

use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;

use super::measure::{Cost, growth};
use crate::broker::{Broker, Options};
use crate::operator::Operator;
use crate::requests::commit;
use crate::until;
use crate::wire::Connection;
use classic::Classic;
use consumer::Consumer;
use members::{Sharing, connect};

/// The first members of a classic group wait this long for others.
const INITIAL_DELAY: Duration = Duration::from_secs(1);
/// Heartbeats of each member that are measured.
const HEARTBEATS: usize = 50;
/// For each member, so that one more member takes away from others.
const PARTITIONS_EACH: usize = 2;

/// What the members subscribe to.
#[derive(Clone, Debug)]
struct Topic {
    name: String,
    id: Uuid,
    partitions: i32,
}

/// How members speak.
trait Protocol: Sized {
    const NAME: &'static str;
    /// Time between two heartbeats of a member.
    const INTERVAL: Duration;

    /// All of them join at the same time; returns when the group is stable.
    fn join(connections: Vec<Connection>, sharing: Sharing, topic: &Topic) -> Result<Self>;

    /// How long the coordinator makes a new group wait.
    fn waits(_: Sharing) -> Duration {
        Duration::ZERO
    }

    /// One more member joins; returns when the group is stable again.
    fn add(&mut self, connection: Connection) -> Result<()>;

    /// A heartbeat of every member.
    fn beat(&mut self) -> Result<()>;
}

/// Prints the table. `members`: of one group, two at least.
pub fn run(members: usize) -> Result<()> {
    println!(
        "{:<34} {:>12} {:>12} {:>12} {:>12} {:>8}",
        format!("groups, {members} members"),
        "one group",
        "one group",
        "one each",
        "one each",
        "ratio"
    );
    println!("{:<34} {:>12} {:>12} {:>12} {:>12} {:>8}", "", "", "CPU us", "", "CPU us", "of CPU");
    compare::<Classic>(members)?;
    compare::<Consumer>(members)?;
    println!();
    Ok(())
}

fn compare<P: Protocol>(members: usize) -> Result<()> {
    let one = Figures::measure::<P>(members, Sharing::One)?;
    let each = Figures::measure::<P>(members, Sharing::Each)?;
    let per_member = |cost: Cost| cost.cpu * 1e6 / members as f64;
    let line = |what: &str, [one, each]: [f64; 2], unit: &str, [one_cpu, each_cpu]: [f64; 2]| {
        println!(
            "{:<34} {one:>12.0} {one_cpu:>12.1} {each:>12.0} {each_cpu:>12.1} {:>7.2}x",
            format!("{}, {what}, {unit}", P::NAME),
            one_cpu / each_cpu
        );
    };
    let join = [one.join, each.join];
    line("join", join.map(|cost| cost.millis()), "ms", join.map(per_member));
    if let Some(cost) = one.one_more {
        let what = format!("{}, one more joins, ms", P::NAME);
        println!("{what:<34} {:>12.0} {:>12.1}", cost.millis(), per_member(cost));
    }
    let per_beat = |cost: Cost| per_member(cost) / HEARTBEATS as f64;
    let beats = [one.beats, each.beats];
    let per_second = |cost: Cost| (members * HEARTBEATS) as f64 / cost.elapsed.as_secs_f64();
    line("heartbeats", beats.map(per_second), "1/s", beats.map(per_beat));
    let share = per_beat(one.beats) * members as f64 / P::INTERVAL.as_micros() as f64;
    println!(
        "{:<34} {:>11.2}% of a core",
        format!("{}, one in {} s from each", P::NAME, P::INTERVAL.as_secs()),
        share * 100.0
    );
    println!(
        "{:<34} {:>12.1} and {:.1} for its connection",
        format!("{}, KiB of a member", P::NAME),
        one.member_kib,
        one.connection_kib
    );
    Ok(())
}

struct Figures {
    join: Cost,
    /// Absent where a newcomer is nobody else's affair.
    one_more: Option<Cost>,
    beats: Cost,
    /// Resident memory of the broker for each member.
    member_kib: f64,
    connection_kib: f64,
}

impl Figures {
    fn measure<P: Protocol>(members: usize, sharing: Sharing) -> Result<Self> {
        let delay = format!("initial_rebalance_delay_ms = {}", INITIAL_DELAY.as_millis());
        let broker = Broker::start(&Options { plaintext: true, groups: vec![delay], ..Options::default() })?;
        let sharers = if sharing == Sharing::One { members } else { 1 };
        let partitions = i32::try_from(sharers * PARTITIONS_EACH)?;
        let name = "bench-groups".to_owned();
        let id = Operator::of(&broker)?.topic(&name, partitions, &[])?;
        let topic = Topic { name, id, partitions };
        // A broker that is ready may still be reading its groups.
        let mut probe = connect(&broker)?;
        until(INITIAL_DELAY * 30, "the coordinator answers", || {
            commit(&mut probe, "bench-probe", &topic.name, 0).ok()
        })?;
        let bare = broker.usage()?;
        let connections = (0..members).map(|_| connect(&broker)).collect::<Result<Vec<_>>>()?;
        let connected = broker.usage()?;
        let (mut group, mut join) = Cost::of(&broker, || P::join(connections, sharing, &topic))?;
        join.elapsed = join.elapsed.saturating_sub(P::waits(sharing));
        let joined = broker.usage()?;
        let ((), beats) = Cost::of(&broker, || (0..HEARTBEATS).try_for_each(|_| group.beat()))?;
        let one_more = match sharing {
            Sharing::One => Some(Cost::of(&broker, || group.add(connect(&broker)?))?.1),
            Sharing::Each => None,
        };
        let kib = |bytes: f64| bytes / 1024.0 / members as f64;
        Ok(Self {
            join,
            one_more,
            beats,
            member_kib: kib(growth(connected, joined)),
            connection_kib: kib(growth(bare, connected)),
        })
    }
}

//! Single faults, and how long what takes.

use std::sync::Arc;

use super::super::{ActiveVersions, Epoch, Event, ShardId, VersionRange, Versions};
use super::mutation::Mutation;
use super::world::{Act, World};

const SEEDS: u64 = 12;

/// A cluster that is well, at rest, with openings that take 1 to 2 s.
fn healthy(seed: u64, nodes: usize, shards: u32) -> World {
    let mut world = World::new(seed, nodes, shards, None);
    world.conditions.replay_ms = (1_000, 1_800);
    settle(&mut world, seed);
    world
}

/// Runs until nothing has moved for longer than moves pause.
fn settle(world: &mut World, seed: u64) {
    let (mut since, mut before) = (world.time, epochs(world));
    let well = world.run(world.time + 250_000, |world| {
        let now = epochs(world);
        if world.unhealthy().is_some() || !is_even(world) || now != before {
            (since, before) = (world.time, now);
        }
        world.time > since + 35_000
    });
    sound(world, seed);
    assert!(well, "seed {seed}: {:?}", world.unhealthy());
}

fn is_even(world: &World) -> bool {
    let loads: Vec<usize> =
        world.hosts.iter().filter(|host| host.node.is_some()).map(|host| host.handles.len()).collect();
    loads.iter().max().zip(loads.iter().min()).is_none_or(|(most, least)| most - least <= 1)
}

fn sound(world: &mut World, seed: u64) {
    let logs = world.checker.logs(&world.bucket);
    world.check(logs);
    assert_eq!(world.failure, None, "seed {seed}");
}

fn controller(world: &World) -> usize {
    let reigning = |host: &&super::host::Host| host.node.as_ref().is_some_and(|node| node.reigning().is_some());
    world.hosts.iter().find(reigning).map(|host| host.index).expect("there is a controller")
}

fn shards_of(world: &World, host: usize) -> Vec<ShardId> {
    world.hosts[host].handles.keys().copied().filter(|shard| *shard != 0).collect()
}

fn shard_with_other_owner(world: &World, host: usize) -> Vec<ShardId> {
    (1..=world.data_shards).filter(|shard| !world.hosts[host].handles.contains_key(shard)).collect()
}

fn epochs(world: &World) -> Vec<Epoch> {
    (1..=world.data_shards).map(|shard| world.bucket.shards.get(&shard).map_or(0, |shard| shard.epoch)).collect()
}

/// From now on, what producers and readers see is measured.
fn measure(world: &mut World) {
    world.conditions.work_ms = 5;
    world.run_for(1_000);
    let began = world.time;
    world.checker.measure_from(began);
}

/// Follows what producers and readers of `shards` see from now on; returns the longest pause (ms).
fn longest_pause(world: &mut World, shards: &[ShardId], for_ms: u64) -> u64 {
    measure(world);
    world.run_for(for_ms);
    world.checker.longest(shards, world.time)
}

#[test]
fn shards_of_a_killed_broker_are_served_again() {
    let mut longest = 0;
    for seed in 0..SEEDS {
        let mut world = healthy(seed, 3, 4);
        let victim = (controller(&world) + 1) % 3;
        let shards = shards_of(&world, victim);
        assert!(!shards.is_empty());
        world.act_in(1_500, Act::Kill(victim));
        longest = longest.max(longest_pause(&mut world, &shards, 25_000));
        sound(&mut world, seed);
    }
    println!("shards of a killed broker: {longest} ms");
    assert!(longest < 10_000, "{longest} ms");
}

#[test]
fn the_controllers_death_stops_no_other_shard() {
    let (mut own, mut other) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = healthy(seed, 3 + seed as usize % 3, 6);
        let victim = controller(&world);
        let (mine, others) = (shards_of(&world, victim), shard_with_other_owner(&world, victim));
        let before = epochs(&world);
        world.act_in(1_500, Act::Kill(victim));
        measure(&mut world);
        // Once the new controller has waited for everybody, planned moves make it even again.
        world.run_for(12_800);
        other = other.max(world.checker.longest(&others, world.time));
        let after = epochs(&world);
        others.iter().for_each(|shard| {
            let index = *shard as usize - 1;
            assert_eq!(before[index], after[index], "seed {seed}: shard {shard} was opened again");
        });
        world.run_for(4_000);
        own = own.max(world.checker.longest(&mine, world.time));
        sound(&mut world, seed);
    }
    println!("the controller's own shards: {own} ms, others: {other} ms");
    assert!(own < 15_000, "{own} ms");
    assert!(other < 1_000, "{other} ms");
}

#[test]
fn a_drain_pauses_a_shard_for_less_than_two_seconds() {
    let mut longest = 0;
    for seed in 0..SEEDS {
        let mut world = healthy(seed, 3, 6);
        // Some 25 requests of 30 ms.
        world.conditions.replay_ms = (700, 900);
        let host = (controller(&world) + seed as usize % 2) % 3;
        let all: Vec<ShardId> = (1..=6).collect();
        world.act_in(1_500, Act::Drain(host));
        longest = longest.max(longest_pause(&mut world, &all, 15_000));
        assert!(world.hosts[host].drained, "seed {seed}: host {host} still has something");
        world.act_in(0, Act::Stop(host));
        world.run_for(1_500);
        assert_eq!(world.unhealthy(), None, "seed {seed}");
        sound(&mut world, seed);
    }
    println!("a drain: {longest} ms");
    assert!(longest < 2_000, "{longest} ms");
}

/// A broker does not hear the controller, or is not heard by it, for two minutes.
pub(super) fn one_way_cut(seed: u64, mutation: Option<Mutation>) -> Result<(), String> {
    let mut world = healthy(seed, 4, 4);
    world.mutation = mutation;
    let reigns = world.checker.reigns;
    let leader = controller(&world);
    let other = (leader + 1) % 4;
    let (from, to) = if seed.is_multiple_of(2) { (leader, other) } else { (other, leader) };
    world.act_in(0, Act::Cut { from, to });
    world.run_for(120_000);
    if world.checker.reigns != reigns {
        return Err(format!("shard 0 was stolen {} times", world.checker.reigns - reigns));
    }
    // Who is not reached has nothing to serve any more, and the others do.
    if (1..=4).any(|shard| world.hosts[other].handles.contains_key(&shard)) {
        return Err("it still has shards".to_owned());
    }
    world.act_in(0, Act::Heal);
    settle(&mut world, seed);
    Ok(())
}

#[test]
fn a_one_way_cut_steals_nothing() {
    for seed in 0..SEEDS {
        assert_eq!(one_way_cut(seed, None), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_cluster_of_two_does_not_fight_for_ever() {
    let mut world = healthy(1, 2, 2);
    let reigns = world.checker.reigns;
    world.act_in(0, Act::Cut { from: 0, to: 1 });
    world.act_in(0, Act::Cut { from: 1, to: 0 });
    world.run_for(600_000);
    sound(&mut world, 1);
    let fights = world.checker.reigns - reigns;
    assert!(fights < 30, "{fights} controllers in ten minutes");
}

#[test]
fn a_cluster_of_one_starts_again_at_once() {
    let mut world = healthy(3, 1, 2);
    world.act_in(0, Act::Kill(0));
    world.act_in(1_000, Act::Start(0));
    world.run_for(1_500);
    settle(&mut world, 3);
}

#[test]
fn a_duplicate_id_is_refused_with_a_sentence() {
    let mut world = World::new(5, 3, 2, None);
    (0..3).for_each(|host| world.hosts[host].configured_id = Some([1, 2, 2][host]));
    world.run_for(30_000);
    let registered = |world: &World, host: usize| world.hosts[host].node.as_ref().and_then(|node| node.id());
    assert_eq!(registered(&world, 0), Some(1));
    let (winner, loser) = if registered(&world, 1).is_some() { (1, 2) } else { (2, 1) };
    assert_eq!((registered(&world, winner), registered(&world, loser)), (Some(2), None));
    let sentence = world.hosts[loser].refused.clone().expect("it is told why");
    assert!(sentence.contains("broker id 2 is in use"), "{sentence}");
    // The other ends, and its id is free.
    world.act_in(0, Act::Kill(winner));
    world.run_for(30_000);
    assert_eq!(registered(&world, loser), Some(2));
}

#[test]
fn a_broker_that_comes_back_gets_its_id_and_its_share() {
    let mut world = healthy(7, 3, 6);
    let host = (controller(&world) + 1) % 3;
    let id = world.hosts[host].node.as_ref().and_then(|node| node.id());
    world.act_in(0, Act::Kill(host));
    world.act_in(1_000, Act::Start(host));
    world.run_for(70_000);
    settle(&mut world, 7);
    assert_eq!(world.hosts[host].node.as_ref().and_then(|node| node.id()), id);
    assert!(shards_of(&world, host).len() >= 2);
}

#[test]
fn a_shard_whose_store_stalls_is_moved() {
    let mut world = healthy(9, 3, 3);
    let leader = controller(&world);
    let host = (leader + 1) % 3;
    let bucket = world.bucket_index();
    world.act_in(0, Act::Cut { from: host, to: bucket });
    world.run_for(40_000);
    assert!(
        shards_of(&world, host)
            .iter()
            .all(|shard| world.hosts[host].node.as_ref().is_some_and(|node| node.active(*shard).is_none()))
    );
    let elsewhere =
        (1..=3).all(|shard| (0..3).any(|other| other != host && world.hosts[other].served(shard).is_some()));
    assert!(elsewhere, "a shard is left with a broker that cannot write");
    sound(&mut world, 9);
}

#[test]
fn a_clock_that_jumps_costs_its_broker_the_shards_and_nobody_else() {
    for (seed, jump) in [(1, 61_000), (2, -61_000), (3, 365 * 86_400_000)] {
        let mut world = healthy(seed, 3, 3);
        let host = (controller(&world) + seed as usize % 2) % 3;
        world.act_in(0, Act::WallJump(host, jump));
        world.run_for(30_000);
        assert!(shards_of(&world, host).is_empty(), "seed {seed}");
        for index in 0..3 {
            let (time, now) = (world.time, world.now(index));
            let ahead =
                world.hosts[index].node.as_mut().map(|node| node.cluster_ms(now) - super::host::WALL - time as i64);
            assert!(ahead.is_some_and(|ahead| ahead.abs() < 1_000), "seed {seed}: {ahead:?}");
        }
        world.act_in(0, Act::WallRight(host));
        world.run_for(60_000);
        settle(&mut world, seed);
        assert!(!shards_of(&world, host).is_empty(), "seed {seed}");
    }
}

#[test]
fn a_version_is_activated_when_all_support_it() {
    let versions = |min, max| {
        let range = VersionRange { min, max };
        Versions { protocol: range, catalog: range }
    };
    let mut world = World::new(11, 3, 1, None);
    (0..3).for_each(|host| world.hosts[host].versions = versions(1, 2));
    world.hosts[2].versions = versions(1, 1);
    world.run_for(10_000);
    settle(&mut world, 11);
    let active = |world: &World| world.hosts[0].node.as_ref().map(|node| node.view().versions);
    let before = active(&world);
    assert!(before.is_some_and(|active| active.protocol >= 1));
    world.act_in(0, Act::Stop(2));
    world.run_for(20_000);
    assert_eq!(active(&world), Some(ActiveVersions { protocol: 2, catalog: 2 }));
    world.act_in(0, Act::Start(2));
    world.run_for(20_000);
    let refused: Option<Arc<str>> = world.hosts[2].refused.clone();
    assert!(refused.is_some_and(|sentence| sentence.contains("supports 1 to 1")));
}

#[test]
fn a_stopped_node_does_nothing_more() {
    let mut world = healthy(13, 3, 2);
    let now = world.now(0);
    let Some(node) = &mut world.hosts[0].node else { return };
    node.handle(now, Event::Stop);
    assert_eq!(node.handle(now, Event::Tick), vec![]);
    assert!(!node.has_lease(now) && (0..=2).all(|shard| !node.may_read(shard, now)));
}

//! Faults at random times, and what follows them.

use rand::Rng as _;

use super::world::{Act, Conditions, World};

const YEAR_MS: i64 = 365 * 86_400_000;

impl World {
    pub(super) fn act(&mut self, act: Act) {
        if !matches!(act, Act::Work) {
            self.note(|| format!("==== {act:?}"));
        }
        match act {
            Act::Work => {
                self.work();
                let after = self.conditions.work_ms;
                self.act_in(after, Act::Work);
            }
            Act::Kill(host) => self.hosts[host].kill(),
            Act::Start(host) => self.start(host),
            Act::Pause(host) => self.hosts[host].paused = self.hosts[host].node.is_some(),
            Act::Suspend(host) => {
                if self.hosts[host].node.is_some() && !self.hosts[host].paused {
                    self.hosts[host].paused = true;
                    let time = self.time;
                    self.hosts[host].freeze_clock(time);
                }
            }
            Act::Resume(host) => self.resume(host),
            Act::Cut { from, to } => self.cuts[from][to] = from != to,
            Act::Join { from, to } => self.cuts[from][to] = false,
            // Nobody sets the clock of a machine that sleeps.
            Act::WallJump(host, _) | Act::WallRight(host) if self.hosts[host].frozen.is_some() => self.act_in(500, act),
            Act::WallJump(host, ms) => self.hosts[host].wall_offset_ms += ms,
            Act::WallRight(host) => self.hosts[host].wall_offset_ms = 0,
            Act::SteadyJump(host, ms) => self.hosts[host].steady_offset_ms += ms as i64,
            Act::Slow(factor) => self.conditions.bucket_ms = Conditions::default().bucket_ms * factor,
            Act::Timeouts(per_mille) => self.conditions.timeouts = per_mille,
            Act::Stick(host, stuck) => self.hosts[host].stuck = stuck,
            Act::Drain(host) => {
                self.hosts[host].draining = self.hosts[host].node.is_some();
                if self.hosts[host].node.is_some() {
                    self.event(host, super::super::Event::Drain);
                }
            }
            Act::Stop(host) => {
                if self.hosts[host].node.is_some() {
                    self.event(host, super::super::Event::Stop);
                }
                self.hosts[host].kill();
            }
            Act::Heal => self.heal(),
        }
    }

    fn heal(&mut self) {
        self.conditions = Conditions::default();
        self.cuts.iter_mut().flatten().for_each(|cut| *cut = false);
        for host in 0..self.hosts.len() {
            self.hosts[host].stuck = false;
            self.act_in(300, Act::WallRight(host));
            if self.hosts[host].draining {
                self.act(Act::Stop(host));
            }
            if self.hosts[host].paused {
                self.resume(host);
            }
            self.act_in(600, Act::Start(host));
        }
    }

    /// Plans faults until `until` (ms).
    pub(super) fn plan_faults(&mut self, from: u64, until: u64) {
        let mut at = from;
        while at < until {
            self.plan_fault(at);
            at += self.random.random_range(100..4_000);
        }
    }

    fn plan_fault(&mut self, at: u64) {
        let hosts = self.hosts.len();
        let host = self.random.random_range(0..hosts);
        let other = self.random.random_range(0..=hosts);
        let lasts = match self.random.random_range(0..3) {
            0 => self.random.random_range(200..2_000),
            1 => self.random.random_range(2_000..9_000),
            _ => self.random.random_range(9_000..30_000),
        };
        let (begin, end): (Vec<Act>, Vec<Act>) = match self.random.random_range(0..17) {
            0 => (vec![Act::Kill(host)], vec![Act::Start(host)]),
            1 | 2 => (vec![Act::Pause(host)], vec![Act::Resume(host)]),
            3 => (vec![Act::Suspend(host)], vec![Act::Resume(host)]),
            4 | 5 => (vec![Act::Cut { from: host, to: other }], vec![Act::Join { from: host, to: other }]),
            6 => (vec![Act::Cut { from: other, to: host }], vec![Act::Join { from: other, to: host }]),
            7 => self.both_ways(&[(host, other)]),
            8 => self.both_ways(&[(host, hosts)]),
            9 => {
                let others: Vec<_> = (0..hosts).map(|other| (host, other)).collect();
                self.both_ways(&others)
            }
            10 => {
                let split = self.random.random_range(1..hosts);
                let pairs: Vec<_> = (0..split).flat_map(|a| (split..hosts).map(move |b| (a, b))).collect();
                self.both_ways(&pairs)
            }
            11 => {
                let ms = [30_000, -30_000, YEAR_MS, -YEAR_MS, 2_000][self.random.random_range(0..5)];
                (vec![Act::WallJump(host, ms)], vec![Act::WallRight(host)])
            }
            12 => (vec![Act::SteadyJump(host, 30_000)], vec![]),
            13 => (vec![Act::Slow(self.random.random_range(5..40))], vec![Act::Slow(1)]),
            14 => (vec![Act::Timeouts(self.random.random_range(10..300))], vec![Act::Timeouts(0)]),
            15 => (vec![Act::Stick(host, true)], vec![Act::Stick(host, false)]),
            _ => match self.random.random_range(0..2) {
                0 => (vec![Act::Drain(host)], vec![Act::Stop(host), Act::Start(host)]),
                _ => (vec![Act::Stop(host)], vec![Act::Start(host)]),
            },
        };
        begin.into_iter().for_each(|act| self.act_in(at, act));
        for (delay, act) in (0..).zip(end) {
            self.act_in(at + lasts + delay * 600, act);
        }
    }

    fn both_ways(&self, pairs: &[(usize, usize)]) -> (Vec<Act>, Vec<Act>) {
        let ways: Vec<_> = pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).collect();
        let cut = ways.iter().map(|&(from, to)| Act::Cut { from, to }).collect();
        (cut, ways.iter().map(|&(from, to)| Act::Join { from, to }).collect())
    }
}

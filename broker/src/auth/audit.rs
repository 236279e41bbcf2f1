//! The audit log: refused operations and failed authentications, under the log target `lockgate::audit`.
//!
//! Whoever can cause an entry can cause millions, so entries are limited per principal and host and in total; the
//! next entry that passes says how many were left out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Session;
use crate::catalog::acl::{Operation, ResourceType};
use crate::clock::Clock;

/// Entries that one principal on one host may cause at once, and per second in the long run.
const BURST: Rate = Rate { burst: 20, per_second: 1 };
/// The same for everybody together: names and addresses can be made up, the disk's space cannot.
const TOTAL: Rate = Rate { burst: 500, per_second: 50 };
/// Principals and hosts remembered at once (24 bytes each).
const SOURCES: usize = 10_000;
/// Idle sources are looked for at most this often: the search takes as long as there are sources.
const SWEEP_MS: i64 = 1000;
/// Characters of a name in an entry; a client chooses its claimed user name.
const NAME_CHARACTERS: usize = 256;

#[derive(Clone, Copy)]
struct Rate {
    burst: i64,
    per_second: i64,
}

/// A token bucket that counts in thousandths, so that milliseconds are its natural unit.
#[derive(Clone, Copy)]
struct Bucket {
    millitokens: i64,
    at_ms: i64,
}

impl Bucket {
    fn full(rate: Rate, now_ms: i64) -> Self {
        Self { millitokens: rate.burst * 1000, at_ms: now_ms }
    }

    fn refill(&mut self, rate: Rate, now_ms: i64) {
        let gained = now_ms.saturating_sub(self.at_ms).max(0).saturating_mul(rate.per_second);
        self.millitokens = self.millitokens.saturating_add(gained).min(rate.burst * 1000);
        self.at_ms = now_ms;
    }

    fn take(&mut self, rate: Rate, now_ms: i64) -> bool {
        self.refill(rate, now_ms);
        let enough = self.millitokens >= 1000;
        self.millitokens -= if enough { 1000 } else { 0 };
        enough
    }
}

struct State {
    total: Bucket,
    /// By a keyed hash of principal and host: a collision only shares an allowance.
    sources: HashMap<u64, Bucket>,
    suppressed: u64,
    swept_ms: i64,
}

/// Writes audit entries. One per broker.
pub struct Audit {
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    state: Mutex<State>,
}

impl Audit {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let now_ms = clock.now_ms();
        let total = Bucket::full(TOTAL, now_ms);
        let state = State { total, sources: HashMap::new(), suppressed: 0, swept_ms: now_ms };
        Self { clock, hasher: RandomState::new(), state: Mutex::new(state) }
    }

    /// An authenticated principal was refused an operation.
    pub fn denied(&self, session: &Session, operation: Operation, resource: ResourceType, name: &str) {
        let Some(suppressed) = self.admit(session.principal.as_str(), session.host) else { return };
        tracing::warn!(
            target: "lockgate::audit",
            principal = %printable(session.principal.as_str()),
            host = %session.host,
            listener = %session.listener,
            operation = ?operation,
            resource = %printable(&format!("{resource:?}:{name}")),
            reason = "no ACL allows it, or one denies it",
            suppressed,
            "denied"
        );
    }

    /// Somebody could not prove who they are. `claimed` is the name they gave, if they got that far.
    pub fn authentication_failed(&self, claimed: Option<&str>, host: IpAddr, listener: &str, reason: &str) {
        let claimed = claimed.unwrap_or("");
        let Some(suppressed) = self.admit(claimed, host) else { return };
        tracing::warn!(
            target: "lockgate::audit",
            principal = %printable(claimed),
            host = %host,
            listener = %listener,
            reason = %printable(reason),
            suppressed,
            "authentication failed"
        );
    }

    /// How many entries were left out since the last one, when this one may be written.
    fn admit(&self, principal: &str, host: IpAddr) -> Option<u64> {
        let source = self.hasher.hash_one((principal, host));
        let now_ms = self.clock.now_ms();
        let mut state = self.state.lock();
        if state.sources.len() >= SOURCES && now_ms.abs_diff(state.swept_ms) >= SWEEP_MS as u64 {
            state.forget_idle(now_ms);
        }
        // With every place taken by a busy source, only the total limits the newcomers.
        let may = match state.sources.len() >= SOURCES {
            true => state.sources.get_mut(&source).is_none_or(|bucket| bucket.take(BURST, now_ms)),
            false => state.sources.entry(source).or_insert(Bucket::full(BURST, now_ms)).take(BURST, now_ms),
        };
        if may && state.total.take(TOTAL, now_ms) {
            return Some(std::mem::take(&mut state.suppressed));
        }
        state.suppressed += 1;
        None
    }
}

impl State {
    fn forget_idle(&mut self, now_ms: i64) {
        self.swept_ms = now_ms;
        self.sources.retain(|_, bucket| {
            bucket.refill(BURST, now_ms);
            bucket.millitokens < BURST.burst * 1000
        });
    }
}

/// A name that cannot break a line of the log or fill it.
fn printable(name: &str) -> String {
    name.chars().take(NAME_CHARACTERS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn audit() -> (Audit, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_000_000));
        (Audit::new(clock.clone()), clock)
    }

    #[test]
    fn one_source_gets_its_burst_then_its_rate_and_hears_what_was_left_out() {
        let (audit, clock) = audit();
        let written = (0..100).filter(|_| audit.admit("User:mallory", HOST).is_some()).count();
        assert_eq!(written as i64, BURST.burst);
        assert_eq!(audit.admit("User:alice", HOST), Some(80), "another source has its own allowance");
        clock.advance(1000);
        assert_eq!(audit.admit("User:mallory", HOST), Some(0));
        assert_eq!(audit.admit("User:mallory", HOST), None);
    }

    #[test]
    fn made_up_names_share_the_total_and_bounded_memory() {
        let (audit, clock) = audit();
        let attempts = 3 * SOURCES;
        let written = (0..attempts).filter(|at| audit.admit(&format!("User:{at}"), HOST).is_some()).count();
        assert_eq!(written as i64, TOTAL.burst);
        assert!(audit.state.lock().sources.len() <= SOURCES);
        clock.advance(60_000);
        assert!(audit.admit("User:new", HOST).is_some());
        assert!(audit.state.lock().sources.len() < SOURCES, "idle sources are forgotten");
    }

    #[test]
    fn a_name_cannot_break_or_fill_a_line() {
        let name = printable(&format!("a\nb\u{1b}[2J{}", "x".repeat(10_000)));
        assert!(name.starts_with("a\u{fffd}b\u{fffd}[2J"));
        assert_eq!(name.chars().count(), NAME_CHARACTERS);
    }
}

//! Gathers calls that come at the same time into few requests.
//!
//! A call that finds nothing under way is sent at once. What comes while a request is under way waits for it and goes
//! together. Whoever was just answered usually has the next thing to ask, as Terraform's workers do: after a request
//! that served several, the next one waits until all callers that there were of late are here again. Then the request goes
//! that has the most callers, of all kinds; those of other kinds wait for the ones that come back from it. So a call that
//! is alone never waits, and many calls at once make few requests however quick the cluster is.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lockgate_client::{Error, Result};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Least time after the last call until nobody else is expected: many times what Terraform needs from one resource to the next.
const QUIET: Duration = Duration::from_millis(100);
/// Most of it for each caller. With tens of thousands of resources Terraform copies all of them for each, one worker at a time,
/// so that of 256 none may come for seconds.
const QUIET_EACH: Duration = Duration::from_millis(80);
/// In between, so many times the longest silence of late after which somebody came all the same. Simulated with resources
/// that take from 1 to 36 ms and stalls of up to 0.9 s: all but the first and last requests carry two thirds of the callers
/// with three. On a machine that is busy with other things the silences of Terraform differ more.
const SILENCES: u32 = 5;
/// Longest that a call is held back while others keep coming.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Calls after which a silence is mostly forgotten,
const MEMORY: u32 = 512;
/// and no fewer than so many of each caller: what comes once in ten rounds is to be remembered.
const MEMORY_EACH: u32 = 16;
/// Longest that others wait for those whose request takes long.
const LONGEST_ANSWER: Duration = Duration::from_secs(3);

/// One call's part of a request.
pub(crate) trait Item: Send + 'static {
    /// Two items with the same key never go in the same request, because a cluster refuses to change a thing twice.
    fn key(&self) -> Option<&str> {
        None
    }

    /// How much of a request's limit it takes.
    fn weight(&self) -> usize {
        1
    }
}

/// Looking things up by name; twice in one request does no harm.
impl Item for String {}

/// What the items of one request were answered, in their order. The outer result fails when the request as a whole did.
pub(crate) type Answers<A> = Result<Vec<Result<A>>>;

type Ask<I, A> = dyn Fn(Vec<I>) -> Pin<Box<dyn Future<Output = Answers<A>> + Send>> + Send + Sync;

/// Everybody who has asked for something and waits for the answer, whatever it is that they asked for. When as many wait as
/// there were of late, no more will come: Terraform has a fixed number of workers.
#[derive(Default)]
pub(crate) struct Callers {
    count: Mutex<Count>,
    /// Somebody has come, or was answered.
    changed: Notify,
}

#[derive(Default)]
struct Count {
    kinds: Vec<Kind>,
    /// Most callers at a time of late.
    most: usize,
    /// When there were more than ever.
    raised: Option<Instant>,
    /// When somebody came last, or could come again.
    last: Option<Instant>,
    /// Longest time without a call, of late, while there are several callers.
    silence: Duration,
}

/// The callers of one kind of request.
#[derive(Default)]
struct Kind {
    /// Their request has not been sent.
    waiting: usize,
    /// Their request is under way.
    asking: usize,
    /// When that one was sent.
    sent: Option<Instant>,
    /// Requests of other kinds that went since, while callers waited here.
    passed: usize,
}

impl Kind {
    /// The longer few have waited, the more they count: they might wait for as long as there are many of another kind.
    fn rank(&self) -> usize {
        self.waiting * (1 + self.passed)
    }

    /// Those who will come back soon. Nobody waits long for a request that takes long.
    fn expected(&self) -> usize {
        if self.sent.is_some_and(|sent| sent.elapsed() < LONGEST_ANSWER) { self.asking } else { 0 }
    }
}

impl Count {
    fn waiting(&self) -> usize {
        self.kinds.iter().map(|kind| kind.waiting).sum()
    }

    fn expected(&self) -> usize {
        self.kinds.iter().map(Kind::expected).sum()
    }

    fn came(&mut self, now: Instant) {
        let Some(last) = self.last.replace(now).filter(|_| self.most > 1) else { return };
        let silence = now - last;
        // A longer one counts at once, and is forgotten after some rounds.
        let memory = MEMORY.max(MEMORY_EACH.saturating_mul(self.most_callers()));
        let shorter = self.silence.saturating_sub(silence) / memory;
        self.silence = silence.min(self.longest_quiet()).max(self.silence - shorter);
    }

    fn longest_quiet(&self) -> Duration {
        QUIET_EACH.saturating_mul(self.most_callers())
    }

    fn most_callers(&self) -> u32 {
        u32::try_from(self.most).unwrap_or(u32::MAX)
    }

    fn quiet(&self) -> Duration {
        (self.silence * SILENCES).min(self.longest_quiet()).max(QUIET)
    }
}

impl Callers {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().expect("nothing panics while it holds the lock")
    }

    /// A place in the count for one more kind of request.
    fn add_kind(&self) -> usize {
        let mut count = self.count();
        count.kinds.push(Kind::default());
        count.kinds.len() - 1
    }

    fn come(&self, kind: usize) {
        let mut count = self.count();
        count.kinds[kind].waiting += 1;
        let (present, now) = (count.waiting() + count.expected(), Instant::now());
        count.came(now);
        if present > count.most {
            (count.most, count.raised) = (present, Some(now));
        }
        drop(count);
        self.changed.notify_waiters();
    }

    fn asked(&self, kind: usize, callers: usize) {
        let mut count = self.count();
        for other in count.kinds.iter_mut().filter(|other| other.waiting > 0) {
            other.passed += 1;
        }
        let kind = &mut count.kinds[kind];
        kind.waiting -= callers;
        (kind.asking, kind.sent, kind.passed) = (callers, Some(Instant::now()), 0);
    }

    fn answered(&self, kind: usize) {
        let mut count = self.count();
        count.kinds[kind].asking = 0;
        count.last = Some(Instant::now());
        drop(count);
        self.changed.notify_waiters();
    }

    /// There have been several at a time of late, so one that comes is hardly alone.
    fn several(&self) -> bool {
        self.count().most > 1
    }

    /// How long to wait for the next change. Who is being answered will come back, however long it takes.
    fn patience(&self) -> Duration {
        let count = self.count();
        if count.expected() > 0 { LONGEST_ANSWER } else { count.quiet() }
    }

    /// All callers wait, and this kind of request has the most of them, or few for long. At the start they are still coming, and every one of
    /// them is the first of so many.
    fn is_turn_of(&self, kind: usize) -> bool {
        let count = self.count();
        let all_here = count.waiting() >= count.most && count.raised.is_none_or(|at| at.elapsed() >= count.quiet());
        // Of equals, the last one.
        let first = count.kinds.iter().enumerate().max_by_key(|(_, kind)| kind.rank());
        all_here && first.is_some_and(|(first, _)| first == kind)
    }

    /// Nobody has come for a while: those who are here are all that there are, until more come.
    fn count_anew(&self) {
        let mut count = self.count();
        count.most = count.waiting() + count.expected();
    }
}

/// A handle for one kind of request; cheap to clone.
pub(crate) struct Gather<I, A>(Arc<Shared<I, A>>);

struct Shared<I, A> {
    send: Box<Ask<I, A>>,
    /// Greatest weight of a request. A single item may be heavier, and goes alone.
    limit: usize,
    queue: Mutex<Queue<I, A>>,
    callers: Arc<Callers>,
    /// Its place among the callers.
    kind: usize,
}

struct Queue<I, A> {
    waiting: VecDeque<Waiting<I, A>>,
    /// A task is at work, and will see whatever is put into the queue.
    at_work: bool,
}

struct Waiting<I, A> {
    item: I,
    answer: oneshot::Sender<Result<A>>,
}

impl<I: Item, A> Queue<I, A> {
    fn weight(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.item.weight()).sum()
    }
}

impl<I: Item, A: Send + 'static> Gather<I, A> {
    /// `send` makes one request of the items it is given; `callers` are those of all requests to the same cluster.
    pub(crate) fn new<F, Fut>(limit: usize, callers: &Arc<Callers>, send: F) -> Self
    where
        F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answers<A>> + Send + 'static,
    {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), at_work: false });
        let send: Box<Ask<I, A>> = Box::new(move |items| Box::pin(send(items)));
        Self(Arc::new(Shared { send, limit, queue, callers: Arc::clone(callers), kind: callers.add_kind() }))
    }

    /// The answer to one item. A caller that goes away harms nobody: the request is made, or goes on, all the same.
    pub(crate) async fn call(&self, item: I) -> Result<A> {
        let (answer, answered) = oneshot::channel();
        let idle = {
            let mut queue = self.0.queue();
            queue.waiting.push_back(Waiting { item, answer });
            // While the queue is locked, so that nobody is asked for before being counted.
            self.0.callers.come(self.0.kind);
            !std::mem::replace(&mut queue.at_work, true)
        };
        if idle {
            tokio::spawn(Arc::clone(&self.0).work());
        }
        answered.await.unwrap_or_else(|_| Err(interrupted()))
    }
}

impl<I: Item, A: Send + 'static> Shared<I, A> {
    fn queue(&self) -> MutexGuard<'_, Queue<I, A>> {
        self.queue.lock().expect("nothing panics while it holds the lock")
    }

    /// Makes requests until nothing waits.
    async fn work(self: Arc<Self>) {
        // Callers that are ready to run at this very moment get in, too.
        tokio::task::yield_now().await;
        loop {
            if self.callers.several() {
                self.wait_for_others().await;
            }
            let Some(batch) = self.take() else { return };
            let (items, callers) = batch.into_iter().map(|waiting| (waiting.item, waiting.answer)).unzip();
            // In a task of its own, so that a panic ends one request and not everybody's.
            let outcome = tokio::spawn((self.send)(items)).await;
            // All of them leave before the first can come back.
            self.callers.answered(self.kind);
            deliver(outcome.unwrap_or_else(|_| Err(interrupted())), callers);
        }
    }

    /// Waits until it is this kind's turn, or nothing waits any more.
    async fn wait_for_others(&self) {
        let latest = Instant::now() + LONGEST_WAIT;
        loop {
            let mut changed = pin!(self.callers.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.queue().weight() >= self.limit || self.callers.is_turn_of(self.kind) {
                return;
            }
            let until = latest.min(Instant::now() + self.callers.patience());
            if tokio::time::timeout_at(until, changed).await.is_ok() {
                continue;
            }
            if Instant::now() >= latest || self.queue().waiting.is_empty() {
                return;
            }
            self.callers.count_anew();
        }
    }

    /// The next request's items, in the order in which they came; `None`, and nobody is at work, when nothing waits.
    fn take(&self) -> Option<Vec<Waiting<I, A>>> {
        let mut queue = self.queue();
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        let (mut weight, mut keys) = (0, HashSet::new());
        while let Some(next) = queue.waiting.pop_front() {
            let heavier = weight + next.item.weight();
            if !batch.is_empty() && heavier > self.limit {
                later.push_back(next);
                break;
            }
            if next.item.key().is_some_and(|key| !keys.insert(key.to_owned())) {
                later.push_back(next);
                continue;
            }
            weight = heavier;
            batch.push(next);
        }
        later.append(&mut queue.waiting);
        queue.waiting = later;
        self.callers.asked(self.kind, batch.len());
        queue.at_work = !batch.is_empty();
        (!batch.is_empty()).then_some(batch)
    }
}

/// Gives each caller its answer, or all of them the failure of the whole.
fn deliver<A>(outcome: Answers<A>, callers: Vec<oneshot::Sender<Result<A>>>) {
    let results = match outcome {
        Ok(results) => results,
        Err(error) => callers.iter().map(|_| Err(error.clone())).collect(),
    };
    for (caller, result) in callers.into_iter().zip(results) {
        // One that does not want its answer any more has gone away.
        let _ = caller.send(result);
    }
}

/// Only a request that panicked, or a runtime that ends, leaves a caller without an answer.
fn interrupted() -> Error {
    Error::Failed {
        what: "asking the cluster".to_owned(),
        reason: "the request was interrupted, and nobody knows whether it was carried out".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::fake::broker_error;
    use lockgate_client::ErrorCode;

    struct Named(&'static str, usize);

    impl Item for Named {
        fn key(&self) -> Option<&str> {
            Some(self.0)
        }

        fn weight(&self) -> usize {
            self.1
        }
    }

    /// A cluster that answers when told to, and remembers what it was asked.
    #[derive(Clone)]
    struct Slow {
        requests: Arc<Mutex<Vec<Vec<&'static str>>>>,
        turns: Arc<Semaphore>,
    }

    impl Slow {
        fn gather(limit: usize) -> (Arc<Gather<Named, String>>, Self) {
            Self::gather_for(limit, &Arc::default())
        }

        fn gather_for(limit: usize, callers: &Arc<Callers>) -> (Arc<Gather<Named, String>>, Self) {
            let slow = Self { requests: Arc::default(), turns: Arc::new(Semaphore::new(0)) };
            let cluster = slow.clone();
            let gather = Gather::new(limit, callers, move |items: Vec<Named>| {
                let cluster = cluster.clone();
                async move {
                    cluster.requests.lock().expect("no panic").push(items.iter().map(|item| item.0).collect());
                    cluster.turns.acquire().await.expect("never closed").forget();
                    assert!(items.iter().all(|item| item.0 != "panic"), "as the test wants");
                    let answer = |item: Named| match item.0 {
                        "bad" => Err(broker_error(ErrorCode::InvalidTopic)),
                        name => Ok(format!("made {name}")),
                    };
                    if items.iter().any(|item| item.0 == "worst") {
                        return Err(broker_error(ErrorCode::ClusterAuthorizationFailed));
                    }
                    Ok(items.into_iter().map(answer).collect())
                }
            });
            (Arc::new(gather), slow)
        }

        fn requests(&self) -> Vec<Vec<&'static str>> {
            self.requests.lock().expect("no panic").clone()
        }
    }

    fn ask(gather: &Arc<Gather<Named, String>>, item: Named) -> tokio::task::JoinHandle<Result<String>> {
        let gather = Arc::clone(gather);
        tokio::spawn(async move { gather.call(item).await })
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_comes_while_a_request_is_under_way_goes_together_and_each_gets_its_own_answer() {
        let (gather, cluster) = Slow::gather(100);
        let first = ask(&gather, Named("a", 1));
        settle().await;
        let others: Vec<_> = ["b", "bad", "c"].map(|name| ask(&gather, Named(name, 1))).into();
        settle().await;
        assert_eq!(cluster.requests(), [vec!["a"]], "the others wait");
        cluster.turns.add_permits(2);
        assert_eq!(first.await.expect("no panic").expect("made"), "made a");
        let mut answers = Vec::new();
        for other in others {
            answers.push(other.await.expect("no panic").ok());
        }
        assert_eq!(answers, [Some("made b".to_owned()), None, Some("made c".to_owned())]);
        assert_eq!(cluster.requests(), [vec!["a"], vec!["b", "bad", "c"]]);
    }

    #[tokio::test]
    async fn a_call_that_is_alone_does_not_wait() {
        let (gather, cluster) = Slow::gather(100);
        cluster.turns.add_permits(100);
        let begun = Instant::now();
        for _ in 0..40 {
            gather.call(Named("a", 1)).await.expect("made");
        }
        let waited = begun.elapsed();
        assert!(waited < 5 * QUIET, "{waited:?} for forty calls");
    }

    #[tokio::test]
    async fn workers_that_come_back_one_by_one_are_waited_for() {
        let (gather, cluster) = Slow::gather(100);
        cluster.turns.add_permits(1000);
        let worker = |pause: u64| {
            let gather = Arc::clone(&gather);
            tokio::spawn(async move {
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    gather
                        .call(Named(["a", "b", "c", "d", "e", "f", "g", "h"][pause as usize - 1], 1))
                        .await
                        .expect("made");
                }
            })
        };
        let workers: Vec<_> = (1..=8).map(worker).collect();
        for worker in workers {
            worker.await.expect("no panic");
        }
        let requests = cluster.requests().len();
        assert!(requests <= 80, "{requests} requests for 160 calls of eight workers");
    }

    #[tokio::test]
    async fn nobody_is_waited_for_when_all_are_here() {
        let callers = Arc::default();
        let (topics, cluster) = Slow::gather_for(100, &callers);
        let (acls, other) = Slow::gather_for(100, &callers);
        cluster.turns.add_permits(1000);
        other.turns.add_permits(1000);
        let begun = Instant::now();
        let worker = |name| {
            let (topics, acls) = (Arc::clone(&topics), Arc::clone(&acls));
            tokio::spawn(async move {
                for round in 0..100 {
                    let gather = if (round + usize::from(name == "a")) % 3 == 0 { &topics } else { &acls };
                    gather.call(Named(name, 1)).await.expect("made");
                }
            })
        };
        for worker in ["a", "b", "c"].map(worker) {
            worker.await.expect("no panic");
        }
        let waited = begun.elapsed();
        assert!(waited < 10 * QUIET, "{waited:?} for a hundred rounds; only in the last ones somebody is missing");
    }

    /// Terraform's workers take resources of all kinds as they come.
    #[tokio::test]
    async fn workers_that_ask_now_for_this_and_now_for_that_make_few_requests() {
        let callers = Arc::default();
        let (topics, cluster) = Slow::gather_for(100, &callers);
        let (acls, other) = Slow::gather_for(100, &callers);
        cluster.turns.add_permits(1000);
        other.turns.add_permits(1000);
        let worker = |(seed, name): (u32, &'static str)| {
            let (topics, acls) = (Arc::clone(&topics), Arc::clone(&acls));
            tokio::spawn(async move {
                for round in 0..40_u32 {
                    let dice = (round * 12 + seed).wrapping_mul(2_654_435_761) >> 31;
                    let gather = if dice == 0 { &topics } else { &acls };
                    gather.call(Named(name, 1)).await.expect("made");
                }
            })
        };
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let workers: Vec<_> = (0_u32..).zip(names).map(worker).collect();
        for worker in workers {
            worker.await.expect("no panic");
        }
        // Half of the workers in each at best if both kinds went at the same time, two thirds when the fuller one goes first.
        let requests = cluster.requests().len() + other.requests().len();
        assert!(requests <= 75, "{requests} requests for 480 calls of twelve workers");
    }

    #[tokio::test]
    async fn few_of_a_kind_do_not_wait_until_many_of_another_are_done() {
        let callers = Arc::default();
        let (topics, cluster) = Slow::gather_for(100, &callers);
        let (users, other) = Slow::gather_for(100, &callers);
        cluster.turns.add_permits(10_000);
        other.turns.add_permits(1000);
        let many = ["a", "b", "c", "d", "e"].map(|name| {
            let topics = Arc::clone(&topics);
            tokio::spawn(async move {
                for _ in 0..1000 {
                    topics.call(Named(name, 1)).await.expect("made");
                }
            })
        });
        for _ in 0..20 {
            users.call(Named("alice", 1)).await.expect("made");
        }
        let rounds = cluster.requests().len();
        assert!(rounds < 500, "{rounds} requests for topics while one caller had twenty for users");
        for worker in many {
            worker.abort();
        }
    }

    #[tokio::test]
    async fn workers_that_went_away_are_missed_once() {
        let (gather, cluster) = Slow::gather(100);
        cluster.turns.add_permits(1000);
        let crowd: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| ask(&gather, Named(name, 1))).into();
        for one in crowd {
            one.await.expect("no panic").expect("made");
        }
        let begun = Instant::now();
        for _ in 0..20 {
            let pair = ["a", "b"].map(|name| ask(&gather, Named(name, 1)));
            for one in pair {
                one.await.expect("no panic").expect("made");
            }
        }
        let waited = begun.elapsed();
        assert!(waited < 5 * QUIET, "{waited:?} for twenty rounds of two");
    }

    #[tokio::test]
    async fn the_same_thing_is_not_changed_twice_in_one_request_and_no_request_is_too_heavy() {
        let (gather, cluster) = Slow::gather(4);
        cluster.turns.add_permits(100);
        let calls = [("a", 1), ("b", 1), ("b", 1), ("c", 2), ("heavy", 9), ("d", 3)]
            .map(|(name, w)| ask(&gather, Named(name, w)));
        for call in calls {
            call.await.expect("no panic").expect("made");
        }
        assert_eq!(cluster.requests(), [vec!["a", "b", "c"], vec!["b"], vec!["heavy"], vec!["d"]]);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_harms_nobody() {
        let (gather, cluster) = Slow::gather(100);
        let first = ask(&gather, Named("a", 1));
        settle().await;
        let (gone, stays) = (ask(&gather, Named("b", 1)), ask(&gather, Named("c", 1)));
        settle().await;
        first.abort();
        gone.abort();
        cluster.turns.add_permits(2);
        assert_eq!(stays.await.expect("no panic").expect("made"), "made c");
        assert_eq!(cluster.requests(), [vec!["a"], vec!["b", "c"]], "what was asked for is done");
    }

    #[tokio::test]
    async fn a_panic_is_one_requests_failure() {
        let (gather, cluster) = Slow::gather(100);
        cluster.turns.add_permits(100);
        assert!(gather.call(Named("panic", 1)).await.is_err());
        assert_eq!(gather.call(Named("a", 1)).await.expect("made"), "made a");
    }

    #[tokio::test]
    async fn a_request_that_fails_as_a_whole_fails_for_all_and_the_next_one_is_made() {
        let (gather, cluster) = Slow::gather(100);
        cluster.turns.add_permits(100);
        let calls = ["a", "worst"].map(|name| ask(&gather, Named(name, 1)));
        for call in calls {
            let error = call.await.expect("no panic").expect_err("refused");
            assert_eq!(error.code(), Some(ErrorCode::ClusterAuthorizationFailed));
        }
        assert_eq!(gather.call(Named("a", 1)).await.expect("made"), "made a");
    }
}

//! The provider's way to its cluster: how long to wait for it, and who hears of a failure.
//!
//! A plan makes one bounded attempt, shared by all resources, and its failure is reported once. An apply waits until the
//! cluster is ready, because the cluster may be made in the same apply; what waiting cannot heal ends the wait at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockgate_client::Error;
use lockgate_client::admin::Cluster;
use tokio::sync::{Mutex, RwLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::async_trait;

use crate::cluster::Admin;
use crate::tfplugin::Diagnostic;

/// How often an apply that waits says so in the log.
const REMINDER: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Opens a connection to the configured cluster.
#[async_trait]
pub trait Connect: Send + Sync {
    async fn connect(&self) -> Result<Connection, Error>;

    /// What a person calls the cluster, for messages.
    fn target(&self) -> String;
}

/// A way to the cluster that has worked.
#[derive(Clone)]
pub struct Connection {
    pub admin: Arc<dyn Admin>,
    pub cluster: Cluster,
    /// The addresses that were dialled.
    pub bootstrap_servers: Vec<String>,
    /// The CA that the brokers' certificates are checked against.
    pub ca_pem: Option<String>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt to reach the cluster.
    pub connect: Duration,
    /// How long an apply waits for the cluster to be ready.
    pub ready: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), ready: Duration::from_secs(600) }
    }
}

/// What a plan or a read gets.
pub enum Access {
    Ready(Connection),
    /// The provider's own configuration is known only after apply.
    Unknown,
    /// There is no way to the cluster.
    Failed(Arc<Error>),
}

/// Shared by all resources and data sources of one provider configuration.
#[derive(Clone, Default)]
pub struct Session {
    link: Arc<RwLock<Link>>,
    stop: CancellationToken,
    failure_reported: Arc<AtomicBool>,
    unknown_reported: Arc<AtomicBool>,
}

#[derive(Default)]
enum Link {
    #[default]
    Unconfigured,
    Unknown,
    Configured(Arc<Configured>),
}

struct Configured {
    connector: Box<dyn Connect>,
    timeouts: Timeouts,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    connection: Option<Connection>,
    /// The plan's one attempt failed so.
    plan_failure: Option<Arc<Error>>,
    /// An apply failed so, and waiting is over for all.
    apply_failure: Option<Arc<Error>>,
    /// When the first resource of an apply began to wait.
    waiting_since: Option<Instant>,
}

impl Session {
    pub async fn configure(&self, connector: Box<dyn Connect>, timeouts: Timeouts) {
        let configured = Configured { connector, timeouts, attempts: Mutex::default() };
        *self.link.write().await = Link::Configured(Arc::new(configured));
    }

    /// The provider's configuration depends on something that is made in the same apply.
    pub async fn configure_later(&self) {
        *self.link.write().await = Link::Unknown;
    }

    /// Ends every wait.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// For plans and reads: one bounded attempt, whose outcome all share.
    pub async fn for_plan(&self) -> Access {
        let configured = match &*self.link.read().await {
            Link::Unconfigured | Link::Unknown => return Access::Unknown,
            Link::Configured(configured) => Arc::clone(configured),
        };
        let mut attempts = configured.attempts.lock().await;
        if let Some(connection) = &attempts.connection {
            return Access::Ready(connection.clone());
        }
        if let Some(failure) = &attempts.plan_failure {
            return Access::Failed(Arc::clone(failure));
        }
        match configured.attempt().await {
            Ok(connection) => {
                attempts.connection = Some(connection.clone());
                Access::Ready(connection)
            }
            Err(error) => {
                let failure = Arc::new(error);
                attempts.plan_failure = Some(Arc::clone(&failure));
                Access::Failed(failure)
            }
        }
    }

    /// For changes: waits until the cluster is ready, within the limit that all resources share.
    pub async fn for_apply(&self) -> Result<Connection, Arc<Error>> {
        let configured = match &*self.link.read().await {
            Link::Configured(configured) => Arc::clone(configured),
            Link::Unconfigured | Link::Unknown => {
                let sentence = "The provider's configuration is not known, so there is no cluster to change.";
                return Err(Arc::new(Error::Settings(sentence.to_owned())));
            }
        };
        let mut attempts = configured.attempts.lock().await;
        if let Some(connection) = &attempts.connection {
            return Ok(connection.clone());
        }
        if let Some(failure) = &attempts.apply_failure {
            return Err(Arc::clone(failure));
        }
        let since = *attempts.waiting_since.get_or_insert_with(Instant::now);
        match self.wait_for(&configured, since).await {
            Ok(connection) => {
                attempts.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let failure = Arc::new(error);
                attempts.apply_failure = Some(Arc::clone(&failure));
                Err(failure)
            }
        }
    }

    async fn wait_for(&self, configured: &Configured, since: Instant) -> Result<Connection, Error> {
        let deadline = since + configured.timeouts.ready;
        let mut pause = FIRST_PAUSE;
        let mut reminded: Option<Instant> = None;
        loop {
            let error = match configured.attempt().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if !error.is_transient() || Instant::now() + pause >= deadline {
                return Err(error);
            }
            if reminded.is_none_or(|at| at.elapsed() >= REMINDER) {
                let (target, waited) = (configured.connector.target(), since.elapsed().as_secs());
                tracing::warn!(%error, "waiting for the cluster {target} to be ready, for {waited} s so far");
                reminded = Some(Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.stop.cancelled() => return Err(error),
            }
        }
    }

    /// The error for a failed way to the cluster, the first time only: a broken password is one problem, not one per
    /// resource. Whoever gets `None` may leave things as they are, because the operation fails anyway.
    pub fn report_failure(&self, error: &Error) -> Option<Diagnostic> {
        let first = !self.failure_reported.swap(true, Ordering::SeqCst);
        first.then(|| Diagnostic::error("The cluster cannot be reached", error.to_string()))
    }

    /// The warning that nothing was refreshed, the first time only.
    pub fn report_unknown(&self) -> Option<Diagnostic> {
        let first = !self.unknown_reported.swap(true, Ordering::SeqCst);
        first.then(|| {
            Diagnostic::warning(
                "The provider's configuration is not known yet",
                "Something in the lockgate provider block is known only after apply, so the state of topics, ACLs, users \
                 and quotas was not refreshed, and plans were not checked against the cluster.",
            )
        })
    }

    /// The error for something that cannot be left as it is, such as a change: in full if it is the first, and short if
    /// another one has said why already.
    pub fn failure_of(&self, what: &str, error: &Error) -> Diagnostic {
        self.report_failure(error).map_or_else(
            || Diagnostic::error(format!("Could not {what}"), "The cluster cannot be reached; another error says why."),
            |full| Diagnostic::error(format!("Could not {what}: the cluster cannot be reached"), full.detail),
        )
    }
}

impl Configured {
    async fn attempt(&self) -> Result<Connection, Error> {
        let after = self.timeouts.connect;
        tokio::time::timeout(after, self.connector.connect()).await.unwrap_or_else(|_| {
            Err(Error::Timeout { what: "the first connection".to_owned(), server: self.connector.target(), after })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::fake::FakeCluster;

    /// Fails as told, so many times, and then connects.
    struct Flaky {
        failures: usize,
        error: Error,
        attempts: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Connect for Flaky {
        async fn connect(&self) -> Result<Connection, Error> {
            if self.attempts.fetch_add(1, Ordering::SeqCst) < self.failures {
                return Err(self.error.clone());
            }
            Ok(FakeCluster::default().connection())
        }

        fn target(&self) -> String {
            "file:///c".to_owned()
        }
    }

    fn unreachable() -> Error {
        Error::Unreachable { tried: vec![("b1:9093".to_owned(), "connection refused".to_owned())] }
    }

    async fn session(failures: usize, error: Error) -> (Session, Arc<AtomicUsize>) {
        let session = Session::default();
        let attempts = Arc::new(AtomicUsize::new(0));
        let flaky = Flaky { failures, error, attempts: Arc::clone(&attempts) };
        let timeouts = Timeouts { ready: Duration::from_millis(900), ..Timeouts::default() };
        session.configure(Box::new(flaky), timeouts).await;
        (session, attempts)
    }

    #[tokio::test]
    async fn a_plan_tries_once_for_all_and_reports_once() {
        let (session, attempts) = session(usize::MAX, unreachable()).await;
        for report in [true, false, false] {
            let Access::Failed(error) = session.for_plan().await else { panic!("there is no cluster") };
            assert_eq!(session.report_failure(&error).is_some(), report);
        }
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_apply_waits_for_a_cluster_that_comes_up() {
        let (session, attempts) = session(1, unreachable()).await;
        session.for_apply().await.expect("it comes up");
        session.for_apply().await.expect("it stays");
        assert_eq!(attempts.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_apply_gives_up_with_the_cause_once_for_all() {
        let (session, attempts) = session(usize::MAX, unreachable()).await;
        let begun = Instant::now();
        let error = session.for_apply().await.err().expect("it never comes up");
        assert_eq!(*error, unreachable());
        let waited = begun.elapsed();
        assert!(waited > Duration::from_millis(700), "{waited:?}");
        let tried = attempts.load(Ordering::SeqCst);
        session.for_apply().await.err().expect("the second resource does not wait again");
        assert_eq!(attempts.load(Ordering::SeqCst), tried);
    }

    #[tokio::test]
    async fn wrong_credentials_are_not_waited_for() {
        let wrong = Error::Authentication {
            server: "b1:9093".to_owned(),
            user: "terraform".to_owned(),
            mechanism: "SCRAM-SHA-512",
            reason: "wrong password".to_owned(),
        };
        let (session, attempts) = session(usize::MAX, wrong).await;
        let error = session.for_apply().await.err().expect("refused");
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
        assert!(session.failure_of("create a topic", &error).detail.contains("wrong password"));
        assert!(session.failure_of("create a topic", &error).detail.contains("another error says why"));
    }

    #[tokio::test]
    async fn a_plan_may_fail_and_the_apply_still_find_the_cluster() {
        let (session, _) = session(1, unreachable()).await;
        assert!(matches!(session.for_plan().await, Access::Failed(_)));
        session.for_apply().await.expect("it has come up");
        assert!(matches!(session.for_plan().await, Access::Ready(_)));
    }

    #[tokio::test]
    async fn stop_ends_the_wait() {
        let (session, attempts) = session(usize::MAX, unreachable()).await;
        let waiting = tokio::spawn({
            let session = session.clone();
            async move { session.for_apply().await.is_err() }
        });
        session.stop();
        assert!(waiting.await.expect("no panic"));
        assert!(attempts.load(Ordering::SeqCst) <= 1, "nothing is tried after the stop");
    }

    #[tokio::test]
    async fn an_unknown_configuration_is_no_cluster() {
        let session = Session::default();
        session.configure_later().await;
        assert!(matches!(session.for_plan().await, Access::Unknown));
        assert!(session.for_apply().await.is_err());
        assert!(session.report_unknown().is_some());
        assert!(session.report_unknown().is_none());
    }
}

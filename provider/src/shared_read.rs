//! A read that many share: asked of the cluster once, and again after a change.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lockgate_client::{Error, Result};
use tokio::sync::OnceCell;

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The answer to one question.
    One(Error),
    /// A list that many reads share could not be read. Only the first of them is told.
    Shared { what: &'static str, error: Error },
    /// The same, for all the others: one of them was told already.
    Told,
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::One(error)
    }
}

/// What is read once for everyone. Failures are shared as well.
///
/// Whoever asks gets an answer to a question that was put after the last [`SharedRead::forget`]; so a read that begins
/// after a change that forgets sees the change.
pub(crate) struct SharedRead<T> {
    /// What is read, for messages.
    what: &'static str,
    current: Mutex<Arc<Attempt<T>>>,
}

struct Attempt<T> {
    outcome: OnceCell<Result<Arc<T>>>,
    told: AtomicBool,
}

impl<T> Attempt<T> {
    fn new() -> Arc<Self> {
        Arc::new(Self { outcome: OnceCell::new(), told: AtomicBool::new(false) })
    }
}

impl<T> SharedRead<T> {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, current: Mutex::new(Attempt::new()) }
    }

    /// What was read, after reading it with `read` if nobody has. When the caller that reads goes away, another one that
    /// waits reads instead.
    pub(crate) async fn get<Fut>(&self, read: impl FnOnce() -> Fut) -> Result<Arc<T>, ReadError>
    where
        Fut: Future<Output = Result<T>>,
    {
        let attempt = Arc::clone(&self.current.lock().expect("nothing panics while it holds the lock"));
        let outcome = attempt.outcome.get_or_init(|| async { read().await.map(Arc::new) }).await;
        outcome.clone().map_err(|error| match attempt.told.swap(true, Ordering::SeqCst) {
            false => ReadError::Shared { what: self.what, error },
            true => ReadError::Told,
        })
    }

    /// Something has changed: the next caller reads anew.
    pub(crate) fn forget(&self) {
        *self.current.lock().expect("nothing panics while it holds the lock") = Attempt::new();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use lockgate_client::ErrorCode;
    use tokio::sync::Notify;

    use super::*;
    use crate::fake::broker_error;

    #[tokio::test]
    async fn it_is_read_once_until_something_changes() {
        let (shared, reads) = (SharedRead::new("numbers"), AtomicUsize::new(0));
        let read = || async { Ok(reads.fetch_add(1, Ordering::SeqCst)) };
        for _ in 0..3 {
            assert_eq!(*shared.get(read).await.expect("read"), 0);
        }
        shared.forget();
        assert_eq!(*shared.get(read).await.expect("read"), 1);
    }

    #[tokio::test]
    async fn a_read_that_begins_after_a_change_never_gets_what_was_asked_before_it() {
        let (shared, asked) = (Arc::new(SharedRead::new("numbers")), Arc::new(Notify::new()));
        let answer = Arc::new(Notify::new());
        let before = tokio::spawn({
            let (shared, asked, answer) = (Arc::clone(&shared), Arc::clone(&asked), Arc::clone(&answer));
            async move {
                let slow = || async {
                    asked.notify_one();
                    answer.notified().await;
                    Ok("old")
                };
                shared.get(slow).await.map(|text| *text)
            }
        });
        asked.notified().await;
        shared.forget();
        assert_eq!(*shared.get(|| async { Ok("new") }).await.expect("read"), "new");
        answer.notify_one();
        assert_eq!(before.await.expect("no panic").expect("read"), "old", "it began before the change");
        assert_eq!(*shared.get(|| async { Ok("newer") }).await.expect("read"), "new");
    }

    #[tokio::test]
    async fn a_failure_is_everybodys_and_told_once() {
        let shared = SharedRead::<()>::new("numbers");
        let refused = || broker_error(ErrorCode::ClusterAuthorizationFailed);
        let first = shared.get(|| async { Err(refused()) }).await.expect_err("refused");
        assert_eq!(first, ReadError::Shared { what: "numbers", error: refused() });
        let second = shared.get(|| async { panic!("nobody asks again") }).await.expect_err("refused");
        assert_eq!(second, ReadError::Told);
        shared.forget();
        shared.get(|| async { Ok(()) }).await.expect("a change may have healed it");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_leaves_the_reading_to_the_next() {
        let shared = Arc::new(SharedRead::new("numbers"));
        let stuck = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { shared.get(std::future::pending::<Result<&str>>).await.map(|text| *text) }
        });
        tokio::task::yield_now().await;
        let waiting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { shared.get(|| async { Ok("read") }).await.map(|text| *text) }
        });
        tokio::task::yield_now().await;
        stuck.abort();
        assert_eq!(waiting.await.expect("no panic").expect("read"), "read");
    }
}

//! Measures the processor time that a request takes, for `request_percentage`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

/// A future that also tells how long it was worked on; waiting does not count.
pub(super) struct Metered<F> {
    inner: Pin<Box<F>>,
    spent: Duration,
}

impl<F: Future> Metered<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner: Box::pin(inner), spent: Duration::ZERO }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = (F::Output, Duration);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let began = Instant::now();
        let polled = self.inner.as_mut().poll(context);
        self.spent += began.elapsed();
        let output = ready!(polled);
        Poll::Ready((output, self.spent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_does_not_count_and_work_does() {
        let work = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            std::thread::sleep(Duration::from_millis(20));
        };
        let ((), spent) = Metered::new(work).await;
        assert!(spent >= Duration::from_millis(20) && spent < Duration::from_millis(90), "{spent:?}");
    }
}

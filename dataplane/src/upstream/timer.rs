//! The one timer of a request: only those that have a time-out have one.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{task::coop::unconstrained, time::Sleep};

/// Which time-out it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// The whole exchange: `request_timeout`.
    Deadline,
    /// One attempt: `backend_timeout`.
    Attempt,
    /// A stream was silent.
    Idle,
}

/// Goes off at the earlier of the deadline and what else is due.
#[derive(Default)]
pub(super) struct Timer {
    deadline: Option<Instant>,
    /// When what else is due, and what that is.
    due: Option<(Instant, Expired)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, due: None, sleep: None }
    }

    /// From now on `expired` is due after `limit`, instead of what was due before.
    pub(super) fn start(&mut self, limit: Option<Duration>, expired: Expired) {
        self.due = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, expired)));
        let Some((when, _)) = self.next() else {
            self.sleep = None;
            return;
        };
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(when.into()),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(when.into()))),
        }
    }

    /// `work`, unless something is due first.
    pub(super) async fn limit<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Expired> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        // A peer that sends without an end uses up the task's budget before the timer is asked.
        ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
        // Invariant: it sleeps only until something is due.
        Poll::Ready(self.next().map_or(Expired::Deadline, |(_, expired)| expired))
    }

    fn next(&self) -> Option<(Instant, Expired)> {
        let deadline = self.deadline.map(|deadline| (deadline, Expired::Deadline));
        deadline.into_iter().chain(self.due).min_by_key(|(when, _)| *when)
    }
}

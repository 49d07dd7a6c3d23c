//! Sees to it that no client holds a connection without using it.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use super::super::stream::{Phase, Pulse};
use crate::Bounds;

/// Idle time is measured in this many steps: a connection is closed after its time, and at most a step later.
const STEPS: u32 = 4;

/// While draining, a kept connection has this long to send one more request, which is answered with `Connection: close`.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Looks at the pulse now and then. The usual request costs no clock and no timer: a timer is set anew only when it fires, or
/// when a head has begun and is not complete at once.
pub(super) struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    /// The timer knows whom to wake: the connection's task, which stays the same.
    armed: bool,
    watch: Watch,
    header_timeout: Duration,
    step: Duration,
    /// The beats at the last step, and for how many steps there have been none.
    beats: u32,
    quiet: u32,
}

enum Watch {
    /// For the end of the head.
    Head,
    /// For the next step.
    Step,
}

/// What is to be done with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Close,
    /// It has been idle for a step: what it holds may be let go of.
    Rest,
}

impl Watchdog {
    /// The first head has to be there at `deadline`; `None`: the connection begins idle.
    pub(super) fn new(bounds: &Bounds, deadline: Option<Instant>) -> Self {
        let step = bounds.idle_timeout / STEPS;
        let watch = if deadline.is_some() { Watch::Head } else { Watch::Step };
        let sleep = Box::pin(sleep_until(deadline.unwrap_or_else(|| Instant::now() + step)));
        Self { sleep, armed: false, watch, header_timeout: bounds.header_timeout, step, beats: 0, quiet: 0 }
    }

    /// From now on idle connections are closed soon.
    pub(super) fn hurry(&mut self) {
        self.step = self.step.min(LAST_CALL / STEPS);
        if let Watch::Step = self.watch {
            self.again(self.step);
        }
        self.quiet = 0;
    }

    /// To be called after each poll of the connection.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, pulse: &Pulse, phase: Phase) -> Poll<Verdict> {
        match (&self.watch, phase) {
            (Watch::Step, Phase::Head) => {
                self.watch = Watch::Head;
                self.again(self.header_timeout);
            }
            (Watch::Head, Phase::Idle | Phase::Busy) => {
                self.watch = Watch::Step;
                self.quiet = 0;
                self.again(self.step);
            }
            (Watch::Step, Phase::Idle | Phase::Busy) | (Watch::Head, Phase::Head) => {}
        }
        while self.is_due(cx) {
            if let Watch::Head = self.watch {
                return Poll::Ready(Verdict::Close);
            }
            let beats = pulse.beats();
            let waits = phase == Phase::Idle || pulse.blocked();
            self.quiet = if beats == self.beats && waits { self.quiet + 1 } else { 0 };
            self.beats = beats;
            if self.quiet >= STEPS {
                return Poll::Ready(Verdict::Close);
            }
            self.again(self.step);
            if self.quiet == 1 && phase == Phase::Idle && !pulse.blocked() {
                return Poll::Ready(Verdict::Rest);
            }
        }
        Poll::Pending
    }

    /// The timer itself is asked only after it was set: the rest of the time it is enough to look.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.armed {
            // A task that has used up its budget would not be noted.
            self.armed = pin!(unconstrained(self.sleep.as_mut())).poll(cx).is_pending();
            return !self.armed;
        }
        self.sleep.is_elapsed()
    }

    fn again(&mut self, after: Duration) {
        self.armed = false;
        self.sleep.as_mut().reset(Instant::now() + after);
    }
}

//! The states, and what leads from one to another. Time is an argument: since the breaker was made.

use std::time::Duration;

use ravelin_snapshot::backend::Breaker;

/// The window is counted in so many pieces.
const PIECES: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    /// As the admin interface has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "halfOpen",
            Self::Open => "open",
        }
    }
}

/// How a request went, as far as one knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    /// It was given up, or never came to the backend.
    Unknown,
}

/// Who was admitted in one state has no say in the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) said: Breaker,
    /// Changes so far.
    turn: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Closed { window: Window, streak: u32 },
    Open { until: Duration },
    HalfOpen { under_way: u32, successes: u32 },
}

impl Machine {
    pub(super) fn new(said: Breaker) -> Self {
        Self { said, turn: 0, phase: Phase::closed() }
    }

    /// An open breaker whose time is over is half open for who asks.
    pub(super) fn state(&self, now: Duration) -> State {
        match self.phase {
            Phase::Open { until } if now >= until => State::HalfOpen,
            _ => self.said_state(),
        }
    }

    /// As requests have left it.
    pub(super) fn said_state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) fn reset(&mut self) {
        self.enter(Phase::closed());
    }

    /// Whether a request may be sent.
    pub(super) fn admit(&mut self, now: Duration) -> Option<Ticket> {
        if let Phase::Open { until } = self.phase
            && now >= until
        {
            self.enter(Phase::HalfOpen { under_way: 0, successes: 0 });
        }
        match &mut self.phase {
            Phase::Closed { .. } => {}
            Phase::Open { .. } => return None,
            Phase::HalfOpen { under_way, .. } if *under_way >= self.said.half_open_requests => return None,
            Phase::HalfOpen { under_way, .. } => *under_way += 1,
        }
        Some(Ticket(self.turn))
    }

    pub(super) fn tell(&mut self, Ticket(turn): Ticket, outcome: Outcome, now: Duration) {
        if turn != self.turn {
            return;
        }
        let until = now.saturating_add(Duration::from_millis(self.said.open_for_ms));
        match &mut self.phase {
            Phase::Closed { window, streak } => {
                let failed = match outcome {
                    Outcome::Success => false,
                    Outcome::Failure => true,
                    Outcome::Unknown => return,
                };
                *streak = if failed { *streak + 1 } else { 0 };
                let piece = now.as_millis() as u64 / (self.said.window_ms / PIECES).max(1);
                let (all, failures) = window.count(piece, failed);
                let in_a_row = self.said.consecutive_failures.is_some_and(|most| *streak >= most);
                let too_many = self.said.failure_percent.is_some_and(|percent| {
                    all >= u64::from(self.said.min_requests) && failures * 100 >= all * u64::from(percent)
                });
                // A success opens nothing, whatever went before.
                if failed && (in_a_row || too_many) {
                    self.enter(Phase::Open { until });
                }
            }
            // Nobody is admitted while it is.
            Phase::Open { .. } => {}
            Phase::HalfOpen { under_way, successes } => {
                *under_way -= 1;
                match outcome {
                    Outcome::Failure => self.enter(Phase::Open { until }),
                    Outcome::Success => {
                        *successes += 1;
                        if *successes >= self.said.success_threshold {
                            self.enter(Phase::closed());
                        }
                    }
                    Outcome::Unknown => {}
                }
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.turn += 1;
    }
}

impl Phase {
    fn closed() -> Self {
        Self::Closed { window: Window::default(), streak: 0 }
    }
}

/// Requests and failures in the present piece and those before it.
#[derive(Debug, Default)]
struct Window {
    now: u64,
    pieces: [(u64, u64); PIECES as usize],
}

impl Window {
    /// Returns all in the window and the failures among them. A piece that is past counts as the present one.
    fn count(&mut self, piece: u64, failed: bool) -> (u64, u64) {
        let piece = piece.max(self.now);
        for gone in (self.now + 1..=piece).take(PIECES as usize) {
            self.pieces[(gone % PIECES) as usize] = (0, 0);
        }
        self.now = piece;
        let here = &mut self.pieces[(piece % PIECES) as usize];
        here.0 += 1;
        here.1 += u64::from(failed);
        self.pieces.iter().fold((0, 0), |(all, failures), piece| (all + piece.0, failures + piece.1))
    }
}

#[cfg(test)]
mod tests;

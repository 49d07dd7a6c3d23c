//! How much is sent again, in proportion to what is sent.

use ravelin_snapshot::backend::RetryBudget;

/// Requests and retries are counted over so many seconds.
const SECONDS: u64 = 10;

/// The last [`SECONDS`], second by second.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The second that it ends with.
    now: u64,
    slots: [Slot; SECONDS as usize],
    sum: Slot,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    requests: u64,
    retries: u64,
}

impl Window {
    pub(super) fn request(&mut self, second: u64) {
        self.slot(second).requests += 1;
        self.sum.requests += 1;
    }

    /// Counts one retry, if it is allowed: within the percentage of the requests in the window, or among the first of its
    /// second.
    pub(super) fn take(&mut self, said: &RetryBudget, second: u64) -> bool {
        let retries = self.slot(second).retries;
        let within = (self.sum.retries + 1) * 100 <= self.sum.requests * u64::from(said.percent);
        let allowed = within || retries < u64::from(said.min_per_second);
        if allowed {
            self.slot(second).retries += 1;
            self.sum.retries += 1;
        }
        allowed
    }

    /// Forgets what is too old. A second that is past counts as the present one: workers read their clocks a little apart.
    fn slot(&mut self, second: u64) -> &mut Slot {
        let second = second.max(self.now);
        for gone in (self.now + 1..=second).take(SECONDS as usize) {
            // All slots at most once; after a long pause which of them does not matter.
            let gone = std::mem::take(&mut self.slots[(gone % SECONDS) as usize]);
            self.sum.requests -= gone.requests;
            self.sum.retries -= gone.retries;
        }
        self.now = second;
        &mut self.slots[(second % SECONDS) as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Pass(u64),
        Request,
        Take,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => (0u64..25).prop_map(Step::Pass),
            5 => Just(Step::Request),
            5 => Just(Step::Take),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        /// The model remembers every request and every retry.
        #[test]
        fn a_retry_is_allowed_exactly_within_the_percentage_or_the_least(
            steps in steps(), percent in 0u8..=100, min_per_second in 0u32..4,
        ) {
            let said = RetryBudget { percent, min_per_second };
            let (mut window, mut now) = (Window::default(), 0);
            let (mut requests, mut retries) = (Vec::<u64>::new(), Vec::<u64>::new());
            for step in steps {
                match step {
                    Step::Pass(seconds) => now += seconds,
                    Step::Request => {
                        window.request(now);
                        requests.push(now);
                    }
                    Step::Take => {
                        let recent = |all: &[u64]| all.iter().filter(|at| **at + SECONDS > now).count();
                        let within = (recent(&retries) + 1) * 100 <= recent(&requests) * usize::from(percent);
                        let here = retries.iter().filter(|at| **at == now).count();
                        let allowed = within || here < min_per_second as usize;
                        prop_assert_eq!(window.take(&said, now), allowed);
                        if allowed {
                            retries.push(now);
                        }
                    }
                }
            }
        }
    }
}

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Endpoints that serve one request after another, each in its own time, under requests that come at even intervals.
struct Site {
    begun: Instant,
    now: Instant,
    services: Vec<Service>,
    takes: Vec<Duration>,
    /// When each has done what it was given.
    free: Vec<Instant>,
    /// Answers that are under way: when, at whom, and how long they took.
    coming: Vec<(Instant, usize, Duration)>,
    rates: Rates,
}

impl Site {
    fn new(takes: &[u32]) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            now,
            services: takes.iter().map(|_| Service::default()).collect(),
            takes: takes.iter().map(|millis| MS * *millis).collect(),
            free: vec![now; takes.len()],
            coming: Vec::new(),
            rates: Rates::new(now),
        }
    }

    /// How many requests each gets of so many.
    fn serve(&mut self, count: usize, every: Duration) -> Vec<usize> {
        let mut got = vec![0; self.takes.len()];
        for _ in 0..count {
            self.now += every;
            let now = self.now;
            let (come, coming) = std::mem::take(&mut self.coming).into_iter().partition(|(at, ..)| *at <= now);
            self.coming = coming;
            for (at, place, took) in come {
                self.services[place].observe(took, false, at);
            }
            let known = || self.services.iter().map(|service| (service.rate(now), 1)).collect();
            let place = self.rates.turn(now, known).unwrap();
            got[place] += 1;
            let done = self.free[place].max(now) + self.takes[place];
            self.free[place] = done;
            self.coming.push((done, place, done - now));
        }
        got
    }
}

fn is_within_a_tenth(got: usize, of: usize, part: f64) -> bool {
    let expected = of as f64 * part;
    (got as f64 - expected).abs() <= expected / 10.0
}

#[test]
fn three_endpoints_of_rates_one_two_and_four_have_a_seventh_two_and_four() {
    // Together they serve 175 a second: from a load that nobody feels to nine tenths of what they can.
    for per_second in [20, 90, 157] {
        let mut site = Site::new(&[40, 20, 10]);
        let every = Duration::from_secs(1) / per_second;
        site.serve(per_second as usize * 30, every);
        for window in 0..10 {
            let count = per_second as usize * 20;
            let got = site.serve(count, every);
            for (place, part) in [1.0 / 7.0, 2.0 / 7.0, 4.0 / 7.0].into_iter().enumerate() {
                assert!(is_within_a_tenth(got[place], count, part), "{per_second}/s, window {window}: {got:?}");
            }
        }
        assert!(site.now > site.begun);
    }
}

#[test]
fn who_is_slow_keeps_being_asked_and_has_its_share_again_when_it_is_quick() {
    let mut site = Site::new(&[1_000, 10]);
    site.serve(1_000, 20 * MS);
    let slow = site.serve(1_000, 20 * MS);
    assert!((10..60).contains(&slow[0]), "{slow:?}");
    site.takes[0] = 10 * MS;
    site.serve(5_000, 20 * MS);
    let even = site.serve(1_000, 20 * MS);
    assert!(is_within_a_tenth(even[0], 1_000, 0.5), "{even:?}");
}

#[test]
fn who_fails_at_once_is_not_quick_and_who_is_new_has_a_mean_share() {
    let now = Instant::now();
    let [good, bad, new] = [(); 3].map(|()| Service::default());
    for _ in 0..20 {
        good.observe(10 * MS, false, now);
        bad.observe(MS, true, now);
    }
    assert_eq!(new.rate(now), None);
    let rate = |service: &Service| service.rate(now).unwrap();
    assert!((rate(&good) - 100.0).abs() < 1e-6 && (rate(&bad) - 1.0).abs() < 1e-6);
    let shares = sums(&[(good.rate(now), 1), (bad.rate(now), 1), (None, 1), (Some(7.0), 0)]);
    let expected = [100.0, 102.0, 152.5, 152.5];
    assert!(shares.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 1e-6), "{shares:?}");
    assert_eq!(good.rate(now + Duration::from_secs(600)), None, "what is long past is not known any longer");
}

#[test]
fn nobody_has_a_turn_without_a_weight() {
    let now = Instant::now();
    assert_eq!(Rates::new(now).turn(now, Vec::new), None);
    assert_eq!(Rates::new(now).turn(now, || vec![(Some(1.0), 0)]), None);
    let second = Rates::new(now);
    assert!((0..100).all(|_| second.turn(now, || vec![(None, 0), (Some(3.0), 2), (None, 0)]) == Some(1)));
}

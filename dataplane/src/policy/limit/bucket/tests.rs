use proptest::prelude::*;

use super::*;

fn buckets(requests: u32, per_ms: u64, burst: u32) -> (Buckets, Rate, Instant) {
    let start = Instant::now();
    let buckets = Buckets::new(start);
    let rate = buckets.rate(&TokenBucket { requests, per_ms, burst });
    (buckets, rate, start)
}

/// Without patience.
fn take(buckets: &Buckets, rate: &Rate, key: &str, cost: u64, now: Instant) -> Result<Level, Refused> {
    buckets.take(rate, buckets.keys.key(key), cost, now, Duration::ZERO).map(|taken| taken.level)
}

#[test]
fn a_burst_passes_at_once_and_then_one_each_interval() {
    let (buckets, rate, start) = buckets(100, 60_000, 20);
    for left in (0..20).rev() {
        assert_eq!(take(&buckets, &rate, "a", 1, start).unwrap().remaining, left);
    }
    let refused = take(&buckets, &rate, "a", 1, start).unwrap_err();
    assert_eq!((refused.level.remaining, refused.retry_in), (0, Some(Duration::from_millis(600))));
    assert!(take(&buckets, &rate, "b", 1, start).is_ok(), "another key has a bucket of its own");
    let almost = start + Duration::from_nanos(599_999_999);
    assert!(take(&buckets, &rate, "a", 1, almost).is_err());
    assert!(take(&buckets, &rate, "a", 1, start + Duration::from_millis(600)).is_ok());
    assert!(take(&buckets, &rate, "a", 1, start + Duration::from_millis(600)).is_err());
}

#[test]
fn a_cost_beyond_the_burst_is_never_promised_and_no_cost_takes_nothing() {
    let (buckets, rate, start) = buckets(10, 1_000, 5);
    assert_eq!(take(&buckets, &rate, "a", 6, start).unwrap_err().retry_in, None);
    assert_eq!(take(&buckets, &rate, "a", u64::MAX, start).unwrap_err().retry_in, None);
    let full = Level { remaining: 5, more_in: Some(Duration::ZERO), term: None };
    assert_eq!(take(&buckets, &rate, "a", 0, start).unwrap(), full);
    assert_eq!(buckets.keys.count(), 0);
}

#[test]
fn the_largest_rates_and_costs_do_not_overflow() {
    let (buckets, rate, start) = buckets(u32::MAX, u64::MAX / 1_000_000, u32::MAX);
    let late = start + Duration::from_secs(1 << 33);
    assert!(take(&buckets, &rate, "a", u64::from(u32::MAX), late).is_ok());
    assert!(take(&buckets, &rate, "a", u64::from(u32::MAX), late).unwrap_err().retry_in.is_some());
}

#[test]
fn a_million_keys_take_at_most_64_bytes_each() {
    let (buckets, rate, start) = buckets(1, 3_600_000, 10);
    for n in 0..1_000_000 {
        take(&buckets, &rate, &n.to_string(), 1, start).unwrap();
    }
    let (keys, bytes) = (buckets.keys.count(), buckets.keys.bytes());
    assert_eq!(keys, 1_000_000);
    assert!(bytes <= 64 * keys, "{} bytes a key", bytes / keys);
}

#[test]
fn a_bucket_that_goes_on_at_another_rate_misses_as_many_requests_as_before() {
    let (buckets, silver, start) = buckets(10, 1_000, 10);
    let gold = buckets.rate(&TokenBucket { requests: 600, per_ms: 60_000, burst: 600 });
    take(&buckets, &silver, "a", 7, start).unwrap();
    assert_eq!(buckets.level(&gold, buckets.keys.key("a"), start).remaining, 593);
    take(&buckets, &gold, "a", 500, start).unwrap();
    // No more is missing than fits.
    assert_eq!(take(&buckets, &silver, "a", 1, start).unwrap_err().retry_in, Some(Duration::from_millis(100)));
}

proptest! {
    /// The definition: a bucket that holds `burst`, is refilled evenly and never overflows.
    #[test]
    fn it_admits_exactly_what_a_bucket_in_exact_fractions_does(
        requests in 1..2_000_000_000_u32,
        per_ms in 1..100_000_u64,
        burst in 1..50_u32,
        asks in proptest::collection::vec((0..2_000_000_000_u64, 0..4_u64, any::<bool>()), 1..60),
    ) {
        let (buckets, rate, start) = buckets(requests, per_ms, burst);
        let per = u128::from(per_ms) * 1_000_000;
        // Tokens in units of 1/per, so that each nanosecond brings `requests` of them.
        let full = u128::from(burst) * per;
        let (mut tokens, mut last, mut now) = (full, 0_u128, 0_u128);
        for (gap, cost, undo) in asks {
            now += u128::from(gap);
            tokens = full.min(tokens + (now - last) * u128::from(requests));
            last = now;
            let at = start + Duration::from_nanos(now as u64);
            let price = u128::from(cost) * per;
            match take(&buckets, &rate, "k", cost, at) {
                Ok(level) => {
                    prop_assert!(tokens >= price);
                    tokens -= price;
                    prop_assert_eq!(u128::from(level.remaining), tokens / per);
                    if undo {
                        buckets.give_back(&rate, buckets.keys.key("k"), cost, at);
                        tokens += price;
                    }
                }
                Err(refused) => {
                    prop_assert!(tokens < price);
                    if let Some(wait) = refused.retry_in {
                        let then = full.min(tokens + wait.as_nanos() * u128::from(requests));
                        prop_assert!(then >= price, "who waits as told is admitted");
                    }
                }
            }
        }
    }

    /// Waiting is only another order of the same: what goes on at its own time conforms to the bucket, first come, first
    /// served, also when some give up.
    #[test]
    fn those_who_wait_go_on_in_order_and_within_the_rate(
        requests in 1..20_u32,
        burst in 1..5_u32,
        patience in 0..3_000_u64,
        asks in proptest::collection::vec((0..400_u64, 1..3_u64, proptest::bool::weighted(0.2)), 1..80),
    ) {
        let (buckets, rate, start) = buckets(requests, 1_000, burst);
        let key = buckets.keys.key("k");
        let (mut now, mut went_on) = (0, Vec::new());
        for (gap, cost, gives_up) in asks {
            now += gap;
            let at = start + Duration::from_millis(now);
            match buckets.take(&rate, key, cost, at, Duration::from_millis(patience)) {
                Ok(taken) => {
                    prop_assert!(taken.turn.wait() <= Duration::from_millis(patience));
                    if gives_up {
                        buckets.give_back(&rate, key, cost, at);
                    } else {
                        went_on.push((Duration::from_millis(now) + taken.turn.wait(), cost));
                    }
                }
                Err(refused) => {
                    let wait = refused.retry_in;
                    prop_assert!(cost > u64::from(burst) || wait.is_some_and(|wait| wait > Duration::from_millis(patience)));
                }
            }
        }
        prop_assert!(went_on.is_sorted_by_key(|(at, _)| *at));
        // Any stretch of time sees at most what the bucket holds and what it is filled with meanwhile.
        for (first, (begin, _)) in went_on.iter().enumerate() {
            let mut sum = 0;
            for (end, cost) in &went_on[first..] {
                sum += cost;
                let filled = (*end - *begin).as_nanos() * u128::from(requests);
                prop_assert!(u128::from(sum) * 1_000_000_000 <= u128::from(burst) * 1_000_000_000 + filled + u128::from(requests));
            }
        }
    }
}

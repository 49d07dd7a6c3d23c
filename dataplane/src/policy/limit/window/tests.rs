use proptest::prelude::*;

use super::*;

fn windows(requests: u32, per_ms: u64) -> (Span, Keys<Window>, Instant) {
    let start = Instant::now();
    (Span::new(&SlidingWindow { requests, per_ms }), Keys::new(start), start)
}

fn take(span: &Span, keys: &Keys<Window>, cost: u64, now: Instant) -> Result<Level, Refused> {
    span.take(keys, keys.key("k"), cost, now, Duration::ZERO).map(|taken| taken.level)
}

/// What is admitted, with the nanosecond.
type Admitted = Vec<(u64, u64)>;

fn most_in_any_window(admitted: &Admitted, per: u64) -> u64 {
    let sum = |end: u64| {
        let inside = admitted.iter().filter(|(at, _)| *at <= end && at + per > end);
        inside.map(|(_, cost)| cost).sum()
    };
    admitted.iter().map(|(at, _)| sum(*at)).max().unwrap_or(0)
}

#[test]
fn a_window_has_no_edge_at_which_twice_as_much_passes() {
    let (span, keys, start) = windows(100, 60_000);
    let at = |ms| start + Duration::from_millis(ms);
    for _ in 0..100 {
        take(&span, &keys, 1, at(59_000)).unwrap();
    }
    let refused = take(&span, &keys, 1, at(61_000)).unwrap_err();
    assert_eq!((refused.level.remaining, refused.retry_in), (0, Some(Duration::from_secs(58))));
    assert!(take(&span, &keys, 1, at(119_000) - Duration::from_nanos(1)).is_err());
    assert_eq!(take(&span, &keys, 1, at(119_000)).unwrap().remaining, 99);
}

#[test]
fn a_cost_beyond_the_limit_is_never_promised_and_no_cost_takes_nothing() {
    let (span, keys, start) = windows(5, 1_000);
    for cost in [6, u64::from(u32::MAX) + 1, u64::MAX] {
        assert_eq!(take(&span, &keys, cost, start).unwrap_err().retry_in, None);
    }
    assert_eq!(
        take(&span, &keys, 0, start).unwrap(),
        Level { remaining: 5, more_in: Some(Duration::ZERO), term: None }
    );
    assert_eq!(keys.count(), 0);
}

#[test]
fn a_large_limit_at_its_own_pace_loses_less_than_one_in_a_hundred_and_stays_small() {
    let (span, keys, start) = windows(100_000, 60_000);
    let (mut passed, offered) = (0_u64, 500_000_u64);
    for n in 0..offered {
        // 100,000 in a minute, evenly.
        passed += u64::from(take(&span, &keys, 1, start + Duration::from_micros(n * 600)).is_ok());
    }
    assert!(passed * 100 >= offered * 99, "{passed} of {offered} passed");
    let marks = keys.read(keys.key("k"), |window| window.unwrap().marks.len());
    assert!(marks as u64 <= EXACT + 2, "{marks} times are kept");
}

/// Gaps that often lead to the edge of a window: a whole `per`, or nearly so.
fn gap(per: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..per / 4,
        1 => Just(0),
        1 => Just(per),
        1 => Just(per - 1),
        1 => Just(per + 1),
        1 => 0..3 * per,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_more_than_requests_pass_in_any_window_of_per(
        requests in prop_oneof![1..10_u32, 120..140_u32, 1_000..2_000_u32],
        per_ms in 1..5_u64,
        asks in proptest::collection::vec((gap(3_000_000), 0..300_u64, proptest::bool::weighted(0.1)), 1..150),
    ) {
        let (span, keys, start) = windows(requests, per_ms);
        let per = per_ms * 1_000_000;
        let (mut now, mut admitted) = (0, Admitted::new());
        for (gap, cost, undo) in asks {
            now += gap;
            let at = start + Duration::from_nanos(now);
            match span.take(&keys, keys.key("k"), cost, at, Duration::ZERO) {
                Ok(taken) if undo => span.give_back(&keys, keys.key("k"), cost, taken.mark, at),
                Ok(_) => admitted.push((now, cost)),
                Err(_) => {
                    // Exact for small limits; for large ones a grain too long, at most.
                    let longer = if u64::from(requests) <= EXACT { per } else { per + per / EXACT };
                    let last: u64 = admitted.iter().filter(|(at, _)| at + longer > now).map(|(_, cost)| cost).sum();
                    prop_assert!(last + cost > u64::from(requests), "refused although it passes");
                }
            }
        }
        prop_assert!(most_in_any_window(&admitted, per) <= u64::from(requests));
    }

    #[test]
    fn who_waits_as_told_is_admitted(
        requests in prop_oneof![1..10_u32, 1_000..2_000_u32],
        asks in proptest::collection::vec((gap(1_000_000), 1..400_u64), 1..60),
        last in 1..400_u64,
    ) {
        let (span, keys, start) = windows(requests, 1);
        let mut now = start;
        for (gap, cost) in asks {
            now += Duration::from_nanos(gap);
            let _admitted = take(&span, &keys, cost, now);
        }
        match take(&span, &keys, last, now) {
            Err(Refused { retry_in: Some(wait), .. }) => {
                prop_assert!(take(&span, &keys, last, now + wait).is_ok());
            }
            Err(Refused { retry_in: None, .. }) => prop_assert!(last > u64::from(requests)),
            Ok(level) if level.remaining < u64::from(requests) => {
                let more = span.level(&keys, keys.key("k"), now + level.more_in.unwrap());
                prop_assert!(more.remaining > level.remaining, "`t` is when there is more");
            }
            Ok(_) => {}
        }
    }

    #[test]
    fn those_who_wait_go_on_in_order_and_within_the_limit(
        requests in prop_oneof![1..10_u32, 1_000..2_000_u32],
        patience in 0..3_000_000_u64,
        asks in proptest::collection::vec((0..600_000_u64, 1..300_u64, proptest::bool::weighted(0.2)), 1..100),
    ) {
        let (span, keys, start) = windows(requests, 1);
        let (mut now, mut went_on) = (0, Admitted::new());
        for (gap, cost, gives_up) in asks {
            now += gap;
            let at = start + Duration::from_nanos(now);
            if let Ok(taken) = span.take(&keys, keys.key("k"), cost, at, Duration::from_nanos(patience)) {
                let wait = taken.turn.wait().as_nanos() as u64;
                prop_assert!(wait <= patience);
                if gives_up {
                    span.give_back(&keys, keys.key("k"), cost, taken.mark, at);
                } else {
                    went_on.push((now + wait, cost));
                }
            }
        }
        prop_assert!(went_on.is_sorted_by_key(|(at, _)| *at));
        prop_assert!(most_in_any_window(&went_on, 1_000_000) <= u64::from(requests));
    }
}

use proptest::prelude::*;

use super::*;

fn seat(entry: Option<Entry>) -> Option<Seat> {
    match entry {
        Some(Entry::Seated(seat)) => Some(seat),
        _ => None,
    }
}

fn queued(entry: Option<Entry>) -> Option<Queued> {
    match entry {
        Some(Entry::Queued(queued)) => Some(queued),
        _ => None,
    }
}

#[test]
fn who_leaves_the_queue_gives_his_place_to_those_behind_him() {
    let gates = Arc::new(Gates::new());
    let key = gates.hashes.key("a");
    let first = seat(gates.enter(key, 2, 3, Some(1))).unwrap();
    let mut large = queued(gates.enter(key, 3, 3, Some(1))).unwrap();
    let mut small = queued(gates.enter(key, 1, 3, Some(1))).unwrap();
    assert!(gates.enter(key, 1, 3, None).is_none(), "nobody overtakes");
    assert!(small.seat.try_recv().is_err());
    drop(large.seat.try_recv());
    drop(large);
    let small = small.seat.try_recv().unwrap();
    drop((first, small));
    assert_eq!(gates.count(), 0, "what is not used is not remembered");
}

#[test]
fn the_queue_is_bounded_and_what_never_fits_does_not_wait() {
    let gates = Arc::new(Gates::new());
    let key = gates.hashes.key("a");
    assert!(gates.enter(key, 2, 1, Some(1)).is_none());
    let _first = seat(gates.enter(key, 1, 1, Some(1))).unwrap();
    let waiting: Vec<_> = (0..MAX_WAITING).map(|_| queued(gates.enter(key, 1, 1, Some(1))).unwrap()).collect();
    assert!(gates.enter(key, 1, 1, Some(1)).is_none());
    drop(waiting);
    assert!(gates.enter(key, 1, 1, Some(1)).is_some(), "those who gave up count no longer");
}

#[test]
fn who_has_more_weight_pushes_the_last_out_of_a_full_queue() {
    let gates = Arc::new(Gates::new());
    let key = gates.hashes.key("a");
    let first = seat(gates.enter(key, 1, 1, Some(1))).unwrap();
    let mut light: Vec<_> = (0..MAX_WAITING).map(|_| queued(gates.enter(key, 1, 1, Some(1))).unwrap()).collect();
    let mut heavy = queued(gates.enter(key, 1, 1, Some(10))).unwrap();
    assert_eq!(light.last_mut().unwrap().seat.try_recv().err(), Some(oneshot::error::TryRecvError::Closed));
    drop(first);
    assert!(heavy.seat.try_recv().is_ok(), "and it is his turn first");
}

/// A request of the simulation below.
struct Comer {
    at: u64,
    gold: bool,
    queued: Queued,
}

#[test]
fn at_three_times_overload_the_high_class_is_served_in_time_the_low_one_too_and_nothing_is_idle() {
    // Ten seats for 100 ms each, so 100 requests a second; 50 of weight 10 and 250 of weight 1 come, and wait for 500 ms.
    const MS: [u64; 3] = [100, 500, 20_000];
    let [service, patience, end] = MS;
    let gates = Arc::new(Gates::new());
    let key = gates.hashes.key("a");
    let (mut inside, mut waiting) = (Vec::<(u64, Seat)>::new(), Vec::<Comer>::new());
    let (mut waits, mut served, mut given_up) = ([const { Vec::new() }; 2], [0; 2], [0; 2]);
    for now in 0..end {
        inside.retain(|(leaves, _)| *leaves > now);
        waiting.retain(|comer| {
            let stays = comer.at + patience > now;
            given_up[usize::from(comer.gold)] += u64::from(!stays);
            stays
        });
        let comers = [(now % 20 == 0, true), (now % 4 == 0, false)];
        for (_, gold) in comers.into_iter().filter(|(comes, _)| *comes) {
            match gates.enter(key, 1, 10, Some(if gold { 10 } else { 1 })) {
                Some(Entry::Seated(seat)) => {
                    inside.push((now + service, seat));
                    served[usize::from(gold)] += 1;
                }
                Some(Entry::Queued(queued)) => waiting.push(Comer { at: now, gold, queued }),
                None => unreachable!("the queue is not full"),
            }
        }
        for mut comer in std::mem::take(&mut waiting) {
            match comer.queued.seat.try_recv() {
                Ok(seat) => {
                    waits[usize::from(comer.gold)].push(now - comer.at);
                    served[usize::from(comer.gold)] += 1;
                    inside.push((now + service, seat));
                }
                Err(_) => waiting.push(comer),
            }
        }
    }
    let [_, gold] = &mut waits;
    gold.sort_unstable();
    let p99 = gold[gold.len() * 99 / 100];
    assert!(p99 <= service, "{p99} ms at the 99th percentile");
    assert_eq!(given_up[1], 0);
    assert!(served[0] >= 40 * end / 1_000, "{} of the low class in {end} ms", served[0]);
    assert!(served[0] + served[1] >= 90 * end / 1_000, "{served:?} in {end} ms");
}

#[test]
fn who_comes_often_and_gives_up_costs_his_lane_nothing() {
    let gates = Arc::new(Gates::new());
    let key = gates.hashes.key("a");
    let mut seated = seat(gates.enter(key, 1, 1, Some(1)));
    let queue = |weight| queued(gates.enter(key, 1, 1, Some(weight))).unwrap();
    let (mut light, mut heavy) = (queue(1), queue(10));
    let mut served = [0; 2];
    for _ in 0..1_100 {
        // A hundred of the light class come, and do not wait.
        (0..100).for_each(|_| drop(queue(1)));
        drop(seated.take());
        if let Ok(next) = light.seat.try_recv() {
            (seated, light) = (Some(next), queue(1));
            served[0] += 1;
        } else {
            (seated, heavy) = (heavy.seat.try_recv().ok(), queue(10));
            served[1] += 1;
        }
    }
    assert!((95..=105).contains(&served[0]), "{served:?}: one in eleven");
}

#[test]
fn a_weight_of_0_is_served_last_and_never_starved() {
    let gates = Arc::new(Gates::new());
    let key = gates.hashes.key("a");
    let mut seated = seat(gates.enter(key, 1, 1, Some(1)));
    let mut last = queued(gates.enter(key, 1, 1, Some(0))).unwrap();
    let mut others = 0;
    while let Err(oneshot::error::TryRecvError::Empty) = last.seat.try_recv() {
        let mut next = queued(gates.enter(key, 1, 1, Some(1))).unwrap();
        drop(seated.take());
        seated = next.seat.try_recv().ok();
        if seated.is_some() {
            others += 1;
        }
    }
    assert!((900..=1_100).contains(&others), "{others} were before him");
}

proptest! {
    #[test]
    fn where_both_wait_seats_are_shared_by_weight(heavy in 1..50_u64, light in 1..50_u64, max in 1..20_usize) {
        let gates = Arc::new(Gates::new());
        let key = gates.hashes.key("a");
        let mut inside: std::collections::VecDeque<Seat> = (0..max).filter_map(|_| seat(gates.enter(key, 1, max as u64, Some(1)))).collect();
        let weights = [heavy, light];
        // Ten of each wait at any time.
        let wait = |weight| queued(gates.enter(key, 1, max as u64, Some(weight))).unwrap();
        let mut waiting: Vec<(usize, Queued)> = (0..20).map(|n| (n % 2, wait(weights[n % 2]))).collect();
        let mut served = [0_u64; 2];
        for _ in 0..2_000 {
            drop(inside.pop_front());
            let place = waiting.iter_mut().enumerate().find_map(|(at, (_, one))| Some((at, one.seat.try_recv().ok()?)));
            let (at, seat) = place.unwrap();
            inside.push_back(seat);
            let (class, _) = waiting.remove(at);
            served[class] += 1;
            waiting.push((class, wait(weights[class])));
        }
        let share = served[0] as f64 / 2_000.0;
        let promised = heavy as f64 / (heavy + light) as f64;
        prop_assert!((share - promised).abs() < 0.02, "{share} instead of {promised}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Come(u64, bool),
    /// A request of those seated ends.
    Leave(prop::sample::Index),
    /// One of those who wait gives up.
    GiveUp(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4_u64, any::<bool>()).prop_map(|(cost, waits)| Step::Come(cost, waits)),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
    ]
}

proptest! {
    /// The oracle is a list of who is in and a list of who waits.
    #[test]
    fn there_are_never_more_than_the_limit_and_they_come_in_order(
        max in 1..6_u64, steps in proptest::collection::vec(step(), 1..120),
    ) {
        let gates = Arc::new(Gates::new());
        let key = gates.hashes.key("a");
        let mut inside: Vec<Seat> = Vec::new();
        let mut waiting: Vec<(u64, Queued)> = Vec::new();
        for step in steps {
            match step {
                Step::Come(cost, waits) => {
                    let used: u64 = inside.iter().map(|seat| seat.cost).sum();
                    let fits = used + cost <= max && waiting.is_empty();
                    match gates.enter(key, cost, max, waits.then_some(1)) {
                        Some(Entry::Seated(seat)) => { prop_assert!(fits); inside.push(seat); }
                        Some(Entry::Queued(queued)) => {
                            prop_assert!(!fits && waits && cost <= max);
                            waiting.push((cost, queued));
                        }
                        None => prop_assert!(!fits && (!waits || cost > max)),
                    }
                }
                Step::Leave(which) if !inside.is_empty() => {
                    let at = which.index(inside.len());
                    drop(inside.remove(at));
                }
                Step::GiveUp(which) if !waiting.is_empty() => {
                    let at = which.index(waiting.len());
                    drop(waiting.remove(at));
                }
                Step::Leave(_) | Step::GiveUp(_) => {}
            }
            // Whoever has room now has his seat, in the order of their coming, and nobody else.
            loop {
                let used: u64 = inside.iter().map(|seat| seat.cost).sum();
                prop_assert!(used <= max);
                let Some((cost, first)) = waiting.first_mut() else { break };
                match first.seat.try_recv() {
                    Ok(seat) => { prop_assert!(used + *cost <= max); inside.push(seat); waiting.remove(0); }
                    Err(_) => { prop_assert!(used + *cost > max); break; }
                }
            }
            for (_, later) in waiting.iter_mut().skip(1) {
                prop_assert!(later.seat.try_recv().is_err(), "he overtook");
            }
        }
        drop((inside, waiting));
        prop_assert_eq!(gates.count(), 0);
    }
}

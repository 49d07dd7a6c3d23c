//! The script, run by a real `redis-server`, next to the limiters of this process and to the promise itself.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use ravelin_snapshot::rate_limit::{Count, SlidingWindow, TokenBucket};
use redis::{Connection, Value};

use super::{
    cell::{Answer, Cell, Passes, Said},
    question::read,
    rule::Rule,
};
use crate::policy::limit::{
    bucket::Buckets,
    keys::Keys,
    window::{Span, Window},
};

mod bans;
mod waiting;

/// A server of this test alone, on a socket in a folder.
struct Server {
    process: Child,
    connection: Connection,
    script: redis::Script,
    bans: redis::Script,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server, which `make test` installs");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("Ready to accept connections")), "it has ended");
        // Nobody writes there any more, but it must be able to.
        std::thread::spawn(move || lines.for_each(drop));
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        // The clock is the test's: nothing else of the script is another.
        let clock = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";
        let timed = |code: &str| {
            assert!(code.contains(clock));
            redis::Script::new(&code.replace(clock, "local now = tonumber(table.remove(ARGV))\n"))
        };
        Self {
            process,
            connection: client.get_connection().unwrap(),
            script: timed(include_str!("admit.lua")),
            bans: timed(include_str!("bans.lua")),
            _folder: folder,
        }
    }

    /// Of one limit.
    fn ask(&mut self, key: &str, rule: &Rule, cost: u64, lease: [u64; 3], now: u64) -> Answer {
        self.ask_all(&[(key, rule, cost)], lease, now)[0]
    }

    /// Who may wait for so many microseconds; or of seats, the name of a replica.
    fn ask_as(
        &mut self,
        key: &str,
        rule: &Rule,
        cost: u64,
        said: [u64; 3],
        (patience, text): (u64, &str),
        now: u64,
    ) -> Answer {
        let mut call = self.script.prepare_invoke();
        call.key(key).key("in:").arg(0).arg(rule.kind()).arg(cost).arg(&said[..]);
        for number in rule.numbers(std::time::UNIX_EPOCH + Duration::from_micros(now)) {
            call.arg(number);
        }
        let answer: Value = call.arg(patience).arg(text).arg(now).invoke(&mut self.connection).unwrap();
        read(&answer, 1).unwrap_or_else(|| panic!("{answer:?}"))[0]
    }

    fn ask_all(&mut self, limits: &[(&str, &Rule, u64)], [want, back, mark]: [u64; 3], now: u64) -> Vec<Answer> {
        let mut call = self.script.prepare_invoke();
        for (key, ..) in limits {
            call.key(*key).key("in:");
        }
        for (_, rule, cost) in limits {
            call.arg(0).arg(rule.kind()).arg(*cost).arg(want).arg(back).arg(mark);
            for number in rule.numbers(std::time::UNIX_EPOCH + Duration::from_micros(now)) {
                call.arg(number);
            }
            call.arg(0).arg("text");
        }
        let answer: Value = call.arg(now).invoke(&mut self.connection).unwrap();
        read(&answer, limits.len()).unwrap_or_else(|| panic!("{answer:?}"))
    }

    fn forget(&mut self) {
        redis::cmd("FLUSHALL").exec(&mut self.connection).unwrap();
    }
}

/// Far from the epoch.
const START: u64 = 1_792_000_000_000_000;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn without_leases_the_script_decides_as_the_limiters_of_this_process_do() {
    let server = std::cell::RefCell::new(Server::start());
    let asks = proptest::collection::vec((0..400_u64, 0..5_u64), 1..80);
    let rates = (1..40_u32, 1..3_000_u64, 1..20_u32, any::<bool>());
    proptest!(cases(60), |((requests, per_ms, burst, large) in rates, asks in asks)| {
        let mut server = server.borrow_mut();
        server.forget();
        let start = Instant::now();
        let said = TokenBucket { requests, per_ms, burst };
        let (rule, buckets) = (Rule::new(&Count::TokenBucket(said.clone())).unwrap(), Buckets::new(start));
        let rate = buckets.rate(&said);
        // Of more than 128 requests times have a grain, in whole microseconds here and there.
        let (requests, per_ms) = if large { (requests * 20 + 129, per_ms * 16) } else { (requests, per_ms) };
        // Where a grain begins here and there.
        let begin = START - START % (per_ms * 1_000);
        let window = SlidingWindow { requests, per_ms };
        let (wide, keys) = (Rule::new(&Count::SlidingWindow(window.clone())).unwrap(), Keys::<Window>::new(start));
        let (span, factor) = (Span::new(&window), if large { 60 } else { 1 });
        let (mut ms, key) = (0, buckets.keys.key("a"));
        for (gap, cost) in asks {
            ms += gap;
            let at = start + Duration::from_millis(ms);
            let now = begin + ms * 1_000;
            let ours = buckets.take(&rate, key, cost, at, Duration::ZERO);
            let theirs = server.ask("b", &rule, cost, [0; 3], now);
            let micros = |time: Duration| time.as_nanos().div_ceil(1_000) as u64;
            prop_assert_eq!(ours.is_ok(), theirs.passes == Passes::Yes);
            let level = ours.as_ref().map_or_else(|refused| refused.level, |taken| taken.level);
            prop_assert_eq!(level.remaining, theirs.remaining);
            prop_assert_eq!(level.more_in.map(micros), Some(micros(theirs.more_in)));
            if let Err(refused) = ours {
                prop_assert_eq!(refused.retry_in.map(micros), theirs.retry_in.map(micros));
            }
            let cost = cost * factor;
            let ours = span.take(&keys, keys.key("a"), cost, at, Duration::ZERO);
            let theirs = server.ask("w", &wide, cost, [0; 3], now);
            prop_assert_eq!(ours.is_ok(), theirs.passes == Passes::Yes);
            let level = ours.as_ref().map_or_else(|refused| refused.level, |taken| taken.level);
            prop_assert_eq!(level.remaining, theirs.remaining);
            if let Err(refused) = ours {
                prop_assert_eq!(refused.retry_in.map(micros), theirs.retry_in.map(micros));
            }
        }
    });
}

/// A lease as replicas have it.
#[derive(Clone, Copy)]
struct Held {
    left: u64,
    until: u64,
    mark: u64,
}

#[test]
fn whenever_in_the_life_of_leases_requests_begin_no_window_of_time_has_more_than_the_limit() {
    let server = std::cell::RefCell::new(Server::start());
    // Of each step: who, how long after the last, what is wanted, how many of what is leased begin now.
    let steps = proptest::collection::vec((0..3_usize, 0..60_u64, 0..60_u64, 0..60_u64), 1..120);
    proptest!(cases(60), |(bucket in any::<bool>(), steps in steps)| {
        let mut server = server.borrow_mut();
        server.forget();
        let (requests, per_ms) = (300_u64, if bucket { 1_000 } else { 12_800 });
        let count = if bucket {
            Count::TokenBucket(TokenBucket { requests: 300, per_ms, burst: 200 })
        } else {
            Count::SlidingWindow(SlidingWindow { requests: 300, per_ms })
        };
        let rule = Rule::new(&count).unwrap();
        let life = rule.leases().last.as_micros() as u64;
        let mut held = [Held { left: 0, until: 0, mark: 0 }; 3];
        let (mut now, mut begun) = (START, Vec::new());
        for (who, gap, want, begin) in steps {
            now += gap * 1_000;
            let lease = &mut held[who];
            if lease.until <= now {
                let answer = server.ask("k", &rule, 1, [want, lease.left, lease.mark], now);
                begun.extend((answer.passes == Passes::Yes).then_some(now));
                *lease = Held { left: answer.leased, until: now + life, mark: answer.mark };
            } else {
                let begin = begin.min(lease.left);
                begun.extend((0..begin).map(|_| now));
                lease.left -= begin;
            }
        }
        for (at, from) in begun.iter().enumerate() {
            for (count, to) in begun[at..].iter().enumerate().map(|(place, to)| (place as u64 + 1, to)) {
                let allowed = if bucket {
                    200 + (to - from) * requests / (per_ms * 1_000)
                } else if to - from < per_ms * 1_000 {
                    requests
                } else {
                    continue
                };
                prop_assert!(count <= allowed, "{count} in {} microseconds, {allowed} are allowed", to - from);
            }
        }
    });
}

#[test]
fn a_group_takes_from_all_or_from_none_and_says_who_refuses() {
    let mut server = Server::start();
    let of = |burst| Rule::new(&Count::TokenBucket(TokenBucket { requests: 1, per_ms: 3_600_000, burst })).unwrap();
    let (child, parent) = (of(5), of(3));
    let mut ask = |child_cost| {
        let answers = server.ask_all(&[("child", &child, child_cost), ("parent", &parent, 1)], [0; 3], START);
        [answers[0].passes, answers[1].passes]
    };
    assert_eq!([(); 3].map(|()| ask(1)), [[Passes::Yes; 2]; 3]);
    assert_eq!(ask(1), [Passes::Alone, Passes::No]);
    assert_eq!(ask(3), [Passes::No, Passes::No], "two are left in the child, for the refused one took none");
    assert_eq!(server.ask("child", &child, 2, [0; 3], START).passes, Passes::Yes);
}

#[test]
fn a_clock_that_steps_back_gives_nothing_away_and_blocks_nobody_for_long() {
    let mut server = Server::start();
    let hour = 3_600_000_000;
    let bucket = Rule::new(&Count::TokenBucket(TokenBucket { requests: 10, per_ms: 1_000, burst: 10 })).unwrap();
    let window = Rule::new(&Count::SlidingWindow(SlidingWindow { requests: 10, per_ms: 1_000 })).unwrap();
    for (key, rule) in [("b", &bucket), ("w", &window)] {
        assert_eq!(server.ask(key, rule, 10, [0; 3], START + hour).passes, Passes::Yes);
        assert_eq!(server.ask(key, rule, 1, [0; 3], START).passes, Passes::No);
        assert_eq!(server.ask(key, rule, 10, [0; 3], START + 1_000_000).passes, Passes::Yes, "{key}: a second later");
    }
}

/// Some replicas, by turns, under an even load in simulated time.
struct Load {
    said: Count,
    replicas: usize,
    /// Requests of so many seconds.
    offered: u64,
    seconds: u64,
}

/// When requests passed, and how often the script was asked.
fn simulate(server: &mut Server, load: &Load) -> (Vec<u64>, u64) {
    server.forget();
    let rule = Rule::new(&load.said).unwrap();
    let leases = rule.leases();
    let mut cells: Vec<Cell> = (0..load.replicas).map(|_| Cell::default()).collect();
    let (mut passed, mut calls) = (Vec::new(), 0);
    for n in 0..load.offered {
        let micros = n * load.seconds * 1_000_000 / load.offered;
        let (nanos, cell) = (micros * 1_000, &mut cells[n as usize % load.replicas]);
        let mut ask = |cell: &mut Cell, cost| {
            let wish = cell.wish(leases, nanos, Duration::from_millis(250));
            let answer = server.ask("k", &rule, cost, [wish.want, wish.back, wish.mark], START + micros);
            calls += 1;
            cell.learn(&answer, cost, wish, leases, nanos, nanos);
            answer.passes == Passes::Yes
        };
        let passes = match cell.take(1, leases, nanos) {
            Said::Leased { refill, .. } => {
                if refill {
                    ask(cell, 0);
                }
                true
            }
            Said::Refused(_) => false,
            Said::Ask => ask(cell, 1),
        };
        passed.extend(passes.then_some(micros));
    }
    (passed, calls)
}

#[test]
fn by_one_replica_or_five_the_limit_is_held_is_used_up_and_is_rarely_asked_about() {
    let mut server = Server::start();
    let bucket = |requests, per_ms| Count::TokenBucket(TokenBucket { requests, per_ms, burst: requests });
    let window = |requests, per_ms| Count::SlidingWindow(SlidingWindow { requests, per_ms });
    for (requests, per_ms, seconds) in [(1, 1_000, 20), (10, 1_000, 10), (1_000, 1_000, 3), (100_000, 60_000, 65)] {
        for (said, replicas, tenths) in [1, 2, 5].into_iter().flat_map(|replicas| {
            let all = [5, 10, 15, 100].map(|tenths| {
                [bucket(requests, per_ms), window(requests, per_ms)].map(|said| (said, replicas, tenths))
            });
            all.into_iter().flatten()
        }) {
            let seconds = if tenths == 100 { seconds.min(12) } else { seconds };
            let per_second = u64::from(requests) * 1_000 / per_ms;
            let (offered, is_bucket) = (per_second * seconds * tenths / 10, matches!(said, Count::TokenBucket(_)));
            let load = Load { said, replicas, offered, seconds };
            let (passed, calls) = simulate(&mut server, &load);
            let what = format!(
                "{requests} in {per_ms} ms, {replicas} replicas, {tenths}/10, bucket {is_bucket}: {} of {offered} passed, {calls} calls",
                passed.len()
            );
            println!("{what}");
            // Two pointers: requests of each window of `per`.
            let mut first = 0;
            for (at, to) in passed.iter().enumerate() {
                while passed[first] + per_ms * 1_000 <= *to {
                    first += 1;
                }
                let allowed = if is_bucket { 2 * requests as usize } else { requests as usize };
                assert!(at + 1 - first <= allowed, "{what}");
            }
            let promised = offered.min(per_second * seconds);
            // Beyond the limit, a limit of one request passes every second of those that come 1.5 times as often.
            if tenths <= 10 || requests >= 1_000 {
                assert!(passed.len() as u64 * 100 >= promised * 99, "{what}");
            }
            if tenths == 100 {
                assert!(calls * 20 <= offered || per_second < 1_000, "{what}");
            }
        }
    }
}

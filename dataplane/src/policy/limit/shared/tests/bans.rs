//! Bans that replicas find together.

use super::*;

/// Three refusals within a second are ten seconds.
const TERMS: [u64; 3] = [3, 1_000_000, 10_000_000];

impl Server {
    /// Tells of refusals of a key, and says for which bans that have begun since how much is left.
    fn tell(&mut self, told: &[(&str, u64)], since: u64, now: u64) -> Vec<(String, u64)> {
        let mut call = self.bans.prepare_invoke();
        call.key("bans");
        for (text, _) in told {
            call.key(format!("refused:{text}"));
        }
        call.arg(&TERMS[..]).arg(since);
        for (text, count) in told {
            call.arg(count).arg(*text);
        }
        let answer: Value = call.arg(now).invoke(&mut self.connection).unwrap();
        let (clock, begun) = crate::policy::limit::shared::bans::read(&answer).unwrap_or_else(|| panic!("{answer:?}"));
        assert_eq!(clock as u64, now);
        begun.into_iter().map(|(text, left)| (text, left.as_micros() as u64)).collect()
    }
}

#[test]
fn refusals_of_all_replicas_together_begin_a_ban_which_later_ones_do_not_prolong() {
    let mut server = Server::start();
    let second = 1_000_000;
    assert_eq!(server.tell(&[("a", 2), ("b", 1)], 0, START), []);
    assert_eq!(server.tell(&[("a", 1)], 0, START + second / 2), [("a".to_owned(), TERMS[2])], "two and one are three");
    assert_eq!(server.tell(&[("b", 2)], START + second, START + second * 2), [], "the first is too long ago");
    assert_eq!(server.tell(&[("a", 100)], 0, START + second * 2), [("a".to_owned(), TERMS[2] - second * 3 / 2)]);
    assert_eq!(server.tell(&[], START + second, START + second * 3), [], "it is known already");
    let end = START + second / 2 + TERMS[2];
    assert_eq!(server.tell(&[("a", 2)], 0, end), [], "it is over, and what was before it is settled");
    assert_eq!(server.tell(&[("a", 1)], 0, end + 1), [("a".to_owned(), TERMS[2])]);
}

#[test]
fn a_clock_that_steps_back_bans_nobody_for_what_is_not_yet() {
    let mut server = Server::start();
    let hour = 3_600_000_000;
    assert_eq!(server.tell(&[("a", 2)], 0, START + hour), []);
    assert_eq!(server.tell(&[("a", 2)], 0, START), []);
    assert_eq!(server.tell(&[("a", 1)], 0, START + 1), [("a".to_owned(), TERMS[2])]);
}

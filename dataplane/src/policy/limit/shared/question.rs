//! What requests ask the store, and what becomes of them by its answer, or without one.

use std::time::{Duration, Instant};

use redis::Value;

use super::{
    OnStoreFailure, Question, Seat,
    cell::{Answer, Passes, Wish},
    rule::{Rule, WHOLE},
    seats::Asking,
    store::{Failure, Script, Store},
};
use crate::policy::limit::count::{Count, Level, Moment, Refused, Taken};

/// Numbers of one limit in the script's answer.
const NUMBERS: usize = 6;

/// What comes of a question.
pub(in super::super) enum Asked {
    /// After a while, perhaps.
    Passes(Level, Duration),
    Seated(Level, Seat),
    /// Another limit of the request does not admit it.
    Nothing,
    Refused(Refused),
    /// The store is away, and the limit's share of this replica has admitted it.
    Local(Count, Taken),
    /// The store is away, and so nobody may pass.
    Unavailable,
}

/// What is asked besides the cost, and the seats that are asked for.
struct Wanted {
    wish: Wish,
    seats: Option<Asking>,
}

/// Asks for all questions at once; those with the same number are of one group, of which all admit or nothing is taken. The
/// answers are in the order of the questions.
pub(in super::super) async fn ask(questions: &[(usize, &Question)], at: Moment) -> Vec<Asked> {
    let wanted: Vec<Wanted> = questions.iter().map(|(_, question)| question.wanted(at.now)).collect();
    let store = questions.first().and_then(|(_, question)| question.shared.store.as_deref());
    let asked = Instant::now();
    let answers = match store {
        Some(store) => call(store, questions, &wanted, at).await,
        None => Err(Failure::Away),
    };
    match answers {
        Ok(answers) => {
            let all = questions.iter().zip(wanted).zip(answers);
            all.map(|(((_, question), wanted), answer)| question.learn(&answer, wanted, asked, at)).collect()
        }
        Err(_) => without(questions, at),
    }
}

/// A question for a lease alone.
pub(super) async fn refill(question: Question, at: Moment) {
    let wanted = [question.wanted(at.now)];
    let Some(store) = question.shared.store.as_deref() else { return };
    let asked = Instant::now();
    if let Ok(answers) = call(store, &[(0, &question)], &wanted, at).await {
        for (answer, wanted) in answers.into_iter().zip(wanted) {
            question.learn(&answer, wanted, asked, at);
        }
    }
}

async fn call(
    store: &Store,
    questions: &[(usize, &Question)],
    wanted: &[Wanted],
    at: Moment,
) -> Result<Vec<Answer>, Failure> {
    let mut command = Script::Admit.command(questions.len() * 2);
    for (_, question) in questions {
        let pair = question.shared.pair(&question.text);
        command.arg(pair.count).arg(pair.index);
    }
    let clock = store.clock(at.clock);
    for ((group, question), Wanted { wish, .. }) in questions.iter().zip(wanted) {
        let rule = &question.shared.rule;
        command.arg(*group).arg(rule.kind()).arg(question.cost.min(super::rule::WHOLE));
        command.arg(wish.want).arg(wish.back).arg(wish.mark);
        for number in rule.numbers(clock) {
            command.arg(number);
        }
        let patience = u64::try_from(question.patience.time.as_micros()).unwrap_or(WHOLE).min(WHOLE / 4);
        command.arg(patience).arg(if let Rule::Seats { .. } = rule { store.name() } else { &question.text });
    }
    let answer = store.call(Script::Admit, command).await?;
    read(&answer, questions.len()).ok_or_else(|| store.misunderstood())
}

pub(super) fn read(answer: &Value, questions: usize) -> Option<Vec<Answer>> {
    let Value::Array(values) = answer else { return None };
    let numbers: Vec<i64> = values
        .iter()
        .map(|value| if let Value::Int(number) = value { Some(*number) } else { None })
        .collect::<Option<_>>()?;
    let (_, numbers) = numbers.split_first()?;
    if numbers.len() != questions * NUMBERS {
        return None;
    }
    let micros = |number: i64| Duration::from_micros(u64::try_from(number).unwrap_or(0));
    let answers = numbers.chunks_exact(NUMBERS).map(|one| {
        let passes = match one[0] {
            1 => Passes::Yes,
            2 => Passes::Alone,
            0 => Passes::No,
            _ => return None,
        };
        Some(Answer {
            passes,
            remaining: u64::try_from(one[1]).ok()?,
            more_in: micros(one[2]),
            retry_in: (one[3] >= 0).then(|| micros(one[3])),
            leased: u64::try_from(one[4]).ok()?,
            mark: u64::try_from(one[5]).ok()?,
        })
    });
    answers.collect()
}

impl Question {
    fn wanted(&self, now: Instant) -> Wanted {
        let shared = &self.shared;
        match (&shared.rule, &shared.store) {
            (Rule::Seats { .. }, Some(store)) => {
                let asking = Asking::new(store, shared.name.count(&self.text));
                let wish = Wish { want: 0, back: asking.back, mark: asking.number };
                Wanted { wish, seats: Some(asking) }
            }
            _ => Wanted { wish: shared.wish(self.key, now), seats: None },
        }
    }

    fn learn(&self, answer: &Answer, Wanted { wish, seats }: Wanted, asked: Instant, at: Moment) -> Asked {
        if let Some(asking) = seats {
            return self.learn_of_seats(answer, asking);
        }
        let shared = &self.shared;
        let (asked, now) = (shared.cells.nanos(asked), shared.cells.nanos(Instant::now()));
        // Who would wait is admitted so much earlier.
        let retry_in = answer.retry_in.map(|wait| wait.saturating_sub(self.patience.time));
        let answer =
            &Answer { retry_in: if answer.passes == Passes::No { retry_in } else { answer.retry_in }, ..*answer };
        let level = shared.cell(self.key, now, |cell| {
            cell.learn(answer, self.cost, wish, shared.leases, asked, now);
            cell.level(now)
        });
        let level = shared.with_term(level, at.clock);
        match answer.passes {
            Passes::Yes => Asked::Passes(level, answer.retry_in.unwrap_or_default()),
            Passes::Alone => Asked::Nothing,
            Passes::No => Asked::Refused(Refused { level, retry_in: answer.retry_in }),
        }
    }

    fn learn_of_seats(&self, answer: &Answer, asking: Asking) -> Asked {
        let level = Level { remaining: answer.remaining, more_in: None, term: None };
        match answer.passes {
            Passes::Yes => Asked::Seated(level, asking.seated(&self.shared, self.key, self.cost)),
            Passes::Alone => {
                asking.refused();
                Asked::Nothing
            }
            Passes::No => {
                asking.refused();
                self.shared.seats_are_taken(self.key, self.cost, level);
                Asked::Refused(Refused { level, retry_in: None })
            }
        }
    }
}

/// The store is away: each limit by itself, in the way that its policy says. A group of which one refuses gives back what the
/// others took.
fn without(questions: &[(usize, &Question)], at: Moment) -> Vec<Asked> {
    questions.iter().map(|(_, question)| question.without(at)).collect()
}

impl Question {
    fn without(&self, at: Moment) -> Asked {
        let shared = &self.shared;
        if let Some(store) = &shared.store {
            store.fell_back();
        }
        match (&shared.store, shared.on_failure) {
            (None, _) | (Some(_), OnStoreFailure::Deny) => Asked::Unavailable,
            (Some(_), OnStoreFailure::Allow) => Asked::Passes(shared.level(self.key, at), Duration::ZERO),
            (Some(_), OnStoreFailure::Local) => {
                let Ok(count) = shared.local(at.now) else { return Asked::Unavailable };
                let (key, text) = count.key(&self.text);
                match count.take((key, text.as_deref()), self.cost, at, self.patience) {
                    Ok(taken) => Asked::Local(count, taken),
                    Err(refused) => Asked::Refused(refused),
                }
            }
        }
    }
}

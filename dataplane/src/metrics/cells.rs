//! What one worker has counted. Only that worker and a scrape take its lock.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use foldhash::fast::RandomState;
use http::{Method, StatusCode};

use super::{
    histogram::Histogram,
    label::{Name, Names, Number},
};
use crate::reject::Reason;

/// One row of `ravelin_requests_total`, its route aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) method: Verb,
    pub(super) code: Code,
    /// `None`: a backend answered, or the rule itself did.
    pub(super) reason: Option<Reason>,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Code {
    /// Nothing: it was cut off before.
    None,
    Status(StatusCode),
    /// More rows of this route than are kept apart.
    Other,
}

impl Code {
    pub(super) fn label(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Status(code) => code.as_str().to_owned(),
            Self::Other => "other".to_owned(),
        }
    }
}

/// Methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Other,
}

impl Verb {
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Connect => "CONNECT",
            Self::Other => "other",
        }
    }
}

/// Rows of one route that are kept apart. A backend may answer with any code: it must not fill the memory with them.
const MAX_SERIES: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    routes: HashMap<Number, Route, RandomState>,
    backends: HashMap<Number, Histogram, RandomState>,
}

#[derive(Clone, Debug, Default)]
struct Route {
    /// In the order in which they came: usually one to five.
    counts: Vec<(Series, u64)>,
    took: Histogram,
}

impl Cells {
    pub(super) fn count(&mut self, route: Number, series: Series, took: Duration) {
        let cells = self.routes.entry(route).or_default();
        cells.add(series, 1);
        cells.took.observe(took);
    }

    pub(super) fn time_backend(&mut self, backend: Number, took: Duration) {
        self.backends.entry(backend).or_default().observe(took);
    }

    /// Moves what is gone to `other`, so that no count is ever lost.
    pub(super) fn fold(&mut self, routes: &Names, backends: &Names) {
        let gone = self.routes.extract_if(|number, _| routes.of(*number) == Name::Gone);
        let gone: Vec<Route> = gone.map(|(_, route)| route).collect();
        for route in gone {
            let other = self.routes.entry(Number::OTHER).or_default();
            route.counts.iter().for_each(|(series, count)| other.add(*series, *count));
            other.took.add(&route.took);
        }
        let gone = self.backends.extract_if(|number, _| backends.of(*number) == Name::Gone);
        let gone: Vec<Histogram> = gone.map(|(_, took)| took).collect();
        for took in gone {
            self.backends.entry(Number::OTHER).or_default().add(&took);
        }
    }
}

impl Route {
    fn add(&mut self, series: Series, more: u64) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == series) {
            *count += more;
        } else if self.counts.len() < MAX_SERIES {
            self.counts.push((series, more));
        } else {
            // At most one more a reason.
            let series = Series { method: Verb::Other, code: Code::Other, reason: series.reason };
            match self.counts.iter_mut().find(|(known, _)| *known == series) {
                Some((_, count)) => *count += more,
                None => self.counts.push((series, more)),
            }
        }
    }
}

/// The sum over all workers, by name.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) requests: BTreeMap<(String, Series), u64>,
    pub(super) took: BTreeMap<String, Histogram>,
    pub(super) backends: BTreeMap<String, Histogram>,
}

impl Totals {
    pub(super) fn add(&mut self, cells: &Cells, routes: &Names, backends: &Names) {
        for (number, route) in &cells.routes {
            let Name::Known(name) = routes.of(*number) else { continue };
            for (series, count) in &route.counts {
                *self.requests.entry((name.to_owned(), *series)).or_default() += count;
            }
            self.took.entry(name.to_owned()).or_default().add(&route.took);
        }
        for (number, took) in &cells.backends {
            if let Name::Known(name) = backends.of(*number) {
                self.backends.entry(name.to_owned()).or_default().add(took);
            }
        }
    }

    /// `ravelin_errors_total`: over all routes, those that are gone too.
    pub(super) fn errors(&self) -> BTreeMap<Reason, u64> {
        let mut errors = BTreeMap::new();
        for ((_, series), count) in &self.requests {
            if let Some(reason) = series.reason {
                *errors.entry(reason).or_default() += count;
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::label::{Directory, Label},
        *,
    };

    fn ok(code: u16) -> Series {
        Series { method: Verb::Get, code: Code::Status(StatusCode::from_u16(code).unwrap()), reason: None }
    }

    fn totals(cells: &mut Cells, routes: &Directory) -> Totals {
        let (routes, backends) = (routes.names(), Directory::default().names());
        cells.fold(&routes, &backends);
        let mut totals = Totals::default();
        totals.add(cells, &routes, &backends);
        totals
    }

    #[test]
    fn counts_of_a_route_that_is_gone_are_in_other_and_stay_there() {
        let (routes, mut cells) = (Directory::default(), Cells::default());
        let (stays, goes) = (Label::new(&"shop/stays"), Label::new(&"shop/goes"));
        let late = routes.number(&goes);
        for label in [&stays, &goes, &goes] {
            cells.count(routes.number(label), ok(200), Duration::ZERO);
        }
        assert_eq!(totals(&mut cells, &routes).requests[&("shop/goes".to_owned(), ok(200))], 2);
        drop(goes);
        for expected in [2, 3, 4] {
            let totals = totals(&mut cells, &routes);
            assert_eq!(totals.requests[&("other".to_owned(), ok(200))], expected);
            assert_eq!(totals.requests[&("shop/stays".to_owned(), ok(200))], 1);
            assert_eq!(totals.took["other"].count(), expected);
            cells.count(late, ok(200), Duration::ZERO);
        }
    }

    #[test]
    fn a_backend_that_answers_with_every_code_fills_no_memory_and_loses_no_count() {
        let (routes, mut cells) = (Directory::default(), Cells::default());
        let label = Label::new(&"shop/orders");
        for code in 200..1000 {
            cells.count(routes.number(&label), ok(code), Duration::ZERO);
        }
        let totals = totals(&mut cells, &routes);
        assert_eq!(totals.requests.len(), MAX_SERIES + 1);
        assert_eq!(totals.requests.values().sum::<u64>(), 800);
    }
}

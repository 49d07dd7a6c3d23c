//! Routes, and what is said about each once all the others are known.

use std::collections::HashSet;

use ravelin_snapshot::ObjectKey;

use super::{Reads, Work, put};
use crate::{
    compile::{
        attach::Seniority,
        graph::{Fact, Unit},
        index::seniority,
        notes::Notes,
        route::{
            self,
            place::{self, Claimant, Place, Spot},
        },
    },
    object::Kind,
};

/// What is said about a route alone, and where its matches stand.
#[derive(Debug)]
pub(super) struct RouteNotes {
    seniority: Seniority,
    generation: i64,
    notes: Notes,
    places: Box<[Place]>,
}

impl RouteNotes {
    fn claims(&self) -> impl Iterator<Item = (Spot, Claimant)> {
        self.places.iter().map(|place| (place.spot, (self.seniority.clone(), place.rule, place.one)))
    }
}

impl Work<'_> {
    pub(super) fn compute_route(&mut self, key: &ObjectKey) {
        let mut reads = Reads::new();
        let object = self.model.routes.get(key);
        let compiled = object.map(|object| (object, route::compile(self, &mut reads, object)));
        self.read_by(Unit::Route(key.clone()), reads);
        let (part, notes) = match compiled {
            None => (None, None),
            Some((object, (route, notes))) => {
                let places = route.as_ref().map(place::places).unwrap_or_default();
                let (seniority, generation) = (seniority(&object.meta), object.meta.generation);
                (route, Some(RouteNotes { seniority, generation, notes, places }))
            }
        };
        self.place(key, notes);
        put(&mut self.snapshot.routes, key, part);
        self.dirty.insert(Unit::RouteVerdict(key.clone()));
    }

    /// Puts the route's matches where they stand, and marks whoever stands there too.
    fn place(&mut self, key: &ObjectKey, notes: Option<RouteNotes>) {
        let before: HashSet<_> = self.cells.routes.get(key).into_iter().flat_map(RouteNotes::claims).collect();
        let after: HashSet<_> = notes.iter().flat_map(RouteNotes::claims).collect();
        for (place, claimant) in before.difference(&after) {
            self.index.places.remove(place, claimant);
        }
        for (place, claimant) in after.difference(&before) {
            self.index.places.insert(*place, claimant.clone());
        }
        for (place, _) in before.symmetric_difference(&after) {
            self.fire(&Fact::Place(*place));
        }
        match notes {
            Some(notes) => drop(self.cells.routes.insert(key.clone(), notes)),
            None => drop(self.cells.routes.remove(key)),
        }
    }

    pub(super) fn judge_route(&mut self, key: &ObjectKey) {
        let mut reads = Reads::new();
        let verdict = self.cells.routes.get(key).map(|route| {
            reads.extend(route.places.iter().map(|place| Fact::Place(place.spot)));
            let mut notes = route.notes.clone();
            let name = |other: &ObjectKey, rule: u32| {
                let route = if other == key { String::new() } else { format!(" of {} {other}", Kind::ApiRoute) };
                format!("rule {rule}{route}")
            };
            place::judge(&route.seniority, &route.places, &self.index.places, name, &mut notes);
            notes.verdict(route.generation)
        });
        self.read_by(Unit::RouteVerdict(key.clone()), reads);
        self.judge(Kind::ApiRoute, key, verdict);
    }
}

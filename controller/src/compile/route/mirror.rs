//! Copies of requests for other backends.

use ravelin_crds::{RequestMirror, RouteFilter};
use ravelin_snapshot::route::{Mirror, Target};

use crate::compile::{
    notes::{Field, Notes},
    reference::{self, BackendReference},
    work::{Reads, Work},
};

/// The mirrors among the filters, each with its place.
pub(super) fn said(filters: &[RouteFilter]) -> Vec<(usize, &RequestMirror)> {
    filters.iter().enumerate().filter_map(|(at, filter)| Some((at, filter.request_mirror.as_ref()?))).collect()
}

/// Those that get copies. A backend that cannot be used gets none, and the rule serves all the same (Gateway API).
pub(super) fn compile(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    filters: Field<'_>,
    namespace: &str,
    said: &[(usize, &RequestMirror)],
) -> Vec<Mirror> {
    let mut mirrors = Vec::with_capacity(said.len());
    for (at, mirror) in said {
        let item = filters.item(*at);
        let field = item.member("requestMirror");
        let (numerator, denominator) = part(mirror, field, notes);
        let to = BackendReference::from(&mirror.backend_ref);
        let target = reference::backend(work, reads, notes, field.member("backendRef"), namespace, to);
        if let (Target::Backend(backend), 1..) = (target, numerator) {
            mirrors.push(Mirror { backend, numerator, denominator });
        }
    }
    mirrors
}

/// How many of how many requests are copied.
fn part(said: &RequestMirror, field: Field<'_>, notes: &mut Notes) -> (u32, u32) {
    let RequestMirror { backend_ref: _, percent, fraction } = said;
    let (numerator, denominator, member) = match (percent, fraction) {
        (None, None) => (1, 1, ""),
        (Some(percent), None) => (u32::from(*percent), 100, "percent"),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator(), "fraction"),
        (Some(_), Some(_)) => {
            notes.invalid(field, "percent and fraction say the same", "Keep one of them.");
            (1, 1, "")
        }
    };
    if denominator == 0 || numerator > denominator {
        let message = format!("{numerator} of {denominator} is no part of the requests");
        notes.invalid(field.member(member), message, "Use a part from nothing to all.");
        return (1, 1);
    }
    (numerator, denominator)
}

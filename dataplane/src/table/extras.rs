//! What few rules have besides: sessions, copies, shared calls.

use std::sync::Arc;

use http::HeaderName;
use ravelin_snapshot::{filter, route};

use super::{Slot, rule::Names};
use crate::{
    expression::Program,
    filter::header_name,
    session::arm,
    upstream::{balance::Rotation, coalesce::Flights},
};

#[derive(Default)]
pub struct Extras {
    pub session: Option<Session>,
    pub mirrors: Vec<Mirror>,
    pub coalesce: Option<Coalesce>,
}

/// What keeps a client on one endpoint.
pub struct Session {
    pub carrier: Carrier,
    /// Seconds.
    pub absolute: Option<u64>,
    /// Seconds.
    pub idle: Option<u64>,
    /// Of each of the rule's backends: what a session knows it by.
    pub arms: Vec<u64>,
}

pub enum Carrier {
    Cookie { name: String, path: String, permanent: bool },
    Header(HeaderName),
}

/// Who gets copies of requests.
pub struct Mirror {
    /// Of the rule's backends with a share, the one whose requests are copied; `None`: of all.
    pub only: Option<usize>,
    pub backend: Slot,
    /// Place 0 is a copy's turn; exact over time.
    pub rotation: Rotation,
}

/// Identical requests share a call.
pub struct Coalesce {
    /// `None`: host, path, query, caller and credentials.
    pub key: Option<Program>,
    pub flights: Arc<Flights>,
}

impl Extras {
    /// `None`: the rule has nothing of it.
    pub(super) fn compile(
        names: &Names<'_>,
        said: &route::Forward,
        filters: Option<&filter::Filters>,
    ) -> Result<Option<Box<Self>>, String> {
        let coalesce = filters.and_then(|filters| filters.coalesce.as_ref());
        if said.session.is_none() && said.all_mirrors().next().is_none() && coalesce.is_none() {
            return Ok(None);
        }
        let shares = said.backends.iter().filter(|backend| backend.weight > 0).enumerate();
        let own =
            shares.flat_map(|(at, backend)| backend.mirrors.iter().map(move |said| mirror(names, Some(at), said)));
        let mirrors = said.mirrors.iter().map(|said| mirror(names, None, said)).chain(own);
        Ok(Some(Box::new(Self {
            session: said.session.as_deref().map(|session| self::session(session, &said.backends)).transpose()?,
            mirrors: mirrors.collect::<Result<_, _>>()?,
            coalesce: coalesce.map(self::coalesce).transpose()?,
        })))
    }
}

fn session(said: &route::Session, backends: &[route::WeightedBackend]) -> Result<Session, String> {
    let route::Session { carrier, absolute_ms, idle_ms } = said;
    let carrier = match carrier {
        route::Carrier::Cookie { name, path, permanent } => {
            Carrier::Cookie { name: name.clone(), path: path.clone(), permanent: *permanent }
        }
        route::Carrier::Header(name) => Carrier::Header(header_name(name)?),
    };
    let seconds = |millis: u64| millis.div_ceil(1000);
    let (absolute, idle) = (absolute_ms.map(seconds), idle_ms.map(seconds));
    Ok(Session { carrier, absolute, idle, arms: arms(backends) })
}

/// Of those that have a share. A backend that is there twice is two arms, in their order.
fn arms(backends: &[route::WeightedBackend]) -> Vec<u64> {
    let mut names: Vec<String> = Vec::with_capacity(backends.len());
    let shares = backends.iter().filter(|backend| backend.weight > 0);
    for backend in shares {
        let name = match &backend.target {
            route::Target::Backend(key) => key.to_string(),
            route::Target::Reject(broken) => broken.to_string(),
        };
        names.push(name);
    }
    let number = |at: usize| names[..at].iter().filter(|name| **name == names[at]).count();
    (0..names.len()).map(|at| arm(&format!("{}#{}", names[at], number(at)))).collect()
}

fn mirror(names: &Names<'_>, only: Option<usize>, said: &route::Mirror) -> Result<Mirror, String> {
    let route::Mirror { backend, numerator, denominator } = said;
    let rest = denominator.checked_sub(*numerator).ok_or("a mirror of more than all")?;
    Ok(Mirror { only, backend: names.backend(backend)?, rotation: Rotation::new([*numerator, rest]) })
}

fn coalesce(said: &filter::Coalesce) -> Result<Coalesce, String> {
    let key = said.key.as_ref().map(Program::compile).transpose().map_err(|error| error.to_string())?;
    Ok(Coalesce { key, flights: Arc::default() })
}

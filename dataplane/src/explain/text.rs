//! An explanation for people.

use std::fmt;

use super::{Decision, Does, Explanation, Policy};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = &self.request;
        writeln!(f, "{} {}{} from {}", asked.method, asked.host, asked.path, asked.source)?;
        match &self.rule {
            Some(rule) => {
                writeln!(f, "route   {}, rule {}", rule.route, rule.rule)?;
                writeln!(f, "        host {}, {}", rule.host, rule.matches)?;
            }
            None => writeln!(f, "route   none")?,
        }
        for policy in &self.policies {
            writeln!(f, "policy  {policy}")?;
        }
        if let Some(action) = &self.action {
            write!(f, "{action}")?;
        }
        match &self.refusal {
            Some(refusal) => writeln!(f, "answer  {} {}", refusal.status, refusal.reason)?,
            None => match &self.unknown {
                Some(why) => writeln!(f, "answer  nobody can tell: {why}")?,
                None => writeln!(f, "answer  the action's")?,
            },
        }
        for other in &self.others {
            let place = &other.place;
            writeln!(
                f,
                "other   {}, rule {}: host {}, {}: {}",
                place.route, place.rule, place.host, place.matches, other.why
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if let Some(limit) = &self.limit {
            write!(f, ", limit {limit}")?;
        }
        let decision = match (self.decision, self.shadow) {
            (Decision::Allow, _) => "allows",
            (Decision::Deny, false) => "refuses",
            (Decision::Deny, true) => "would refuse (Shadow)",
            (Decision::Closed, _) => "is broken and closes the rule",
            (Decision::DoesNotApply, _) => "does not apply",
            (Decision::NotReached, _) => "is not reached",
            (Decision::Unknown, _) => "cannot be foreseen",
        };
        write!(f, " {decision}")?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { backends, fallback } => {
                for share in backends {
                    let endpoints = if share.endpoints == 1 { "endpoint" } else { "endpoints" };
                    writeln!(
                        f,
                        "action  forward to {} (weight {}, {} {endpoints}) as {}{}",
                        share.backend, share.weight, share.endpoints, share.host, share.path
                    )?;
                }
                if backends.is_empty() {
                    writeln!(f, "action  forward to nobody: no backend has a weight")?;
                }
                fallback.iter().try_for_each(|fallback| writeln!(f, "        else to {fallback}"))
            }
            Self::Redirect { status, location } => writeln!(f, "action  redirect, {status}, to {location}"),
            Self::Respond { status } => writeln!(f, "action  direct response, {status}"),
            Self::Preflight { method } => writeln!(f, "action  answer a CORS preflight for {method}, 204"),
            Self::Reject { reason } => writeln!(f, "action  refuse every request: {reason}"),
        }
    }
}

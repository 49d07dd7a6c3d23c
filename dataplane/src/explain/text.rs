//! An explanation for people.

use std::fmt::{self, Write};

use super::{Decision, Does, Explanation, Policy, Refusal};

/// A part of a line, whatever the files said that it is made of: what a terminal would obey, or take for the end of the line,
/// is escaped.
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(pub T);

impl<T: fmt::Display> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| {
            if is_obeyed(char) { write!(self.0, "{}", char.escape_default()) } else { self.0.write_char(char) }
        })
    }
}

/// Control characters, ends of lines and of paragraphs, and what turns the direction of a text.
fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn line(f: &mut fmt::Formatter<'_>, said: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{}", Plain(said))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = &self.request;
        line(f, format_args!("{} {}{} from {}", asked.method, asked.host, asked.path, asked.source))?;
        match &self.rule {
            Some(rule) => {
                line(f, format_args!("route   {}, rule {}", rule.route, rule.rule))?;
                line(f, format_args!("        host {}, {}", rule.host, rule.matches))?;
            }
            None => line(f, format_args!("route   none"))?,
        }
        for policy in &self.policies {
            line(f, format_args!("policy  {policy}"))?;
        }
        if let Some(action) = &self.action {
            write!(f, "{action}")?;
        }
        match &self.refusal {
            Some(Refusal { status: Some(status), reason }) => line(f, format_args!("answer  {status} {reason}"))?,
            Some(Refusal { status: None, reason }) => line(
                f,
                format_args!(
                    "answer  none: no certificate is for this name, and the TLS handshake is refused: {reason}"
                ),
            )?,
            None => match &self.unknown {
                Some(why) => line(f, format_args!("answer  nobody can tell: {why}"))?,
                None => line(f, format_args!("answer  the action's"))?,
            },
        }
        for other in &self.others {
            let place = &other.place;
            line(
                f,
                format_args!(
                    "other   {}, rule {}: host {}, {}: {}",
                    place.route, place.rule, place.host, place.matches, other.why
                ),
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
                    line(
                        f,
                        format_args!(
                            "action  forward to {} (weight {}, {} {endpoints}) as {}{}",
                            share.backend, share.weight, share.endpoints, share.host, share.path
                        ),
                    )?;
                }
                if backends.is_empty() {
                    line(f, format_args!("action  forward to nobody: no backend has a weight"))?;
                }
                fallback.iter().try_for_each(|fallback| line(f, format_args!("        else to {fallback}")))
            }
            Self::Redirect { status, location } => line(f, format_args!("action  redirect, {status}, to {location}")),
            Self::Respond { status } => line(f, format_args!("action  direct response, {status}")),
            Self::Preflight { method } => line(f, format_args!("action  answer a CORS preflight for {method}, 204")),
            Self::Reject { reason } => line(f, format_args!("action  refuse every request: {reason}")),
        }
    }
}

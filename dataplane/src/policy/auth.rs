//! Who may: network, exclusions, credential, rules, another service, in this order.

mod api_key;
mod authentication;
mod basic;
mod body;
mod certificate;
mod client;
mod coming;
mod credential;
mod denial;
mod exclusion;
mod external;
mod forward;
mod hmac;
mod introspection;
mod jwt;
mod keyed;
mod memory;
mod oidc;
mod outside;
mod preview;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ravelin_snapshot::{
    PolicyKey,
    auth::{self, Effect, Mode},
};

use crate::{
    expression::{EvalError, Program, Scope},
    metrics::Counter,
    reject::{Detail, Reason, Reject},
    request::{Known, RequestView, RuleName},
};
pub use api_key::KeyUse;
use authentication::Authentication;
use body::Unread;
pub use certificate::ClientChain;
pub use coming::Coming;
use coming::Evidence;
pub(crate) use credential::cookies;
pub use denial::Denial;
pub(crate) use denial::denial;
use exclusion::{Exclusion, allows};
pub use external::Aide;
use external::{External, Missing, Outcome, Word};
pub use forward::Forwarded;
pub(crate) use forward::looks_like;
pub use outside::Outside;
pub use preview::Preview;

/// An AuthPolicy, ready to decide. Shared by all workers.
pub struct AuthPolicy {
    pub key: PolicyKey,
    pub mode: Mode,
    pub decisions: Arc<Decisions>,
    exclude: Vec<Exclusion>,
    network: auth::Network,
    authentication: Option<Authentication>,
    rules: Vec<Rule>,
    external: Option<Arc<External>>,
    forward: Vec<(HeaderName, Program)>,
}

/// What became of requests: `ravelin_auth_decisions_total`.
#[derive(Debug, Default)]
pub struct Decisions {
    pub allow: Counter,
    pub deny: Counter,
    pub shadow_deny: Counter,
    /// Refused because an expression had no value; in `deny` or `shadow_deny` too.
    pub error: Counter,
}

/// The token of a request from an address that may come: the limits before authentication ask for it, and who judges.
#[derive(Debug)]
pub struct Welcome {
    /// The network is not one that may come, and the policy only watches.
    outside: bool,
}

/// The token of a request that may pass this stage: later stages ask for it.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub caller: Known,
    /// The policy enforces and says that credentials stay here.
    strip: bool,
    /// What another service says besides.
    word: Option<Arc<Word>>,
    /// A policy that only watches would have refused.
    denial: Option<Box<Denial>>,
    /// Cookies for the client.
    pub(crate) told: Option<Arc<[HeaderValue]>>,
}

impl Welcome {
    /// Of a route that nobody protects.
    pub fn by_no_policy() -> Self {
        Self { outside: false }
    }
}

impl Admitted {
    /// Of a route that nobody protects: the caller is not known.
    pub fn by_no_policy() -> Self {
        Self { caller: Known::default(), strip: false, word: None, denial: None, told: None }
    }

    /// Sets what another service tells the client.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if let Some(word) = &self.word {
            word.tell(headers);
        }
    }
}

struct Rule {
    name: String,
    effect: Effect,
    when: Program,
}

/// What is decided about, and with what knowledge.
#[derive(Clone, Copy)]
struct Asked<'a> {
    request: &'a RequestView<'a>,
    route: &'a RuleName,
    now: SystemTime,
    evidence: &'a Evidence,
}

/// Who has not waited knows nothing by it.
static NOTHING: Evidence =
    Evidence { keys: false, password: None, token: None, signature: None, login: None, check: None };

/// What comes of judging beside the judgement.
#[derive(Default)]
struct Found {
    caller: Known,
    word: Option<Arc<Word>>,
    /// Cookies for the client, whatever is decided.
    told: Vec<HeaderValue>,
    /// Somebody who was asked has not answered, and the policy lets pass all the same.
    unanswered: bool,
}

/// Why a request is refused.
struct Denied {
    reject: Reject,
    why: Why,
    /// What could make the difference, if somebody waits for it.
    coming: Option<Box<Coming>>,
}

enum Why {
    Judged,
    /// The policy answers itself, and refuses nothing.
    Served,
    /// An expression has no value.
    NoValue,
    /// Nobody can tell whether a credential is good; because somebody is not asked here.
    NoKeys {
        unasked: Option<String>,
    },
}

impl AuthPolicy {
    /// Counts go on from `before`'s. The error is for a refusal of the snapshot.
    pub fn compile(
        key: &PolicyKey,
        said: &Arc<auth::AuthPolicy>,
        before: Option<&Self>,
        outside: &Outside,
    ) -> Result<Self, String> {
        let rule = |said: &auth::AuthorizationRule| {
            let when = Program::compile(&said.when).map_err(|error| format!("rule {}: {error}", said.name))?;
            Ok::<_, String>(Rule { name: said.name.clone(), effect: said.effect, when })
        };
        let header = |said: &auth::ForwardedHeader| {
            let name = said.header.parse().map_err(|_| format!("`{}` is not a header's name", said.header))?;
            let value = Program::compile(&said.value).map_err(|error| format!("header {}: {error}", said.header))?;
            Ok::<_, String>((name, value))
        };
        Ok(Self {
            key: key.clone(),
            mode: said.mode,
            decisions: before.map(|before| Arc::clone(&before.decisions)).unwrap_or_default(),
            exclude: said.exclude.iter().map(Exclusion::compile).collect::<Result<_, _>>()?,
            network: said.network.clone(),
            authentication: Authentication::compile(
                key,
                said,
                before.and_then(|before| before.authentication.as_ref()),
                outside,
            )?,
            rules: said.rules.iter().map(rule).collect::<Result<_, _>>()?,
            external: said
                .external
                .as_ref()
                .map(|said| External::compile(said, before.and_then(|before| before.external.as_ref())))
                .transpose()?,
            forward: said.forward.iter().map(header).collect::<Result<_, _>>()?,
        })
    }

    /// By the client's address alone, before it costs or takes anything; in `Shadow` nobody is refused.
    pub fn welcome(&self, request: &RequestView<'_>) -> Result<Welcome, Reject> {
        let outside = self.is_outside(request);
        if outside && self.mode == Mode::Enforce {
            self.decisions.deny.add(1);
            let reject = forbidden("network").reject;
            return Err(self.denial(&reject, &Known::default()).told(reject));
        }
        Ok(Welcome { outside })
    }

    /// Its API keys, and when each was used last.
    pub fn keys(&self) -> impl Iterator<Item = KeyUse<'_>> {
        self.authentication.iter().flat_map(Authentication::keys)
    }

    /// Whether the client's address is not one that may come.
    pub fn is_outside(&self, request: &RequestView<'_>) -> bool {
        !allows(&self.network, request)
    }

    /// Exclusions, credential, rules, another service; in `Shadow` nobody is refused. While there is something to wait for that
    /// could make the difference, nothing is decided.
    pub fn judge_unless_coming(
        &self,
        welcome: &Welcome,
        request: &RequestView<'_>,
        route: &RuleName,
        now: SystemTime,
    ) -> Result<Result<Admitted, Reject>, Box<Coming>> {
        self.attempt(welcome, &Asked { request, route, now, evidence: &NOTHING })
    }

    /// The same, with all that is waited for.
    pub async fn judge_waiting(
        &self,
        mut coming: Box<Coming>,
        welcome: &Welcome,
        request: &RequestView<'_>,
        route: &RuleName,
        now: SystemTime,
        aide: Aide<'_>,
    ) -> Result<Admitted, Reject> {
        let mut evidence = Evidence::default();
        loop {
            coming.arrived(&mut evidence, aide).await;
            match self.attempt(welcome, &Asked { request, route, now, evidence: &evidence }) {
                Ok(judged) => return judged,
                Err(next) => coming = next, // another kind: of each there is evidence at last
            }
        }
    }

    fn attempt(&self, welcome: &Welcome, asked: &Asked<'_>) -> Result<Result<Admitted, Reject>, Box<Coming>> {
        let mut found = Found::default();
        match self.decide(welcome, asked, &mut found) {
            Err(Denied { coming: Some(coming), .. }) => Err(coming),
            judged => Ok(self.settle(found, judged)),
        }
    }

    fn settle(&self, found: Found, judged: Result<(), Denied>) -> Result<Admitted, Reject> {
        let Found { caller, word, told, unanswered } = found;
        if unanswered || judged.as_ref().is_err_and(|denied| !matches!(denied.why, Why::Judged | Why::Served)) {
            self.decisions.error.add(1);
        }
        let keep = self.authentication.as_ref().is_none_or(|authentication| authentication.keep);
        let cookies = || if told.is_empty() { None } else { Some(told.clone().into()) };
        match (judged, self.mode) {
            (Ok(()), mode) => {
                self.decisions.allow.add(1);
                Ok(Admitted { strip: !keep && mode == Mode::Enforce, word, denial: None, told: cookies(), caller })
            }
            (Err(Denied { reject, why: Why::Served, .. }), Mode::Enforce) => {
                self.decisions.allow.add(1);
                Err(reject)
            }
            (Err(Denied { mut reject, .. }), Mode::Enforce) => {
                self.decisions.deny.add(1);
                if !told.is_empty() {
                    let detail = reject.detail.get_or_insert_default();
                    detail.headers.extend(oidc::told(&told));
                }
                Err(self.denial(&reject, &caller).told(reject))
            }
            (Err(Denied { reject, .. }), Mode::Shadow) => {
                self.decisions.shadow_deny.add(1);
                let denial = Some(Box::new(self.denial(&reject, &caller)));
                Ok(Admitted { strip: false, word: None, denial, told: cookies(), caller })
            }
        }
    }

    fn denial(&self, reject: &Reject, caller: &Known) -> Denial {
        let rule = reject.detail.as_ref().and_then(|detail| detail.rule.clone());
        Denial { policy: self.key.clone(), mode: self.mode, reason: reject.reason, rule, caller: caller.id.clone() }
    }

    /// In `found` is the one whose credential is good, whatever the rules then say.
    fn decide(&self, welcome: &Welcome, asked: &Asked<'_>, found: &mut Found) -> Result<(), Denied> {
        let Asked { request, route, now, evidence } = *asked;
        if welcome.outside {
            return Err(forbidden("network"));
        }
        if let Some(oidc) = self.authentication.as_ref().and_then(|authentication| authentication.oidc.as_ref())
            && self.mode == Mode::Enforce
            && oidc.owns(request.path)
        {
            return Err(oidc.serve(request, now, evidence.login.as_ref()));
        }
        if self.exclude.iter().any(|exclusion| exclusion.holds(request)) {
            return Ok(());
        }
        if let Some(authentication) = &self.authentication {
            match authentication.judge(request, now, evidence, &mut found.told)? {
                Some(caller) => found.caller = caller,
                None => found.unanswered = true,
            }
        }
        let scope = Scope { request, caller: &found.caller, route, now };
        self.authorise(&scope)?;
        let Some(external) = &self.external else { return Ok(()) };
        match external.judge(&scope, evidence.check.as_ref()) {
            Ok(word) => found.word = Some(word),
            Err(Missing::Is(Outcome::Failed)) if external.fails_open() => found.unanswered = true,
            Err(missing) => return Err(refused_by(external, missing)),
        }
        Ok(())
    }

    /// A deny that holds refuses; if there is an allow, one must hold; a rule without a value refuses, whatever others say.
    fn authorise(&self, scope: &Scope<'_>) -> Result<(), Denied> {
        let mut allowed: Option<bool> = None;
        for rule in &self.rules {
            let holds = rule
                .when
                .eval_bool(scope)
                .map_err(|_: EvalError| Denied { why: Why::NoValue, ..forbidden(&rule.name) })?;
            match (rule.effect, holds) {
                (Effect::Deny, true) => return Err(forbidden(&rule.name)),
                (Effect::Deny, false) => {}
                (Effect::Allow, holds) => allowed = Some(allowed.unwrap_or(false) || holds),
            }
        }
        if allowed == Some(false) {
            let first = self.rules.iter().find(|rule| rule.effect == Effect::Allow);
            return Err(forbidden(first.map_or("", |rule| &rule.name)));
        }
        Ok(())
    }
}

fn forbidden(rule: &str) -> Denied {
    let detail = Detail { rule: Some(rule.to_owned()), ..Detail::default() };
    denied(Reason::Forbidden, detail, Why::Judged)
}

/// Nobody can tell, and it is not the client's fault.
fn unanswered(unasked: Option<String>) -> Denied {
    let detail = Detail { retry_after: Some(1), ..Detail::default() };
    denied(Reason::PolicyInvalid, detail, Why::NoKeys { unasked })
}

fn refused_by(external: &External, missing: Missing) -> Denied {
    match missing {
        Missing::Asks(check) => {
            let unasked = format!("{} is not asked here", external.name());
            Denied { coming: Some(Box::new(Coming::Check(check))), ..unanswered(Some(unasked)) }
        }
        Missing::Is(Outcome::Denied(answer)) => {
            let reason = match answer.status {
                StatusCode::UNAUTHORIZED => Reason::Unauthenticated,
                _ => Reason::Forbidden,
            };
            let rule = Some("external".to_owned());
            denied(reason, Detail { rule, answer: Some(answer), ..Detail::default() }, Why::Judged)
        }
        Missing::Is(Outcome::Unread(Unread::TooLong)) => denied(Reason::BodyTooLarge, Detail::default(), Why::Judged),
        Missing::Is(Outcome::Unread(Unread::Broken)) => denied(Reason::BadRequest, Detail::default(), Why::Judged),
        Missing::Is(Outcome::Failed | Outcome::Allowed(_)) => unanswered(None),
    }
}

fn denied(reason: Reason, detail: Detail, why: Why) -> Denied {
    Denied { reject: Reject { reason, detail: Some(Box::new(detail)) }, why, coming: None }
}

//! Log-in of browsers: at whom, as whom, and what the browser keeps of it.

use ravelin_crds::{ApiRouteSpec, Oidc, PathMatchType, SessionCookie};
use ravelin_snapshot::{ObjectKey, Secret, auth::OidcMethod, path::is_within, url::HttpUrl};

use super::{bound, held, jwt};
use crate::{
    compile::{
        grammar::{self, millis},
        notes::{Field, Notes},
        route::matches,
        text,
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Where the gateway's own secret is.
const SECRET: &str = "clientSecret";

const MAX_SCOPES: usize = 16;
/// Characters of a cookie's name: pieces and log-ins that are under way add some.
const MAX_NAME: usize = 128;
/// Eight hours.
const TTL_MS: u64 = 28_800_000;

/// `authentication.oidc` of a policy in `namespace`; `None` and a note if something that it needs is not there.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &Oidc,
    field: Field<'_>,
) -> Option<OidcMethod> {
    let Oidc { issuer, ca_certificate_refs, client_id, client_secret_ref, scopes, redirect_path, logout_path, cookie } =
        said;
    self::issuer(issuer, field.member("issuer"), notes);
    if client_id.is_empty() || client_id.bytes().any(|byte| !matches!(byte, b'!'..=b'~')) {
        let message = "the name is empty, or not of printable characters alone";
        notes.invalid(field.member("clientID"), message, "Write the name that the issuer gave you.");
    }
    let scopes = self::scopes(scopes.as_deref(), field.member("scopes"), notes);
    let own = |said: &Option<String>, default: &str, member: &'static str, notes: &mut Notes| {
        matches::normal(said.as_deref().unwrap_or(default), field.member(member), notes)
    };
    let redirect_path = own(redirect_path, "/oauth2/callback", "redirectPath", notes);
    let logout_path = own(logout_path, "/logout", "logoutPath", notes);
    if redirect_path.is_some() && redirect_path == logout_path {
        notes.invalid(field.member("logoutPath"), "this is the redirectPath too", "Give each a path of its own.");
    }
    let (cookie, ttl_ms) = self::cookie(cookie.as_ref(), field.member("cookie"), notes);
    let refs = field.member("caCertificateRefs");
    let authorities = held::authorities(work, reads, notes, namespace, ca_certificate_refs, refs);
    let field = field.member("clientSecretRef");
    let object = ObjectKey::new(namespace, &client_secret_ref.name);
    let secret = held::in_secret(work, reads, notes, &object, SECRET, field)?.expose().trim();
    if secret.is_empty() || !secret.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
        let message = format!("`{SECRET}` is not of printable characters alone");
        notes.error(field, Reason::InvalidReference, message, "Write what the issuer gave you.");
    }
    Some(OidcMethod {
        issuer: issuer.clone(),
        authorities: authorities?,
        client_id: client_id.clone(),
        client_secret: Secret::new(secret),
        scopes,
        redirect_path: redirect_path?,
        logout_path: logout_path?,
        cookie,
        ttl_ms,
    })
}

/// Its discovery document is below it, so nothing may stand behind its path.
fn issuer(said: &str, field: Field<'_>, notes: &mut Notes) {
    jwt::url(said, "whoever is on the way can be the issuer, and so be anybody", field, notes);
    if HttpUrl::parse(said).is_ok() && said.contains('?') {
        notes.invalid(field, "an issuer has no query", "Write it as https://id.example.");
    }
}

fn scopes(said: Option<&[String]>, field: Field<'_>, notes: &mut Notes) -> Vec<String> {
    let Some(said) = said else { return vec!["openid".to_owned()] };
    bound(said.len(), MAX_SCOPES, field, notes);
    // RFC 6749, 3.3.
    let token = |scope: &str| {
        !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\'))
    };
    if let Some(bad) = said.iter().find(|scope| !token(scope)) {
        notes.invalid(
            field,
            format!("{} is no scope", text::shown(bad)),
            "Use printable characters but for \" and \\.",
        );
    }
    if !said.iter().any(|scope| scope == "openid") {
        notes.invalid(field, "without `openid` nobody is told who has logged in", "Add it.");
    }
    said.to_vec()
}

fn cookie(said: Option<&SessionCookie>, field: Field<'_>, notes: &mut Notes) -> (String, u64) {
    let default = SessionCookie::default();
    let SessionCookie { name, ttl } = said.unwrap_or(&default);
    let name = name.as_deref().unwrap_or("sid");
    if !grammar::is_token(name) || name.len() > MAX_NAME {
        let message = format!("{} is no cookie's name", text::shown(name));
        notes.invalid(field.member("name"), message, "Use up to 128 letters, digits, `-` and `_`.");
    }
    let ttl_ms = ttl.map_or(TTL_MS, millis);
    if ttl_ms == 0 {
        notes.invalid(field.member("ttl"), "a session would be over before it begins", "Say how long, such as 8h.");
    }
    (name.to_owned(), ttl_ms)
}

/// Notes paths of a log-in that no rule of a protected route takes, or not the one of that name: browsers would end there.
pub(in crate::compile) fn reach(said: &OidcMethod, route: &ApiRouteSpec, rule: Option<&str>, notes: &mut Notes) {
    let protected = || route.rules.iter().filter(|one| rule.is_none() || one.name.as_deref() == rule);
    let field = Field::SPEC.member("authentication");
    let field = field.member("oidc");
    for (path, member) in [(&said.redirect_path, "redirectPath"), (&said.logout_path, "logoutPath")] {
        let mut matches = protected().flat_map(|one| &one.matches);
        let takes = |said: &ravelin_crds::PathMatch| match said.match_type() {
            PathMatchType::Exact => said.value() == path,
            PathMatchType::PathPrefix => is_within(path, said.value().trim_end_matches('/')),
            // It may.
            PathMatchType::RegularExpression => true,
        };
        let all = protected().any(|one| one.matches.is_empty());
        if !all && !matches.any(|one| one.path.as_ref().is_none_or(takes)) {
            let message = format!("no rule that the policy protects takes `{path}`: browsers that are sent there end");
            let remedy = "Add a match for it, or choose a path below one that is there.";
            notes.warning(field.member(member), Reason::Suspicious, message, remedy);
        }
    }
}

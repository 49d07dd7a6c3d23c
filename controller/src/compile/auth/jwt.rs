//! JSON Web Tokens: whose count, and where their keys are.

use std::collections::BTreeSet;

use ravelin_crds::{
    ConfigMapKeyReference, Duration, JwkSet, JwtAlgorithm as Said, JwtAuthentication, JwtClaims, JwtProvider,
    SecretKeyReference,
};
use ravelin_snapshot::{
    ObjectKey,
    auth::CredentialSource,
    jwk::{self, Ignored, Jwk},
    jwt::{self, ClaimNames, JwksUri, JwtAlgorithm, JwtMethod, KeySource},
    url::HttpUrl,
};

use super::{bound, entry_name, held, source};
use crate::{
    compile::{
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    verdict::Reason,
};

const MAX_PROVIDERS: usize = 16;
const MAX_AUDIENCES: usize = 16;
/// Keys that are left out and said to be so, at most: the rest is a number.
const MAX_SAID: usize = 8;

/// `authentication.jwt` of a policy in `namespace`.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &JwtAuthentication,
    field: Field<'_>,
) -> JwtMethod {
    let JwtAuthentication { providers: said } = said;
    let field = field.member("providers");
    bound(said.len(), MAX_PROVIDERS, field, notes);
    if said.is_empty() {
        notes.invalid(field, "no issuer is named", "Name one, or leave jwt out.");
    }
    let mut names = BTreeSet::new();
    let mut providers = Vec::with_capacity(said.len());
    for (index, said) in said.iter().enumerate() {
        let field = field.item(index);
        entry_name(&said.name, &mut names, field, notes);
        providers.extend(provider(work, reads, notes, namespace, said, field));
    }
    JwtMethod { providers }
}

fn provider(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &JwtProvider,
    field: Field<'_>,
) -> Option<jwt::JwtProvider> {
    let JwtProvider { name, issuer, audiences, algorithms, jwks, from, clock_skew, claims } = said;
    if issuer.is_empty() {
        notes.invalid(field.member("issuer"), "no issuer is named", "Set the claim iss of its tokens.");
    }
    let algorithms = self::algorithms(algorithms.as_deref(), field.member("algorithms"), notes);
    let from = from.as_ref().map(|said| source::all(said, field.member("from"), notes));
    let bearer = || vec![CredentialSource::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }];
    let audiences = self::audiences(audiences.as_deref(), field.member("audiences"), notes);
    let keys = keys(work, reads, notes, namespace, jwks, &algorithms, field.member("jwks"))?;
    let skew = clock_skew.map_or(30_000, |skew| u64::try_from(skew.get().as_millis()).unwrap_or(u64::MAX));
    Some(jwt::JwtProvider {
        name: name.clone(),
        issuer: issuer.clone(),
        audiences,
        algorithms,
        keys,
        from: from.unwrap_or_else(bearer),
        clock_skew_ms: skew,
        claims: self::claims(claims.as_ref(), field.member("claims"), notes),
    })
}

fn audiences(said: Option<&[String]>, field: Field<'_>, notes: &mut Notes) -> Vec<String> {
    let Some(said) = said else {
        let message = "tokens that the issuer made for others are accepted";
        notes.warning(field, Reason::Suspicious, message, "Name the audience that this API has at the issuer.");
        return Vec::new();
    };
    bound(said.len(), MAX_AUDIENCES, field, notes);
    if said.is_empty() || said.iter().any(String::is_empty) {
        // An empty list would accept all where it reads as if it accepted none.
        notes.invalid(field, "an audience is missing", "Name one, or leave the list out.");
    }
    said.to_vec()
}

/// Sorted. Those of shared secrets count only where they are named.
fn algorithms(said: Option<&[Said]>, field: Field<'_>, notes: &mut Notes) -> Vec<JwtAlgorithm> {
    let Some(said) = said else {
        return JwtAlgorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect();
    };
    if said.is_empty() {
        notes.invalid(field, "no algorithm is accepted", "Name one, or leave the list out.");
    }
    said.iter().map(|said| algorithm(*said)).collect::<BTreeSet<_>>().into_iter().collect()
}

fn algorithm(said: Said) -> JwtAlgorithm {
    match said {
        Said::RS256 => JwtAlgorithm::RS256,
        Said::RS384 => JwtAlgorithm::RS384,
        Said::RS512 => JwtAlgorithm::RS512,
        Said::PS256 => JwtAlgorithm::PS256,
        Said::PS384 => JwtAlgorithm::PS384,
        Said::PS512 => JwtAlgorithm::PS512,
        Said::ES256 => JwtAlgorithm::ES256,
        Said::ES384 => JwtAlgorithm::ES384,
        Said::EdDSA => JwtAlgorithm::EdDSA,
        Said::HS256 => JwtAlgorithm::HS256,
        Said::HS384 => JwtAlgorithm::HS384,
        Said::HS512 => JwtAlgorithm::HS512,
    }
}

fn claims(said: Option<&JwtClaims>, field: Field<'_>, notes: &mut Notes) -> ClaimNames {
    let default = JwtClaims::default();
    let JwtClaims { id, scopes, groups } = said.unwrap_or(&default);
    let mut name = |said: &Option<String>, default: &str, member: &'static str| {
        let name = said.as_deref().unwrap_or(default);
        if name.is_empty() || name.len() > 256 {
            notes.invalid(field.member(member), "a claim has a name of 1 to 256 characters", "Name the claim.");
        }
        name.to_owned()
    };
    ClaimNames {
        id: name(id, "sub", "id"),
        scopes: name(scopes, "scope", "scopes"),
        groups: name(groups, "groups", "groups"),
    }
}

/// Where the keys are; `None` and a note if nobody can tell.
fn keys(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &JwkSet,
    algorithms: &[JwtAlgorithm],
    field: Field<'_>,
) -> Option<KeySource> {
    let JwkSet { uri, refresh, keep_for, ca_certificate_refs, config_map_ref, secret_ref, inline } = said;
    if uri.is_none() && (refresh.is_some() || keep_for.is_some() || !ca_certificate_refs.is_empty()) {
        notes.invalid(field, "refresh, keepFor and caCertificateRefs go with uri", "Set uri, or leave them out.");
    }
    let symmetric = algorithms.iter().find(|algorithm| algorithm.is_symmetric());
    match (uri, config_map_ref, secret_ref, inline) {
        (Some(uri), None, None, None) => {
            if let Some(algorithm) = symmetric {
                let message = format!("keys of {} are secrets, and are not fetched from a URL", algorithm.as_str());
                notes.invalid(field.member("uri"), message, "Put them into a Secret, and refer to it with secretRef.");
            }
            url(uri, "whoever is on the way can change the keys, and so be anybody", field.member("uri"), notes);
            let said = (refresh.as_ref(), keep_for.as_ref());
            let (refresh_ms, keep_for_ms) = pace(said, field.member("refresh"), notes);
            let refs = field.member("caCertificateRefs");
            let authorities = held::authorities(work, reads, notes, namespace, ca_certificate_refs, refs)?;
            Some(KeySource::Uri(JwksUri { uri: uri.clone(), refresh_ms, keep_for_ms, authorities }))
        }
        (None, Some(ConfigMapKeyReference { name, key }), None, None) => {
            let (field, object) = (field.member("configMapRef"), ObjectKey::new(namespace, name));
            open_secret(symmetric, field, notes);
            let text = held::in_config_map(work, reads, notes, &object, key, field)?;
            let keys = set(text, algorithms, Reason::InvalidReference, field, notes);
            Some(KeySource::Fixed { secret: None, keys })
        }
        (None, None, Some(SecretKeyReference { name, key }), None) => {
            let (field, object) = (field.member("secretRef"), ObjectKey::new(namespace, name));
            let text = held::in_secret(work, reads, notes, &object, key, field)?;
            let keys = set(text.expose(), algorithms, Reason::InvalidReference, field, notes);
            Some(KeySource::Fixed { secret: Some(object), keys })
        }
        (None, None, None, Some(text)) => {
            let field = field.member("inline");
            open_secret(symmetric, field, notes);
            let keys = set(text, algorithms, Reason::Invalid, field, notes);
            Some(KeySource::Fixed { secret: None, keys })
        }
        _ => {
            let message = "the keys are in one place";
            notes.invalid(field, message, "Set exactly one of uri, configMapRef, secretRef and inline.");
            None
        }
    }
}

/// Notes a URL that cannot be asked, or that anybody on the way can answer: that is the `danger`.
pub(super) fn url(uri: &str, danger: &str, field: Field<'_>, notes: &mut Notes) {
    match HttpUrl::parse(uri) {
        Ok(url) if url.https => {}
        Ok(_) => {
            notes.warning(field, Reason::Suspicious, danger, "Use https://.");
        }
        Err(error) => {
            // What stands in it may be a password.
            let message = format!("this cannot be asked: {error}");
            notes.invalid(field, message, "Write it as https://id.example/keys.");
        }
    }
}

/// `refresh` and `keepFor`, in milliseconds.
fn pace(said: (Option<&Duration>, Option<&Duration>), field: Field<'_>, notes: &mut Notes) -> (u64, u64) {
    let millis = |said: &Duration| u64::try_from(said.get().as_millis()).unwrap_or(u64::MAX);
    let refresh = said.0.map_or(300_000, millis);
    if refresh < 1_000 {
        notes.invalid(
            field,
            "the issuer would be asked more than once a second",
            "Say 1s or longer; the default is 5m.",
        );
    }
    (refresh, said.1.map_or(86_400_000, millis))
}

fn open_secret(symmetric: Option<&JwtAlgorithm>, field: Field<'_>, notes: &mut Notes) {
    if let Some(algorithm) = symmetric {
        let message = format!("whoever reads this can make tokens: keys of {} are secrets", algorithm.as_str());
        notes.warning(field, Reason::Suspicious, message, "Put them into a Secret, and refer to it with secretRef.");
    }
}

/// The keys of a set that may verify; those that may not are named. `reason`: of a text that is no set.
fn set(text: &str, algorithms: &[JwtAlgorithm], reason: Reason, field: Field<'_>, notes: &mut Notes) -> Vec<Jwk> {
    let set = match jwk::parse(text.as_bytes()) {
        Ok(set) => set,
        Err(error) => {
            notes.error(
                field,
                reason,
                format!("this is no key set: {error}"),
                "Write it as {\"keys\": [...]} (RFC 7517).",
            );
            return Vec::new();
        }
    };
    for Ignored { index, why } in set.ignored.iter().take(MAX_SAID) {
        let message = format!("keys[{index}] of the set does not count: {why}");
        notes.warning(field, Reason::Suspicious, message, "Replace it, or leave it out.");
    }
    if set.ignored.len() > MAX_SAID {
        let message = format!("{} more keys of the set do not count", set.ignored.len() - MAX_SAID);
        notes.warning(field, Reason::Suspicious, message, "Replace them, or leave them out.");
    }
    let fits = |key: &Jwk| algorithms.iter().any(|algorithm| key.fits(*algorithm));
    let keys: Vec<Jwk> = set.keys.into_iter().filter(fits).collect();
    if keys.is_empty() {
        let message = "no key of the set fits the algorithms: no token is accepted";
        notes.warning(field, Reason::Suspicious, message, "Add a key, or name its algorithm.");
    }
    keys
}

use http::{HeaderMap, Method};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};

use super::*;

/// 2026-01-15, in seconds since the epoch.
const NOW: u64 = 1_768_435_200;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// For clients, from 2025 to the end of 2026, unless `change` says otherwise.
    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        (params.not_before, params.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2026, 12, 31));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        vec![params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap().der().clone()]
    }

    fn counts(&self, identity: CertificateIdentity) -> Arc<Certificates> {
        Certificates::compile(&CertificateMethod { authorities: self.0.pem(), identity }, None).unwrap()
    }
}

fn named(name: &str) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.distinguished_name.push(DnType::CommonName, name)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn judge(
    certificates: &Certificates,
    chain: Option<&ClientChain>,
    scheme: Scheme,
    now: u64,
) -> Option<Result<String, Refused>> {
    let view = RequestView {
        method: &Method::GET,
        path: "/",
        raw: "/",
        query: "",
        headers: &HeaderMap::new(),
        host: "a.example",
        authority: "a.example",
        scheme,
        id: "",
        source: "192.0.2.1:1".parse().unwrap(),
        chain,
    };
    let judged = certificates.judge(&view, SystemTime::UNIX_EPOCH + Duration::from_secs(now))?;
    Some(judged.map(|caller| caller.id.clone()))
}

fn shown(chain: Vec<CertificateDer<'static>>) -> ClientChain {
    ClientChain::new(Some("a.example".to_owned()), chain)
}

fn outcome(certificates: &Certificates, chain: Vec<CertificateDer<'static>>) -> Result<String, Refused> {
    judge(certificates, Some(&shown(chain)), Scheme::Https, NOW).unwrap()
}

#[test]
fn a_certificate_counts_if_its_authority_does_and_it_is_for_clients_and_holds() {
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let twin = Authority::new("clients");
    let counts = clients.counts(CertificateIdentity::SubjectCommonName);
    assert_eq!(outcome(&counts, clients.sign(named("ada"))), Ok("ada".to_owned()));
    assert_eq!(outcome(&counts, others.sign(named("ada"))), Err(Refused::Issuer));
    assert_eq!(outcome(&counts, twin.sign(named("ada"))), Err(Refused::Issuer), "of the same name");
    let past = |params: &mut CertificateParams| {
        named("ada")(params);
        params.not_after = date_time_ymd(2025, 6, 1);
    };
    let future = |params: &mut CertificateParams| {
        named("ada")(params);
        params.not_before = date_time_ymd(2026, 6, 1);
    };
    let server = |params: &mut CertificateParams| {
        named("ada")(params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(outcome(&counts, clients.sign(past)), Err(Refused::Expired));
    assert_eq!(outcome(&counts, clients.sign(future)), Err(Refused::Early));
    assert_eq!(outcome(&counts, clients.sign(server)), Err(Refused::Purpose));
    let own = clients.0.der().clone();
    assert!(outcome(&counts, vec![own]).is_err(), "an authority is no client");
    assert_eq!(outcome(&counts, vec![CertificateDer::from(vec![1, 2, 3])]), Err(Refused::Invalid));
    let many = clients.sign(named("ada")).into_iter().cycle().take(MAX_CHAIN + 1).collect();
    assert_eq!(outcome(&counts, many), Err(Refused::TooMany));
}

#[test]
fn a_certificate_names_its_holder_by_exactly_one_name() {
    use CertificateIdentity::{Dns, Email, SubjectCommonName, Uri};
    let clients = Authority::new("clients");
    let all = || {
        let uri = SanType::URI("spiffe://shop/ada".try_into().unwrap());
        vec![dns("Ada.Example"), uri, SanType::Rfc822Name("ada@shop.example".try_into().unwrap())]
    };
    for (identity, common, names, expected) in [
        (SubjectCommonName, Some("ada"), all(), Some("ada")),
        (Uri, Some("ada"), all(), Some("spiffe://shop/ada")),
        (Dns, None, all(), Some("ada.example")),
        (Email, None, all(), Some("ada@shop.example")),
        (SubjectCommonName, None, all(), None),
        (Uri, Some("ada"), vec![dns("a.example")], None),
        (Dns, Some("ada"), vec![], None),
        (Dns, Some("ada"), vec![dns("a.example"), dns("b.example")], None),
        (SubjectCommonName, Some(""), vec![], None),
        (SubjectCommonName, Some("ada\0eve"), vec![], None),
        (SubjectCommonName, Some("ada\r\nx: y"), vec![], None),
    ] {
        let chain = clients.sign(|params| {
            if let Some(name) = common {
                params.distinguished_name.push(DnType::CommonName, name);
            }
            params.subject_alt_names.clone_from(&names);
        });
        let expected = expected.map(str::to_owned).ok_or(Refused::Identity);
        assert_eq!(outcome(&clients.counts(identity), chain), expected, "{identity:?} {common:?} {names:?}");
    }
}

#[test]
fn what_was_found_good_counts_until_the_certificate_ends_and_for_this_policy_alone() {
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let counts = clients.counts(CertificateIdentity::SubjectCommonName);
    let chain = shown(clients.sign(named("ada")));
    let at = |certificates: &Certificates, now| judge(certificates, Some(&chain), Scheme::Https, now).unwrap();
    // The end of 2026-12-31T00:00:00Z.
    let end = 1_798_675_200;
    assert_eq!(at(&counts, NOW), Ok("ada".to_owned()));
    assert_eq!(at(&counts, end), Ok("ada".to_owned()));
    assert_eq!(at(&counts, end + 1), Err(Refused::Expired), "over one connection");
    assert_eq!(at(&counts, NOW), Err(Refused::Expired).or(at(&counts, NOW)), "clocks may go back");
    assert_eq!(at(&others.counts(CertificateIdentity::SubjectCommonName), NOW), Err(Refused::Issuer));
    assert_eq!(at(&clients.counts(CertificateIdentity::Dns), NOW), Err(Refused::Identity));
}

#[test]
fn a_connection_that_was_not_asked_or_is_for_another_host_is_misdirected() {
    let clients = Authority::new("clients");
    let counts = clients.counts(CertificateIdentity::SubjectCommonName);
    let chain = || clients.sign(named("ada"));
    let elsewhere = ClientChain::new(Some("b.example".to_owned()), chain());
    let nameless = ClientChain::new(None, chain());
    let none = ClientChain::new(Some("a.example".to_owned()), Vec::new());
    assert_eq!(judge(&counts, None, Scheme::Https, NOW), Some(Err(Refused::Misdirected)));
    assert_eq!(judge(&counts, Some(&elsewhere), Scheme::Https, NOW), Some(Err(Refused::Misdirected)));
    assert_eq!(judge(&counts, Some(&nameless), Scheme::Https, NOW), Some(Ok("ada".to_owned())));
    assert_eq!(judge(&counts, Some(&none), Scheme::Https, NOW), None);
    assert_eq!(judge(&counts, None, Scheme::Http, NOW), None);
}

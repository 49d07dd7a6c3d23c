use ravelin_snapshot::Secret as Hidden;
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::object::Meta;

fn pair(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn secret(type_: &str, entries: &[(&str, &str)]) -> Arc<Object<Secret>> {
    let data = entries.iter().map(|(name, value)| ((*name).to_owned(), Hidden::new(*value))).collect();
    let spec = Secret { type_: type_.to_owned(), data, binary: Vec::new() };
    Arc::new(Object { meta: Meta::default(), spec, faults: Vec::new() })
}

fn key() -> ObjectKey {
    ObjectKey::new("shop", "tls")
}

#[test]
fn an_answer_of_ocsp_goes_along_and_what_is_none_is_told_of() {
    let (chain, private) = pair(&["shop.example"]);
    for (said, served) in [
        (None, None),
        (Some("MAMKAQA="), Some("MAMKAQA=")),
        (Some(" MAMK\nAQA=\n"), Some("MAMKAQA=")),
        (Some("MAMKAQM="), None), // tryLater
        (Some("MIIBAAoBAA=="), Some("MIIBAAoBAA==")),
        (Some("MA=="), None),
        (Some("none"), None),
        (Some(""), None),
    ] {
        let mut entries = vec![("tls.crt", chain.as_str()), ("tls.key", &private)];
        entries.extend(said.map(|said| (OCSP_STAPLE, said)));
        let (certificate, usable) = compile(&key(), Some(&secret(TYPE, &entries))).unwrap();
        assert_eq!(
            (certificate.ocsp.as_deref(), usable.no_staple),
            (served, said.is_some() && served.is_none()),
            "{said:?}"
        );
    }
}

#[test]
fn a_chain_with_its_own_key_is_served_for_its_names() {
    let (chain, private) = pair(&["shop.example", "*.shop.example"]);
    let secret = secret(TYPE, &[("tls.crt", &chain), ("tls.key", &private)]);
    let (certificate, Usable { names, .. }) = compile(&key(), Some(&secret)).unwrap();
    assert_eq!(certificate.chain, chain);
    assert!(certificate.not_after > 0);
    for (host, good) in [
        ("shop.example", true),
        ("a.shop.example", true),
        ("a.b.shop.example", false),
        ("*.shop.example", true),
        ("bank.example", false),
    ] {
        assert_eq!(is_for(&names, &HostPattern::parse(host)), good, "{host}");
    }
}

#[test]
fn what_is_no_chain_with_its_key_is_refused_and_says_no_word_of_the_key() {
    let (chain, private) = pair(&["shop.example"]);
    let (_, others) = pair(&["shop.example"]);
    for (entries, type_, word) in [
        (vec![("tls.crt", chain.as_str()), ("tls.key", others.as_str())], TYPE, "is not the certificate's"),
        (vec![("tls.crt", chain.as_str())], TYPE, "no tls.key"),
        (vec![("tls.crt", "garbage"), ("tls.key", private.as_str())], TYPE, "no certificate"),
        (vec![("tls.crt", chain.as_str()), ("tls.key", "hunter2")], TYPE, "no private key"),
        (vec![("tls.crt", chain.as_str()), ("tls.key", private.as_str())], "Opaque", "is not of the type"),
    ] {
        let refused = compile(&key(), Some(&secret(type_, &entries))).unwrap_err();
        assert!(refused.message.contains(word), "{refused:?}");
        assert!(!format!("{refused:?}").contains("hunter2"));
    }
    assert_eq!(compile(&key(), None).unwrap_err().reason, Reason::ReferenceNotFound);
}

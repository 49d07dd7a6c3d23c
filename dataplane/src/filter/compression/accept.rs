//! `Accept-Encoding` (RFC 9110, 12.5.3).

use http::{HeaderMap, header};
use ravelin_snapshot::filter::Algorithm;

pub(super) fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Zstd => "zstd",
        Algorithm::Br => "br",
        Algorithm::Gzip => "gzip",
    }
}

/// The one that the client likes best; of several, the first of ours. `None`: none of them, or the content as it is is liked
/// better.
pub(super) fn choose(ours: &[Algorithm], request: &HeaderMap) -> Option<Algorithm> {
    let mut best = None;
    let mut best_weight = weight(request, "identity").unwrap_or(1).max(1);
    for algorithm in ours {
        let weight = weight(request, name(*algorithm)).or_else(|| weight(request, "*")).unwrap_or(0);
        // At the same weight content that is compressed is better than as it is, and an earlier one than a later.
        if weight > best_weight || (weight == best_weight && best.is_none() && weight > 0) {
            (best, best_weight) = (Some(*algorithm), weight);
        }
    }
    best
}

/// In thousandths; `None`: it is not mentioned. What cannot be read is not accepted.
fn weight(request: &HeaderMap, coding: &str) -> Option<u16> {
    let lists = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).find_map(|one| {
        let mut parts = one.split(';').map(str::trim);
        let said = parts.next()?;
        let is = said.eq_ignore_ascii_case(coding) || (coding == "gzip" && said.eq_ignore_ascii_case("x-gzip"));
        is.then(|| parts.next().map_or(1000, |weight| thousandths(weight).unwrap_or(0)))
    })
}

/// `q=0.5`: at most three digits behind the point.
fn thousandths(said: &str) -> Option<u16> {
    let value = said.strip_prefix("q=").or_else(|| said.strip_prefix("Q="))?;
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if part.len() > 3 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    match (whole, part) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_chooses_by_weight_and_we_among_equals() {
        const ALL: [Algorithm; 3] = [Algorithm::Zstd, Algorithm::Br, Algorithm::Gzip];
        for (said, chosen) in [
            ("", None),
            ("gzip", Some(Algorithm::Gzip)),
            ("gzip, deflate, br, zstd", Some(Algorithm::Zstd)),
            ("gzip, br", Some(Algorithm::Br)),
            ("GZIP;q=1.0, br;q=0.9", Some(Algorithm::Gzip)),
            ("x-gzip", Some(Algorithm::Gzip)),
            ("*", Some(Algorithm::Zstd)),
            ("*;q=0.5, zstd;q=0", Some(Algorithm::Br)),
            ("*;q=0", None),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip; q=0.001", Some(Algorithm::Gzip)),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0.5", Some(Algorithm::Gzip)),
            ("gzip, identity;q=0", Some(Algorithm::Gzip)),
            ("identity;q=0", None),
            ("deflate", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;level=9", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(said));
            assert_eq!(choose(&ALL, &headers), chosen, "{said}");
        }
        assert_eq!(choose(&ALL, &HeaderMap::new()), None);
        assert_eq!(choose(&[], &HeaderMap::from_iter([(header::ACCEPT_ENCODING, "br".parse().unwrap())])), None);
    }
}

//! When certificates hold. One that does not is used all the same, for what else is there; but it is said.

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::X509Certificate;

use crate::{
    compile::{
        graph::Fact,
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Seconds since the epoch, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Validity {
    from: i64,
    pub(super) until: i64,
}

impl Default for Validity {
    /// For ever.
    fn default() -> Self {
        Self { from: i64::MIN, until: i64::MAX }
    }
}

impl Validity {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
    }

    /// Of each certificate in a PEM.
    pub(in crate::compile) fn of_all(pem: &str) -> Vec<Self> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        let parsed = certificates.filter_map(|der| Some(Self::of(&x509_parser::parse_x509_certificate(&der).ok()?.1)));
        parsed.collect()
    }

    /// Notes that a certificate of `holder` has ended, or has not begun; whether it did. `refused`: by whom it is.
    pub(in crate::compile) fn note(
        self,
        work: &Work<'_>,
        reads: &mut Reads,
        notes: &mut Notes,
        field: Field<'_>,
        (holder, refused): (&str, &str),
    ) -> bool {
        let Self { from, until } = self;
        reads.extend([Fact::Moment(from), Fact::Moment(until.saturating_add(1))]);
        let Some(now) = work.model.clock else { return false };
        let at = |second| Timestamp::from_second(second).map_or_else(|_| format!("{second} s"), |at| at.to_string());
        let (message, remedy) = if now > until {
            let message = format!("the certificate of {holder} ended at {}{refused}", at(until));
            (message, format!("Put a new one into {holder}."))
        } else if now < from {
            let message = format!("the certificate of {holder} begins only at {}{refused}", at(from));
            (message, format!("Put one into {holder} that holds already, or set the clock."))
        } else {
            return false;
        };
        notes.warning(field, Reason::Suspicious, message, remedy);
        true
    }
}

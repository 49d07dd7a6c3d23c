//! What routes use: backends and certificates, compiled when the first one asks for them.

use ravelin_snapshot::{
    ObjectKey,
    backend::{BackendKey, Protocol},
};

use super::{Reads, Work, put};
use crate::{
    compile::{
        backend, certificate,
        graph::{Fact, Unit},
        notes::Notes,
        reference::Refused,
    },
    object::Kind,
};

impl Work<'_> {
    pub(super) fn compute_backend_object(&mut self, key: &ObjectKey) {
        let verdict = self.model.backends.get(key).map(|object| {
            let mut notes = Notes::of_faults(&object.faults);
            // Only what is said counts here; whether it can be used is asked by whoever uses it.
            let _ = backend::object(object, &mut notes);
            notes.verdict(object.meta.generation)
        });
        self.judge(Kind::Backend, key, verdict);
    }

    /// Whether a backend can be used; it is compiled when the first route asks for it.
    pub(in crate::compile) fn backend(&mut self, reads: &mut Reads, key: &BackendKey) -> Result<Protocol, Refused> {
        reads.insert(Fact::Backend(key.clone()));
        if !self.cells.backends.contains_key(key) {
            self.computed += 1;
            self.compute_backend(key);
        }
        // Invariant: what was computed is there.
        self.cells.backends.get(key).cloned().unwrap_or(Ok(Protocol::Http1))
    }

    pub(super) fn compute_backend(&mut self, key: &BackendKey) {
        let mut reads = Reads::new();
        let (part, state) = match backend::compile(self, &mut reads, key) {
            Ok(backend) => {
                let protocol = backend.protocol;
                (Some(backend), Ok(protocol))
            }
            Err(refused) => (None, Err(refused)),
        };
        self.read_by(Unit::Backend(key.clone()), reads);
        put(&mut self.snapshot.backends, key, part);
        if self.cells.backends.insert(key.clone(), state.clone()) != Some(state) {
            self.fire(&Fact::Backend(key.clone()));
        }
    }

    /// A certificate, if it can be served; it is read when the first route asks for it.
    pub(in crate::compile) fn certificate(
        &mut self,
        reads: &mut Reads,
        key: &ObjectKey,
    ) -> Result<certificate::Usable, Refused> {
        reads.insert(Fact::Certificate(key.clone()));
        if !self.cells.certificates.contains_key(key) {
            self.computed += 1;
            self.compute_certificate(key);
        }
        // Invariant: what was computed is there.
        self.cells.certificates.get(key).cloned().unwrap_or(Ok(certificate::Usable::default()))
    }

    pub(super) fn compute_certificate(&mut self, key: &ObjectKey) {
        let (secret, kept) = (self.model.secrets.get(key), self.model.kept_certificates.get(key));
        let (part, state) = match certificate::usable(key, secret, kept) {
            Ok((certificate, usable)) => (Some(certificate), Ok(usable)),
            Err(refused) => (None, Err(refused)),
        };
        self.read_by(Unit::Certificate(key.clone()), Reads::from([Fact::Secret(key.clone())]));
        put(&mut self.snapshot.certificates, key, part);
        if self.cells.certificates.insert(key.clone(), state.clone()) != Some(state) {
            self.fire(&Fact::Certificate(key.clone()));
        }
    }
}

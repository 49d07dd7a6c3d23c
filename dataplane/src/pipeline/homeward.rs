//! What a rule's filters do with its answer, whoever made it: a backend, the rule, a refusal.

use http::{HeaderValue, Method, Request, Response};
use ravelin_snapshot::filter::Algorithm;

use crate::{
    body::AnswerBody,
    filter::{Filters, cors},
};

/// Filters, and what they want to know of the request, which is gone by then.
pub(super) struct Homeward<'t> {
    filters: &'t Filters,
    origin: Option<HeaderValue>,
    /// How the answer is compressed, if it is.
    compression: Option<Algorithm>,
    head: bool,
}

impl<'t> Homeward<'t> {
    pub(super) fn new<B>(filters: &'t Filters, request: &Request<B>) -> Self {
        let headers = request.headers();
        Self {
            filters,
            origin: filters.cors.as_ref().and_then(|_| cors::one_origin(headers).cloned()),
            compression: filters.compression.as_ref().and_then(|compression| compression.choose(headers)),
            head: request.method() == Method::HEAD,
        }
    }

    pub(super) fn apply(self, mut answer: Response<AnswerBody>) -> Response<AnswerBody> {
        if let Some(cors) = &self.filters.cors {
            cors.tell(self.origin.as_ref(), answer.headers_mut());
        }
        match &self.filters.compression {
            Some(compression) => compression.apply(self.compression, self.head, answer),
            None => answer,
        }
    }
}

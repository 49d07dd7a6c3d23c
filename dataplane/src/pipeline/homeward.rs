//! What a rule's filters do with its answer, whoever made it: a backend, the rule, a refusal.

use http::{HeaderValue, Request, Response};

use crate::{
    body::AnswerBody,
    filter::{Filters, cors},
};

/// Filters, and what they want to know of the request, which is gone by then.
pub(super) struct Homeward<'t> {
    filters: &'t Filters,
    origin: Option<HeaderValue>,
}

impl<'t> Homeward<'t> {
    pub(super) fn new<B>(filters: &'t Filters, request: &Request<B>) -> Self {
        Self { filters, origin: filters.cors.as_ref().and_then(|_| cors::one_origin(request.headers()).cloned()) }
    }

    pub(super) fn apply(self, mut answer: Response<AnswerBody>) -> Response<AnswerBody> {
        if let Some(cors) = &self.filters.cors {
            cors.tell(self.origin.as_ref(), answer.headers_mut());
        }
        answer
    }
}

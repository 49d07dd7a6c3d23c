//! Identical requests that share a call.

use ravelin_crds::Coalesce;
use ravelin_snapshot::filter;

use crate::compile::{
    notes::{Field, Notes},
    text::{self, Type},
};

/// `None` and a note if the key has no meaning.
pub(super) fn compile(said: &Coalesce, field: Field<'_>, notes: &mut Notes) -> Option<filter::Coalesce> {
    let Coalesce { key } = said;
    let key = match key {
        Some(key) => Some(text::expression(key, Type::String, field.member("key"), notes)?),
        None => None,
    };
    Some(filter::Coalesce { key })
}

//! Compression of answers.

use ravelin_crds::{Compression, CompressionAlgorithm};
use ravelin_snapshot::filter::{self, Algorithm};

use crate::compile::{
    notes::{Field, Notes},
    text,
};

/// Media types of one filter, at most.
const MAX_TYPES: usize = 64;

const MIN_SIZE: u64 = 1024;

pub(super) fn compile(said: &Compression, field: Field<'_>, notes: &mut Notes) -> filter::Compression {
    let Compression { algorithms, types, min_size } = said;
    let all = [CompressionAlgorithm::Zstd, CompressionAlgorithm::Br, CompressionAlgorithm::Gzip];
    let said = algorithms.as_deref().unwrap_or(&all);
    if said.is_empty() {
        notes.invalid(field.member("algorithms"), "the list is empty", "Leave it out, or name zstd, br or gzip.");
    }
    let mut algorithms = Vec::with_capacity(said.len());
    for (index, algorithm) in said.iter().enumerate() {
        let algorithm = match algorithm {
            CompressionAlgorithm::Zstd => Algorithm::Zstd,
            CompressionAlgorithm::Br => Algorithm::Br,
            CompressionAlgorithm::Gzip => Algorithm::Gzip,
        };
        if algorithms.contains(&algorithm) {
            notes.invalid(field.member("algorithms").item(index), "it is there twice", "Leave one of them out.");
        } else {
            algorithms.push(algorithm);
        }
    }
    let types = types.as_ref().map(|said| self::types(said, field.member("types"), notes));
    filter::Compression {
        algorithms,
        types: types.unwrap_or_else(|| ["text/*", "application/json"].map(str::to_owned).to_vec()),
        min_size: min_size.as_ref().map_or(MIN_SIZE, |size| size.bytes()),
    }
}

fn types(said: &[String], field: Field<'_>, notes: &mut Notes) -> Vec<String> {
    if said.is_empty() || said.len() > MAX_TYPES {
        let message = format!("{} media types, where there may be 1 to {MAX_TYPES}", said.len());
        notes.invalid(field, message, "Leave the field out, or name some.");
    }
    let mut types = Vec::with_capacity(said.len());
    for (index, said) in said.iter().enumerate().take(MAX_TYPES) {
        let lower = said.to_ascii_lowercase();
        let sound = lower.split_once('/').is_some_and(|(kind, subtype)| {
            let plain = |text: &str| !text.is_empty() && !text.contains(['*', ';', ' ', '/']);
            plain(kind) && (subtype == "*" || plain(subtype))
        });
        if sound {
            types.push(lower);
        } else {
            let message = format!("{} is no media type", text::shown(said));
            notes.invalid(field.item(index), message, "Write it as text/* or application/json.");
        }
    }
    types
}

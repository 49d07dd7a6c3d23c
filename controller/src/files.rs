//! The source without a cluster: a folder of YAML and JSON files, read strictly and followed.
//!
//! The way of a text, bottom up: [`yaml`] reads it as `kubectl` does and keeps places, [`schema`] holds it against what an
//! API server would admit, [`document`] makes an object of it, [`file`](mod@file) a file, [`folder`] a world, and [`follow`]
//! another world after each change. [`once`] reads the same without following.

mod document;
mod file;
mod finding;
mod folder;
mod follow;
mod once;
mod schema;
mod yaml;

pub use finding::FileFinding;
pub use follow::{FollowError, follow};
pub use once::{Once, Positions, STANDARD_INPUT, read_once, read_text_once};
pub use yaml::Place;

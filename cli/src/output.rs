//! `-o`.

use clap::ValueEnum;

/// How a subcommand shows what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

//! Files, folders or the standard input, read once: for `check` and `explain`.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    file::{self, Reading},
    finding::{FileFinding, error},
    folder::{Listing, MAX_FILES, read_text, text_of, walk},
    yaml::{Node, Place},
};
use crate::{object::ObjectRef, publish::World, verdict::Reason};

/// The name of the standard input, as an argument and in findings.
pub const STANDARD_INPUT: &str = "-";

/// What some files amount to.
#[derive(Debug, Default)]
pub struct Once {
    pub world: World,
    pub positions: Positions,
    /// Whether all that was named could be read at all, well-formed or not.
    pub complete: bool,
    /// Device and inode of the files that were read: one that is named twice says its things once.
    seen: HashSet<(u64, u64)>,
}

/// Where objects and their fields stand.
#[derive(Debug, Default)]
pub struct Positions {
    objects: BTreeMap<ObjectRef, (String, Place, Node)>,
}

impl Positions {
    /// The file and the place of a field such as `spec.rules[2].name`, or the nearest thing around it that is there.
    pub fn locate(&self, object: &ObjectRef, field: &str) -> Option<(&str, Place)> {
        let (file, place, root) = self.objects.get(object)?;
        Some((file, if field.is_empty() { *place } else { root.locate(field) }))
    }
}

/// Reads `paths`; `-` is the standard input. Files are read whatever they are called; of folders, what a folder that is
/// followed would give.
pub fn read_once(paths: &[PathBuf]) -> Once {
    let mut once = Once { complete: true, ..Once::default() };
    for path in paths {
        if path.as_os_str() == STANDARD_INPUT {
            once.take(STANDARD_INPUT, text_of(std::io::stdin().lock()));
        } else if path.is_dir() {
            let Listing { files, findings, complete, .. } = walk(path, MAX_FILES, &mut |_| {});
            once.complete &= complete && findings.is_empty();
            once.world.findings.extend(findings);
            files.keys().for_each(|file| once.file(file));
        } else {
            once.file(path);
        }
    }
    once
}

/// Reads a text that is called `name`.
pub fn read_text_once(name: &str, text: impl Read) -> Once {
    let mut once = Once { complete: true, ..Once::default() };
    once.take(name, text_of(text));
    once
}

impl Once {
    fn file(&mut self, path: &Path) {
        if std::fs::metadata(path).is_ok_and(|file| file.is_file() && !self.seen.insert((file.dev(), file.ino()))) {
            return;
        }
        self.take(&path.display().to_string(), read_text(path));
    }

    fn take(&mut self, name: &str, text: Result<String, super::folder::Unreadable>) {
        let Reading { items, findings } = match text {
            Ok(text) => file::read(name, &text, &|_| false),
            Err(failure) => {
                self.complete = false;
                self.world.findings.push(FileFinding::unreadable(name, failure.message, failure.remedy));
                return;
            }
        };
        self.world.findings.extend(findings);
        for item in items {
            let reference = item.object.reference();
            if let Some((other, place, _)) = self.positions.objects.get(&reference) {
                let message = format!("{reference} is also in {other}, line {}, which counts", place.line);
                let field = "metadata.name".to_owned();
                let finding = error(Reason::Conflicted, field, message, "remove or rename one of the two");
                self.world.findings.push(FileFinding::new(name, item.place, Some(reference), finding));
                continue;
            }
            self.positions.objects.insert(reference, (name.to_owned(), item.place, item.root));
            self.world.model.set(item.object);
        }
    }
}

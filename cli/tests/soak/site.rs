//! The folder that is edited: what its files say, what is in force of it, and what is changed next.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_controller::{
    compile::{Options, compile, digest},
    files::read_text_once,
    verdict::Severity,
};
use serde_json::Value;

/// Routes that the edits change, each with a host of its own. The last ones are in a mounted folder.
pub(crate) const SLOTS: usize = 12;
const MOUNTED: usize = 3;

/// What a request for the host of a slot is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Absent,
    Direct(usize),
    Split { version: usize, a: u64, b: u64 },
    MissingBackend,
    Guarded(usize),
    Closed,
    Limited(usize),
    RuleBroken,
    PolicyBroken,
}

/// All that an answer depends on.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) slots: Vec<Say>,
    /// Which of its two endpoints backend `a` has.
    pub(crate) a: usize,
    /// Whether the clients' key is the one that is known.
    pub(crate) key: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Syntax,
    UnknownField,
    Regex,
    HugeRegex,
    WrongType,
    Policy,
}

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Slot { number: usize, slot: usize, say: Say, fault: Option<Fault> },
    Delete { slot: usize },
    Recreate { slot: usize, say: Say },
    Mount { number: usize, says: Vec<(Say, Option<Fault>)> },
    Backend { a: usize },
    Key { known: bool },
}

/// splitmix64.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// One file: what stands in it, and what it last said that was sound, or else what is sound of it.
#[derive(Clone, Debug)]
struct File {
    text: String,
    said: String,
    passed: bool,
}

pub(crate) struct Site {
    ports: [u16; 4],
    files: BTreeMap<String, File>,
    state: State,
}

/// What the compiler makes of what is in force.
pub(crate) struct Fresh {
    pub(crate) table: Value,
    pub(crate) messages: BTreeSet<String>,
    pub(crate) digest: String,
}

pub(crate) fn slot_file(slot: usize) -> String {
    format!("slot{slot}.yaml")
}

fn is_mounted(slot: usize) -> bool {
    slot >= SLOTS - MOUNTED
}

impl Site {
    /// Ports of the backends steady, a0, a1 and b.
    pub(crate) fn new(ports: [u16; 4]) -> Self {
        let state = State { slots: vec![Say::Direct(0); SLOTS], a: 0, key: true };
        let mut site = Self { ports, files: BTreeMap::new(), state };
        site.put("steady.yaml", steady(ports));
        site.put("a.yaml", backend("a", ports[1]));
        site.put("key.yaml", key(true));
        (0..SLOTS).for_each(|slot| site.put(&slot_file(slot), route(slot, Say::Direct(0), None, 0)));
        site
    }

    pub(crate) fn state(&self) -> State {
        self.state.clone()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.files[name].text.clone()
    }

    fn of(&self, mounted: bool) -> impl Iterator<Item = (String, String)> + '_ {
        let is_mounted = |name: &str| (0..SLOTS).any(|slot| is_mounted(slot) && slot_file(slot) == name);
        self.files.iter().filter(move |(name, _)| is_mounted(name) == mounted).map(|(n, f)| (n.clone(), f.text.clone()))
    }

    pub(crate) fn plain_files(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.of(false)
    }

    pub(crate) fn mounted_files(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.of(true)
    }

    /// Where a file is broken: where it is, and what it last said.
    pub(crate) fn said_files(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let folder = |name: &str| match self.mounted_files().any(|(mounted, _)| mounted == name) {
            true => format!("mounted/..data/{name}"),
            false => name.to_owned(),
        };
        let differing = self.files.iter().filter(|(_, file)| file.text != file.said);
        differing.map(move |(name, file)| (folder(name), file.said.clone()))
    }

    /// Reads, checks and compiles all of it anew.
    pub(crate) fn fresh(&self) -> Fresh {
        let said: Vec<_> = self.files.values().map(|file| file.said.as_str()).collect();
        let model = read_text_once("all", said.join("---\n").as_bytes()).world.model;
        let mut compiled = compile(&model, Options::default(), None);
        let mut messages: BTreeSet<_> =
            compiled.verdicts.iter().flat_map(|(_, verdict)| &verdict.findings).map(|f| f.message.clone()).collect();
        for (name, file) in &self.files {
            if !file.passed || file.text != file.said {
                let findings = read_text_once(name, file.text.as_bytes()).world.findings;
                messages.extend(findings.into_iter().map(|found| found.finding.message));
            }
        }
        let digest = digest(&compiled).to_string();
        compiled.snapshot.revision.0 = 0;
        Fresh { table: serde_json::to_value(&compiled.snapshot).unwrap(), messages, digest }
    }

    pub(crate) fn draw(&self, number: usize, seed: &mut Seed) -> Edit {
        let slot = seed.below((SLOTS - MOUNTED) as u64) as usize;
        let there = self.files.contains_key(&slot_file(slot));
        let say = say(number, seed);
        match seed.below(20) {
            0 => Edit::Backend { a: 1 - self.state.a },
            1 => Edit::Key { known: !self.state.key },
            2..=3 if there => Edit::Delete { slot },
            4 if there => Edit::Recreate { slot, say },
            5..=6 => {
                let draw = |slot| self.of_slot(slot, number, seed);
                Edit::Mount { number, says: (SLOTS - MOUNTED..SLOTS).map(draw).collect() }
            }
            _ => {
                let (say, fault) = self.of_slot(slot, number, seed);
                Edit::Slot { number, slot, say, fault }
            }
        }
    }

    /// Sound or broken. A file that never passed is not broken in its syntax: who is closed by that is another test's.
    fn of_slot(&self, slot: usize, number: usize, seed: &mut Seed) -> (Say, Option<Fault>) {
        let passed = self.files.get(&slot_file(slot)).is_some_and(|file| file.passed);
        let fault = match seed.below(12) {
            0 if passed => Some(Fault::Syntax),
            1 => Some(Fault::UnknownField),
            2 => Some(Fault::Regex),
            3 => Some(Fault::HugeRegex),
            4 => Some(Fault::WrongType),
            5 => Some(Fault::Policy),
            _ => None,
        };
        // A policy of its own would be one too many.
        let say = if fault.is_some() { Say::Direct(number) } else { say(number, seed) };
        (say, fault)
    }

    pub(crate) fn state_after(&self, edit: &Edit) -> State {
        let mut state = self.state.clone();
        match edit {
            Edit::Slot { slot, say, fault, .. } => state.slots[*slot] = self.after(*slot, *say, *fault),
            Edit::Delete { slot } => state.slots[*slot] = Say::Absent,
            Edit::Recreate { slot, say } => state.slots[*slot] = *say,
            Edit::Mount { says, .. } => {
                for (slot, (say, fault)) in (SLOTS - MOUNTED..SLOTS).zip(says) {
                    state.slots[slot] = self.after(slot, *say, *fault);
                }
            }
            Edit::Backend { a } => state.a = *a,
            Edit::Key { known } => state.key = *known,
        }
        state
    }

    /// What is broken changes nothing, unless nothing sound was there.
    fn after(&self, slot: usize, say: Say, fault: Option<Fault>) -> Say {
        let passed = self.files.get(&slot_file(slot)).is_some_and(|file| file.passed);
        match fault {
            None => say,
            Some(_) if passed => self.state.slots[slot],
            Some(Fault::Policy) => Say::PolicyBroken,
            Some(_) => Say::RuleBroken,
        }
    }

    pub(crate) fn apply(&mut self, edit: &Edit) {
        self.state = self.state_after(edit);
        match edit {
            Edit::Slot { number, slot, say, fault } => self.put(&slot_file(*slot), route(*slot, *say, *fault, *number)),
            Edit::Delete { slot } => drop(self.files.remove(&slot_file(*slot))),
            Edit::Recreate { slot, say } => self.put(&slot_file(*slot), route(*slot, *say, None, 0)),
            Edit::Mount { number, says } => {
                for (slot, (say, fault)) in (SLOTS - MOUNTED..SLOTS).zip(says) {
                    self.put(&slot_file(slot), route(slot, *say, *fault, *number));
                }
            }
            Edit::Backend { a } => self.put("a.yaml", backend("a", self.ports[1 + a])),
            Edit::Key { known } => self.put("key.yaml", key(*known)),
        }
    }

    fn put(&mut self, name: &str, text: String) {
        let findings = read_text_once(name, text.as_bytes()).world.findings;
        let sound = findings.iter().all(|found| found.finding.severity != Severity::Error);
        match self.files.get_mut(name) {
            Some(file) if file.passed && !sound => file.text = text,
            _ => drop(self.files.insert(name.to_owned(), File { said: text.clone(), text, passed: sound })),
        }
    }
}

impl Edit {
    /// Of an edit of one file.
    pub(crate) fn file(&self) -> String {
        match self {
            Self::Slot { slot, .. } | Self::Delete { slot } | Self::Recreate { slot, .. } => slot_file(*slot),
            Self::Backend { .. } => "a.yaml".to_owned(),
            Self::Key { .. } => "key.yaml".to_owned(),
            Self::Mount { .. } => panic!("several files"),
        }
    }
}

fn say(version: usize, seed: &mut Seed) -> Say {
    match seed.below(8) {
        0 => Say::Direct(version),
        1 => Say::MissingBackend,
        2 => Say::Guarded(version),
        3 => Say::Closed,
        4 => Say::Limited(version),
        5 => Say::Split { version, a: 0, b: 1 },
        6 => Say::Split { version, a: 1, b: 0 },
        _ => Say::Split { version, a: 1 + seed.below(9), b: 1 + seed.below(9) },
    }
}

fn steady(ports: [u16; 4]) -> String {
    let route = "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {name: steady}\n\
                 spec:\n  hostnames: [steady.example]\n  rules:\n  - backendRefs: [{kind: Backend, name: steady}]\n";
    format!("{route}---\n{}---\n{}", backend("steady", ports[0]), backend("b", ports[3]))
}

fn backend(name: &str, port: u16) -> String {
    format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {name}}}\n\
         spec:\n  endpoints: [{{address: 127.0.0.1, port: {port}}}]\n"
    )
}

/// The key that the clients send, or another one. The sums are of `alpha` and `beta`; the live table shows neither, so that
/// only the ids tell which of the two is in force.
fn key(known: bool) -> String {
    let (id, sum) = match known {
        true => ("alpha", "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"),
        false => ("beta", "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753"),
    };
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: key, labels: {{app: soak}}}}\ntype: ravelin.dev/api-key\n\
         stringData: {{id: {id}, sha256: {sum}}}\n"
    )
}

fn route(slot: usize, say: Say, fault: Option<Fault>, number: usize) -> String {
    let version = |version| {
        format!("    filters: [{{responseHeaderModifier: {{set: [{{name: x-version, value: \"{version}\"}}]}}}}]\n")
    };
    let to = |refs: &str| format!("    backendRefs: [{refs}]\n");
    let b = || to("{kind: Backend, name: b}");
    let (body, policy) = match say {
        Say::Direct(v) => (format!("    filters: [{{directResponse: {{status: 200, body: \"direct {v}\"}}}}]\n"), ""),
        Say::Split { version: v, a, b } => {
            let refs = format!("{{kind: Backend, name: a, weight: {a}}}, {{kind: Backend, name: b, weight: {b}}}");
            (version(v) + &to(&refs), "")
        }
        Say::MissingBackend => (to("{kind: Backend, name: nobody}"), ""),
        Say::Guarded(v) => {
            (version(v) + &b(), "AuthPolicy: authentication: {apiKey: {selector: {matchLabels: {app: soak}}}}")
        }
        Say::Closed => (b(), "AuthPolicy: network: {deny: [127.0.0.0/8]}"),
        Say::Limited(v) => (version(v) + &b(), "RateLimitPolicy: limits: [{name: few, rate: {requests: 3, per: 1m}}]"),
        Say::Absent | Say::RuleBroken | Say::PolicyBroken => panic!("no file says that"),
    };
    let wrong = match fault {
        None | Some(Fault::Syntax | Fault::Policy) => String::new(),
        Some(Fault::UnknownField) => format!("    surprise{number}: true\n"),
        Some(Fault::Regex) => format!("    matches: [{{path: {{type: RegularExpression, value: \"/({number}\"}}}}]\n"),
        Some(Fault::HugeRegex) => {
            format!(
                "    matches: [{{path: {{type: RegularExpression, value: \"/((a{{1000}}){{1000}}){{{number}}}\"}}}}]\n"
            )
        }
        Some(Fault::WrongType) => format!("    timeouts: {{request: [{number}]}}\n"),
    };
    let policy = match fault {
        Some(Fault::Policy) => format!("AuthPolicy: surprise{number}: true"),
        _ => policy.to_owned(),
    };
    let mut text = format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: slot{slot}}}\n\
         spec:\n  hostnames: [slot{slot}.example]\n  rules:\n  - name: all\n{wrong}{body}"
    );
    if let Some((kind, spec)) = policy.split_once(": ") {
        text += &format!(
            "---\napiVersion: ravelin.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: slot{slot}}}\n\
             spec:\n  targetRefs: [{{kind: ApiRoute, name: slot{slot}}}]\n  {spec}\n"
        );
    }
    if matches!(fault, Some(Fault::Syntax)) {
        text += &format!("---\nkind: [{number}\n");
    }
    text
}

use ravelin_crds::AuthPolicySpec;
use ravelin_snapshot::{
    ObjectKey, Revision,
    channel::{Delivery, Refusal},
};
use serde_json::json;

use super::*;
use crate::{
    compile::Compiled,
    object::{AnyObject, Object},
    publish::World,
    replica::{Identity, lease_of, roster_of, roster_seen},
    verdict::{Reason, State},
};

fn object() -> ObjectRef {
    ObjectRef::new(Kind::AuthPolicy, ObjectKey::new("shop", "p"))
}

/// A policy at this generation and version, judged so, with a status that says `written`.
fn published(generation: i64, version: u64, accepted: bool, written: Written) -> Arc<Published> {
    let meta = Meta { key: object().key, generation, resource_version: Some(version), ..Meta::default() };
    let mut world = World::default();
    world.model.set(AnyObject::AuthPolicy(Object::new(meta, AuthPolicySpec::default())));
    world.observed.marks.set("AuthPolicy".to_owned(), version);
    world.observed.marks.set("ApiRoute".to_owned(), 99);
    world.observed.written.set(object(), written);
    let state = |status, reason| State { status, reason, message: String::new().into() };
    let verdict = Verdict {
        generation,
        accepted: state(accepted, if accepted { Reason::Accepted } else { Reason::Conflicted }),
        resolved_refs: state(true, Reason::ResolvedRefs),
        findings: Vec::new(),
    };
    let mut compiled = Compiled::default();
    compiled.verdicts.set(object(), verdict);
    let (world, compiled) = (Arc::new(world), Arc::new(compiled));
    Arc::new(Published { world, handed_on: Arc::clone(&compiled), compiled, revision: Revision(1) })
}

/// What the API server says once a step is written.
fn echo(step: &Step) -> Written {
    let conditions = step.wanted.conditions(&step.written, jiff::Timestamp::UNIX_EPOCH);
    Written::read(&conditions, &[])
}

fn serves(version: u64) -> Marks {
    Marks::only("AuthPolicy", version)
}

#[test]
fn one_write_says_it_all_when_the_replicas_are_fast_and_its_echo_ends_it() {
    let (now, mut ledger) = (Instant::now(), Ledger::default());
    ledger.published(published(1, 10, true, Written::default()), now);
    assert_eq!(
        ledger.next(&roster_of([("a", serves(9)), ("b", serves(10))], now), now),
        None,
        "it may come in a moment"
    );
    ledger.look_at_all();
    let all = roster_of([("a", serves(10)), ("b", serves(12))], now);
    let step = ledger.next(&all, now).expect("a write");
    assert!(step.wanted.programmed.truth);
    ledger.look_at_all();
    assert_eq!(ledger.next(&all, now), None, "one write at a time");
    ledger.done(&step.object, true);
    assert_eq!(ledger.next(&all, now), None, "its echo is on its way");
    ledger.published(published(1, 10, true, echo(&step)), now);
    assert_eq!(ledger.next(&all, now), None);
    assert!(ledger.open.is_empty());
}

#[test]
fn a_laggard_is_named_and_a_write_that_failed_is_tried_again() {
    let (start, mut ledger) = (Instant::now(), Ledger::default());
    ledger.published(published(1, 10, true, Written::default()), start);
    let (now, some) = (start + GRACE, roster_of([("a", serves(9)), ("b", serves(10))], start));
    let step = ledger.next(&some, now).expect("a write");
    let said = &step.wanted.programmed;
    assert_eq!((said.truth, said.reason.as_str(), said.message.as_str()), (false, "Pending", "Not served yet by a."));
    ledger.done(&step.object, false);
    ledger.look_at_all();
    assert_eq!(ledger.next(&some, now), Some(step));
}

#[test]
fn a_silent_replica_does_not_hold_it_back_for_ever_and_is_named() {
    let (start, mut ledger) = (Instant::now(), Ledger::default());
    ledger.published(published(1, 10, true, Written::default()), start);
    let now = start + Duration::from_secs(31);
    let step = ledger.next(&roster_of([("a", serves(9)), ("b", serves(10))], start), now).expect("a write");
    let said = &step.wanted.programmed;
    assert_eq!((said.truth, said.reason.as_str()), (true, "ProgrammedExcept"));
    assert!(said.message.ends_with("30 s: a."), "{}", said.message);
}

/// Two ready replicas of which `a` stands so, and `b` serves revision 1.
fn replicas(a: &Delivery) -> Roster {
    let names = ["a", "b"];
    let pod = |name: &str| {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        serde_json::from_value(json!({"metadata": {"name": name}, "status": ready})).unwrap()
    };
    let serves = Delivery { acknowledged: Some(Revision(1)), ..Delivery::default() };
    let lease = |(name, delivery): (&str, &Delivery)| {
        let pod = name.to_owned();
        let identity = Identity { namespace: "system".into(), pod, uid: None, installation: "ravelin".into() };
        lease_of(&identity, (Revision(1), &self::serves(10)), delivery)
    };
    let leases = names.into_iter().zip([a, &serves]).map(lease).collect();
    roster_seen(names.map(pod).to_vec(), leases)
}

#[test]
fn a_replica_whose_data_plane_refuses_is_named_with_its_reason_until_it_takes_a_later_snapshot() {
    let (now, mut ledger) = (Instant::now(), Ledger::default());
    ledger.published(published(1, 10, true, Written::default()), now);
    let refusal = Refusal { part: "route shop/orders".to_owned(), reason: "too large".to_owned() };
    let refused = Delivery { refused: Some((Revision(1), refusal)), ..Delivery::default() };
    let step = ledger.next(&replicas(&refused), now).expect("a write: waiting would not help");
    let condition = step.wanted.conditions(&step.written, jiff::Timestamp::UNIX_EPOCH).pop().unwrap();
    assert_eq!((condition.type_.as_str(), condition.status.as_str()), ("Programmed", "False"));
    assert_eq!(condition.reason, "Refused");
    let why = "These replicas do not take the latest snapshot: a (revision 1: route shop/orders: too large).";
    assert_eq!(condition.message, why);
    ledger.done(&step.object, true);
    ledger.published(published(1, 10, true, echo(&step)), now);
    assert_eq!(ledger.next(&replicas(&refused), now), None, "it says so already");
    ledger.look_at_all();
    let taken = Delivery { acknowledged: Some(Revision(1)), ..Delivery::default() };
    let step = ledger.next(&replicas(&taken), now).expect("a write");
    assert_eq!((step.wanted.programmed.truth, step.wanted.programmed.reason.as_str()), (true, "Programmed"));
}

#[test]
fn a_new_leader_and_a_new_replica_change_nothing_that_is_programmed() {
    let (now, mut first) = (Instant::now(), Ledger::default());
    first.published(published(1, 10, true, Written::default()), now);
    let step = first.next(&roster_of([("a", serves(10))], now), now).expect("a write");
    let mut second = Ledger::default();
    second.published(published(1, 11, true, echo(&step)), now);
    assert_eq!(second.next(&roster_of([("a", serves(10)), ("c", Marks::default())], now), now + GRACE), None);
    assert!(second.open.is_empty());
}

#[test]
fn what_another_object_repaired_is_programmed_once_that_one_is_served() {
    let (now, mut ledger) = (Instant::now(), Ledger::default());
    ledger.published(published(1, 10, false, Written::default()), now);
    let roster = roster_of([("a", serves(10))], now);
    let refused = ledger.next(&roster, now).expect("a write");
    assert_eq!(refused.wanted.programmed.reason, "Invalid");
    ledger.done(&refused.object, true);
    ledger.published(published(1, 10, true, echo(&refused)), now);
    let step = ledger.next(&roster, now + GRACE).expect("a write");
    assert_eq!(step.wanted.programmed.reason, "Pending", "the replica has not seen ApiRoute 99");
}

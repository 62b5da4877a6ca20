//! Every row of the table, and that instances which see the same records come to the same value.

use std::collections::BTreeSet;

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::reconcile::Decision::{self, Keep, Replace, Suspect, WriteBack};
use super::reconcile::{Held, reconcile};
use crate::store::{Fingerprint, StoredCredential, Version};
use clock::SteadyMillis;

const HOUR: u64 = 3_600_000;

/// A cached copy in a test.
#[derive(Clone, Debug, PartialEq)]
struct Copy {
    value: String,
    version: Version,
    ends: u64,
    is_confirmed: bool,
    is_unsaved: bool,
    is_first_hand: bool,
}

fn ours(value: &str, generation: u64) -> Copy {
    let version = Version::ours(generation);
    Copy {
        value: value.to_owned(),
        version,
        ends: HOUR,
        is_confirmed: true,
        is_unsaved: false,
        is_first_hand: false,
    }
}

fn foreign(value: &str, generation: u64) -> Copy {
    Copy {
        version: Version {
            generation,
            is_foreign: true,
        },
        ..ours(value, 0)
    }
}

fn unsaved(copy: Copy) -> Copy {
    Copy {
        is_confirmed: false,
        is_unsaved: true,
        ..copy
    }
}

fn decide(held: Option<&Copy>, stored: Option<&Copy>) -> Decision {
    let value = held.map(|held| SecretString::from(held.value.as_str()));
    let held = held.zip(value.as_ref()).map(|(held, value)| Held {
        value,
        version: held.version,
        ends: SteadyMillis(held.ends),
        is_confirmed: held.is_confirmed,
        is_unsaved: held.is_unsaved,
        is_first_hand: held.is_first_hand,
    });
    reconcile(held, stored.map(stored_as).as_ref())
}

fn stored_as(copy: &Copy) -> StoredCredential {
    StoredCredential {
        value: copy.value.as_str().into(),
        ends: SteadyMillis(copy.ends),
        version: copy.version,
        lifetime: None,
        replaced: None,
    }
}

/// Two renewals at once, because the store lost the first one's lease: the second was granted the
/// value that was there, under a higher generation, before the first was granted a new one.
#[test]
fn a_value_that_was_written_over_the_held_one_is_later_whatever_the_generations() {
    let held = SecretString::from("a");
    let mut stored = stored_as(&ours("b", 6));
    for copy in [ours("a", 7), unsaved(ours("a", 7)), foreign("a", 7)] {
        let held = Held {
            value: &held,
            version: copy.version,
            ends: SteadyMillis(copy.ends),
            is_confirmed: copy.is_confirmed,
            is_unsaved: copy.is_unsaved,
            is_first_hand: copy.is_first_hand,
        };
        stored.replaced = Some(Fingerprint::of("a"));
        assert_eq!(reconcile(Some(held), Some(&stored)), Replace);
        stored.replaced = Some(Fingerprint::of("another"));
        assert_ne!(reconcile(Some(held), Some(&stored)), Replace);
    }
}

#[test]
fn every_row_of_the_table_holds() {
    let longer = Copy {
        ends: 2 * HOUR,
        ..ours("a", 5)
    };
    let first_hand = Copy {
        is_first_hand: true,
        ..ours("a", 5)
    };
    let doubted_store = Copy {
        is_confirmed: false,
        ..ours("a", 5)
    };
    let rows = [
        ("nothing anywhere", None, None, Keep),
        ("a first value", None, Some(ours("a", 5)), Replace),
        ("deleted on purpose", Some(ours("a", 5)), None, Replace),
        (
            "lost by a store that failed",
            Some(doubted_store),
            None,
            WriteBack,
        ),
        ("never stored", Some(unsaved(ours("a", 5))), None, WriteBack),
        (
            "the same value",
            Some(ours("a", 5)),
            Some(ours("a", 5)),
            Keep,
        ),
        (
            "the same value without its companion",
            Some(ours("a", 5)),
            Some(foreign("a", 0)),
            Keep,
        ),
        (
            "the same value, kept too long",
            Some(first_hand.clone()),
            Some(longer.clone()),
            WriteBack,
        ),
        (
            "the same value, read by us with another end",
            Some(ours("a", 5)),
            Some(longer),
            Keep,
        ),
        (
            "the same value, kept shorter",
            Some(first_hand),
            Some(Copy {
                ends: HOUR / 2,
                ..ours("a", 5)
            }),
            Keep,
        ),
        (
            "an older value of ours",
            Some(ours("b", 6)),
            Some(ours("a", 5)),
            WriteBack,
        ),
        (
            "an older value of ours, ours unsaved",
            Some(unsaved(ours("b", 6))),
            Some(ours("a", 5)),
            WriteBack,
        ),
        (
            "a later value of ours",
            Some(ours("a", 5)),
            Some(ours("b", 6)),
            Replace,
        ),
        (
            "a later value, ours never confirmed",
            Some(unsaved(ours("a", 5))),
            Some(ours("b", 6)),
            Replace,
        ),
        (
            "another value at the same generation",
            Some(ours("a", 5)),
            Some(ours("b", 5)),
            Suspect,
        ),
        (
            "a foreign value over ours",
            Some(ours("a", 5)),
            Some(foreign("x", 5)),
            Replace,
        ),
        (
            "a foreign value over ours, unsaved",
            Some(unsaved(ours("a", 5))),
            Some(foreign("x", 5)),
            Suspect,
        ),
        (
            "a foreign value in an older store",
            Some(ours("a", 5)),
            Some(foreign("x", 3)),
            Suspect,
        ),
        (
            "a foreign value without any companion",
            Some(ours("a", 5)),
            Some(foreign("x", 0)),
            Suspect,
        ),
        (
            "a foreign value over a foreign value",
            Some(foreign("x", 5)),
            Some(foreign("y", 5)),
            Replace,
        ),
        (
            "our renewal of a foreign value",
            Some(foreign("x", 5)),
            Some(ours("b", 6)),
            Replace,
        ),
        (
            "what was there before a foreign value",
            Some(foreign("x", 5)),
            Some(ours("a", 5)),
            Suspect,
        ),
        (
            "a foreign value in a store that was set back",
            Some(foreign("x", 5)),
            Some(foreign("y", 3)),
            Suspect,
        ),
        (
            "fetched without a lease, another is there",
            Some(unsaved(ours("a", 0))),
            Some(ours("b", 6)),
            Suspect,
        ),
    ];
    for (what, held, stored, decision) in rows {
        assert_eq!(decide(held.as_ref(), stored.as_ref()), decision, "{what}");
    }
}

fn any_copy() -> impl Strategy<Value = Copy> {
    let flags = (any::<bool>(), any::<bool>());
    (0..4_u8, 0..5_u64, flags).prop_map(|(value, generation, (is_foreign, is_unsaved))| {
        let name = char::from(b'a' + value).to_string();
        let copy = if is_foreign {
            foreign(&name, generation)
        } else {
            ours(&name, generation)
        };
        // A foreign value comes from a store, so the store has had it.
        if is_unsaved && !is_foreign {
            unsaved(copy)
        } else {
            copy
        }
    })
}

/// One look of an instance at the store, and its write-back if it comes to that.
fn look(held: &mut Option<Copy>, stored: &mut Option<Copy>) {
    match decide(held.as_ref(), stored.as_ref()) {
        Decision::Keep => {
            if let (Some(held), Some(stored)) = (held.as_mut(), stored.as_ref()) {
                if !stored.version.is_foreign
                    && (held.version.is_foreign
                        || stored.version.generation > held.version.generation)
                {
                    held.version = stored.version;
                }
                (held.is_confirmed, held.is_unsaved) = (true, false);
            }
        }
        Decision::Replace | Decision::Suspect => *held = stored.clone(),
        Decision::WriteBack => {
            let Some(held) = held else { return };
            (held.is_confirmed, held.is_unsaved) = (true, false);
            // A foreign copy that the store lacks gets a generation with its lease.
            if held.version.is_foreign {
                held.version = Version::ours(held.version.generation + 1);
            }
            *stored = Some(held.clone());
        }
    }
}

proptest! {
    #[test]
    fn instances_that_see_the_same_records_agree(
        copies in prop::collection::vec(prop::option::of(any_copy()), 2..4),
        stored in prop::option::of(any_copy()),
    ) {
        let (mut copies, mut stored) = (copies, stored.map(|copy| Copy { is_confirmed: true, is_unsaved: false, ..copy }));
        for _ in 0..4 {
            for held in &mut copies {
                look(held, &mut stored);
            }
        }
        let values: BTreeSet<_> = copies.iter().flatten().map(|copy| copy.value.clone()).collect();
        prop_assert!(values.len() <= 1, "{copies:?} {stored:?}");
        prop_assert_eq!(values.first().cloned(), stored.map(|stored| stored.value));
    }

    #[test]
    fn a_decision_depends_on_what_it_is_given_alone(held in any_copy(), stored in any_copy()) {
        prop_assert_eq!(decide(Some(&held), Some(&stored)), decide(Some(&held), Some(&stored)));
        // Nothing that is known to be later is given up for what is known to be earlier.
        let is_older = !held.version.is_foreign && !stored.version.is_foreign && stored.version.generation < held.version.generation;
        if is_older && held.value != stored.value {
            prop_assert_eq!(decide(Some(&held), Some(&stored)), Decision::WriteBack);
        }
    }
}

#[test]
fn a_secret_is_compared_and_never_shown() {
    let held = stored_as(&ours("secret", 1));
    assert!(
        !format!("{held:?}").contains("secret-value") && held.value.expose_secret() == "secret"
    );
}

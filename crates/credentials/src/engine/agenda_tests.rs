//! Tests of the queue in one thread; `tests/shuttle` tests it with several.

use super::agenda::*;
use clock::SteadyMillis;

#[test]
fn what_is_due_comes_in_its_order_and_once() {
    let agenda = Agenda::default();
    agenda.set("wx1", SteadyMillis(30));
    agenda.set("wx2", SteadyMillis(10));
    agenda.set("wx1", SteadyMillis(20));
    assert_eq!(agenda.earliest(), Some(SteadyMillis(10)));
    assert_eq!(agenda.take_due(SteadyMillis(20)), ["wx2", "wx1"]);
    assert!(agenda.take_due(SteadyMillis(99)).is_empty());
}

#[test]
fn an_earlier_appointment_is_not_put_off() {
    let agenda = Agenda::default();
    agenda.set("wx1", SteadyMillis(10));
    agenda.set_no_later("wx1", SteadyMillis(50));
    assert_eq!(agenda.earliest(), Some(SteadyMillis(10)));
    agenda.set_no_later("wx1", SteadyMillis(5));
    assert_eq!(agenda.earliest(), Some(SteadyMillis(5)));
}

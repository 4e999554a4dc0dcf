use adit_core::domain::id::OrganizationId;

use super::*;

const LEAF: KeyFingerprint = KeyFingerprint::from_bytes([9; 32]);

const fn server(number: u8) -> ServerId {
    ServerId::from_bytes([number; 16])
}

const fn route(number: u8) -> RouteId {
    RouteId::from_bytes([number; 8])
}

fn routes(numbers: &[u8]) -> BTreeSet<RouteId> {
    numbers.iter().map(|number| route(*number)).collect()
}

fn relayed(number: u8, peers: &[u8]) -> Relayed {
    let organization = OrganizationId::from_bytes([1; 16]);
    Relayed { route: route(number), organization, key: LEAF, peers: routes(peers) }
}

fn concerned(numbers: &[u8]) -> Concerned {
    Concerned::Servers(numbers.iter().map(|number| server(*number)).collect())
}

/// Lets a server in as the keeper does; returns its link's number.
fn join(members: &mut Members, number: u8, peers: &[u8]) -> u64 {
    let read = members.begin_join(server(number));
    assert!(!members.end_join(server(number), read));
    members.insert(server(number), Member::new(route(number), LEAF, routes(peers), read))
}

#[test]
fn a_change_looks_at_the_members_among_those_it_names() {
    let mut members = Members::default();
    join(&mut members, 1, &[2]);
    join(&mut members, 2, &[1]);
    assert_eq!(members.note_changed(&concerned(&[2, 3])), [server(2)]);
    assert_eq!(members.note_changed(&Concerned::All), [server(1), server(2)]);
}

#[test]
fn the_relay_is_told_what_differs_and_nothing_else() {
    let mut members = Members::default();
    join(&mut members, 1, &[2]);
    let mut set = |found| {
        let read = members.begin_read();
        members.set(server(1), found, read)
    };
    assert_eq!(set(Some(relayed(1, &[2]))), None);
    let (before, peers) = (routes(&[2]), routes(&[2, 3]));
    assert_eq!(set(Some(relayed(1, &[2, 3]))), Some(Change::Permitted { route: route(1), before, peers }));
    assert_eq!(set(Some(relayed(1, &[2, 3]))), None);
    assert_eq!(set(None), Some(Change::Removed { route: route(1) }));
    assert_eq!(set(None), None, "it is no member any more");
}

#[test]
fn a_member_whose_leaf_is_over_another_key_than_the_one_on_file_is_removed() {
    let mut members = Members::default();
    join(&mut members, 1, &[2]);
    let read = members.begin_read();
    let other = Relayed { key: KeyFingerprint::from_bytes([8; 32]), ..relayed(1, &[2]) };
    assert_eq!(members.set(server(1), Some(other), read), Some(Change::Removed { route: route(1) }));
}

#[test]
fn of_two_reads_that_end_in_the_wrong_order_the_later_counts() {
    let mut members = Members::default();
    join(&mut members, 1, &[]);
    let (earlier, later) = (members.begin_read(), members.begin_read());
    assert!(members.set(server(1), Some(relayed(1, &[2])), later).is_some());
    assert_eq!(members.set(server(1), Some(relayed(1, &[])), earlier), None);
}

#[test]
fn what_changes_while_a_link_is_let_in_has_it_read_again() {
    let mut members = Members::default();
    for change in [concerned(&[1]), Concerned::All] {
        let read = members.begin_join(server(1));
        assert_eq!(members.note_changed(&change), []);
        assert!(members.end_join(server(1), read));
    }
    let read = members.begin_join(server(1));
    members.note_changed(&concerned(&[2]));
    assert!(!members.end_join(server(1), read), "somebody else's change");
    assert!(members.joining.is_empty());
}

#[test]
fn only_the_latest_link_of_a_server_ends_its_registration() {
    let mut members = Members::default();
    let (older, newer) = (join(&mut members, 1, &[]), join(&mut members, 1, &[]));
    assert_eq!(members.leave(server(1), older), None);
    assert_eq!(members.leave(server(1), newer), Some(route(1)));
    assert_eq!(members.note_changed(&concerned(&[1])), [server(1)], "what it registered has yet to lapse");
}

//! Reads one key of our namespace in Envoy's metadata.
//!
//! Owns telling a key that is empty from one that is not there: the host hands over both as nothing. How a property
//! is read is the host's, what a value means is `tenant`'s.
//!
//! Invariant: a key that is there, whatever its value, is never taken for absent. Where nobody can tell, it counts as
//! there and empty, if that would say something.

use crate::pairs::{Unreadable, find};
use crate::tenant::Place;

/// The keys of which an empty value says something: it refuses the request, or denies the header. Of the others one that
/// is empty is no better than none.
const MEANT_IF_EMPTY: [&str; 2] = ["tenant", "tenant_header"];

/// The value of a key at a place; empty where it has no text, `None` where it is not there. Where a place has no
/// metadata of ours, this asks for one property only.
///
/// Values that are not strings come as Envoy puts them into bytes, which are no tenant id: 8 bytes of a number, one
/// 0 or 1, or pairs.
pub fn value(
    place: Place,
    key: &str,
    property: impl Fn(&[&str]) -> Result<Option<Vec<u8>>, Unreadable>,
) -> Option<Vec<u8>> {
    let namespace = place.property_path();
    match property(namespace) {
        Ok(None) => None,
        Ok(Some(pairs)) => match find(&pairs, key) {
            Ok(found) => found.map(<[u8]>::to_vec),
            Err(Unreadable) => Some(Vec::new()),
        },
        // Another key may be at fault, so this one is asked for by itself. Nothing may mean that it is empty.
        Err(Unreadable) => match property(&[namespace, &[key]].concat()) {
            Ok(None) if !MEANT_IF_EMPTY.contains(&key) => None,
            found => Some(found.ok().flatten().unwrap_or_default()),
        },
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use std::cell::Cell;

    use super::{Place, Unreadable, value};
    use crate::pairs::{entries as all, pairs};

    /// A host whose namespace is as given, and which hands over the key itself as given.
    fn read(
        namespace: &Result<Option<Vec<u8>>, Unreadable>,
        key: Result<Option<&[u8]>, Unreadable>,
    ) -> (Option<Vec<u8>>, usize) {
        let asked = Cell::new(0);
        let property = |path: &[&str]| {
            asked.set(asked.get() + 1);
            if path == Place::Route.property_path() {
                return namespace.clone();
            }
            assert_eq!(path, ["xds", "route_metadata", "filter_metadata", "ringside", "tenant"]);
            key.map(|key| key.map(<[u8]>::to_vec))
        };
        (value(Place::Route, "tenant", property), asked.get())
    }

    const NO_KEY: Result<Option<&[u8]>, Unreadable> = Ok(None);

    #[test]
    fn without_metadata_one_question_is_asked() {
        assert_eq!(read(&Ok(None), NO_KEY), (None, 1));
    }

    #[test]
    fn the_key_is_found_among_others() {
        let entries: [(&str, &[u8]); 3] =
            [("tenant_header", b"deny"), ("tenant", b"team-a"), ("", b"tenant\0team-b")];
        assert_eq!(read(&Ok(Some(pairs(&entries))), NO_KEY), (Some(b"team-a".to_vec()), 1));
        assert_eq!(read(&Ok(Some(pairs(&[("tenant_header", b"tenant")]))), NO_KEY), (None, 1));
        assert_eq!(read(&Ok(Some(pairs(&[]))), NO_KEY), (None, 1));
    }

    #[test]
    fn an_empty_value_is_there() {
        let entries: [(&str, &[u8]); 2] = [("tenant", b""), ("other", b"1")];
        assert_eq!(read(&Ok(Some(pairs(&entries))), NO_KEY).0, Some(Vec::new()));
    }

    #[test]
    fn a_key_beside_a_null_is_read_alone() {
        assert_eq!(read(&Err(Unreadable), Ok(Some(b"team-a"))), (Some(b"team-a".to_vec()), 2));
        // Empty, or not there, or a null itself: nobody can tell.
        assert_eq!(read(&Err(Unreadable), NO_KEY).0, Some(Vec::new()));
        assert_eq!(read(&Err(Unreadable), Err(Unreadable)).0, Some(Vec::new()));
    }

    #[test]
    fn limits_beside_a_null_are_there_or_not() {
        let read = |key: Result<Option<Vec<u8>>, Unreadable>| {
            value(Place::Route, "limits", |path| {
                if path == Place::Route.property_path() { Err(Unreadable) } else { key.clone() }
            })
        };
        assert_eq!(read(Ok(None)), None);
        assert_eq!(read(Ok(Some(pairs(&[])))), Some(pairs(&[])));
        assert_eq!(read(Err(Unreadable)), Some(Vec::new()), "limits with a null within are unusable");
    }

    #[test]
    fn pairs_cut_short_are_not_absent() {
        let entries: [(&str, &[u8]); 2] = [("other", b"1"), ("tenant", b"team-a")];
        let whole = pairs(&entries);
        for length in 0..whole.len() {
            assert_eq!(read(&Ok(Some(whole[..length].to_vec())), NO_KEY).0, Some(Vec::new()), "{length}");
            assert_eq!(all(&whole[..length]), Err(Unreadable));
        }
        assert_eq!(read(&Ok(Some(vec![0xff; 40])), NO_KEY).0, Some(Vec::new()));
        assert_eq!(all(&whole).unwrap(), [(&b"other"[..], &b"1"[..]), (b"tenant", b"team-a")]);
    }
}

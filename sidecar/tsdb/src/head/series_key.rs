//! What names a series: its label set in the one encoding that counts as canonical.
//!
//! The key is the run of label fields of a remote-write 1.0 `TimeSeries` as a careful sender writes it: sorted by
//! name, no empty value, no duplicate, shortest varints. A sender's bytes that equal it need no decoding; any
//! other encoding of the same labels is brought into this form first.

use ringside_proto::labels::label_fields;

use crate::encoding::put_uvarint;
use crate::error::Refusal;

/// A label set, sorted by name.
pub(super) type Labels<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Most labels that a series may have. These three bounds are far beyond any use; what a tenant may do is for the
/// limits above the storage to say. They hold for new series only, never at replay.
const LABELS_MAX: usize = ringside_proto::LABELS_MAX;
/// Longest label name, in bytes.
const NAME_BYTES_MAX: usize = 4 << 10;
/// Longest label value, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

const LABEL: u8 = 0x0a;
const NAME: u8 = 0x0a;
const VALUE: u8 = 0x12;

/// Appends the canonical key of labels that are sorted, unique and without empty values.
pub(super) fn encode(labels: &[(&[u8], &[u8])], out: &mut Vec<u8>) {
    for (name, value) in labels {
        out.push(LABEL);
        put_uvarint(out, label_len(name, value) as u64);
        out.push(NAME);
        put_uvarint(out, name.len() as u64);
        out.extend_from_slice(name);
        out.push(VALUE);
        put_uvarint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

/// The labels that [`encode`] wrote.
pub(super) fn fields(key: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    label_fields(key).map_while(Result::ok).map(|label| (label.name, label.value))
}

/// True if `key` is the canonical key of `labels`.
#[inline]
pub(super) fn matches<'a>(key: &[u8], labels: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> bool {
    strip(key, labels).is_some_and(<[u8]>::is_empty)
}

/// What follows the canonical key of `labels`; `None` where `bytes` do not begin with it.
#[inline]
fn strip<'b, 'a>(bytes: &'b [u8], labels: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<&'b [u8]> {
    let mut rest = bytes;
    for (name, value) in labels {
        rest = strip_label(rest, name, value)?;
    }
    Some(rest)
}

/// Strips the canonical field of one label.
#[inline]
fn strip_label<'k>(key: &'k [u8], name: &[u8], value: &[u8]) -> Option<&'k [u8]> {
    let rest = strip_length(key, LABEL, label_len(name, value))?;
    let rest = strip_length(rest, NAME, name.len())?.strip_prefix(name)?;
    strip_length(rest, VALUE, value.len())?.strip_prefix(value)
}

/// The same as [`strip`], quicker where many labels equal those of `previous`, whose canonical key is `previous_key`:
/// what two series share, they share in both forms, so that one comparison of bytes serves a run of labels. `text`
/// gives a symbol's string.
#[inline]
pub(super) fn strip_beside<'b, 'a>(
    bytes: &'b [u8],
    labels: &[(u32, u32)],
    previous_key: &[u8],
    previous: &[(u32, u32)],
    text: impl Fn(u32) -> &'a [u8],
) -> Option<&'b [u8]> {
    let slowly = || strip(bytes, labels.iter().map(|&(name, value)| (text(name), text(value))));
    if labels.len() != previous.len() {
        return slowly();
    }
    let (mut rest, mut before) = (bytes, previous_key);
    let mut run = 0;
    for (label, previous_label) in labels.iter().zip(previous) {
        let len = match before.get(run..) {
            Some(&[LABEL, len @ ..0x80, ..]) => 2 + usize::from(len),
            Some(&[LABEL, low, high @ ..0x80, ..]) => 3 + (usize::from(low & 0x7f) | usize::from(high) << 7),
            _ => return slowly(),
        };
        if label == previous_label {
            run += len;
            continue;
        }
        let (shared, tail) = rest.split_at_checked(run)?;
        let (expected, skipped) = before.split_at_checked(run)?;
        if shared != expected {
            return None;
        }
        rest = strip_label(tail, text(label.0), text(label.1))?;
        before = skipped.get(len..).unwrap_or_default();
        run = 0;
    }
    rest.strip_prefix(before)
}

/// Decodes label fields in any encoding and order into a valid label set.
///
/// Labels with an empty value are dropped, as Prometheus drops them. Refused: no label left, an empty or
/// repeated name, names or values that are not UTF-8, more or longer ones than the bounds allow.
pub(super) fn parse(bytes: &[u8]) -> Result<Labels<'_>, Refusal> {
    let mut labels = Labels::new();
    for label in label_fields(bytes) {
        match label {
            Ok(_) if labels.len() == LABELS_MAX => {
                return Err(Refusal::InvalidLabels { reason: "more than 1000 labels" });
            }
            Ok(label) => labels.push((label.name, label.value)),
            Err(_) => return Err(Refusal::InvalidLabels { reason: "the labels are not valid protobuf" }),
        }
    }
    labels.sort_by_key(|(name, _)| *name);
    let reason = if labels.iter().any(|(name, _)| name.is_empty()) {
        Some("a label has no name")
    } else if labels.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        Some("a label name is repeated")
    } else if labels.iter().any(|(n, v)| std::str::from_utf8(n).is_err() || std::str::from_utf8(v).is_err()) {
        Some("a label is not valid UTF-8")
    } else if labels.iter().all(|(_, value)| value.is_empty()) {
        Some("the label set is empty")
    } else if labels.iter().any(|(name, _)| name.len() > NAME_BYTES_MAX) {
        Some("a label name is longer than 4 KiB")
    } else if labels.iter().any(|(_, value)| value.len() > VALUE_BYTES_MAX) {
        Some("a label value is longer than 64 KiB")
    } else {
        None
    };
    if let Some(reason) = reason {
        return Err(Refusal::InvalidLabels { reason });
    }
    labels.retain(|(_, value)| !value.is_empty());
    Ok(labels)
}

/// The series that a run of label fields names, for people: `name{a="1", b="2"}`, as far as it can be read and cut
/// off at a length that fits a message.
pub fn display_series(label_bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 400;
    let labels = || label_fields(label_bytes).map_while(Result::ok);
    let mut text = String::new();
    for label in labels().filter(|label| label.name == b"__name__") {
        text.push_str(&String::from_utf8_lossy(label.value));
    }
    text.push('{');
    let mut separator = "";
    for label in labels().filter(|label| label.name != b"__name__") {
        let (name, value) = (String::from_utf8_lossy(label.name), String::from_utf8_lossy(label.value));
        text.push_str(&format!("{separator}{name}={value:?}"));
        separator = ", ";
        if text.len() > CHARS_MAX {
            break;
        }
    }
    if let Some((cut, _)) = text.char_indices().nth(CHARS_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text.push('}');
    text
}

#[inline]
fn label_len(name: &[u8], value: &[u8]) -> usize {
    2 + uvarint_len(name.len()) + name.len() + uvarint_len(value.len()) + value.len()
}

#[inline]
fn uvarint_len(v: usize) -> usize {
    if v < 0x80 {
        return 1;
    }
    let bits = (usize::BITS - (v | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

/// Strips a tag and the shortest varint of `len`.
#[inline]
fn strip_length(bytes: &[u8], tag: u8, len: usize) -> Option<&[u8]> {
    if let &[first, second @ ..0x80, ref rest @ ..] = bytes {
        return (first == tag && usize::from(second) == len).then_some(rest);
    }
    let (&first, mut rest) = bytes.split_first()?;
    if first != tag {
        return None;
    }
    let mut left = len;
    loop {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        let expected = if left >= 0x80 { left as u8 | 0x80 } else { left as u8 };
        if byte != expected {
            return None;
        }
        if left < 0x80 {
            return Some(rest);
        }
        left >>= 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(labels: &[(&str, &str)]) -> Vec<u8> {
        let labels: Vec<_> = labels.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let mut out = Vec::new();
        encode(&labels, &mut out);
        out
    }

    fn reason(labels: &[(&str, &str)]) -> &'static str {
        match parse(&key(labels)) {
            Err(Refusal::InvalidLabels { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_key_matches_its_own_labels_only(
            labels in proptest::collection::btree_map("[a-z]{1,200}", "[a-z]{1,300}", 1..6),
            flip in any::<proptest::sample::Index>(),
        ) {
            let pairs: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let mut bytes = key(&pairs);
            let borrowed: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            prop_assert!(matches(&bytes, borrowed.iter().copied()));
            prop_assert_eq!(parse(&bytes).unwrap(), borrowed.clone());
            prop_assert!(!matches(&bytes[..bytes.len() - 1], borrowed.iter().copied()));
            let at = flip.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(!matches(&bytes, borrowed.iter().copied()));
        }
    }

    proptest! {
        /// Against every neighbour, a key matches the labels that it encodes and no others.
        #[test]
        fn a_neighbour_changes_nothing(
            sets in proptest::collection::vec(proptest::collection::vec((0u32..3, 3u32..7), 0..5), 3),
            long in 100usize..200,
        ) {
            let texts: Vec<Vec<u8>> =
                (0..7u8).map(|i| vec![b'a' + i; if i % 2 == 0 { 1 } else { long }]).collect();
            let text = |symbol: u32| texts[symbol as usize].as_slice();
            let keys: Vec<Vec<u8>> = sets
                .iter()
                .map(|labels| {
                    let mut key = Vec::new();
                    encode(&labels.iter().map(|&(n, v)| (text(n), text(v))).collect::<Vec<_>>(), &mut key);
                    key
                })
                .collect();
            for (previous, previous_key) in sets.iter().zip(&keys) {
                for (labels, key) in sets.iter().zip(&keys) {
                    for other in &keys {
                        let tail = strip_beside(other, labels, previous_key, previous, text);
                        prop_assert_eq!(tail.is_some_and(<[u8]>::is_empty), other == key);
                        prop_assert_eq!(tail, other.strip_prefix(key.as_slice()));
                    }
                }
            }
        }
    }

    #[test]
    fn labels_are_sorted_and_empty_values_dropped() {
        let bytes = key(&[("job", "x"), ("empty", ""), ("__name__", "up")]);
        assert_eq!(parse(&bytes).unwrap(), [(b"__name__".as_slice(), b"up".as_slice()), (b"job", b"x")]);
    }

    #[test]
    fn a_series_is_named_in_any_order_and_bounded() {
        assert_eq!(display_series(&key(&[("job", "a\"b"), ("__name__", "up")])), r#"up{job="a\"b"}"#);
        assert!(display_series(&key(&[("a", &"v".repeat(10_000))])).len() < 500);
        assert_eq!(display_series(&[0xff]), "{}");
    }

    #[test]
    fn what_cannot_name_a_series_is_refused() {
        assert_eq!(reason(&[]), "the label set is empty");
        assert_eq!(reason(&[("a", "")]), "the label set is empty");
        assert_eq!(reason(&[("", "x")]), "a label has no name");
        assert_eq!(reason(&[("a", "1"), ("b", "1"), ("a", "2")]), "a label name is repeated");
        assert_eq!(reason(&[(&"n".repeat(NAME_BYTES_MAX + 1), "x")]), "a label name is longer than 4 KiB");
        assert_eq!(reason(&[("a", &"v".repeat(VALUE_BYTES_MAX + 1))]), "a label value is longer than 64 KiB");
        let names: Vec<String> = (0..=LABELS_MAX).map(|n| format!("l{n:04}")).collect();
        let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert_eq!(reason(&many), "more than 1000 labels");
        many.pop();
        assert_eq!(parse(&key(&many)).unwrap().len(), LABELS_MAX);
        assert_eq!(
            parse(&[0x0a, 0x06, 0x0a, 0x01, b'a', 0x12, 0x01, 0xff]).unwrap_err().to_string(),
            "invalid labels: a label is not valid UTF-8"
        );
    }
}

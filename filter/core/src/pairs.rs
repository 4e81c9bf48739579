//! What proxy-wasm calls pairs: how a host hands over headers and structs of metadata.
//!
//! Owns the bytes' form. It knows neither headers nor metadata.

/// Bytes that are no pairs, or a property that the host cannot hand over, such as a null, or a struct with a null within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The first value of a key.
pub fn find<'a>(pairs: &'a [u8], key: &str) -> Result<Option<&'a [u8]>, Unreadable> {
    let mut pairs = Pairs::new(pairs)?;
    while let Some((name, value)) = pairs.next()? {
        if name == key.as_bytes() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// A key and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The keys and values of a struct or of headers. What is longer than its pairs is no struct: the bytes of a
/// number would pass for one that is empty.
pub fn entries(pairs: &[u8]) -> Result<Vec<Pair<'_>>, Unreadable> {
    let mut entries = Vec::new();
    let mut pairs = Pairs::new(pairs)?;
    while let Some(entry) = pairs.next()? {
        entries.push(entry);
    }
    if pairs.texts.is_empty() { Ok(entries) } else { Err(Unreadable) }
}

/// Their number, the lengths of each key and value, and then each key and value, with a
/// zero after it. Numbers have 32 bits, the lowest byte first.
struct Pairs<'a> {
    lengths: &'a [u8],
    texts: &'a [u8],
}

impl<'a> Pairs<'a> {
    fn new(pairs: &'a [u8]) -> Result<Self, Unreadable> {
        let (count, rest) = number(pairs)?;
        let lengths_end = count.checked_mul(8).ok_or(Unreadable)?;
        let (lengths, texts) = rest.split_at_checked(lengths_end).ok_or(Unreadable)?;
        Ok(Self { lengths, texts })
    }

    fn next(&mut self) -> Result<Option<Pair<'a>>, Unreadable> {
        if self.lengths.is_empty() {
            return Ok(None);
        }
        let (key_len, rest) = number(self.lengths)?;
        let (value_len, rest) = number(rest)?;
        self.lengths = rest;
        Ok(Some((text(&mut self.texts, key_len)?, text(&mut self.texts, value_len)?)))
    }
}

fn number(bytes: &[u8]) -> Result<(usize, &[u8]), Unreadable> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Unreadable)?;
    Ok((u32::from_le_bytes(*number) as usize, rest))
}

fn text<'a>(texts: &mut &'a [u8], len: usize) -> Result<&'a [u8], Unreadable> {
    let (text, rest) = texts.split_at_checked(len).ok_or(Unreadable)?;
    *texts = rest.strip_prefix(&[0]).ok_or(Unreadable)?;
    Ok(text)
}

/// Pairs as a host hands them over.
#[cfg(test)]
pub(crate) fn pairs(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = (entries.len() as u32).to_le_bytes().to_vec();
    for (key, value) in entries {
        out.extend((key.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for (key, value) in entries {
        out.extend([key.as_bytes(), b"\0", value, b"\0"].concat());
    }
    out
}

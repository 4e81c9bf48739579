//! Tenant patterns, as Go's `filepath.Match` understands them on Unix, because
//! that is what Thanos matches with: `*` and `?` match anything but `/`,
//! `[a-z]` and `[^a-z]` any one character, `\` takes the next one literally.
//!
//! Unlike shell globs: `!` does not negate, there are no braces and no `**`,
//! a dot in front is nothing special, and a range from high to low is valid
//! and empty. Unlike Go, a bad pattern is refused when it is read, not when a
//! tenant first meets it.

use std::str::Chars;

/// What is wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// A `[` without its `]`.
    #[error("a [ is not closed")]
    Unclosed,
    /// A class without a character, or with a range that lacks an end.
    #[error("a [] class has no character, or a range in it lacks an end")]
    Class,
    /// A `\` at the end.
    #[error("it ends with a \\")]
    Escape,
}

/// Something that matches one character.
#[derive(Debug, Clone, PartialEq, Eq)]
enum One {
    Literal(char),
    /// `?`
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl One {
    fn matches(&self, c: char) -> bool {
        match self {
            One::Literal(literal) => *literal == c,
            One::Any => c != '/',
            One::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// A pattern: what must stand at the front, then what must follow after each `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
    first: Vec<One>,
    after_stars: Vec<Vec<One>>,
}

impl Glob {
    /// Reads a pattern.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let mut first = Vec::new();
        let mut after_stars: Vec<Vec<One>> = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let one = match c {
                '*' => {
                    // Several in a row are one.
                    if after_stars.last().is_none_or(|chunk| !chunk.is_empty()) {
                        after_stars.push(Vec::new());
                    }
                    continue;
                }
                '?' => One::Any,
                '[' => class(&mut chars)?,
                '\\' => One::Literal(chars.next().ok_or(GlobError::Escape)?),
                c => One::Literal(c),
            };
            after_stars.last_mut().unwrap_or(&mut first).push(one);
        }
        Ok(Self { pattern: pattern.to_owned(), first, after_stars })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let Some(mut rest) = after(&self.first, name) else { return false };
        let Some((last, chunks)) = self.after_stars.split_last() else { return rest.is_empty() };
        for chunk in chunks {
            // The earliest place is as good as any: what follows has a star in front of it.
            match starts(rest).find_map(|from| after(chunk, from)) {
                Some(from) => rest = from,
                None => return false,
            }
        }
        starts(rest).any(|from| after(last, from) == Some(""))
    }
}

/// The places in `name` to which a `*` can reach: no further than the first `/`.
fn starts(name: &str) -> impl Iterator<Item = &str> {
    let reach = name.find('/').unwrap_or(name.len());
    (0..=reach).filter_map(|from| name.get(from..))
}

/// What is left of `name` after the chunk, if it starts with the chunk.
fn after<'a>(chunk: &[One], name: &'a str) -> Option<&'a str> {
    let mut chars = name.chars();
    chunk.iter().all(|one| chars.next().is_some_and(|c| one.matches(c))).then_some(chars.as_str())
}

/// The inside of a class, after its `[`.
fn class(chars: &mut Chars<'_>) -> Result<One, GlobError> {
    let negated = chars.as_str().starts_with('^');
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.as_str().starts_with(']') {
            chars.next();
            return Ok(One::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let mut high = low;
        if chars.as_str().starts_with('-') {
            chars.next();
            high = class_char(chars)?;
        }
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut Chars<'_>) -> Result<char, GlobError> {
    match chars.next() {
        None => Err(GlobError::Unclosed),
        Some('-' | ']') => Err(GlobError::Class),
        Some('\\') => chars.next().ok_or(GlobError::Escape),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn what_go_matches() {
        for (pattern, name) in [
            ("abc", "abc"),
            ("*", "abc"),
            ("*", ""),
            ("*c", "abc"),
            ("a*", "a"),
            ("a*", "abc"),
            ("a*/b", "abc/b"),
            ("a*b*c*d*e*", "axbxcxdxe"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            ("a\\*b", "a*b"),
            ("a?b", "a☺b"),
            ("a[^a]b", "a☺b"),
            ("[a-ζ]*", "α"),
            ("[\\]a]", "]"),
            ("[\\-]", "-"),
            ("[x\\-]", "-"),
            ("[\\-x]", "x"),
            ("*x", "xxx"),
            // A class does match a slash, and "!" is a character like any other.
            ("a[/]b", "a/b"),
            ("[!a]", "!"),
            ("[!a]", "a"),
            // No braces, no "**" across slashes, nothing special about a dot.
            ("{a,b}", "{a,b}"),
            ("*", ".a"),
            ("team-**", "team-a"),
            ("[[]", "["),
            ("[a*]", "*"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_go_does_not_match() {
        for (pattern, name) in [
            ("abc", "abcd"),
            ("", "a"),
            ("a*", "ab/c"),
            ("a*/b", "a/c/b"),
            ("**", "a/b"),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff"),
            ("a*b?c*x", "abxbbxdbxebxczzy"),
            ("ab[e-g]", "abc"),
            ("ab[^c]", "abc"),
            ("ab[^b-d]", "abc"),
            ("a\\*b", "ab"),
            ("a???b", "a☺b"),
            ("a[^a][^a][^a]b", "a☺b"),
            ("*[a-ζ]", "A"),
            ("a?b", "a/b"),
            ("a*b", "a/b"),
            ("[\\-x]", "a"),
            // From high to low: valid, and empty.
            ("[z-a]", "m"),
            ("[!a]", "b"),
            ("{a,b}", "a"),
            ("TEAM", "team"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn bad_patterns() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[]", "[^]"] {
            assert_eq!(Glob::new(pattern), Err(GlobError::Class), "{pattern}");
        }
        for pattern in ["[", "[^", "[^bc", "a[", "[a", "[a-", "team-[abc"] {
            assert_eq!(Glob::new(pattern), Err(GlobError::Unclosed), "{pattern}");
        }
        for pattern in ["\\", "a\\", "[\\"] {
            assert_eq!(Glob::new(pattern), Err(GlobError::Escape), "{pattern}");
        }
    }

    #[test]
    fn many_stars_are_no_trap() {
        let name = "a".repeat(150);
        assert!(!matches(&format!("{}b", "a*".repeat(70)), &name));
    }
}

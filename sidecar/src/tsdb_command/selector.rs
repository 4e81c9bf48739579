//! Which series are meant: a selector as PromQL writes it, `up{job="x", path=~"/api/.*"}`.

use anyhow::{Context, bail};
use regex::bytes::Regex;

/// Matchers that a series must all satisfy.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    matchers: Vec<Matcher>,
}

#[derive(Debug, Clone)]
struct Matcher {
    name: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Selector {
    /// Reads a selector: a metric name, matchers in braces, or both.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        Parser { rest: text.trim() }.selector().with_context(|| format!("selector {text}"))
    }

    /// True if the labels, names and values, satisfy all matchers. A label that is not there is empty.
    pub(super) fn matches<'l>(&self, labels: impl Iterator<Item = (&'l [u8], &'l [u8])> + Clone) -> bool {
        self.matchers.iter().all(|matcher| {
            let found = labels.clone().find(|(name, _)| *name == matcher.name.as_bytes());
            let value = found.map_or(&[][..], |(_, value)| value);
            match &matcher.test {
                Test::Is(text) => value == text.as_bytes(),
                Test::IsNot(text) => value != text.as_bytes(),
                Test::Matches(regex) => regex.is_match(value),
                Test::MatchesNot(regex) => !regex.is_match(value),
            }
        })
    }

    /// A label that every selected series has, if the selector names one.
    pub(super) fn required_label(&self) -> Option<(&[u8], &[u8])> {
        self.matchers.iter().find_map(|matcher| match &matcher.test {
            Test::Is(value) if !value.is_empty() => Some((matcher.name.as_bytes(), value.as_bytes())),
            _ => None,
        })
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn selector(mut self) -> anyhow::Result<Selector> {
        let mut matchers = Vec::new();
        let metric = self.identifier(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        if !metric.is_empty() {
            matchers.push(Matcher { name: "__name__".to_owned(), test: Test::Is(metric) });
        }
        if self.eat("{") {
            while !self.eat("}") {
                matchers.push(self.matcher()?);
                if !self.eat(",") && !self.rest.starts_with('}') {
                    bail!("expected a comma or a brace at {:?}", self.rest);
                }
            }
        }
        if !self.rest.is_empty() {
            bail!("nothing can follow at {:?}", self.rest);
        }
        if matchers.is_empty() {
            bail!("it selects nothing in particular; leave it out to get everything");
        }
        Ok(Selector { matchers })
    }

    fn matcher(&mut self) -> anyhow::Result<Matcher> {
        let name = if self.rest.starts_with('"') {
            self.string()?
        } else {
            self.identifier(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if name.is_empty() {
            bail!("expected a label name at {:?}", self.rest);
        }
        // As Prometheus does: anchored at both ends, and a dot is any character.
        let regex = |text: &str| Regex::new(&format!("^(?s:{text})$")).context("not a regular expression");
        let test = match () {
            () if self.eat("=~") => Test::Matches(regex(&self.string()?)?),
            () if self.eat("!~") => Test::MatchesNot(regex(&self.string()?)?),
            () if self.eat("!=") => Test::IsNot(self.string()?),
            () if self.eat("=") => Test::Is(self.string()?),
            () => bail!("expected =, !=, =~ or !~ at {:?}", self.rest),
        };
        Ok(Matcher { name, test })
    }

    /// Passes over `token` if it is next, and over the space behind it.
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    fn identifier(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        name.to_owned()
    }

    /// A string in double quotes, single quotes or backticks; in the latter nothing is escaped.
    fn string(&mut self) -> anyhow::Result<String> {
        let mut chars = self.rest.chars();
        let quote = chars.next().filter(|c| matches!(c, '"' | '\'' | '`'));
        let quote = quote.with_context(|| format!("expected a quoted string at {:?}", self.rest))?;
        let mut text = String::new();
        loop {
            match chars.next().context("a string has no end")? {
                end if end == quote => break,
                '\\' if quote != '`' => text.push(escaped(&mut chars)?),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str().trim_start();
        Ok(text)
    }
}

/// What follows a backslash.
fn escaped(chars: &mut std::str::Chars<'_>) -> anyhow::Result<char> {
    let digits = match chars.next().context("a string has no end")? {
        'a' => return Ok('\x07'),
        'b' => return Ok('\x08'),
        'f' => return Ok('\x0c'),
        'n' => return Ok('\n'),
        'r' => return Ok('\r'),
        't' => return Ok('\t'),
        'v' => return Ok('\x0b'),
        c @ ('\\' | '"' | '\'') => return Ok(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        c => bail!("\\{c} is no escape"),
    };
    let hex: String = chars.take(digits).collect();
    let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
    code.and_then(char::from_u32).with_context(|| format!("{hex} is no character"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Selector::parse(selector).unwrap().matches(labels)
    }

    #[test]
    fn series_are_selected_as_in_promql() {
        let up = [("__name__", "up"), ("job", "a\"b"), ("path", "/x\ny")];
        for yes in [
            "up",
            " up {} ",
            "{__name__=\"up\"}",
            "up{job='a\"b',}",
            r#"up { job = "a\"b" , path =~ "/x.y" }"#,
            "{path=~`/x\\ny`}",
            r#"{path="/x\u000ay", zone=""}"#,
            "{zone!~\".+\", job!=\"b\"}",
            "{\"job\"=~\"b|a.b\"}",
        ] {
            assert!(matches(yes, &up), "{yes}");
        }
        for no in ["down", "up{job=\"a\"}", "{job=~\"b\"}", "{job=~\"a\"}", "{path!~\"/.*\"}", "{zone!=\"\"}"]
        {
            assert!(!matches(no, &up), "{no}");
        }
    }

    #[test]
    fn what_is_no_selector_says_where() {
        for (text, place) in [
            ("", "selects nothing"),
            ("{}", "selects nothing"),
            ("{a}", "expected =, !=, =~ or !~ at \"}\""),
            ("{a=b}", "expected a quoted string at \"b}\""),
            ("{a=\"b}", "no end"),
            ("{a=\"b\"", "expected a comma or a brace at \"\""),
            ("{a=\"b\" c=\"d\"}", "at \"c=\\\"d\\\"}\""),
            ("{=\"b\"}", "expected a label name"),
            ("up{a=\"b\"} 1", "nothing can follow at \"1\""),
            ("{a=~\"(\"}", "not a regular expression"),
            (r#"{a="\q"}"#, "no escape"),
            (r#"{a="\ud800"}"#, "no character"),
        ] {
            let error = format!("{:#}", Selector::parse(text).unwrap_err());
            assert!(error.contains(place), "{text}: {error}");
        }
    }

    #[test]
    fn a_required_label_narrows_the_search() {
        let label =
            |text| Selector::parse(text).unwrap().required_label().map(|(n, v)| (n.to_vec(), v.to_vec()));
        assert_eq!(label("{a=~\"x\", b=\"\", c=\"y\"}"), Some((b"c".to_vec(), b"y".to_vec())));
        assert_eq!(label("{a!=\"x\"}"), None);
    }
}

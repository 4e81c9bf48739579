//! Values as Go prints them, so that what is printed here and by promtool can be compared line by line.

/// A float as `%g` prints it.
pub(super) fn float(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // The fewest digits that read back as the same float, as Go's are.
    let scientific = format!("{v:e}");
    match scientific.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => v.to_string(),
    }
}

/// A string in double quotes, as `%q` prints it; bytes that are no UTF-8 stand as `\x`.
pub(super) fn quote(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(c, &mut out));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

fn push_escaped(c: char, out: &mut String) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        ' '..='~' => out.push(c),
        '\0'..='\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if is_printable(c) => out.push(c),
        '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// Whether a character shows, which the standard library tells by not escaping it. It escapes combining marks as
/// well, but only at the start of a string.
fn is_printable(c: char) -> bool {
    let mut text = String::from("-");
    text.push(c);
    text.escape_debug().count() == 2
}

/// Milliseconds as a Go duration prints: `1h46m30.001s`.
pub(super) fn duration(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    let seconds = format!("{seconds}{}s", fraction.trim_end_matches('0'));
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_what_go_prints() {
        let floats = [
            (0.0, "0"),
            (-0.0, "-0"),
            (-1.5, "-1.5"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-10, "-2.5e-10"),
            (1.0 / 3.0, "0.3333333333333333"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_992.0, "9.007199254740992e+15"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::INFINITY, "+Inf"),
        ];
        for (v, expected) in floats {
            assert_eq!(float(v), expected);
        }
    }

    #[test]
    fn strings_are_what_go_quotes() {
        let strings: [(&[u8], &str); 7] = [
            (b"a\"b\\c'", r#""a\"b\\c'""#),
            (b"\n\t\r\x07\x08\x0c\x0b\0\x7f", r#""\n\t\r\a\b\f\v\x00\x7f""#),
            ("ü€😀e\u{301}\u{fffd}".as_bytes(), "\"ü€😀e\u{301}\u{fffd}\""),
            (
                "\u{a0}\u{2028}\u{200b}\u{feff}\u{ad}\u{85}".as_bytes(),
                r#""\u00a0\u2028\u200b\ufeff\u00ad\u0085""#,
            ),
            ("\u{e0001}\u{10ffff}".as_bytes(), r#""\U000e0001\U0010ffff""#),
            ("\u{3000} x".as_bytes(), r#""\u3000 x""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
        ];
        for (text, expected) in strings {
            assert_eq!(quote(text), expected);
        }
    }

    #[test]
    fn durations_are_what_go_prints() {
        let durations = [
            (0, "0s"),
            (6_390_001, "1h46m30.001s"),
            (7_200_000, "2h0m0s"),
            (780_010, "13m0.01s"),
            (-1500, "-1.5s"),
        ];
        for (ms, expected) in durations {
            assert_eq!(duration(ms), expected);
        }
    }
}

//! Sizes on the command line: `512MiB`, `10GB`, `5%`. Units are powers of 1024 with and without the `i`, as in
//! Thanos.

use std::fmt;

const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// Bytes of `given`: a number, with a fraction or without, and a unit.
pub(crate) fn parse_bytes(given: &str) -> Result<u64, String> {
    let given = given.trim();
    let digits = given.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(given.len());
    let (number, unit) = given.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let prefix = unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit);
    let power = UNITS.iter().position(|known| *known == prefix && unit != "IB");
    let bytes = number.parse::<f64>().ok().zip(power).map(|(n, power)| n * 1024_f64.powi(power as i32));
    match bytes {
        Some(bytes) if bytes < u64::MAX as f64 => Ok(bytes as u64),
        _ => Err("not a size such as 1073741824, 512MiB or 10GB".to_owned()),
    }
}

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Share {
    Bytes(u64),
    Percent(f64),
}

impl Share {
    pub(crate) fn parse(given: &str) -> Result<Self, String> {
        let Some(percent) = given.trim().strip_suffix('%') else {
            return parse_bytes(given).map(Self::Bytes);
        };
        match percent.trim().parse() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
            _ => Err("not a percentage between 0% and 100%".to_owned()),
        }
    }

    /// Its bytes, where all are `total`.
    pub(crate) fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (total as f64 * percent / 100.0) as u64,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (given, bytes) in [
            ("0", 0),
            ("1234", 1234),
            ("10B", 10),
            ("1KB", 1024),
            ("1KiB", 1024),
            ("1.5MiB", 3 << 19),
            ("2gb", 2 << 30),
            ("3 TiB", 3 << 40),
            ("1G", 1 << 30),
        ] {
            assert_eq!(parse_bytes(given), Ok(bytes), "{given}");
        }
        for given in ["", "B", "MB", "1XB", "1iB", "1KKB", "-1", "1.2.3", "99999999EB", "5%"] {
            assert!(parse_bytes(given).is_err(), "{given}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(Share::parse("5%").unwrap().of(1000), 50);
        assert_eq!(Share::parse("0.5 %").unwrap().of(1000), 5);
        assert_eq!(Share::parse("1KiB").unwrap().of(7), 1024);
        for given in ["101%", "-1%", "%", "NaN%", "x"] {
            assert!(Share::parse(given).is_err(), "{given}");
        }
    }
}

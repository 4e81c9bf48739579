//! Limits on what a request may hold, which the filter enforces where it looks into a body and hands on where it does
//! not. Both sides judge by this code, so that a client sees the same answer either way.
//!
//! It owns the header that hands them on. What a limit is for a tenant is the filter's to find out.

use std::fmt;
use std::str::FromStr;

use crate::labels::Label;

/// Request header by which the filter hands limits on to a sidecar, in the form of [`ContentLimits`]' `Display`.
pub const HEADER_LIMITS: &str = "x-ringside-limits";

/// The most that a request may hold; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentLimits {
    /// Series in one request. One with more is refused whole, with 413.
    pub series_per_request: Option<u64>,
    /// Labels of one series. A series beyond this or the next two is refused as invalid, and the others are stored.
    pub labels_per_series: Option<u64>,
    /// Bytes of one label name.
    pub label_name_bytes: Option<u64>,
    /// Bytes of one label value.
    pub label_value_bytes: Option<u64>,
}

/// Which limit a series is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitFault {
    /// Too many labels.
    #[error("more than {max} labels")]
    Labels {
        /// The limit.
        max: u64,
    },
    /// A name that is too long.
    #[error("a label name of {bytes} bytes, more than {max}")]
    Name {
        /// Its length in bytes.
        bytes: usize,
        /// The limit.
        max: u64,
    },
    /// A value that is too long.
    #[error("a label value of {bytes} bytes, more than {max}")]
    Value {
        /// Its length in bytes.
        bytes: usize,
        /// The limit.
        max: u64,
    },
}

/// A header that holds no limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no limit")]
pub struct LimitsError {
    /// The entry at fault.
    pub given: String,
}

impl ContentLimits {
    /// Whether there is no limit at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether labels are to be looked at.
    pub fn judges_labels(&self) -> bool {
        !Self { series_per_request: None, ..*self }.is_none()
    }

    /// The first limit that a series with these labels is beyond.
    pub fn fault<'a>(&self, labels: impl Iterator<Item = Label<'a>>) -> Option<LimitFault> {
        let beyond = |bytes: &[u8], max: Option<u64>| max.filter(|max| bytes.len() as u64 > *max);
        for (count, label) in (1..).zip(labels) {
            if let Some(max) = self.labels_per_series.filter(|max| count > *max) {
                return Some(LimitFault::Labels { max });
            }
            if let Some(max) = beyond(label.name, self.label_name_bytes) {
                return Some(LimitFault::Name { bytes: label.name.len(), max });
            }
            if let Some(max) = beyond(label.value, self.label_value_bytes) {
                return Some(LimitFault::Value { bytes: label.value.len(), max });
            }
        }
        None
    }

    fn entries(&mut self) -> [(&'static str, &mut Option<u64>); 4] {
        [
            ("series_per_request", &mut self.series_per_request),
            ("labels_per_series", &mut self.labels_per_series),
            ("label_name_bytes", &mut self.label_name_bytes),
            ("label_value_bytes", &mut self.label_value_bytes),
        ]
    }
}

/// As `name=number`, separated by commas; limits that are not there are left out.
impl fmt::Display for ContentLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limits = *self;
        let entries = limits.entries().into_iter().filter_map(|(name, limit)| Some((name, (*limit)?)));
        for (at, (name, limit)) in entries.enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{name}={limit}")?;
        }
        Ok(())
    }
}

impl FromStr for ContentLimits {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Self, LimitsError> {
        let mut limits = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let error = || LimitsError { given: entry.chars().take(100).collect() };
            let (name, number) = entry.split_once('=').ok_or_else(error)?;
            let number = number.parse().map_err(|_| error())?;
            let mut known = limits.entries().into_iter();
            let (_, limit) = known.find(|(known, _)| *known == name).ok_or_else(error)?;
            *limit = Some(number);
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ContentLimits = ContentLimits {
        series_per_request: Some(1000),
        labels_per_series: Some(2),
        label_name_bytes: Some(3),
        label_value_bytes: None,
    };

    #[test]
    fn the_header_is_read_as_it_was_written() {
        let header = LIMITS.to_string();
        assert_eq!(header, "series_per_request=1000,labels_per_series=2,label_name_bytes=3");
        assert_eq!(header.parse(), Ok(LIMITS));
        assert_eq!(ContentLimits::default().to_string().parse(), Ok(ContentLimits::default()));
        for bad in ["x=1", "labels_per_series", "labels_per_series=-1", "labels_per_series=2;x=3"] {
            assert!(bad.parse::<ContentLimits>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_series_is_beyond_the_first_limit() {
        let fault = |labels: &[(&'static str, &'static str)]| {
            let label = |&(name, value): &(&'static str, &'static str)| Label {
                name: name.as_bytes(),
                value: value.as_bytes(),
            };
            LIMITS.fault(labels.iter().map(label))
        };
        assert_eq!(fault(&[("abc", "a long value"), ("b", "")]), None);
        assert_eq!(fault(&[("a", ""), ("b", ""), ("c", "")]), Some(LimitFault::Labels { max: 2 }));
        assert_eq!(fault(&[("abcd", "")]), Some(LimitFault::Name { bytes: 4, max: 3 }));
        let values = ContentLimits { label_value_bytes: Some(1), ..ContentLimits::default() };
        let label = Label { name: b"a", value: b"xy" };
        assert_eq!(values.fault([label].into_iter()), Some(LimitFault::Value { bytes: 2, max: 1 }));
        assert!(values.judges_labels() && !values.is_none());
        assert!(!ContentLimits { series_per_request: Some(1), ..Default::default() }.judges_labels());
    }
}

//! What a tenant may send: read from Envoy's metadata, or else from the plugin configuration, where a tenant may have
//! limits of its own.
//!
//! Owns the names and bounds of limits. How a rate is kept is `rate`'s, what a body may hold is judged by
//! `ringside_proto::limits`.
//!
//! Invariant: limits that are there but unusable refuse the request; nothing is sent on without the limits that an
//! operator meant to set.

use ringside_proto::limits::ContentLimits;
use ringside_proto::settings::{LIMIT_NAMES, LIMIT_VALUES};
use serde::Deserialize;

use crate::pairs::{Unreadable, entries};
use crate::rate::Rate;
use crate::tenant::{Lookup, Place};

/// A limit that was hit, by the name that statistics have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Samples per second.
    Rate,
    /// Bytes of a body.
    BodyBytes,
    /// Series of a request.
    Series,
    /// The number or the length of labels.
    Labels,
    /// What may be under way in one worker.
    InFlight,
    /// What of it may be one tenant's.
    TenantInFlight,
}

impl Limit {
    pub const ALL: [Self; 6] =
        [Self::Rate, Self::BodyBytes, Self::Series, Self::Labels, Self::InFlight, Self::TenantInFlight];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::BodyBytes => "body_bytes",
            Self::Series => "series",
            Self::Labels => "labels",
            Self::InFlight => "in_flight",
            Self::TenantInFlight => "tenant_in_flight",
        }
    }
}

/// The limits of one tenant. What is `None` is not limited here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub rate: Option<Rate>,
    /// Bytes of a body as it arrives.
    pub body_bytes: Option<u64>,
    /// Bytes of bodies, as they arrive, that have no verdict yet, in one worker.
    pub in_flight_bytes: Option<u64>,
    pub content: ContentLimits,
}

/// Limits as they are written down, in metadata or in the plugin configuration.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Samples, histograms among them, that may come in over time.
    samples_per_second: Option<u64>,
    /// Samples that may come in at once; default as many as in a second.
    burst: Option<u64>,
    series_per_request: Option<u64>,
    labels_per_series: Option<u64>,
    label_name_bytes: Option<u64>,
    label_value_bytes: Option<u64>,
    body_bytes: Option<u64>,
    in_flight_bytes: Option<u64>,
}

/// Why limits are unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    #[error("the limits in the {place} metadata are no struct")]
    NoStruct { place: Place },
    #[error("the limit {name:?} is not known")]
    Unknown { name: String },
    #[error("the limit {name} must be a whole number of {} to {}", LIMIT_VALUES.start(), LIMIT_VALUES.end())]
    Value { name: &'static str },
    #[error("the limit burst needs samples_per_second beside it")]
    BurstAlone,
}

/// Chooses the limits of a request: the first place whose metadata has some, or else the configured ones.
pub fn choose(
    configured: &Limits,
    lookup: impl Fn(Lookup<'_>) -> Option<Vec<u8>>,
) -> Result<Limits, LimitsError> {
    let found =
        Place::ALL.into_iter().find_map(|place| Some((place, lookup(Lookup::Metadata(place, "limits"))?)));
    let Some((place, pairs)) = found else { return Ok(*configured) };
    let pairs = entries(&pairs).map_err(|Unreadable| LimitsError::NoStruct { place })?;
    let mut raw = RawLimits::default();
    for (name, value) in pairs {
        let mut known = raw.entries().into_iter();
        let Some((name, limit)) = known.find(|(known, _)| known.as_bytes() == name) else {
            return Err(LimitsError::Unknown {
                name: String::from_utf8_lossy(name).chars().take(100).collect(),
            });
        };
        *limit = Some(number(value).ok_or(LimitsError::Value { name })?);
    }
    raw.try_into()
}

/// A number of metadata, which comes as the eight bytes of a double, or as digits where a filter set it as text. No
/// eight digits make a whole number as a double, so they are not taken for one.
fn number(value: &[u8]) -> Option<u64> {
    let double = value.try_into().map(f64::from_le_bytes);
    match double {
        Ok(double) if double.fract() == 0.0 && (1.0..=*LIMIT_VALUES.end() as f64).contains(&double) => {
            Some(double as u64)
        }
        _ => std::str::from_utf8(value).ok()?.parse().ok(),
    }
}

impl RawLimits {
    fn entries(&mut self) -> [(&'static str, &mut Option<u64>); 8] {
        let limits = [
            &mut self.samples_per_second,
            &mut self.burst,
            &mut self.series_per_request,
            &mut self.labels_per_series,
            &mut self.label_name_bytes,
            &mut self.label_value_bytes,
            &mut self.body_bytes,
            &mut self.in_flight_bytes,
        ];
        let mut names = LIMIT_NAMES.into_iter();
        limits.map(|limit| (names.next().unwrap_or_default(), limit))
    }
}

impl TryFrom<RawLimits> for Limits {
    type Error = LimitsError;

    fn try_from(mut raw: RawLimits) -> Result<Self, LimitsError> {
        let out_of_bounds = |limit: &Option<u64>| limit.is_some_and(|limit| !LIMIT_VALUES.contains(&limit));
        if let Some((name, _)) = raw.entries().into_iter().find(|(_, limit)| out_of_bounds(limit)) {
            return Err(LimitsError::Value { name });
        }
        let rate = match (raw.samples_per_second, raw.burst) {
            (None, Some(_)) => return Err(LimitsError::BurstAlone),
            (None, None) => None,
            (Some(samples_per_second), burst) => {
                Some(Rate { samples_per_second, burst: burst.unwrap_or(samples_per_second) })
            }
        };
        let content = ContentLimits {
            series_per_request: raw.series_per_request,
            labels_per_series: raw.labels_per_series,
            label_name_bytes: raw.label_name_bytes,
            label_value_bytes: raw.label_value_bytes,
        };
        Ok(Self { rate, body_bytes: raw.body_bytes, in_flight_bytes: raw.in_flight_bytes, content })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Limits, LimitsError, Lookup, Place, Rate, choose, number};
    use crate::pairs::pairs;

    fn at(place: Place, value: Vec<u8>) -> Result<Limits, LimitsError> {
        let default = Limits { body_bytes: Some(7), ..Limits::default() };
        choose(&default, |wanted| (wanted == Lookup::Metadata(place, "limits")).then(|| value.clone()))
    }

    fn double(value: f64) -> Vec<u8> {
        value.to_le_bytes().to_vec()
    }

    #[test]
    fn every_limit_is_read() {
        let (rate, burst) = (double(1000.0), double(5000.0));
        let entries: [(&str, &[u8]); 8] = [
            ("samples_per_second", &rate),
            ("burst", &burst),
            ("series_per_request", b"100"),
            ("labels_per_series", b"30"),
            ("label_name_bytes", b"64"),
            ("label_value_bytes", b"00001024"),
            ("body_bytes", b"1048576"),
            ("in_flight_bytes", b"4194304"),
        ];
        let limits = at(Place::Route, pairs(&entries)).unwrap();
        assert_eq!(limits.rate, Some(Rate { samples_per_second: 1000, burst: 5000 }));
        assert_eq!((limits.body_bytes, limits.in_flight_bytes), (Some(1 << 20), Some(4 << 20)));
        let content = limits.content;
        assert_eq!((content.series_per_request, content.labels_per_series), (Some(100), Some(30)));
        assert_eq!((content.label_name_bytes, content.label_value_bytes), (Some(64), Some(1024)));
    }

    #[test]
    fn the_first_place_counts_as_a_whole() {
        let default = Limits { body_bytes: Some(7), ..Limits::default() };
        assert_eq!(choose(&default, |_| None), Ok(default));
        let lookup = |wanted: Lookup<'_>| match wanted {
            Lookup::Metadata(Place::Route, "limits") => Some(pairs(&[("labels_per_series", b"3")])),
            Lookup::Metadata(Place::VirtualHost, "limits") => Some(pairs(&[("body_bytes", b"5")])),
            _ => None,
        };
        let limits = choose(&default, lookup).unwrap();
        assert_eq!((limits.body_bytes, limits.content.labels_per_series), (None, Some(3)));
        assert_eq!(at(Place::Dynamic, pairs(&[])), Ok(Limits::default()), "none, said explicitly");
    }

    #[test]
    fn the_burst_is_a_second_unless_it_is_set() {
        let rate = at(Place::Route, pairs(&[("samples_per_second", b"10")])).unwrap().rate;
        assert_eq!(rate, Some(Rate { samples_per_second: 10, burst: 10 }));
        assert_eq!(at(Place::Route, pairs(&[("burst", b"10")])), Err(LimitsError::BurstAlone));
    }

    #[test]
    fn unusable_limits_do_not_fall_back() {
        for value in [&b""[..], b"100", b"\xff\xff\xff\xff", &double(5.0)] {
            let error = at(Place::Dynamic, value.to_vec());
            assert_eq!(error, Err(LimitsError::NoStruct { place: Place::Dynamic }), "{value:?}");
        }
        for value in [&b""[..], b"0", b"-1", b"ten", &double(0.5), &double(-3.0), &double(f64::NAN), b"\x01"]
        {
            let error = at(Place::Route, pairs(&[("body_bytes", value)]));
            assert_eq!(error, Err(LimitsError::Value { name: "body_bytes" }), "{value:?}");
        }
        let error = at(Place::Route, pairs(&[("bodybytes", b"1")]));
        assert_eq!(error, Err(LimitsError::Unknown { name: "bodybytes".to_owned() }));
    }

    #[test]
    fn eight_digits_are_digits() {
        for digits in ["00000000", "00000001", "12345678", "99999999"] {
            assert_eq!(number(digits.as_bytes()), digits.parse().ok());
        }
        assert_eq!(number(&double(12345678.0)), Some(12_345_678));
        assert_eq!(number(&double((1_u64 << 53) as f64)), Some(1 << 53));
    }
}

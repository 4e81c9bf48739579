//! The series and values of generated load: a pure function of name, index and time, shaped like what
//! real targets expose, with some rare but legal shapes in between.

use crate::contents::Labels;

/// `count` distinct series, metric names starting with `name`.
pub fn series(name: &str, count: usize) -> Vec<Labels> {
    (0..count).map(|index| labels(name, index)).collect()
}

fn labels(name: &str, index: usize) -> Labels {
    let mut labels: Labels = [
        ("__name__", format!("{name}_{}", SHAPES[index % SHAPES.len()].0)),
        ("instance", format!("10.0.{}.{}:9100", index / 200, index % 200)),
        ("job", "node-exporter".to_owned()),
        ("index", index.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    match index % 16 {
        3 => drop(labels.insert("path".to_owned(), "C:\\Users\\\"Zoë\"\n\tü, {a=\"b\"} 日本".to_owned())),
        7 => drop(labels.insert("long".to_owned(), "x".repeat(700))),
        11 => labels.extend((0..25).map(|n| (format!("label_{n}"), format!("value {n}")))),
        // Sorts before `__name__`, and proves that byte order is used, not alphabetical order.
        13 => drop(labels.insert("A".to_owned(), "upper case".to_owned())),
        _ => {}
    }
    labels
}

type Shape = fn(u64, i64) -> f64;

/// Metric-name suffix and values; `u64` is a constant of the series, `i64` the timestamp.
const SHAPES: [(&str, Shape); 8] = [
    ("requests_total", |seed, t| ((t / 1000) * (1 + (seed % 50) as i64)) as f64),
    ("temperature", |seed, t| ((t as f64 / 90_000.0 + seed as f64).sin() * 1_000.0).round() / 100.0),
    ("up", |_, _| 1.0),
    ("noise", |seed, t| f64::from_bits(mix(seed ^ t.cast_unsigned()) >> 2)),
    ("step", |seed, t| (t / 300_000 % 7 * (seed % 1000) as i64) as f64),
    ("ratio", |seed, t| (mix(seed ^ t.cast_unsigned()) >> 11) as f64 / (1_u64 << 53) as f64),
    ("negative", |seed, t| -(((t / 15_000) % 100_000) as f64) * 1e-3 - seed as f64),
    ("special", |seed, t| {
        const VALUES: [f64; 7] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 0.1];
        VALUES[(mix(seed ^ t.cast_unsigned()) % VALUES.len() as u64) as usize]
    }),
];

/// The value of the series with this index at this time.
pub fn value(index: usize, timestamp: i64) -> f64 {
    SHAPES[index % SHAPES.len()].1(mix(index as u64) >> 40, timestamp)
}

/// splitmix64: spreads any two inputs far apart.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn series_are_distinct_and_values_repeatable() {
        let all: BTreeSet<_> = super::series("load", 1000).into_iter().collect();
        assert_eq!(all.len(), 1000);
        for index in 0..16 {
            let value = super::value(index, 1_700_000_000_000);
            assert_eq!(value.to_bits(), super::value(index, 1_700_000_000_000).to_bits());
        }
    }
}

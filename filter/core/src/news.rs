//! What a configuration brings that is new, told once though every worker loads it.
//!
//! Owns the marks by which workers know what another one has told already. Counting and logging are the host's.

use crate::config::{Config, ConfigError};
use crate::rate::SharedData;

const CONFIGURATION: &str = "ringside.configuration";
const HASHRINGS: &str = "ringside.hashrings";
const REFUSAL: &str = "ringside.refusal";

/// What is new to the workers altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub configuration: bool,
    /// Its hashrings.
    pub hashrings: bool,
    /// What was refused in place of it.
    pub refusal: bool,
}

/// Reads a configuration, and tells what is new about it. One that is refused has no news but itself.
pub fn load(shared: &impl SharedData, json: &[u8]) -> (Result<Config, ConfigError>, Loaded) {
    let config = Config::parse(json);
    let hash = config.as_ref().map_or_else(|_| ringside_hashring::hash_bytes(json, 0), |config| config.hash);
    let mut loaded = Loaded { configuration: is_new(shared, CONFIGURATION, hash), ..Loaded::default() };
    if let Ok(config) = &config {
        loaded.hashrings = is_new(shared, HASHRINGS, config.hashrings_hash);
        let at_ms = config.refusal.as_ref().map(|refusal| refusal.at_ms);
        loaded.refusal = at_ms.is_some_and(|at_ms| is_new(shared, REFUSAL, at_ms));
    }
    (config, loaded)
}

/// Whether a value is another one than the last, and nobody else was first to find that.
fn is_new(shared: &impl SharedData, key: &str, value: u64) -> bool {
    let value = value.to_le_bytes();
    let known = shared.get(key);
    match known {
        Some((known, _)) if known == value => false,
        known => shared.set(key, &value, known.map(|(_, version)| version)),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Loaded, load};
    use crate::rate::tests::Shared;

    fn json(endpoints: &str, rest: &str) -> String {
        format!(r#"{{"hashrings":[{{"endpoints":[{endpoints}]}}]{rest}}}"#)
    }

    #[test]
    fn every_worker_loads_and_one_tells() {
        let shared = Shared::default();
        let mut seen = Vec::new();
        for (endpoints, rest) in [
            (r#""a","b","c""#, ""),
            (r#""a","b","c""#, r#","write_timeout_ms":100"#),
            (r#""a","b","d""#, ""),
            (r#""a","b","d""#, r#","refusal":{"at_ms":1,"reason":"no"}"#),
            (r#""a","b""#, ""),
            (r#""a","b","d""#, r#","refusal":{"at_ms":2,"reason":"no"}"#),
        ] {
            for worker in 0..3 {
                let (config, loaded) = load(&shared, json(endpoints, rest).as_bytes());
                assert_eq!(config.is_ok(), endpoints.len() > 8);
                if worker == 0 {
                    seen.push((loaded.configuration, loaded.hashrings, loaded.refusal));
                } else {
                    assert_eq!(loaded, Loaded::default());
                }
            }
        }
        let (yes, no) = (true, false);
        assert_eq!(
            seen,
            [(yes, yes, no), (yes, no, no), (yes, yes, no), (yes, no, yes), (yes, no, no), (yes, no, yes)]
        );
    }
}

//! How much of the ring each endpoint holds, exactly: by the lengths of the
//! sections, not by a sample of series.

use crate::hashring::Hashring;

/// What part of all series an endpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NodeShare {
    /// Of how many of all series it is the first replica, from 0 to 1. All endpoints together make 1.
    pub primaries: f64,
    /// How many of all replicas it holds, from 0 to 1. All endpoints together make 1.
    pub replicas: f64,
}

/// The share of each endpoint, in the order of the ring's configuration.
pub fn shares(ring: &Hashring) -> Vec<NodeShare> {
    let mut shares = vec![NodeShare::default(); ring.endpoints().len()];
    let each = 1.0 / ring.replication_factor() as f64;
    // Section 0 reaches back over the end of the ring to the last section.
    let mut before = ring.sections().last().map_or(0, |(hash, _)| hash);
    for (hash, replicas) in ring.sections() {
        let part = hash.wrapping_sub(before) as f64 / 2f64.powi(64);
        before = hash;
        for (number, endpoint) in replicas.iter().enumerate() {
            if let Some(share) = shares.get_mut(endpoint.get()) {
                share.primaries += if number == 0 { part } else { 0.0 };
                share.replicas += part * each;
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashring::Endpoint;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn ring(nodes: usize, replication_factor: usize) -> Hashring {
        let endpoint = |n| Endpoint { address: format!("node-{n}"), az: String::new() };
        Hashring::ketama((1..=nodes).map(endpoint).collect(), replication_factor).unwrap()
    }

    #[test]
    fn shares_of_a_ring_make_one() {
        let shares = shares(&ring(5, 3));
        assert!((shares.iter().map(|share| share.primaries).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((shares.iter().map(|share| share.replicas).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn equal_nodes_hold_equal_shares() {
        for share in shares(&ring(5, 3)) {
            assert!((share.primaries - 0.2).abs() < 0.02, "{share:?}");
            assert!((share.replicas - 0.2).abs() < 0.02, "{share:?}");
        }
        // Every node of a ring of RF nodes holds everything.
        for share in shares(&ring(3, 3)) {
            assert!((share.replicas - 1.0 / 3.0).abs() < 1e-9, "{share:?}");
        }
    }
}

//! Why a ring or a `hashrings.json` is refused. Each message names what is at
//! fault, because it is all that an operator sees of a refused update.

use crate::glob::GlobError;
use crate::hashring::ENDPOINTS_MAX;

/// Why a ring cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The replication factor is 0.
    #[error("the replication factor is 0")]
    NoReplicas,
    /// No endpoint at all.
    #[error("it has no endpoints")]
    NoEndpoints,
    /// Fewer endpoints than replicas: some replica would have no place.
    #[error("it has {endpoints} endpoints, fewer than the replication factor {replication_factor}")]
    TooFewEndpoints {
        /// How many it has.
        endpoints: usize,
        /// How many it needs.
        replication_factor: usize,
    },
    /// More endpoints than a ring can hold.
    #[error("it has {endpoints} endpoints, more than {ENDPOINTS_MAX}")]
    TooManyEndpoints {
        /// How many it has.
        endpoints: usize,
    },
    /// An endpoint without an address.
    #[error("endpoints[{index}] has an empty address")]
    EmptyAddress {
        /// Its place in the ring.
        index: usize,
    },
    /// One address twice: two replicas of a series would be one copy.
    #[error("the address {address:?} is there twice, as endpoints[{first}] and endpoints[{second}]")]
    DuplicateAddress {
        /// The address.
        address: String,
        /// Its first place in the ring.
        first: usize,
        /// Its second place in the ring.
        second: usize,
    },
    /// The zones are so unequal that the walk for replicas goes round for ever.
    #[error(
        "its zones ({zones}) cannot take {replication_factor} replicas evenly: where {picked} are placed, every \
         endpoint that is left lies in a zone with more replicas than another one, and Thanos' walk never ends. \
         Give the zones more equal numbers of endpoints, or lower the replication factor"
    )]
    ZoneSpread {
        /// Each zone with its number of endpoints, for a human reader.
        zones: String,
        /// How many replicas were asked for.
        replication_factor: usize,
        /// How many could be placed.
        picked: usize,
    },
}

/// Why a `hashrings.json` is refused. `hashring` is the ring's name with its place in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON.
    #[error("hashrings: not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// JSON, but not an array.
    #[error("hashrings: expected an array of hashrings")]
    NotAnArray,
    /// An empty array: no tenant could write.
    #[error("hashrings: the array is empty")]
    Empty,
    /// A field is unknown, missing, or of the wrong type.
    #[error("hashring {hashring}: {source}")]
    Field {
        /// Which ring.
        hashring: String,
        /// What is wrong, with the name of the field.
        source: serde_json::Error,
    },
    /// An endpoint is neither a string nor a valid object.
    #[error("hashring {hashring}: endpoints[{index}]: {source}")]
    Endpoint {
        /// Which ring.
        hashring: String,
        /// Which of its endpoints.
        index: usize,
        /// What is wrong, with the name of the field.
        source: serde_json::Error,
    },
    /// An algorithm other than ketama.
    #[error(
        "hashring {hashring}: algorithm {algorithm:?} is not supported, only \"ketama\": with any other, a change \
         of the ring moves nearly every series"
    )]
    Algorithm {
        /// Which ring.
        hashring: String,
        /// What it asks for.
        algorithm: String,
    },
    /// Shuffle sharding is asked for.
    #[error(
        "hashring {hashring}: shuffle_sharding_config is not supported yet, and to ignore it would place series \
         elsewhere than Thanos does"
    )]
    ShuffleSharding {
        /// Which ring.
        hashring: String,
    },
    /// A tenant matcher type that Thanos does not know either.
    #[error("hashring {hashring}: tenant_matcher_type {matcher:?} is neither \"exact\" nor \"glob\"")]
    TenantMatcherType {
        /// Which ring.
        hashring: String,
        /// What it asks for.
        matcher: String,
    },
    /// A tenant pattern that can match nothing.
    #[error("hashring {hashring}: tenant pattern {pattern:?}: {source}")]
    TenantPattern {
        /// Which ring.
        hashring: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: GlobError,
    },
    /// One tenant or pattern in two rings: its series would be split if their order changed.
    #[error("tenant {tenant:?} is listed in hashring {first} and in hashring {second}")]
    TenantTwice {
        /// The tenant.
        tenant: String,
        /// The ring that lists it first.
        first: String,
        /// The ring that lists it again.
        second: String,
    },
    /// Two rings without tenants: every tenant would match both.
    #[error("hashring {first} and hashring {second} both have no tenants: only one ring can be the default")]
    DefaultTwice {
        /// The default ring.
        first: String,
        /// The ring that is one too.
        second: String,
    },
    /// A default ring of one node, which is what a half-rendered file looks like.
    #[error(
        "hashring {hashring}: the default ring has one endpoint only: every tenant without a ring of its own would \
         write to that node alone. List the tenants if that is what you want"
    )]
    DefaultOfOne {
        /// Which ring.
        hashring: String,
    },
    /// The ring itself cannot serve.
    #[error("hashring {hashring}: {source}")]
    Ring {
        /// Which ring.
        hashring: String,
        /// Why.
        source: RingError,
    },
}

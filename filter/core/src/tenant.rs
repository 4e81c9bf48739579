//! Chooses the tenant of a write.
//!
//! Owns the precedence of the places that may name a tenant. What a tenant id may look like is the rule of
//! `ringside_proto::tenant`; how a place is read is the host's.
//!
//! Invariant: what Envoy's metadata says goes before anything that a client can send, and metadata that is
//! there but unusable refuses the request rather than letting the client choose.

use std::rc::Rc;

use ringside_proto::tenant::{TenantError, validate};

/// A valid tenant id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Rc<str>);

impl TenantId {
    pub fn new(id: &str) -> Result<Self, TenantError> {
        validate(id).map(|()| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A place where Envoy keeps metadata, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Set per request by the filters before this one (jwt_authn, ext_authz, header_to_metadata …).
    Dynamic,
    Route,
    VirtualHost,
}

impl Place {
    pub const ALL: [Self; 3] = [Self::Dynamic, Self::Route, Self::VirtualHost];

    /// The property path of the place, up to and with the metadata namespace.
    pub fn property_path(self) -> &'static [&'static str] {
        match self {
            Self::Dynamic => &["metadata", "filter_metadata", "ringside"],
            Self::Route => &["xds", "route_metadata", "filter_metadata", "ringside"],
            Self::VirtualHost => &["xds", "virtual_host_metadata", "filter_metadata", "ringside"],
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dynamic => "dynamic",
            Self::Route => "route",
            Self::VirtualHost => "virtual host",
        })
    }
}

/// What the choice may ask the host for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// A key of the metadata namespace, at a place.
    Metadata(Place, &'static str),
    /// A request header, by its name in lower case.
    Header(&'a str),
}

/// Why a request has no tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceError {
    #[error("the tenant in the {place} metadata is unusable: {error}")]
    Metadata { place: Place, error: TenantError },
    #[error("the tenant in the header {header:?} is unusable: {error}")]
    Header { header: String, error: TenantError },
}

impl ChoiceError {
    /// Whether the configuration is at fault and not what the client said or proved: its data is worth keeping until that
    /// is mended.
    pub fn is_the_operators(&self) -> bool {
        matches!(self, Self::Metadata { place: Place::Route | Place::VirtualHost, .. })
    }
}

/// Chooses the tenant: metadata, else the header unless metadata denies it, else the default. An empty header
/// is no header.
pub fn choose(
    header: &str,
    default: &TenantId,
    lookup: impl Fn(Lookup<'_>) -> Option<Vec<u8>>,
) -> Result<TenantId, ChoiceError> {
    let metadata =
        |key| Place::ALL.into_iter().find_map(|place| Some((place, lookup(Lookup::Metadata(place, key))?)));
    if let Some((place, id)) = metadata("tenant") {
        return parse(&id).map_err(|error| ChoiceError::Metadata { place, error });
    }
    let Some(id) = lookup(Lookup::Header(header)).filter(|id| !id.is_empty()) else {
        return Ok(default.clone());
    };
    // Only "allow" allows: a misspelt rule must not open the header.
    if metadata("tenant_header").is_some_and(|(_, rule)| rule != b"allow") {
        return Ok(default.clone());
    }
    parse(&id).map_err(|error| ChoiceError::Header { header: header.to_owned(), error })
}

fn parse(id: &[u8]) -> Result<TenantId, TenantError> {
    // What is not UTF-8 holds a replacement character, which the rule refuses.
    TenantId::new(&String::from_utf8_lossy(id))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{ChoiceError, Lookup, Place, TenantId, choose};

    fn chosen(known: &[(Lookup<'_>, &[u8])]) -> Result<String, ChoiceError> {
        let default = TenantId::new("default-tenant").unwrap();
        let lookup = |wanted: Lookup<'_>| {
            known.iter().find(|(place, _)| *place == wanted).map(|(_, value)| value.to_vec())
        };
        choose("thanos-tenant", &default, lookup).map(|tenant| tenant.as_str().to_owned())
    }

    const HEADER: Lookup<'static> = Lookup::Header("thanos-tenant");

    fn metadata(place: Place) -> Lookup<'static> {
        Lookup::Metadata(place, "tenant")
    }

    fn rule(place: Place) -> Lookup<'static> {
        Lookup::Metadata(place, "tenant_header")
    }

    #[test]
    fn the_first_place_that_names_a_tenant_wins() {
        let mut known: Vec<(Lookup<'_>, &[u8])> = Vec::new();
        assert_eq!(chosen(&known).unwrap(), "default-tenant");
        known.push((HEADER, b"from-header"));
        assert_eq!(chosen(&known).unwrap(), "from-header");
        known.push((metadata(Place::VirtualHost), b"from-host"));
        assert_eq!(chosen(&known).unwrap(), "from-host");
        known.push((metadata(Place::Route), b"from-route"));
        assert_eq!(chosen(&known).unwrap(), "from-route");
        known.push((metadata(Place::Dynamic), b"from-filter"));
        assert_eq!(chosen(&known).unwrap(), "from-filter");
    }

    #[test]
    fn metadata_rules_the_header() {
        for (value, expected) in [
            (&b"allow"[..], "mine"),
            (b"deny", "default-tenant"),
            (b"Allow", "default-tenant"),
            (b"", "default-tenant"),
        ] {
            let known = [(HEADER, &b"mine"[..]), (rule(Place::Route), value)];
            assert_eq!(chosen(&known).unwrap(), expected, "{value:?}");
        }
        let known =
            [(HEADER, &b"mine"[..]), (rule(Place::Dynamic), b"deny"), (rule(Place::VirtualHost), b"allow")];
        assert_eq!(chosen(&known).unwrap(), "default-tenant", "the first place counts");
    }

    #[test]
    fn unusable_metadata_does_not_fall_back_to_the_client() {
        for value in [&b""[..], b"..", b"a/b", b"\xff", b"\0\0\0\0\0\0\xf0\x3f"] {
            let known = [(HEADER, &b"mine"[..]), (metadata(Place::Dynamic), value)];
            assert!(matches!(chosen(&known), Err(ChoiceError::Metadata { .. })), "{value:?}");
        }
    }

    #[test]
    fn unusable_headers_are_refused() {
        for value in [&b".."[..], b"a/b", b"a,b", b"a b", b"\xff\xfe", &[b'x'; 151]] {
            assert!(matches!(chosen(&[(HEADER, value)]), Err(ChoiceError::Header { .. })), "{value:?}");
        }
        assert_eq!(chosen(&[(HEADER, b"")]).unwrap(), "default-tenant");
    }
}

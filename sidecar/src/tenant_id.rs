//! The tenant id: a checked name that is safe as a directory name and as a label value.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use ringside_proto::tenant::{self, TenantError};

/// A tenant id that passed [`tenant::validate`]. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TenantId(Arc<str>);

impl TenantId {
    /// Checks `id` against the rule that the filter and the sidecar share.
    pub(crate) fn parse(id: &str) -> Result<Self, TenantError> {
        tenant::validate(id)?;
        Ok(Self(Arc::from(id)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EncodeLabelValue for TenantId {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

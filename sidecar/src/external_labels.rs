//! External labels: what tells this sidecar's blocks from everybody else's.
//!
//! Parses `--label k="v"` as Thanos does and holds the result sorted by name. Which labels end up in a block's
//! meta.json is the shipper's to say.

use std::collections::BTreeMap;

/// Why a `--label` value is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum LabelError {
    #[error("--label {given:?}: expected name=\"value\"")]
    NoEquals { given: String },
    #[error("--label {given:?}: the value must be in double quotes, as in name=\"value\": {reason}")]
    Quotes { given: String, reason: String },
    #[error("--label {given:?}: {name:?} is not a label name ([a-zA-Z_][a-zA-Z0-9_]*)")]
    Name { given: String, name: String },
    #[error("--label {given:?}: names that start with __ are reserved")]
    Reserved { given: String },
    #[error("--label {given:?}: {name:?} is the name that --receive.tenant-label-name gives to the tenant")]
    TenantLabel { given: String, name: String },
    #[error("--label {given:?}: {name:?} was given before")]
    Twice { given: String, name: String },
    #[error("--label {given:?}: the value is empty")]
    EmptyValue { given: String },
    #[error(
        "--label: at least one external label is required, so that this sidecar's blocks are told from its peers', \
         for example --label 'replica=\"0\"'"
    )]
    None,
}

/// External labels, sorted by name, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExternalLabels(BTreeMap<String, String>);

impl ExternalLabels {
    /// Parses the values of all `--label` flags. `tenant_label_name` may not be among them.
    pub(crate) fn parse(given: &[String], tenant_label_name: &str) -> Result<Self, LabelError> {
        let mut labels = BTreeMap::new();
        for flag in given {
            let (name, value) = parse_one(flag)?;
            if name == tenant_label_name {
                return Err(LabelError::TenantLabel { given: flag.clone(), name });
            }
            if labels.contains_key(&name) {
                return Err(LabelError::Twice { given: flag.clone(), name });
            }
            labels.insert(name, value);
        }
        if labels.is_empty() {
            return Err(LabelError::None);
        }
        Ok(Self(labels))
    }

    /// These labels plus the tenant's: the labels of every block of that tenant.
    pub(crate) fn with_tenant(&self, tenant_label_name: &str, tenant: &str) -> BTreeMap<String, String> {
        let mut labels = self.0.clone();
        labels.insert(tenant_label_name.to_owned(), tenant.to_owned());
        labels
    }
}

/// True for `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn parse_one(flag: &str) -> Result<(String, String), LabelError> {
    let given = || flag.to_owned();
    let (name, quoted) = flag.split_once('=').ok_or_else(|| LabelError::NoEquals { given: given() })?;
    if !is_label_name(name) {
        return Err(LabelError::Name { given: given(), name: name.to_owned() });
    }
    if name.starts_with("__") {
        return Err(LabelError::Reserved { given: given() });
    }
    let value = unquote(quoted)
        .map_err(|reason| LabelError::Quotes { given: given(), reason: reason.to_string() })?;
    if value.is_empty() {
        return Err(LabelError::EmptyValue { given: given() });
    }
    Ok((name.to_owned(), value))
}

/// Takes the quotes off: double quotes with escapes, or backquotes without.
fn unquote(quoted: &str) -> Result<String, serde_json::Error> {
    match quoted.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        Some(raw) if !raw.contains('`') => Ok(raw.to_owned()),
        _ => serde_json::from_str(quoted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<ExternalLabels, LabelError> {
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        ExternalLabels::parse(&flags, "tenant_id")
    }

    #[test]
    fn takes_thanos_forms_and_sorts() {
        let labels = parse(&[r#"replica="0""#, r#"cluster="eu \"one\"""#, "zone=`a\\b`"]).unwrap();
        let all: Vec<_> = labels.with_tenant("tenant_id", "acme").into_iter().collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            all,
            [
                pair("cluster", "eu \"one\""),
                pair("replica", "0"),
                pair("tenant_id", "acme"),
                pair("zone", "a\\b")
            ]
        );
    }

    #[test]
    fn refuses_with_the_flag_and_the_reason() {
        for (flags, part) in [
            (&["replica"][..], "expected name"),
            (&["replica=0"], "double quotes"),
            (&["replica=\"0"], "double quotes"),
            (&["9a=\"x\""], "not a label name"),
            (&["__name__=\"x\""], "reserved"),
            (&["tenant_id=\"x\""], "--receive.tenant-label-name"),
            (&["a=\"x\"", "a=\"y\""], "given before"),
            (&["a=\"\""], "empty"),
            (&[], "at least one"),
        ] {
            let message = parse(flags).unwrap_err().to_string();
            assert!(message.starts_with("--label"), "{message}");
            assert!(message.contains(part), "{message}");
        }
    }
}

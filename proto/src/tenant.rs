//! The rule for tenant ids. A tenant id names a directory of the sidecar, so
//! the rule keeps it to characters that are safe there.

/// The longest tenant id, in bytes.
pub const TENANT_BYTES_MAX: usize = 150;

/// Why a tenant id is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// No character at all.
    #[error("the tenant id is empty")]
    Empty,
    /// More than [`TENANT_BYTES_MAX`] bytes.
    #[error("the tenant id has {bytes} bytes, more than {TENANT_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// `.` and `..` would name a directory that is not the tenant's.
    #[error("the tenant id is \".\" or \"..\"")]
    Dots,
    /// A character other than letters, digits, `_`, `.` and `-`.
    #[error("the tenant id has {character:?} at byte {offset}; allowed are A-Z a-z 0-9 _ . -")]
    Character {
        /// The character.
        character: char,
        /// Where it is.
        offset: usize,
    },
}

/// Accepts 1 to [`TENANT_BYTES_MAX`] of `[A-Za-z0-9_.-]`, but neither `.` nor `..`.
pub fn validate(tenant: &str) -> Result<(), TenantError> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match tenant {
        "" => return Err(TenantError::Empty),
        "." | ".." => return Err(TenantError::Dots),
        _ if tenant.len() > TENANT_BYTES_MAX => return Err(TenantError::TooLong { bytes: tenant.len() }),
        _ => {}
    }
    match tenant.char_indices().find(|(_, c)| !allowed(c)) {
        Some((offset, character)) => Err(TenantError::Character { character, offset }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_allowed() {
        for tenant in ["default-tenant", "a", "...", "A.b_c-9", &"x".repeat(TENANT_BYTES_MAX)] {
            assert_eq!(validate(tenant), Ok(()), "{tenant}");
        }
    }

    #[test]
    fn refuses_the_rest_with_the_reason() {
        assert_eq!(validate(""), Err(TenantError::Empty));
        assert_eq!(validate("."), Err(TenantError::Dots));
        assert_eq!(validate(".."), Err(TenantError::Dots));
        assert_eq!(validate(&"x".repeat(151)), Err(TenantError::TooLong { bytes: 151 }));
        for (tenant, character, offset) in
            [("a/b", '/', 1), ("a b", ' ', 1), ("\0", '\0', 0), ("team-ä", 'ä', 5), ("a\\", '\\', 1)]
        {
            assert_eq!(validate(tenant), Err(TenantError::Character { character, offset }));
        }
    }
}

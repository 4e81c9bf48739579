//! Every object has the fields that its version of the API knows, and no other, over a span of Kubernetes versions.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use ringside_e2e::scratch::Scratch;

use crate::manifests::{Manifests, tool};

/// The oldest that is promised, and the newest that the checker knows.
const VERSIONS: [&str; 2] = ["1.31", "1.37"];

/// What the checker says, and whether it agrees.
fn validate(version: &str, file: &Path) -> Result<(bool, String)> {
    let output = Command::new(tool("kubernetes-validate")?)
        .args(["--strict", "--kubernetes-version", version])
        .arg(file)
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn every_object_satisfies_its_schema() -> Result<()> {
    let manifests = Manifests::build()?;
    let scratch = Scratch::new("schema")?;
    let file = scratch.path().join("manifests.yaml");
    std::fs::write(&file, &manifests.text)?;
    for version in VERSIONS {
        let (valid, said) = validate(version, &file)?;
        ensure!(valid, "{said}");
        let passed = said.lines().filter(|line| line.contains(" passed for resource ")).count();
        ensure!(
            passed == manifests.objects().len(),
            "Kubernetes {version}: {passed} objects judged:\n{said}"
        );
    }
    scratch.passed();
    Ok(())
}

#[test]
fn a_misspelt_field_does_not_pass() -> Result<()> {
    let manifests = Manifests::build()?;
    let scratch = Scratch::new("schema-misspelt")?;
    let file = scratch.path().join("manifests.yaml");
    std::fs::write(&file, manifests.text.replace("minReadySeconds:", "minReadySecond:"))?;
    for version in VERSIONS {
        let (valid, said) = validate(version, &file)?;
        ensure!(!valid && said.contains("minReadySecond"), "{said}");
    }
    scratch.passed();
    Ok(())
}

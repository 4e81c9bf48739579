//! The image files agree with the manifests, with the workspace and with the pinned tools. They are read here and
//! linted by `make lint`; no image is built.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use ringside_e2e::{scratch::Scratch, tools};

use crate::manifests::{Manifests, container, containers, file, items, path, pod, text};

/// The instructions of a Dockerfile: comments dropped, continued lines joined.
pub(crate) fn instructions(name: &str) -> Result<Vec<String>> {
    let text = file(&format!("images/Dockerfile.{name}"))?.replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// What follows an instruction, for each time that it is there.
fn values<'a>(instructions: &'a [String], instruction: &str) -> Vec<&'a str> {
    instructions.iter().filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' ')).collect()
}

fn workspace_version(key: &str) -> Result<String> {
    let manifest = std::fs::read_to_string(tools::root().join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    Ok(line.with_context(|| format!("no {key} in Cargo.toml"))?.trim_matches('"').to_owned())
}

/// The version that scripts/tools installs.
fn pinned(tool: &str) -> Result<String> {
    let lock = std::fs::read_to_string(tools::root().join("scripts/tools.lock"))?;
    let row = lock.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = row
        .into_iter()
        .find(|row| row.first() == Some(&tool))
        .with_context(|| format!("no pin of {tool}"))?;
    Ok(found.get(3).with_context(|| format!("no version of {tool}"))?.to_string())
}

/// Envoy Gateway and Istio take an image only in this form.
#[test]
fn the_filter_image_is_one_file() -> Result<()> {
    ensure!(instructions("filter")? == ["FROM scratch", "COPY plugin.wasm ./"]);
    Ok(())
}

#[test]
fn the_sidecar_image_has_what_its_pod_expects() -> Result<()> {
    let lines = instructions("sidecar")?;
    ensure!(
        values(&lines, "FROM")
            == [format!("rust:{}-bookworm AS build", workspace_version("rust-version")?).as_str(), "scratch"]
    );
    ensure!(values(&lines, "ENTRYPOINT") == [r#"["/usr/bin/ringside"]"#]);
    ensure!(values(&lines, "VOLUME").is_empty(), "a volume of the image hides the pod's");

    let manifests = Manifests::build()?;
    let sidecars = manifests.get("StatefulSet", "ringside")?;
    let context = &pod(sidecars)["securityContext"];
    ensure!(
        values(&lines, "USER") == [format!("{}:{}", context["runAsUser"], context["runAsGroup"]).as_str()]
    );
    ensure!(context["fsGroup"] == context["runAsGroup"], "the data directory is another group's");
    let ports: Vec<String> =
        items(&container(sidecars)?["ports"]).iter().map(|port| port["containerPort"].to_string()).collect();
    ensure!(values(&lines, "EXPOSE") == [ports.join(" ").as_str()], "{ports:?}");
    ensure!(container(sidecars)?["command"].is_null(), "the image's entry point is the program");
    Ok(())
}

#[test]
fn the_envoy_image_is_the_envoy_that_is_tested() -> Result<()> {
    let lines = instructions("envoy")?;
    ensure!(values(&lines, "FROM") == [format!("envoyproxy/envoy:v{}", pinned("envoy")?).as_str()]);
    let manifests = Manifests::build()?;
    let envoy = manifests.get("Deployment", "ringside-envoy")?;
    let context = &pod(envoy)["securityContext"];
    ensure!(
        values(&lines, "USER") == [format!("{}:{}", context["runAsUser"], context["runAsGroup"]).as_str()]
    );
    ensure!(container(envoy)?["command"].is_null(), "the image's entry point is the program");
    Ok(())
}

#[test]
fn image_tags_are_the_version_of_the_workspace() -> Result<()> {
    let manifests = Manifests::build()?;
    let version = workspace_version("version")?;
    for (kind, name, images) in [
        ("StatefulSet", "ringside", &["ringside"][..]),
        ("Deployment", "ringside-envoy", &["ringside", "ringside-envoy", "ringside"]),
    ] {
        let expected: Vec<String> = images.iter().map(|image| format!("{image}:{version}")).collect();
        let used: Vec<&str> = containers(manifests.get(kind, name)?)
            .map(|container| text(&container["image"]))
            .collect::<Result<_>>()?;
        ensure!(used == expected, "{name}: {used:?}");
    }
    Ok(())
}

/// The image's file system is laid out around the real program, and the loader finds every library inside it.
#[test]
fn the_image_has_every_library_that_the_program_loads() -> Result<()> {
    let scratch = Scratch::new("rootfs")?;
    let root = scratch.folder("root")?;
    let laid_out = Command::new(path("images/rootfs")).arg(tools::ringside()?).arg(&root).output()?;
    ensure!(laid_out.status.success(), "{}", String::from_utf8_lossy(&laid_out.stderr));
    for expected in
        ["usr/bin/ringside", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/nsswitch.conf"]
    {
        ensure!(root.join(expected).is_file(), "{expected} is missing");
    }

    let loader = std::fs::read_dir(root.join("lib64"))?.next().context("no loader")??.path();
    let folders: Vec<String> = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib"]
        .iter()
        .map(|folder| root.join(folder).display().to_string())
        .collect();
    let listed = Command::new(&loader)
        .args(["--inhibit-cache", "--library-path", &folders.join(":"), "--list"])
        .arg(root.join("usr/bin/ringside"))
        .output()?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let inside = root.display().to_string();
    let listed = String::from_utf8(listed.stdout)?;
    for library in listed.lines().filter(|line| line.contains("=>")) {
        let loader_itself = library.contains("ld-linux");
        ensure!(loader_itself || library.contains(&inside), "loaded from outside of the image: {library}");
    }
    ensure!(listed.contains("libc.so.6"), "{listed}");
    scratch.passed();
    Ok(())
}

//! The generated message types are committed, so that no build runs a code generator; this test keeps them equal
//! to what the `.proto` files say. `RINGSIDE_GENERATE=1 cargo test -p ringside-proto --test generated` writes them
//! anew.

use std::path::Path;

#[test]
fn generated_types_match_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [
        "prometheus/types.proto",
        "prometheus/remote.proto",
        "prometheus/write_v2.proto",
        "ringside/write_refused.proto",
    ];
    let descriptors = protox::compile(files, [root]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new().out_dir(out.path()).compile_fds(descriptors).unwrap();
    for file in ["prometheus.rs", "io.prometheus.write.v2.rs", "ringside.v1.rs"] {
        let fresh = std::fs::read_to_string(out.path().join(file)).unwrap();
        let committed = root.join("src/generated").join(file);
        if std::env::var_os("RINGSIDE_GENERATE").is_some() {
            std::fs::write(&committed, &fresh).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&committed).unwrap(), fresh, "{file} is out of date");
    }
}

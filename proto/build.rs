//! Generates the message types from the `.proto` files. The compiler is a
//! crate, so no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["prometheus/types.proto", "prometheus/remote.proto", "ringside/write_refused.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}

//! Sets what the platform's linker needs for a Node addon. Downloads nothing.

fn main() {
    #[cfg(feature = "napi")]
    napi_build::setup();
    // The libraries of CUDA, where they are shipped beside the addon.
    #[cfg(all(feature = "cuda", target_os = "linux"))]
    println!("cargo:rustc-cdylib-link-arg=-Wl,-rpath,$ORIGIN");
}

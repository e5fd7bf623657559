//! Sets what the platform's linker needs for a Node addon. Downloads nothing.

fn main() {
    #[cfg(feature = "napi")]
    napi_build::setup();
}

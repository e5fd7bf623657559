//! Compiles the code under test with loom's atomics instead of std's.

fn main() {
    println!("cargo::rustc-cfg=loom");
}

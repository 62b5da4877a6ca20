//! The command line of jsdkd.

fn main() {}

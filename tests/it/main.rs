//! What jsdkd promises, from outside: one binary, a file for each behaviour.

mod settings;
